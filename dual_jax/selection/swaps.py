"""Swaps at a fixed budget: k-medoids that keep lowering the objective of `dual_jax.selection.coverage`."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import exact_squared_distances, nth_true, squared_differences, sum_by_label
from dual_jax.selection.coverage import (
    TILE,
    Cost,
    as_pytree,
    centred_rows,
    checked,
    greedy_picks,
    labelled_cover,
)
from dual_jax.selection.protocol import TIE, Selection, pickable

MAX_SWEEPS = 10


def refine(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
    max_sweeps: int = MAX_SWEEPS,
    block_size: int = 64,
) -> Selection:
    """Return the picks after k-medoids swaps that lower F, in the order in which the greedy adds them.

    Replacing medoid m by candidate c changes F by

        sum_i v_i [min(D_ic, d1_i) - d1_i] + sum_{i: nearest is m} v_i [min(D_ic, d2_i) - min(D_ic, d1_i)],

    d1 and d2 being the distances to the nearest and second-nearest medoid: one column of D gives the change
    for every m. Source: Schubert & Rousseeuw, Information Systems 2021 (FasterPAM). Candidates come in
    blocks; the best swap of a block is made at once, until the block holds none. A swap that does not lower
    F, summed anew, is taken back. The result is not nested. Labelled rows are medoids that stay.

    Parameters
    ----------
    u, cost, labeled, candidates, weights
        As in `dual_jax.selection.coverage.greedy`.
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
        When a position is repeated, out of range or labelled, or a shape is wrong.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.coverage import power_cost
    >>> from dual_jax.selection.swaps import refine
    >>> u = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
    >>> refine(u, jnp.array([0, 1]), power_cost(1.0)).indices.tolist()
    [1, 4]
    """
    u, is_open, labeled, weights = checked(u, labeled, candidates, weights)
    indices = jnp.asarray(indices, jnp.int32)
    _check_start(indices, pickable(len(u), labeled))
    cost = as_pytree(cost)
    covered = labelled_cover(u, cost, labeled, weights)
    pair = _nearest_pair(u, indices, cost, covered, weights)
    medoids = _refine(u, indices, pair, cost, is_open, covered, weights, max_sweeps, block_size)
    is_medoid = jnp.zeros(len(u), bool).at[medoids].set(True)
    order = jnp.sort(medoids)
    return greedy_picks(u, cost, is_medoid, covered, weights, order, None, len(indices), TILE, None)


def nearest(
    u: Float[Array, "n q"], indices: Int[Array, " k"], cost: Cost
) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Return for each row which pick covers it (a place in ``indices``, the first of equals), and D there.

    Parameters are those of `dual_jax.selection.coverage.coverage`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.coverage import power_cost
    >>> from dual_jax.selection.swaps import nearest
    >>> place, distance = nearest(jnp.array([[0.0], [1.0], [4.0]]), jnp.array([2, 0]), power_cost(1.0))
    >>> place.tolist(), distance.tolist()
    ([1, 1, 0], [0.0, 1.0, 0.0])
    """
    u, _, _, weights = checked(u, None, None, None)
    cost = as_pytree(cost)
    uncovered = labelled_cover(u, cost, None, weights)
    pair = _nearest_pair(u, jnp.asarray(indices), cost, uncovered, weights)
    return pair.first, pair.first_cost


class _Pair(NamedTuple):
    """For each target its nearest and second-nearest medoid; place k stands for the labelled rows."""

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


@functools.partial(jax.jit, static_argnames="block_size")
def _refine(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    pair: _Pair,
    cost: Cost,
    is_open: Bool[Array, " n"],
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
    max_sweeps: int,
    block_size: int,
) -> Int[Array, " k"]:
    """Return the medoids after the swaps; every argument is checked."""
    centred = centred_rows(u, weights)
    n_blocks = -(-len(u) // block_size)

    def visit(block: Array, state: _Partition) -> _Partition:
        rows = block * block_size + jnp.arange(block_size)
        is_allowed = is_open.at[rows].get(mode="fill", fill_value=False)
        return jax.lax.cond(jnp.any(is_allowed), swap_in, lambda _, __, state: state, rows, is_allowed, state)

    def swap_in(rows: Array, is_allowed: Array, state: _Partition) -> _Partition:
        """Swap rows of a block in as long as that pays."""
        columns = cost(exact_squared_distances(centred, centred.at[rows].get(mode="clip")))

        def swap(state: _Partition) -> _Partition:
            change = _swap_changes(state, columns, weights)
            change = jnp.where(is_allowed & ~jnp.isin(rows, state.medoids), change, jnp.inf)
            place, column = jnp.unravel_index(jnp.argmin(change), change.shape)
            is_legal = jnp.isfinite(change[place, column])
            return _swap(u, centred, cost, weights, covered, state, place, rows[column], is_legal)

        start = state._replace(is_improved=jnp.array(True))
        return jax.lax.while_loop(lambda state: state.is_improved, swap, start)

    def sweep(state: tuple[Array, Array, _Partition]) -> tuple[Array, Array, _Partition]:
        n_sweeps, _, before = state
        after = jax.lax.fori_loop(0, n_blocks, visit, before)
        return n_sweeps + 1, after.objective < before.objective, after

    start = _Partition(indices, pair, jnp.sum(weights * pair.first_cost), jnp.array(False))
    _, _, end = jax.lax.while_loop(
        lambda state: (state[0] < max_sweeps) & state[1], sweep, (jnp.zeros((), int), jnp.array(True), start)
    )
    return end.medoids


def _swap_changes(
    state: _Partition, columns: Float[Array, "n b"], weights: Float[Array, " n"]
) -> Float[Array, "k b"]:
    """Return the change of F when the candidate of each column replaces each medoid."""
    weight, first, second = weights[:, None], state.pair.first_cost[:, None], state.pair.second_cost[:, None]
    kept = jnp.minimum(columns, first)
    added = jnp.sum(weight * (kept - first), axis=0)
    removed = sum_by_label(
        weight * (jnp.minimum(columns, second) - kept), state.pair.first, len(state.medoids)
    )
    return added + removed


def _swap(
    u: Float[Array, "n q"],
    centred: Float[Array, "n q"],
    cost: Cost,
    weights: Float[Array, " n"],
    covered: Float[Array, " n"],
    state: _Partition,
    place: Int[Array, ""],
    candidate: Int[Array, ""],
    is_legal: Bool[Array, ""],
) -> _Partition:
    """Return the partition with the medoid at ``place`` replaced, or as it was when F does not fall.

    So too when the swap is not legal: no candidate was left to swap in.
    """
    first, first_cost, second, second_cost = state.pair
    medoids = state.medoids.at[place].set(candidate)
    column = cost(squared_differences(u[candidate][None], u)[0])
    is_first, is_second = column < first_cost, column < second_cost
    pair = _Pair(
        jnp.where(is_first, place, first),
        jnp.where(is_first, column, first_cost),
        jnp.where(is_first, first, jnp.where(is_second, place, second)),
        jnp.where(is_first, first_cost, jnp.where(is_second, column, second_cost)),
    )
    is_stale = (first == place) | (second == place)
    pair = _renew_pairs(centred, medoids, cost, covered, pair, is_stale)
    objective = jnp.sum(weights * pair.first_cost)
    is_improved = is_legal & (objective < state.objective * (1.0 - TIE))
    swapped = _Partition(medoids, pair, objective, is_improved)
    kept = state._replace(is_improved=is_improved)
    return jax.tree.map(lambda new, old: jnp.where(is_improved, new, old), swapped, kept)


def _renew_pairs(
    centred: Float[Array, "n q"],
    medoids: Int[Array, " k"],
    cost: Cost,
    covered: Float[Array, " n"],
    pair: _Pair,
    is_stale: Bool[Array, " n"],
) -> _Pair:
    """Return the pairs with the stale ones found anew among all medoids and the labelled rows."""
    rank = jnp.cumsum(is_stale)

    def visit(state: tuple[Array, _Pair]) -> tuple[Array, _Pair]:
        done, pair = state
        rows = nth_true(rank, done, TILE)
        targets = centred.at[rows].get(mode="clip")
        block = cost(exact_squared_distances(centred[medoids], targets))
        block = jnp.concatenate([block, covered.at[rows].get(mode="clip")[None]])
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
def _nearest_pair(
    u: Float[Array, "n q"],
    medoids: Int[Array, " k"],
    cost: Cost,
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
) -> _Pair:
    """Return the nearest and second-nearest medoid of every row."""
    place, far = jnp.full(len(u), len(medoids), jnp.int32), jnp.full(len(u), jnp.inf, u.dtype)
    unknown, is_stale = _Pair(place, far, place, far), jnp.ones(len(u), bool)
    return _renew_pairs(centred_rows(u, weights), medoids, cost, covered, unknown, is_stale)


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
