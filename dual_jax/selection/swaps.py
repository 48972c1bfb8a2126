"""Swaps at a fixed budget: k-medoids that lower the objective of `dual_jax.selection.cover` further.

`refine` is for a user; `dual_jax.selection.chain` repeats `exchanged` on smaller and smaller sets.
Which rows the swaps count is the work of `dual_jax.selection.targets`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import exact_squared_distances, nth_true, squared_differences, sum_by_label
from dual_jax.selection.cover import TILE, Axis, Cover, least_cost, mask_of
from dual_jax.selection.coverage import greedy_picks
from dual_jax.selection.protocol import TIE, Selection
from dual_jax.selection.targets import Targets, number_of_targets, targets_of

MAX_SWEEPS = 10
BLOCK = 64  # candidates at a time
FINAL_PER_PICK, MIN_FINAL = 8, 256  # candidates for the last swaps after those of a subsample


def refine(
    cover: Cover,
    indices: Int[Array, " k"],
    *,
    max_sweeps: int = MAX_SWEEPS,
    block_size: int = BLOCK,
    n_targets: int | None = None,
) -> Selection:
    """Return the picks after k-medoids swaps that lower F, in the order in which the greedy adds them.

    Replacing medoid m by candidate c changes F by

        sum_i v_i [min(D_ic, d1_i) - d1_i] + sum_{i: nearest is m} v_i [min(D_ic, d2_i) - min(D_ic, d1_i)],

    d1 and d2 being the distances to the nearest and second-nearest medoid: one column of D gives the change
    for every m. Source: Schubert & Rousseeuw, Information Systems 2021 (FasterPAM). Candidates come in
    blocks; the best swap of a block is made at once, until the block holds none. A swap that does not lower
    F, summed again, is taken back. The result is not nested. Labelled rows are fixed medoids.

    In a large pool the sums run over a weighted subsample of its rows, see `dual_jax.selection.targets`. If
    these swaps together do not lower F over all rows, they are undone. Then swaps over all rows follow, with
    the candidates that promise most by the subsample: `FINAL_PER_PICK` of them for each pick, at least
    `MIN_FINAL` (ours).

    Parameters
    ----------
    cover
        The problem, from `dual_jax.selection.cover.build_cover`. Devices do not share this work.
    indices
        (k,) distinct positions to start from, usually the greedy's.
    max_sweeps
        Passes over the candidates; swaps end sooner when no candidate is left that pays.
    block_size
        Candidates per block, static.
    n_targets
        Rows that F is summed over while swaps are tried, static; by default
        `dual_jax.selection.targets.number_of_targets`.

    Returns
    -------
    Selection
        k positions in greedy order, and their gains in that order.

    Raises
    ------
    ValueError
        When a position is repeated, out of range or labelled, or the cover has limits on what is picked
        together, which swaps would not keep.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.cover import build_cover, power_cost
    >>> u = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
    >>> refine(build_cover(u, power_cost(1.0)), jnp.array([0, 1])).indices.tolist()
    [1, 4]
    """
    indices, cover = jnp.asarray(indices, jnp.int32), cover._replace(axis=Axis())
    check_limits_of_swaps(cover)
    _check_start(indices, ~cover.is_labeled)
    medoids = swapped(cover, indices, max_sweeps, block_size, n_targets)
    chosen = cover._replace(is_open=mask_of(medoids, len(cover.u)), shortlist=jnp.sort(medoids))
    return greedy_picks(chosen, None, len(indices), TILE)


def swapped(
    cover: Cover,
    indices: Int[Array, " k"],
    max_sweeps: int = MAX_SWEEPS,
    block_size: int = BLOCK,
    n_targets: int | None = None,
) -> Int[Array, " k"]:
    """Return the set of `refine`, a row in the place of the one that it replaced; nothing is checked."""
    n, candidates = len(cover.u), candidates_of(cover)
    size = number_of_targets(n, len(indices)) if n_targets is None else n_targets
    targets = targets_of(cover, size)
    medoids = _refine(cover, targets, indices, *candidates, max_sweeps, block_size)
    if size >= n:
        return medoids
    medoids = _better(cover, medoids, indices)
    final = _promising(cover, targets, medoids, *candidates, block_size)
    return _refine(cover, targets_of(cover, n), medoids, *final, max_sweeps, block_size)


def nearest(cover: Cover, indices: Int[Array, " k"]) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Return for each row which pick covers it, and D between the two.

    Parameters
    ----------
    cover
        The problem. Rows that a labelled one covers better have the place k, if any is labelled.
    indices
        (k,) positions.

    Returns
    -------
    tuple of Array
        (n,) place in ``indices``, the first of equals, and (n,) D.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.cover import build_cover, power_cost
    >>> cover = build_cover(jnp.array([[0.0], [1.0], [4.0]]), power_cost(1.0))
    >>> place, distance = nearest(cover, jnp.array([2, 0]))
    >>> place.tolist(), distance.tolist()
    ([1, 1, 0], [0.0, 1.0, 0.0])
    """
    pair = _nearest_pair(cover, targets_of(cover, len(cover.u)), jnp.asarray(indices))
    return pair.first, pair.first_cost


class _Pair(NamedTuple):
    """For each target its nearest and second-nearest medoid; place k is that of the labelled rows."""

    first: Int[Array, " t"]
    first_cost: Float[Array, " t"]
    second: Int[Array, " t"]
    second_cost: Float[Array, " t"]


class _Partition(NamedTuple):
    """The medoids, -1 in places without one, the targets that they serve, and F."""

    medoids: Int[Array, " k"]
    pair: _Pair
    objective: Float[Array, ""]
    is_improved: Bool[Array, ""]


def candidates_of(cover: Cover) -> tuple[Int[Array, " m"], Int[Array, ""]]:
    """Return the open positions, ascending and then padded, and their number."""
    size = len(cover.u) if cover.shortlist is None else len(cover.shortlist)
    return jnp.nonzero(cover.is_open, size=size, fill_value=0)[0], jnp.sum(cover.is_open)


def exchanged(
    cover: Cover,
    targets: Targets,
    medoids: Int[Array, " k"],
    candidates: Int[Array, " m"],
    n_candidates: Int[Array, ""],
    max_sweeps: int = MAX_SWEEPS,
    block_size: int = BLOCK,
) -> Int[Array, " k"]:
    """Return the medoids after swaps with candidates; to be called under `jit`, every argument checked.

    Parameters
    ----------
    cover, targets
        The problem, and the rows that F is summed over.
    medoids
        (k,) positions to start from; -1 in unused places, which stay so.
    candidates, n_candidates
        Positions to swap in, of which the first ``n_candidates`` count.
    max_sweeps, block_size
        As in `refine`.
    """
    n_blocks = -(-n_candidates // block_size)

    def visit(state: tuple[Array, Array, _Partition]) -> tuple[Array, Array, _Partition]:
        n_visits, n_idle, before = state
        places = n_visits % n_blocks * block_size + jnp.arange(block_size)
        rows = candidates.at[places].get(mode="clip")
        after = _swap_in(cover, targets, rows, places < n_candidates, before)
        # A block that was swapped from holds no further swap until another one is.
        n_idle = jnp.where(after.objective < before.objective, 1, n_idle + 1)
        return n_visits + 1, n_idle, after

    def is_going_on(state: tuple[Array, Array, _Partition]) -> Array:
        return (state[0] < max_sweeps * n_blocks) & (state[1] < n_blocks)

    pair = _nearest_pair(cover, targets, medoids)
    start = _Partition(medoids, pair, _value(targets, pair), jnp.array(False))
    none = jnp.zeros((), int)
    return jax.lax.while_loop(is_going_on, visit, (none, none, start))[-1].medoids


_refine = partial(jax.jit, static_argnames="block_size")(exchanged)


def _value(targets: Targets, pair: _Pair) -> Float[Array, ""]:
    return jnp.sum(targets.weights * pair.first_cost)


def _swap_in(
    cover: Cover, targets: Targets, rows: Int[Array, " b"], is_allowed: Bool[Array, " b"], state: _Partition
) -> _Partition:
    """Return the partition after swaps with the rows of a block, one by one as long as that pays."""
    columns = cover.cost(exact_squared_distances(targets.u, cover.centred[rows]))

    def swap(state: _Partition) -> _Partition:
        change = _swap_changes(targets, state, rows, is_allowed, columns)
        place, column = jnp.unravel_index(jnp.argmin(change), change.shape)
        make = partial(_after_swap, cover, targets, place=place, candidate=rows[column])
        after = jax.lax.cond(change[place, column] < 0, make, lambda state: state, state)
        is_improved = after.objective < state.objective * (1.0 - TIE)
        after = jax.tree.map(lambda new, old: jnp.where(is_improved, new, old), after, state)
        return after._replace(is_improved=is_improved)

    start = state._replace(is_improved=jnp.array(True))
    return jax.lax.while_loop(lambda state: state.is_improved, swap, start)


def _swap_changes(
    targets: Targets,
    state: _Partition,
    rows: Int[Array, " b"],
    is_allowed: Bool[Array, " b"],
    columns: Float[Array, "t b"],
) -> Float[Array, "k b"]:
    """Return the change of F when each row replaces each medoid; infinite where it may not."""
    first, second = state.pair.first_cost[:, None], state.pair.second_cost[:, None]
    weight, kept = targets.weights[:, None], jnp.minimum(columns, first)
    added = jnp.sum(weight * (kept - first), axis=0)
    removed = sum_by_label(
        weight * (jnp.minimum(columns, second) - kept), state.pair.first, len(state.medoids)
    )
    is_legal = (is_allowed & ~jnp.isin(rows, state.medoids)) & (state.medoids >= 0)[:, None]
    return jnp.where(is_legal, added + removed, jnp.inf)


def _after_swap(
    cover: Cover, targets: Targets, state: _Partition, place: Int[Array, ""], candidate: Int[Array, ""]
) -> _Partition:
    """Return the partition with the candidate in place of the medoid at ``place``."""
    first, first_cost, second, second_cost = state.pair
    squared = squared_differences(cover.centred[candidate][None], targets.u)[0]
    # The compiler may form the rows twice, with another rounding: the row itself is at 0 all the same.
    column = cover.cost(jnp.where(targets.rows == candidate, 0.0, squared))
    is_first, is_second = column < first_cost, column < second_cost
    pair = _Pair(
        jnp.where(is_first, place, first),
        jnp.where(is_first, column, first_cost),
        jnp.where(is_first, first, jnp.where(is_second, place, second)),
        jnp.where(is_first, first_cost, jnp.where(is_second, column, second_cost)),
    )
    medoids = state.medoids.at[place].set(candidate)
    pair = _renew_pairs(cover, targets, medoids, pair, is_stale=(first == place) | (second == place))
    return state._replace(medoids=medoids, pair=pair, objective=_value(targets, pair))


def _renew_pairs(
    cover: Cover, targets: Targets, medoids: Int[Array, " k"], pair: _Pair, is_stale: Bool[Array, " t"]
) -> _Pair:
    """Return the pairs, the stale ones found again among all medoids and the labelled rows."""
    rank, is_used = jnp.cumsum(is_stale), (medoids >= 0)[:, None]

    def visit(state: tuple[Array, _Pair]) -> tuple[Array, _Pair]:
        done, pair = state
        rows = nth_true(rank, done, TILE)
        served = targets.u.at[rows].get(mode="clip")
        block = cover.cost(exact_squared_distances(cover.centred[medoids], served))
        block = jnp.where(is_used, block, jnp.inf)
        block = jnp.concatenate([block, targets.labelled_cost.at[rows].get(mode="clip")[None]])
        first = jnp.argmin(block, axis=0)
        others = jnp.where(jnp.arange(len(block))[:, None] == first, jnp.inf, block)
        second = jnp.argmin(others, axis=0)
        found = _Pair(
            first.astype(jnp.int32), jnp.min(block, axis=0), second.astype(jnp.int32), jnp.min(others, axis=0)
        )
        return done + TILE, jax.tree.map(lambda old, new: old.at[rows].set(new, mode="drop"), pair, found)

    start = (jnp.zeros((), rank.dtype), pair)
    return jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, start)[1]


@jax.jit
def _nearest_pair(cover: Cover, targets: Targets, medoids: Int[Array, " k"]) -> _Pair:
    """Return the nearest and second-nearest medoid of every target."""
    size = len(targets.rows)
    place, far = jnp.full(size, len(medoids), jnp.int32), jnp.full(size, jnp.inf, cover.u.dtype)
    start = _Pair(place, far, place, far)
    return _renew_pairs(cover, targets, medoids, start, jnp.ones(size, bool))


@partial(jax.jit, static_argnames="block_size")
def _promising(
    cover: Cover,
    targets: Targets,
    medoids: Int[Array, " k"],
    candidates: Int[Array, " m"],
    n_candidates: Int[Array, ""],
    block_size: int,
) -> tuple[Int[Array, " c"], Int[Array, ""]]:
    """Return the candidates whose best swap lowers F over the targets most, ascending, and their number."""
    size = min(len(candidates), max(MIN_FINAL, FINAL_PER_PICK * len(medoids)))
    pair = _nearest_pair(cover, targets, medoids)
    state = _Partition(medoids, pair, _value(targets, pair), jnp.array(False))

    def least_change(block: Array) -> Array:
        places = block * block_size + jnp.arange(block_size)
        rows = candidates.at[places].get(mode="clip")
        columns = cover.cost(exact_squared_distances(targets.u, cover.centred[rows]))
        return jnp.min(_swap_changes(targets, state, rows, places < n_candidates, columns), axis=0)

    changes = jax.lax.map(least_change, jnp.arange(-(-len(candidates) // block_size))).reshape(-1)
    best = jnp.sort(jax.lax.top_k(-changes[: len(candidates)], size)[1])
    return candidates[best], jnp.minimum(n_candidates, size)


@jax.jit
def _better(cover: Cover, medoids: Int[Array, " k"], start: Int[Array, " k"]) -> Int[Array, " k"]:
    """Return whichever of two sets has the lower F over all rows; the second where they are equal."""

    def value(places: Array) -> Array:
        is_chosen = mask_of(places, len(cover.u))
        return cover.value(jnp.minimum(least_cost(cover, is_chosen), cover.labelled_cost))

    return jnp.where(value(medoids) < value(start), medoids, start)


def check_limits_of_swaps(cover: Cover) -> None:
    """Raise ValueError when the cover has limits on what is picked together."""
    if cover.limits is not None:
        raise ValueError(f"swaps cannot keep {', '.join(cover.limits.asked())}: use the greedy without swaps")


def _check_start(indices: Array, is_unlabelled: Array) -> None:
    """Raise when the positions are no set of unlabelled rows."""
    if isinstance(indices, jax.core.Tracer) or isinstance(is_unlabelled, jax.core.Tracer):
        return
    start, n = np.asarray(indices), len(is_unlabelled)
    if start.ndim != 1 or not start.size or len(np.unique(start)) < start.size:
        raise ValueError(
            f"indices has shape {start.shape}, wanted (k,) distinct positions; start from greedy's"
        )
    if start.min() < 0 or start.max() >= n or not np.asarray(is_unlabelled)[start].all():
        raise ValueError(f"indices must be unlabelled positions in 0 to {n - 1}; start from greedy's")
