"""DUAL from a pool to a ranking: three stages of training, and the read-out."""

import math
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.data.errors import InputError
from dual_jax.devices.mesh import AXIS, EVERYWHERE, on_mesh, platform_of, put, shard_rows
from dual_jax.dual.blocks import row_sums
from dual_jax.dual.config import DualConfig
from dual_jax.dual.layout import in_blocks, in_one_piece, specs, with_columns
from dual_jax.dual.loop import (
    Advanced,
    Callbacks,
    Chunk,
    Progress,
    run_in_chunks,
    tell,
)
from dual_jax.dual.plan import check_memory
from dual_jax.dual.ranking import rank
from dual_jax.dual.sizes import Sizes
from dual_jax.dual.stages import Rows, advance, begin_selection, whole_stage
from dual_jax.dual.state import TrainState, count_rows, started
from dual_jax.dual.steps import init, start_selection
from dual_jax.dual.trial import tried
from dual_jax.numerics.draws import draw_rows, two_keys
from dual_jax.numerics.precision import in_float32
from dual_jax.numerics.scaling import check_spread
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection, row_mask

ENTRYWISE = (optax.adam, optax.adamw, optax.sgd, optax.rmsprop)  # known to look at one entry at a time


class Checkpointer(Protocol):
    """Saves a fit so that it can continue later; `dual_jax.dual.checkpoint.Checkpoint` uses a folder."""

    def open(self, inputs: Any, shapes: Any) -> Progress | None:
        """Return the progress of the fit of these inputs, its state gathered; None for a new fit."""

    def save(self, progress: Any, *, at_once: bool = False) -> None:
        """Save what ``progress()`` returns, its state gathered, if it is time or ``at_once``."""


class Fitted(NamedTuple):
    """A trained state and the ranking of all candidates, best first.

    The first ``n_exact`` places of the ranking are the read-out's; the others follow by remaining gain.
    ``history`` maps each stage to its terms, and to "loss", one number per step.
    """

    state: TrainState
    ranking: Selection
    n_exact: int
    history: dict[str, dict[str, np.ndarray]]


@in_float32
def fit(
    key: Key[Array, ""],
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    mesh: Mesh | None = None,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    sizes: Sizes | None = None,
    callbacks: Callbacks = (),
    checkpointer: Checkpointer | None = None,
    limits: Limits | None = None,
) -> Fitted:
    """Return DUAL trained on a pool, and its ranking of all candidates.

    Parameters
    ----------
    key
        The only source of randomness.
    x
        (n, ...) float32, the pool, taken as given: scale it before.
    config
        `DualConfig()` or `DualConfig.paper()`, or your own.
    mesh
        Devices to spread the rows over, from `make_mesh`; None for one device. On a CPU 1, 2, 4, ... devices
        of a process give the same bits, up to as many as there are blocks of C, ``config.sizes(n).n_tiles``.
        More devices than that, or another number, cut the rows finer, and some picks may differ:
        `DUALSelector` uses only the devices that `dual_jax.devices.mesh.sharing` leaves.
    labeled, candidates
        Rows that have a label, and rows that may be ranked; see `dual_jax.selection.protocol`.
    sizes
        From `DualConfig.sizes`; by default those for this pool and these devices.
    callbacks
        Called with a `Chunk` after every 50 steps.
    checkpointer
        Saves the fit after chunks of steps, so that it can continue later: see `dual_jax.dual.checkpoint`.
    limits
        What else is asked of the picks, see `dual_jax.selection.limits`; the ranking then holds them alone.

    Raises
    ------
    ValueError
        A setting is out of range, a row of the pool is not finite, or a term became infinite or NaN: the
        message names the row, or the stage, the step and the term.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (40, 5))
    >>> fitted = fit(jax.random.key(1), x, DualConfig(pretrain_steps=50, steps=10))
    >>> len(fitted.ranking.indices)
    40
    """
    callbacks, x = tuple(callbacks), _checked(x)
    state, history, pool = _train(key, x, config, mesh, labeled, candidates, sizes, callbacks, checkpointer)
    tell(callbacks, Chunk("rank", 0, 1, {}))
    ranking = jax.block_until_ready(rank(state, pool.x, config, is_row=pool.is_row, mesh=mesh, limits=limits))
    tell(callbacks, Chunk("rank", 1, 1, {}))
    n_exact = len(ranking.indices) if config.readout == "norms" else config.n_exact
    return Fitted(state, ranking, min(n_exact, len(ranking.indices)), history)


def _checked(x: Any) -> Any:
    """Return a pool as floating-point rows; ValueError names the first row that is not finite."""
    x = x if x.dtype in (jnp.float32, jnp.bfloat16, jnp.float16) else x.astype(np.float32)
    if isinstance(x, jax.core.Tracer) or not getattr(x, "is_fully_addressable", True):
        return x
    host = _on_host(x)
    xp = np if isinstance(host, np.ndarray) else jnp
    is_finite = np.asarray(xp.isfinite(host).reshape(len(x), -1).all(axis=1))
    if not is_finite.all():
        raise InputError(
            f"row {is_finite.argmin()} (from 0) of x holds NaN or an infinity: fill such cells, or leave the "
            "row out."
        )
    check_spread(host)
    return x


def _on_host(array: Any) -> Any:
    """Return an array of a CPU as NumPy's, which copies nothing and compiles nothing; others as they are."""
    is_traced = isinstance(array, jax.core.Tracer)
    return array if is_traced or jax.default_backend() != "cpu" else np.asarray(array)


def on_devices(x: Any, mesh: Mesh | None, n_tiles: int = 1) -> Rows:
    """Return rows on the devices of a mesh, padded as `dual_jax.devices.mesh.shard_rows` does."""
    return Rows(shard_rows(x, mesh, n_tiles), shard_rows(np.ones(len(x), bool), mesh, n_tiles))


@in_float32
def train(
    key: Key[Array, ""],
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    mesh: Mesh | None = None,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    sizes: Sizes | None = None,
    callbacks: Callbacks = (),
    checkpointer: Checkpointer | None = None,
) -> tuple[TrainState, dict[str, dict[str, Any]]]:
    """Return the state after the three stages, and the history; parameters are those of `fit`."""
    x, callbacks = _checked(x), tuple(callbacks)
    return _train(key, x, config, mesh, labeled, candidates, sizes, callbacks, checkpointer)[:2]


def _train(
    key: Key[Array, ""],
    x: Any,
    config: DualConfig,
    mesh: Mesh | None,
    labeled: Any,
    candidates: Any,
    sizes: Sizes | None,
    callbacks: Callbacks,
    checkpointer: Checkpointer | None,
) -> tuple[TrainState, dict[str, dict[str, Any]], Rows]:
    """Return the state after the three stages, the history, and the pool on its devices."""
    config.check()
    check_coefficient_optimizer(config)
    key_init, key_selection = two_keys(key)
    labeled, candidates = _masks(labeled, candidates, len(x))
    n_targets = (sizes or config.sizes(len(x))).n_targets
    key_selection, rows, targets = _targets(key_selection, x, labeled, candidates, n_targets)
    sizes = _fitting_sizes(sizes, config, x, count_rows(targets[1] | targets[2]), mesh)
    n_tiles = sizes.n_tiles
    pool = on_devices(x, mesh, n_tiles)
    saved = _Saved(checkpointer, sizes, mesh)
    progress = saved.open((key, x, config, sizes, labeled, candidates), targets[0], config)
    progress = progress or Progress("pretrain", 0, init(key_init, _on_host(x), config), math.inf, False, {})
    stage = partial(_run, config=config, mesh=mesh, callbacks=callbacks, saved=saved, sizes=sizes)
    if progress.stage == "pretrain":
        progress = stage(progress, pool, config.pretrain_steps)
    own = pool if rows is None else on_devices(targets[0], mesh, n_tiles)
    masks = [shard_rows(mask, mesh, n_tiles) for mask in targets[1:]]
    if progress.stage == "pretrain":
        settings = config.of_programs()
        state = begin_selection(key_selection, progress.state, own, settings, *masks, sizes, mesh)
        progress = progress.next_stage("train", state)
    progress = stage(progress, own, config.steps)
    saved.save(progress, at_once=True)
    state = progress.state if rows is None else _in_pool(progress.state, rows, labeled, candidates, n_tiles)
    return state, progress.history, pool


def _masks(labeled: Any, candidates: Any, n: int) -> tuple[Any, Any]:
    """Return which rows are labelled and which are candidates, on the host; one may be picked at least."""
    labeled = _on_host(row_mask(labeled, n, "labeled"))
    candidates = _on_host(row_mask(candidates, n, "candidates", default=True))
    if count_rows(candidates & ~labeled) == 0:
        raise InputError("no row may be picked: there is no candidate without a label.")
    return labeled, candidates


def _targets(
    key: Key[Array, ""], x: Any, labeled: Any, candidates: Any, n_targets: int
) -> tuple[Key[Array, ""], Int[Array, " t"] | None, tuple[Any, Any, Any]]:
    """Return the key of stage 2, which rows C rebuilds (None for all), and these rows and their masks."""
    if n_targets == len(x):
        return key, None, (x, labeled, candidates)
    key_targets, key = jax.random.split(key)  # a third key only here: a fit to all rows uses the same two
    rows = drawn_targets(key_targets, labeled | candidates, n_targets)
    own = x[np.asarray(rows) if isinstance(x, np.ndarray) else rows]
    return key, rows, (own, labeled[rows], candidates[rows])


def _fitting_sizes(
    sizes: Sizes | None, config: DualConfig, x: Any, n_usable: Any, mesh: Mesh | None
) -> Sizes:
    """Return the sizes of a fit, by default those of the configuration, if its devices have room for them."""
    n_devices = mesh.size if mesh else 1
    sizes = (sizes or config.sizes(len(x), n_usable, n_devices, platform_of(mesh))).shared(n_devices)
    sizes = tried(sizes, config, mesh)
    if sizes.n_clusters > sizes.n_targets:
        raise InputError(f"n_clusters={config.n_clusters} exceeds the {sizes.n_targets} rows: ask for fewer.")
    check_memory(x.shape, config, mesh, sizes)
    return sizes


def drawn_targets(
    key: Key[Array, ""], is_usable: Bool[Array, " n"], n_targets: int
) -> Int[Array, " t"] | None:
    """Return which rows of a pool C rebuilds, ascending: drawn, half from usable ones first; None for all."""
    n = len(is_usable)
    if n_targets == n:
        return None
    key = jax.random.fold_in(key, n)  # one order of all rows for both draws
    is_drawn = jnp.zeros(n, bool).at[draw_rows(key, is_usable, n_targets // 2)].set(True)
    return jnp.sort(draw_rows(key, is_usable & is_drawn, n_targets))


def _in_pool(
    state: TrainState,
    rows: Int[Array, " t"],
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_tiles: int,
) -> TrainState:
    """Return a state of some rows of a pool with positions and masks of the whole pool, for its ranking."""
    fixed = started(state)

    def position(places: Array) -> Array:
        return jnp.where(places >= 0, rows[places], -1).astype(jnp.int32)

    n_missing = -len(labeled) % n_tiles
    is_labeled, is_candidate = (jnp.pad(mask, (0, n_missing)) for mask in (labeled, candidates & ~labeled))
    fixed = fixed._replace(
        dictionary=position(fixed.dictionary),
        targets=position(fixed.targets),
        is_labeled=is_labeled,
        is_candidate=is_candidate,
    )
    return state._replace(fixed=fixed)


class _Saved(NamedTuple):
    """A checkpointer that gathers states before it saves them, and does nothing without one."""

    checkpointer: Checkpointer | None
    sizes: Sizes
    mesh: Mesh | None

    def open(self, inputs: Any, x: Array, config: DualConfig) -> Progress | None:
        if self.checkpointer is None:
            return None
        progress = self.checkpointer.open(inputs, partial(shapes, x, config, self.sizes))
        if progress is None:
            return None
        return progress._replace(state=with_sizes(progress.state, self.sizes, self.mesh))

    def save(self, progress: Progress, *, at_once: bool = False) -> None:
        if self.checkpointer is not None:
            n_shares = self.mesh.size if self.mesh else 1
            n, k, m = self.sizes.n_targets, self.sizes.n_clusters, self.sizes.n_places
            whole = partial(in_one_piece, progress.state, n, k, n_shares, n_places=m)
            self.checkpointer.save(lambda: progress._replace(state=whole()), at_once=at_once)

    def save_now(self, progress: Progress) -> None:
        if jax.process_count() == 1:  # other processes would not join in gathering the state
            self.save(progress, at_once=True)


def with_sizes(state: TrainState, sizes: Sizes, mesh: Mesh | None) -> TrainState:
    """Return a state that is in one piece as a fit with these sizes has it on the devices of a mesh."""
    state = laid_out(with_columns(state, sizes.n_columns), sizes.n_tiles, mesh, sizes.block_rows)
    if state.fixed is None or not sizes.carries_sums:
        return state
    axis_name = AXIS if mesh else None
    summed = on_mesh(partial(row_sums, axis_name=axis_name), mesh, (specs(state).params,), EVERYWHERE)
    return state._replace(sums=jax.jit(summed)(state.params))


def laid_out(state: TrainState, n_tiles: int, mesh: Mesh | None, block_rows: int | None = None) -> TrainState:
    """Return a state that is in one piece as it is on the devices of a mesh; see `in_blocks`."""
    state = in_blocks(state, mesh.size if mesh else 1, n_tiles, block_rows)
    if mesh is None:
        return jax.tree.map(jnp.asarray, state)
    return jax.tree.map(lambda leaf, spec: put(leaf, NamedSharding(mesh, spec)), state, specs(state))


def shapes(x: Array, config: DualConfig, sizes: Sizes, stage: str) -> TrainState:
    """Return the shapes of a state in one piece."""
    key = jax.random.key(0)
    sizes = sizes._replace(block_rows=len(x), multiple=1, carries_sums=False, n_tiles=1)
    state = jax.eval_shape(init, key, x, config)
    if stage == "pretrain":
        return state
    return jax.eval_shape(partial(start_selection, sizes=sizes), key, state, x, config)


def check_coefficient_optimizer(config: DualConfig) -> None:
    """Raise ValueError if the optimiser of C uses more than a single entry: C is updated block by block."""
    if config.coefficient_optimizer in ENTRYWISE:
        return
    optimizer = config.coefficient_optimizer(0.1)

    def after_two_steps(gradient: Array, params: Array) -> Array:
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    with jax.ensure_compile_time_eval():
        gradient, params = jnp.array([3e3, -4e-3, 5e2, 0.0]), jnp.array([1.0, -2.0, 0.5, 3.0])
        parts = slice(0, 1), slice(1, None)
        halves = jnp.concatenate([after_two_steps(gradient[part], params[part]) for part in parts])
        is_entrywise = bool(jnp.allclose(after_two_steps(gradient, params), halves, rtol=1e-5))
    if not is_entrywise:
        raise InputError(
            "coefficient_optimizer needs the whole gradient of C, which never exists: use an element-wise "
            "one such as optax.adam; global-norm clipping may go into optimizer, for the network."
        )


def _run(
    progress: Progress,
    rows: Rows,
    n_steps: int,
    *,
    config: DualConfig,
    mesh: Mesh | None,
    callbacks: Callbacks,
    saved: _Saved,
    sizes: Sizes,
) -> Progress:
    """Return the progress after the remaining steps of a stage; its history has one number per step."""
    stage, history = progress.stage, progress.history
    if n_steps == 0:
        return progress._replace(history={**history, stage: {}})
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((progress.state, rows, config))):
        state, values = whole_stage(progress.state, rows, config, n_steps, stage, mesh, sizes)
        return Progress(stage, n_steps, state, math.inf, True, {**history, stage: values})

    def go_on(state: TrainState, mean_loss: float, n_now: int) -> Advanced:
        return advance(state, mean_loss, n_now, rows, settings, stage, mesh, sizes)

    settings = config.of_programs()
    return run_in_chunks(go_on, progress, n_steps, callbacks, saved.save, saved.save_now)
