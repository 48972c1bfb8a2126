"""DUAL from a pool to a ranking: the three stages in compiled chunks of steps, and the read-out.

Between chunks the host breathes: history, callbacks, a convergence test, and a stop on the first term that
is not finite. Under an outer ``jit`` each stage is one loop without breaks.
"""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.devices.collectives import device_index, gather_rows
from dual_jax.devices.mesh import AXIS, EVERYWHERE, ROWS, deal, on_mesh, put
from dual_jax.dual import readout
from dual_jax.dual.blocks import real_rows
from dual_jax.dual.config import DualConfig
from dual_jax.dual.layout import in_blocks, in_one_piece, specs
from dual_jax.dual.objectives.notation import Block, total_loss
from dual_jax.dual.plan import check_memory
from dual_jax.dual.state import TrainState, started
from dual_jax.dual.steps import init, pretrain_step, start_selection, train_step
from dual_jax.dual.trained import learnt_space, row_norms
from dual_jax.numerics.draws import draw_rows
from dual_jax.selection.protocol import Selection, row_mask

CHUNK = 50  # steps between two breaks


class Chunk(NamedTuple):
    """What a callback sees at each break; the read-out calls with stage "rank", before and after."""

    stage: str  # "pretrain", "train" or "rank"
    step: int  # steps done in this stage
    n_steps: int  # steps at most
    terms: dict[str, np.ndarray]  # each term, and "loss", at the steps of this chunk


class Stand(NamedTuple):
    """How far a fit has come at a break: all that it needs to go on from there."""

    stage: str  # "pretrain" or "train"
    step: int  # steps done in this stage
    state: TrainState
    history: dict[str, dict[str, Any]]


class Keeper(Protocol):
    """What keeps a fit so that it can go on later; `dual_jax.dual.checkpoint.Checkpoint` does, in a
    folder."""

    def open(self, inputs: Any, shapes: Callable[[str], TrainState]) -> Stand | None:
        """Return where the fit of these inputs stands, its state in one piece, or None for a new fit."""

    def keep(self, stand: Callable[[], Stand], *, at_once: bool = False) -> None:
        """Keep what ``stand()`` returns, its state in one piece, when it is time or ``at_once``."""


class Fitted(NamedTuple):
    """A trained state and the ranking of all candidates, best first.

    The first ``n_exact`` places of the ranking are the read-out's, the rest follow by their remaining gain.
    ``history`` maps each stage to its terms, and to "loss", a number a step.
    """

    state: TrainState
    ranking: Selection
    n_exact: int
    history: dict[str, dict[str, np.ndarray]]


Callbacks = Iterable[Callable[[Chunk], None]]


def fit(
    key: Key[Array, ""],
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    mesh: Mesh | None = None,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    callbacks: Callbacks = (),
    keeper: Keeper | None = None,
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
        Devices to spread the rows over, from `make_mesh`; None for one device.
    labeled, candidates
        Rows that have a label, and rows that may be ranked; see `dual_jax.selection.protocol`.
    callbacks
        Called with a `Chunk` after every 50 steps.
    keeper
        Keeps the fit at these breaks, and lets it go on where it stood: see `dual_jax.dual.checkpoint`.

    Raises
    ------
    ValueError
        A setting is out of range, or a term became infinite or NaN: the message names the stage, the step and
        the term.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (40, 5))
    >>> fitted = fit(jax.random.key(1), x, DualConfig(pretrain_steps=50, steps=10))
    >>> len(fitted.ranking.indices)
    40
    """
    callbacks = tuple(callbacks)
    state, history = train(
        key, x, config, mesh=mesh, labeled=labeled, candidates=candidates, callbacks=callbacks, keeper=keeper
    )
    _tell(callbacks, Chunk("rank", 0, 1, {}))
    ranking = jax.block_until_ready(rank(state, deal(x, mesh, jnp.nan), config, mesh=mesh))
    _tell(callbacks, Chunk("rank", 1, 1, {}))
    n_exact = len(ranking.indices) if config.readout == "norms" else config.n_exact
    return Fitted(state, ranking, min(n_exact, len(ranking.indices)), history)


def train(
    key: Key[Array, ""],
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    mesh: Mesh | None = None,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    callbacks: Callbacks = (),
    keeper: Keeper | None = None,
) -> tuple[TrainState, dict[str, dict[str, Any]]]:
    """Return the state after the three stages, and the history; parameters are those of `fit`."""
    config.check()
    check_coefficient_optimizer(config)
    key_init, key_selection = jax.random.split(key)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else jnp.asarray(x, jnp.float32)
    n, n_targets = len(x), config.targets(len(x))
    labeled, candidates = row_mask(labeled, n, "labeled"), row_mask(candidates, n, "candidates", default=True)
    if _count(candidates & ~labeled) == 0:
        raise ValueError("no row may be picked: there is no candidate without a label.")
    if config.clusters(n_targets) > n_targets:
        raise ValueError(f"n_clusters={config.n_clusters} exceeds the {n_targets} rows: ask for fewer.")
    rows = None
    if n_targets < n:  # a third key only here, so that a fit to all rows keeps its first two
        key_targets, key_selection = jax.random.split(key_selection)
        rows = drawn_targets(key_targets, labeled | candidates, n_targets)
    targets = (x, labeled, candidates) if rows is None else (x[rows], labeled[rows], candidates[rows])
    config = config.for_pool(n, _count(targets[1] | targets[2]), mesh.size if mesh else 1)
    check_memory(x.shape, config, mesh)
    kept = _Kept(keeper, len(targets[0]), config, mesh)
    start = kept.open((key, x, config, labeled, candidates), targets[0])
    stand = start or Stand("pretrain", 0, init(key_init, x, config), {})
    if stand.stage == "pretrain":
        rows_of_all, n_steps, n_batches = deal(x, mesh, jnp.nan), config.pretrain_steps, config.batches(n)
        stand = _run(stand, rows_of_all, config, n_steps, mesh, callbacks, kept, n_batches)
    dealt = [deal(part, mesh, fill) for part, fill in zip(targets, (jnp.nan, False, False), strict=True)]
    if stand.stage == "pretrain":
        x_own, *masks = dealt
        state = begin_selection(key_selection, stand.state, x_own, config, *masks, mesh)
        stand = Stand("train", 0, state, stand.history)
    stand = _run(stand, dealt[0], config, config.steps, mesh, callbacks, kept)
    kept.keep(stand, at_once=True)
    state = stand.state if rows is None else _in_pool(stand.state, rows, labeled, candidates, mesh)
    return state, stand.history


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
    mesh: Mesh | None,
) -> TrainState:
    """Return a state of some rows of a pool with positions and masks of the whole pool, for its ranking."""
    fixed = started(state)

    def position(places: Array) -> Array:
        return jnp.where(places >= 0, rows[places], -1).astype(jnp.int32)

    n_missing = -len(labeled) % mesh.size if mesh else 0
    is_labeled, is_candidate = (jnp.pad(mask, (0, n_missing)) for mask in (labeled, candidates & ~labeled))
    fixed = fixed._replace(
        dictionary=position(fixed.dictionary),
        targets=position(fixed.targets),
        is_labeled=is_labeled,
        is_candidate=is_candidate,
    )
    return state._replace(fixed=fixed)


class _Kept(NamedTuple):
    """A keeper that sees states in one piece, and none where there is none."""

    keeper: Keeper | None
    n: int
    config: DualConfig
    mesh: Mesh | None

    def open(self, inputs: Any, x: Array) -> Stand | None:
        if self.keeper is None:
            return None
        stand = self.keeper.open(inputs, partial(shapes, x, self.config))
        if stand is None:
            return None
        return stand._replace(state=laid_out(stand.state, self.config.block_rows or self.n, self.mesh))

    def keep(self, stand: Stand, *, at_once: bool = False) -> None:
        if self.keeper is not None:
            n_shares = self.mesh.size if self.mesh else 1
            n_clusters = self.config.n_clusters or 0
            whole = partial(in_one_piece, stand.state, self.n, n_clusters, n_shares)
            self.keeper.keep(lambda: stand._replace(state=whole()), at_once=at_once)


def laid_out(state: TrainState, block_rows: int, mesh: Mesh | None) -> TrainState:
    """Return a state that is in one piece as it is on the devices of a mesh."""
    state = in_blocks(state, mesh.size if mesh else 1, block_rows)
    if mesh is None:
        return jax.tree.map(jnp.asarray, state)
    return jax.tree.map(lambda leaf, spec: put(leaf, NamedSharding(mesh, spec)), state, specs(state))


def shapes(x: Array, config: DualConfig, stage: str) -> TrainState:
    """Return the shapes of a state in one piece, for a configuration that leaves no number to the pool."""
    key, config = jax.random.key(0), dataclasses.replace(config, block_rows=len(x))
    state = jax.eval_shape(init, key, x, config)
    return state if stage == "pretrain" else jax.eval_shape(start_selection, key, state, x, config)


def _count(mask: Array) -> int | None:
    """Return how many rows are in a mask; None while it is traced."""
    return None if isinstance(mask, jax.core.Tracer) else int(mask.sum())


def check_coefficient_optimizer(config: DualConfig) -> None:
    """Raise ValueError when the optimiser of C looks beyond a single entry: C is updated block by block."""
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
        raise ValueError(
            "coefficient_optimizer needs the whole gradient of C, which never exists: use an element-wise "
            "one such as optax.adam; global-norm clipping may go into optimizer, for the network."
        )


@partial(jax.jit, static_argnames="mesh")
def begin_selection(
    key: Array,
    state: TrainState,
    x: Array,
    config: DualConfig,
    labeled: Array,
    candidates: Array,
    mesh: Mesh | None,
) -> TrainState:
    """Return the state at the start of stage 3; see `start_selection`."""

    def start(key: Array, state: TrainState, x: Array, config: DualConfig, *masks: Array) -> TrainState:
        axis_name, (labeled, candidates) = AXIS if mesh else None, masks
        return start_selection(
            key, state, x, config, labeled=labeled, candidates=candidates, axis_name=axis_name
        )

    arguments = (key, state, x, config, labeled, candidates)
    if mesh is None:
        return start(*arguments)
    # The layout is that of one device's share, whatever the number of clusters.
    own = jax.ShapeDtypeStruct((len(x) // mesh.size, *x.shape[1:]), x.dtype)
    one_cluster = dataclasses.replace(config, n_clusters=1)
    shapes = jax.eval_shape(start_selection, key, state, own, one_cluster)
    where = (EVERYWHERE, EVERYWHERE, ROWS, EVERYWHERE, ROWS, ROWS)
    return on_mesh(start, mesh, where, specs(shapes))(*arguments)


STEPS = {"pretrain": pretrain_step, "train": train_step}


def _run_steps(
    state: TrainState,
    x: Array,
    config: DualConfig,
    n_steps: Array,
    stage: str,
    length: int,
    mesh: Mesh | None,
    n_batches: int = 1,
) -> tuple[TrainState, dict[str, Array]]:
    """Return the state after ``n_steps`` steps of a stage, at most ``length``, and the terms of each.

    A step sees one of ``n_batches`` parts of the rows, the next step the next one.
    """
    axis_name = AXIS if mesh else None

    def step(state: TrainState, x: Array, config: DualConfig) -> tuple[TrainState, dict[str, Array]]:
        rows = x if n_batches == 1 else _batch(x, state.step, n_batches, axis_name)
        state, terms = STEPS[stage](state, rows, config, axis_name=axis_name)
        loss = total_loss(terms, config.weights) if stage == "train" else terms.reconstruction
        return state, {**terms._asdict(), "loss": loss}

    def run(state: TrainState, x: Array, config: DualConfig, n_steps: Array) -> Any:
        def advance(i: Array, carry: Any) -> Any:
            state, values = step(carry[0], x, config)
            return state, jax.tree.map(lambda kept, value: kept.at[i].set(value), carry[1], values)

        names = jax.eval_shape(step, state, x, config)[1]
        empty = jax.tree.map(lambda value: jnp.zeros(length, value.dtype), names)
        return jax.lax.fori_loop(0, n_steps, advance, (state, empty))

    where = specs(state)
    run = on_mesh(run, mesh, (where, ROWS, EVERYWHERE, EVERYWHERE), (where, EVERYWHERE))
    return run(state, x, config, n_steps)


STATIC = ("stage", "length", "mesh", "n_batches")
run_steps = jax.jit(_run_steps, static_argnames=STATIC, donate_argnums=0)  # it eats the state
_traced_steps = jax.jit(_run_steps, static_argnames=STATIC)


def _batch(x: Array, step: Array, n_batches: int, axis_name: str | None) -> Array:
    """Return every ``n_batches``-th row of the pool, from another one at each step; NaN fills up.

    Positions count over all devices, so the batches do not depend on the layout.
    """
    first = jnp.mod(step - device_index(axis_name) * len(x), n_batches)
    places = first + n_batches * jnp.arange(-(-len(x) // n_batches))
    return x.at[places].get(mode="fill", fill_value=jnp.nan)


def _run(
    stand: Stand,
    x: Array,
    config: DualConfig,
    n_steps: int,
    mesh: Mesh | None,
    callbacks: Callbacks,
    kept: _Kept,
    n_batches: int = 1,
) -> Stand:
    """Return where the fit stands after the rest of a stage; its history has a number a step."""
    stage, step, state, before = stand
    if n_steps == 0:
        return stand._replace(history={**before, stage: {}})
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((state, x, config))):
        state, values = _traced_steps(state, x, config, n_steps, stage, n_steps, mesh, n_batches)
        return Stand(stage, n_steps, state, {**before, stage: values})
    history = before.get(stage, {})
    for done in range(step, n_steps, CHUNK):
        if _has_converged(history.get("loss", np.zeros(0)), config.tolerance):
            break
        n_now = min(CHUNK, n_steps - done)
        state, values = run_steps(state, x, config, n_now, stage, CHUNK, mesh, n_batches)
        values = {name: np.asarray(value)[:n_now] for name, value in values.items()}
        stop_unless_finite(stage, done, values)
        history = {name: np.append(history.get(name, values[name][:0]), values[name]) for name in values}
        stand = Stand(stage, done + n_now, state, {**before, stage: history})
        kept.keep(stand)
        try:
            _tell(callbacks, Chunk(stage, done + n_now, n_steps, values))
        except BaseException:  # a callback may stop the fit, as on Ctrl-C
            if jax.process_count() == 1:  # others would not come to gather the state
                kept.keep(stand, at_once=True)
            raise
    return stand._replace(history={**before, stage: history})


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


def _has_converged(losses: np.ndarray, tolerance: float) -> bool:
    """Return whether the mean loss of the last chunk is hardly below that of the chunk before."""
    if len(losses) < 2 * CHUNK or tolerance <= 0:
        return False
    before, now = losses[-2 * CHUNK : -CHUNK].mean(), losses[-CHUNK:].mean()
    return bool(before - now < tolerance * abs(before))


def _tell(callbacks: Callbacks, chunk: Chunk) -> None:
    for callback in callbacks:
        callback(chunk)


def rank(
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    n_select: int | None = None,
    *,
    axis_name: str | None = None,
    mesh: Mesh | None = None,
) -> Selection:
    """Return the picks of the configured read-out: ``n_select`` candidates, best first.

    ``None`` ranks all candidates: the first ``config.n_exact`` by the read-out, the rest by the gain that
    they would still bring (``"norms"`` ranks all). With ``axis_name`` every device returns all picks; a state
    that was fitted on a mesh is ranked on that mesh, with ``x`` from `dual_jax.devices.mesh.deal`.

    Parameters
    ----------
    state, x, config
        As `train_step` left and saw them; the state stays usable.
    n_select
        How many rows; static, and needed under `jit`.
    axis_name
        Of the devices that hold the other rows, inside `jax.pmap` or `jax.shard_map`; static.
    mesh
        Of the devices that the state was fitted on, outside of them; static.

    Returns
    -------
    Selection
        Positions among all rows, and the read-out's scores, greater is better.

    Raises
    ------
    ValueError
        The selection has not started, or ``n_select`` exceeds the candidates.
    """
    n_open = _count(started(state).is_candidate)
    wanted = n_open if n_select is None else n_select
    if wanted is None:
        raise ValueError("The number of candidates is not known under jit: give rank a static n_select.")
    if n_open is not None and wanted > n_open:
        raise ValueError(f"n_select={wanted} exceeds the {n_open} candidates: ask for at most {n_open}.")
    is_prefix = n_select is None and config.readout != "norms"
    n_exact = min(wanted, config.n_exact) if is_prefix else wanted
    return rank_on_mesh(state, x, config, n_exact, wanted, AXIS if mesh else axis_name, mesh)


@partial(jax.jit, static_argnames=("n_exact", "n_select", "axis_name", "mesh"))
def rank_on_mesh(
    state: TrainState,
    x: Array,
    config: DualConfig,
    n_exact: int,
    n_select: int,
    axis_name: str | None,
    mesh: Mesh | None,
) -> Selection:
    """Return the picks, of which the first ``n_exact`` are the read-out's; see `rank`."""

    def run(state: TrainState, x: Array, config: DualConfig) -> Selection:
        return _rank(state, x, config, n_exact, n_select, axis_name)

    where = specs(state)
    return on_mesh(run, mesh, (where, ROWS, EVERYWHERE), EVERYWHERE)(state, x, config)


@partial(jax.jit, static_argnames="mesh")
def norms_on(state: TrainState, x: Array, config: DualConfig, mesh: Mesh | None) -> Block:
    """Return `dual_jax.dual.trained.row_norms` of a state that was fitted on a mesh, or on none."""
    fixed = started(state)
    if config.targets(len(x)) < len(x):  # positions of the pool become those of its targets
        rows = jnp.where(fixed.targets >= 0, fixed.targets, len(x))
        x = x.at[rows].get(mode="fill", fill_value=jnp.nan)
        own = jnp.searchsorted(rows, fixed.dictionary)
        dictionary = jnp.where(fixed.dictionary >= 0, own, -1).astype(jnp.int32)
        targets = jnp.where(fixed.targets >= 0, jnp.arange(len(rows)), -1)
        state = state._replace(fixed=fixed._replace(dictionary=dictionary, targets=targets))

    def run(state: TrainState, x: Array, config: DualConfig) -> Block:
        return row_norms(state, x, config, axis_name=AXIS if mesh else None)

    where = specs(state)
    return on_mesh(run, mesh, (where, ROWS, EVERYWHERE), EVERYWHERE)(state, x, config)


def _rank(
    state: TrainState, x: Array, config: DualConfig, n_exact: int, n_select: int, axis_name: str | None
) -> Selection:
    fixed = started(state)
    if config.readout == "norms":
        norms = row_norms(state, x, config, axis_name=axis_name)
        of_p = jnp.where(config.beta > 0, norms.P, 0.0)  # without its branch P is but its random start
        return readout.by_norms(norms.C, of_p, fixed.dictionary, fixed.is_candidate, n_select)
    centroids, sizes = gather_rows(fixed.centroids, axis_name), gather_rows(fixed.sizes, axis_name)
    is_real = (sizes > 0)[:, None]  # those that fill up the last device's share are a real one once more
    pool = readout.Pool(
        u=learnt_space(state, x, config, axis_name=axis_name),
        centroids=jnp.where(is_real, centroids, centroids[jnp.argmax(sizes > 0)]),
        is_row=gather_rows(real_rows(x)[1], axis_name),
        is_labeled=fixed.is_labeled,
        is_candidate=fixed.is_candidate,
    )
    select = {"greedy": readout.greedily, "refine": readout.refined}[config.readout]
    picks = select(pool, config.power, n_exact, axis_name)
    if n_exact == n_select:
        return picks
    return readout.with_rest(pool, config.power, picks, n_select, axis_name)
