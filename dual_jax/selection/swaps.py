"""Swaps at a fixed budget: k-medoids that lower the objective of `dual_jax.selection.cover` further."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import exact_squared_distances, nth_true, sum_by_label
from dual_jax.selection.cover import TILE, Axis, Cover, mask_of
from dual_jax.selection.coverage import greedy_picks
from dual_jax.selection.protocol import TIE, Selection

MAX_SWEEPS = 10


def refine(
    cover: Cover, indices: Int[Array, " k"], *, max_sweeps: int = MAX_SWEEPS, block_size: int = 64
) -> Selection:
    """Return the picks after k-medoids swaps that lower F, in the order in which the greedy adds them.

    Replacing medoid m by candidate c changes F by

        sum_i v_i [min(D_ic, d1_i) - d1_i] + sum_{i: nearest is m} v_i [min(D_ic, d2_i) - min(D_ic, d1_i)],

    d1 and d2 being the distances to the nearest and second-nearest medoid: one column of D gives the change
    for every m. Source: Schubert & Rousseeuw, Information Systems 2021 (FasterPAM). Candidates come in
    blocks; the best swap of a block is made at once, until the block holds none. A swap that does not lower
    F, summed again, is taken back. The result is not nested. Labelled rows are fixed medoids.

    Parameters
    ----------
    cover
        The problem, from `dual_jax.selection.cover.build_cover`. Devices do not share this work.
    indices
        (k,) distinct positions to start from, usually the greedy's.
    max_sweeps
        Passes over the candidates; ends sooner when a pass makes no swap.
    block_size
        Candidates per block, static.

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
    if cover.limits is not None:
        raise ValueError(f"swaps cannot keep {', '.join(cover.limits.asked())}: use the greedy without swaps")
    _check_start(indices, ~cover.is_labeled)
    medoids = _refine(cover, indices, _nearest_pair(cover, indices), max_sweeps, block_size)
    chosen = cover._replace(is_open=mask_of(medoids, len(cover.u)), shortlist=jnp.sort(medoids))
    return greedy_picks(chosen, None, len(indices), TILE)


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
    pair = _nearest_pair(cover, jnp.asarray(indices))
    return pair.first, pair.first_cost


class _Pair(NamedTuple):
    """For each target its nearest and second-nearest medoid; place k is that of the labelled rows."""

    first: Int[Array, " n"]
    first_cost: Float[Array, " n"]
    second: Int[Array, " n"]
    second_cost: Float[Array, " n"]


class _Partition(NamedTuple):
    """The medoids, the targets they serve, and F."""

    medoids: Int[Array, " k"]
    pair: _Pair
    objective: Float[Array, ""]
    is_improved: Bool[Array, ""]


@partial(jax.jit, static_argnames="block_size")
def _refine(
    cover: Cover, indices: Int[Array, " k"], pair: _Pair, max_sweeps: int, block_size: int
) -> Int[Array, " k"]:
    """Return the medoids after the swaps; every argument is checked."""
    n_blocks = -(-len(cover.u) // block_size)

    def visit(block: Array, state: _Partition) -> _Partition:
        rows = block * block_size + jnp.arange(block_size)
        is_allowed = cover.is_open.at[rows].get(mode="fill", fill_value=False)
        swap_in = partial(_swap_in, cover)
        return jax.lax.cond(jnp.any(is_allowed), swap_in, lambda _, __, state: state, rows, is_allowed, state)

    def sweep(state: tuple[Array, Array, _Partition]) -> tuple[Array, Array, _Partition]:
        n_sweeps, _, before = state
        after = jax.lax.fori_loop(0, n_blocks, visit, before)
        return n_sweeps + 1, after.objective < before.objective, after

    start = _Partition(indices, pair, cover.value(pair.first_cost), jnp.array(False))
    _, _, end = jax.lax.while_loop(
        lambda state: (state[0] < max_sweeps) & state[1], sweep, (jnp.zeros((), int), jnp.array(True), start)
    )
    return end.medoids


def _swap_in(
    cover: Cover, rows: Int[Array, " b"], is_allowed: Bool[Array, " b"], state: _Partition
) -> _Partition:
    """Return the partition after swaps with the rows of a block, one by one as long as that pays."""
    columns = cover.cost(exact_squared_distances(cover.centred, cover.centred.at[rows].get(mode="clip")))

    def swap(state: _Partition) -> _Partition:
        change = _swap_changes(cover, state, columns)
        change = jnp.where(is_allowed & ~jnp.isin(rows, state.medoids), change, jnp.inf)
        place, column = jnp.unravel_index(jnp.argmin(change), change.shape)
        is_legal = jnp.isfinite(change[place, column])
        swapped = _swapped(cover, state, place, rows[column])
        is_improved = is_legal & (swapped.objective < state.objective * (1.0 - TIE))
        after = jax.tree.map(lambda new, old: jnp.where(is_improved, new, old), swapped, state)
        return after._replace(is_improved=is_improved)

    start = state._replace(is_improved=jnp.array(True))
    return jax.lax.while_loop(lambda state: state.is_improved, swap, start)


def _swap_changes(cover: Cover, state: _Partition, columns: Float[Array, "n b"]) -> Float[Array, "k b"]:
    """Return the change of F when the candidate of each column replaces each medoid."""
    first, second = state.pair.first_cost[:, None], state.pair.second_cost[:, None]
    weight, kept = cover.weights[:, None], jnp.minimum(columns, first)
    added = jnp.sum(weight * (kept - first), axis=0)
    removed = sum_by_label(
        weight * (jnp.minimum(columns, second) - kept), state.pair.first, len(state.medoids)
    )
    return added + removed


def _swapped(cover: Cover, state: _Partition, place: Int[Array, ""], candidate: Int[Array, ""]) -> _Partition:
    """Return the partition with the candidate in place of the medoid at ``place``."""
    first, first_cost, second, second_cost = state.pair
    medoids, column = state.medoids.at[place].set(candidate), cover.column(candidate)
    is_first, is_second = column < first_cost, column < second_cost
    pair = _Pair(
        jnp.where(is_first, place, first),
        jnp.where(is_first, column, first_cost),
        jnp.where(is_first, first, jnp.where(is_second, place, second)),
        jnp.where(is_first, first_cost, jnp.where(is_second, column, second_cost)),
    )
    pair = _renew_pairs(cover, medoids, pair, is_stale=(first == place) | (second == place))
    return state._replace(medoids=medoids, pair=pair, objective=cover.value(pair.first_cost))


def _renew_pairs(cover: Cover, medoids: Int[Array, " k"], pair: _Pair, is_stale: Bool[Array, " n"]) -> _Pair:
    """Return the pairs, the stale ones found again among all medoids and the labelled rows."""
    rank = jnp.cumsum(is_stale)

    def visit(state: tuple[Array, _Pair]) -> tuple[Array, _Pair]:
        done, pair = state
        rows = nth_true(rank, done, TILE)
        targets = cover.centred.at[rows].get(mode="clip")
        block = cover.cost(exact_squared_distances(cover.centred[medoids], targets))
        block = jnp.concatenate([block, cover.labelled_cost.at[rows].get(mode="clip")[None]])
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
def _nearest_pair(cover: Cover, medoids: Int[Array, " k"]) -> _Pair:
    """Return the nearest and second-nearest medoid of every row."""
    n = len(cover.u)
    place, far = jnp.full(n, len(medoids), jnp.int32), jnp.full(n, jnp.inf, cover.u.dtype)
    return _renew_pairs(cover, medoids, _Pair(place, far, place, far), jnp.ones(n, bool))


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
