"""A stage of training: steps until all are done or the loss stops falling, with the rule compiled in.

`run_stage` is the whole stage as one traceable loop, for code under `jit` and `vmap`, where each cell stops
by its own loss. `run_in_chunks` runs the same chunks of steps one by one, so that control returns to Python
after each: for progress, logs, checkpoints and a stop at the first term that is not finite.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

CHUNK = 50  # steps between two checks of the loss

Values = dict[str, Array]
Step = Callable[[Any], tuple[Any, Values]]  # state -> state and the step's values, "loss" among them


class Chunk(NamedTuple):
    """What a callback gets after each chunk; ranking calls it with stage "rank", before and after."""

    stage: str  # "pretrain", "train", "rank", or the name that a caller of `run_in_chunks` gives
    step: int  # steps done in this stage
    n_steps: int  # steps at most
    terms: dict[str, np.ndarray]  # each value, and "loss", at the steps of this chunk


Callbacks = Iterable[Callable[[Chunk], None]]


class Advanced(NamedTuple):
    """After a chunk of steps: state, values of each step, their mean loss, whether the stage is over."""

    state: Any
    values: Values
    mean_loss: Float[Array, ""]
    is_over: Bool[Array, ""]


def run_chunk(
    step: Step, state: Any, mean_before: Array | float, n_steps: Array | int, tolerance: float
) -> Advanced:
    """Return a state after ``n_steps`` steps, at most `CHUNK`.

    The stage is over when the mean loss of the chunk is less than ``tolerance * |mean_before|`` below that of
    the chunk before, ``mean_before``; never with a tolerance of 0, nor after the first chunk, before which
    the mean is infinite.
    """

    def advance(i: Array, carry: tuple[Any, Values]) -> tuple[Any, Values]:
        state, values = step(carry[0])
        return state, jax.tree.map(lambda kept, value: kept.at[i].set(value), carry[1], values)

    shapes = jax.eval_shape(step, state)[1]
    empty = jax.tree.map(lambda value: jnp.zeros(CHUNK, value.dtype), shapes)
    state, values = jax.lax.fori_loop(0, n_steps, advance, (state, empty))
    is_done = jnp.arange(CHUNK) < n_steps
    mean = jnp.sum(values["loss"], where=is_done) / n_steps
    before = jnp.asarray(mean_before, mean.dtype)
    is_over = (tolerance > 0) & (before - mean < tolerance * jnp.abs(before))
    return Advanced(state, values, mean, is_over)


def run_stage(
    step: Step, state: Any, n_steps: int, tolerance: float = 0.0
) -> tuple[Any, Values, Int[Array, ""]]:
    """Return the state after a stage, each step's values, 0 after the last, and how many were run.

    For code that is traced. Under `vmap` each cell stops by its own loss; cells that have stopped do not
    change in later chunks.

    Parameters
    ----------
    step
        ``state -> (state, values)``; ``values`` holds scalars, "loss" among them.
    n_steps
        Steps at most, static.
    tolerance
        See `run_chunk`; static.
    """
    n_chunks, is_even = -(-n_steps // CHUNK), n_steps % CHUNK == 0
    shapes = jax.eval_shape(step, state)[1]
    empty = jax.tree.map(lambda value: jnp.zeros(n_chunks * CHUNK, value.dtype), shapes)
    if n_chunks == 0:
        return state, empty, jnp.zeros((), jnp.int32)

    def is_going(carry: Any) -> Bool[Array, ""]:
        chunk, _, _, _, is_over = carry
        return (chunk < n_chunks) & ~is_over

    def advance(carry: Any) -> Any:
        chunk, state, values, mean, _ = carry
        n_now = CHUNK if is_even else jnp.minimum(CHUNK, n_steps - chunk * CHUNK)
        done = run_chunk(step, state, mean, n_now, tolerance)
        values = jax.tree.map(
            lambda kept, new: jax.lax.dynamic_update_slice(kept, new, (chunk * CHUNK,)), values, done.values
        )
        return chunk + 1, done.state, values, done.mean_loss, done.is_over

    mean = jnp.full((), jnp.inf, shapes["loss"].dtype)
    start = jnp.zeros((), jnp.int32), state, empty, mean, jnp.zeros((), bool)
    chunk, state, values, *_ = jax.lax.while_loop(is_going, advance, start)
    values = jax.tree.map(lambda kept: kept[:n_steps], values)
    return state, values, jnp.minimum(chunk * CHUNK, n_steps)


class Progress(NamedTuple):
    """The progress of a fit after a chunk: all that it needs to continue from there."""

    stage: str
    step: int  # steps done in this stage
    state: Any
    mean_loss: float  # of the last chunk; infinite before the first
    is_over: bool  # whether the loss has stopped falling
    history: dict[str, dict[str, Any]]  # stage to term to one number per step

    def next_stage(self, stage: str, state: Any) -> "Progress":
        """Return the start of the next stage."""
        return Progress(stage, 0, state, np.inf, False, self.history)


def run_in_chunks(
    advance: Callable[[Any, float, int], Advanced],
    progress: Progress,
    n_steps: int,
    callbacks: Callbacks = (),
    save: Callable[[Progress], None] = lambda _: None,
    save_now: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Return the progress after the remaining steps of a stage.

    Parameters
    ----------
    advance
        ``(state, mean loss of the chunk before, steps) -> Advanced``: `run_chunk`, compiled.
    progress
        Where the stage is.
    n_steps
        Steps at most.
    callbacks
        Called with each `Chunk`.
    save
        Called with the progress after each chunk.
    save_now
        Called with the progress when a callback stops the fit.

    Raises
    ------
    ValueError
        A value is not finite: the message names the stage, the step and the value.
    """
    stage, history = progress.stage, progress.history.get(progress.stage, {})
    for done in range(progress.step, n_steps, CHUNK):
        if progress.is_over:
            break
        n_now = min(CHUNK, n_steps - done)
        state, values, mean_loss, is_over = advance(progress.state, progress.mean_loss, n_now)
        found = {name: np.asarray(value)[:n_now] for name, value in values.items()}
        stop_unless_finite(stage, done, found)
        history = {name: np.append(history.get(name, found[name][:0]), found[name]) for name in found}
        everything = {**progress.history, stage: history}
        progress = Progress(stage, done + n_now, state, float(mean_loss), bool(is_over), everything)
        save(progress)
        try:
            tell(callbacks, Chunk(stage, done + n_now, n_steps, found))
        except BaseException:  # a callback may stop the fit, as Ctrl-C does
            save_now(progress)
            raise
    return progress._replace(history={**progress.history, stage: history})


def tell(callbacks: Callbacks, chunk: Chunk) -> None:
    """Call every callback with a chunk."""
    for callback in callbacks:
        callback(chunk)


def stop_unless_finite(stage: str, done: int, values: dict[str, np.ndarray]) -> None:
    """Raise ValueError when a term is not finite at a step after the first ``done`` ones of a stage."""
    names = sorted(values, key="loss".__eq__)  # the loss is bad when any term is
    bad = np.array([~np.isfinite(values[name]) for name in names])
    if bad.any():
        step = int(bad.any(axis=0).argmax())
        name = names[int(bad[:, step].argmax())]
        raise ValueError(
            f"{name} is {values[name][step]} at step {done + step} of the {stage} stage: scale the inputs, "
            "or lower learning_rate or pretrain_learning_rate."
        )
