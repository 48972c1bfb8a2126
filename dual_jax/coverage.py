"""The one blockwise greedy of coverage, and its swaps at a fixed budget.

Rows ``u_i`` are targets with weights ``v_i >= 0``; a set S covers them at

    F(S) = sum_i v_i min_{j in S} D_ij,    D_ij = cost(||u_i - u_j||^2),

which is Eq. (4) of the paper with one-hot coefficients, and k-medoids, and facility location. `greedy` adds
the row that lowers F most, `refine` swaps rows as long as F falls. D is formed in blocks and never kept.

``cost`` is an element-wise, non-decreasing function with cost(0) = 0: `power_cost`, or for instance
``lambda s: 1 - jnp.exp(-s / 2)``. Give the same function object each time, for a new one compiles anew; a
number that varies travels in ``jax.tree_util.Partial(function, sigma=...)`` and does not.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics import exact_squared_distances, nth_true, squared_differences, squared_norms
from dual_jax.selection import TIE, Selection, first_best, pickable

Cost = Callable[[Array], Array]

TILE = 32  # gains are summed over tiles of this many rows, whatever the block size
SHORTLIST = 4  # candidates whose gains are evaluated exactly at a time


@functools.lru_cache
def power_cost(power: float) -> Cost:
    """Return the cost ``||u_i - u_j||^power``; two calls with one power return the same object."""
    if power == 0.5:  # two roots take a fifth of the time of a general power
        return lambda squared: jnp.sqrt(jnp.sqrt(squared))
    return lambda squared: squared ** (power / 2)


def greedy(
    u: Float[Array, "n q"],
    n_select: int,
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
    block_size: int = TILE,
) -> Selection:
    """Return the rows that greedily lower F, best first, each with its gain ``F(S) - F(S + j)``.

    Nested: a larger ``n_select`` continues the same order. Ties within 1e-6 relative go to the lowest
    position, and so do equal rows. Labelled rows are in S from the start. Without them the first pick
    minimises F({j}), and its score is counted from a pool where every target costs as much as the diameter
    of the ball around the mean row that holds all rows.

    The gains of all rows are kept up to date from the rows whose coverage changed, about n^2 log(n_select)
    distances in all; a pick is made among gains that were evaluated anew from exact distances. Once all is
    covered the remaining picks are the open rows in order, with score 0.

    Parameters
    ----------
    u
        (n, q) float32 features; D is as meaningful as their scale.
    n_select
        Number of picks, static, at most the number of open rows.
    cost
        Of the squared distance; see the top of this file.
    labeled, candidates
        Rows that count as picked, and rows that may be picked; see `dual_jax.selection`.
    weights
        (n,) weights of the targets, 1 by default; 0 for padding.
    block_size
        Rows per block of D, static: memory is some n * block_size numbers. It does not change the picks.

    Returns
    -------
    Selection
        Positions in ``u`` and gains, in pick order.

    Raises
    ------
    ValueError
        When ``n_select`` exceeds the open rows (inside an outer ``jit`` the masks are not known and this is
        the caller's care), a shape is wrong or a weight negative.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.coverage import greedy, power_cost
    >>> greedy(jnp.array([[0.0], [1.0], [2.0], [9.0]]), 2, power_cost(1.0)).indices.tolist()
    [1, 3]
    """
    u, is_open, labeled, weights = _checked(u, labeled, candidates, weights)
    _check_budget(n_select, is_open)
    cost, block_size = _as_pytree(cost), _whole_tiles(block_size)
    covered = _labelled_cover(u, cost, labeled, weights)
    return _greedy(u, cost, is_open, covered, weights, n_select, block_size)


def refine(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
    max_sweeps: int = 10,
    block_size: int = 64,
) -> Selection:
    """Return the picks after k-medoids swaps that lower F, in the order in which `greedy` adds them.

    Replacing medoid m by candidate c changes F by

        sum_i v_i [min(D_ic, d1_i) - d1_i] + sum_{i: nearest is m} v_i [min(D_ic, d2_i) - min(D_ic, d1_i)],

    d1 and d2 being the distances to the nearest and second-nearest medoid: one column of D gives the change
    for every m. Source: Schubert & Rousseeuw, Information Systems 2021 (FasterPAM). Candidates come in
    blocks; the best swap of a block is made at once, until the block holds none. A swap that does not lower
    F, summed anew, is taken back. The result is not nested. Labelled rows are medoids that stay.

    Parameters
    ----------
    u, cost, labeled, candidates, weights
        As in `greedy`.
    indices
        (k,) distinct positions to start from, usually those of `greedy`.
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
    >>> from dual_jax.coverage import power_cost, refine
    >>> u = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
    >>> refine(u, jnp.array([0, 1]), power_cost(1.0)).indices.tolist()
    [1, 4]
    """
    u, is_open, labeled, weights = _checked(u, labeled, candidates, weights)
    indices = jnp.asarray(indices, jnp.int32)
    _check_start(indices, pickable(len(u), labeled))
    cost = _as_pytree(cost)
    covered = _labelled_cover(u, cost, labeled, weights)
    pair = _nearest_pair(u, indices, cost, covered, weights)
    medoids = _refine(u, indices, pair, cost, is_open, covered, weights, max_sweeps, block_size)
    is_medoid = jnp.zeros(len(u), bool).at[medoids].set(True)
    return _greedy(u, cost, is_medoid, covered, weights, len(indices), TILE)


def coverage(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, " k"]:
    """Return F after each pick: a curve that needs no labels; lower is better.

    Parameters
    ----------
    u, cost, labeled, weights
        As in `greedy`.
    indices
        (k,) positions in pick order.

    Returns
    -------
    Array
        (k,) F of the first 1, ..., k picks and the labelled rows.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.coverage import coverage, power_cost
    >>> coverage(jnp.array([[0.0], [1.0], [3.0]]), jnp.array([1, 2]), power_cost(1.0)).tolist()
    [3.0, 1.0]
    """
    u, _, labeled, weights = _checked(u, labeled, None, weights)
    cost = _as_pytree(cost)
    return _coverage(u, jnp.asarray(indices), cost, _labelled_cover(u, cost, labeled, weights), weights)


def nearest(
    u: Float[Array, "n q"], indices: Int[Array, " k"], cost: Cost
) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Return for each row which pick covers it (a place in ``indices``, the first of equals), and D there.

    Parameters are those of `coverage`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.coverage import nearest, power_cost
    >>> place, distance = nearest(jnp.array([[0.0], [1.0], [4.0]]), jnp.array([2, 0]), power_cost(1.0))
    >>> place.tolist(), distance.tolist()
    ([1, 1, 0], [0.0, 1.0, 0.0])
    """
    u, _, _, weights = _checked(u, None, None, None)
    cost = _as_pytree(cost)
    uncovered = _labelled_cover(u, cost, None, weights)
    pair = _nearest_pair(u, jnp.asarray(indices), cost, uncovered, weights)
    return pair.first, pair.first_cost


def remaining_gains(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, " n"]:
    """Return by how much each row alone would lower F below that of the picks; 0 for the picks.

    Parameters are those of `coverage`; one pass over all distances.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.coverage import power_cost, remaining_gains
    >>> u = jnp.array([[0.0], [1.0], [4.0]])
    >>> remaining_gains(u, jnp.array([0]), power_cost(1.0)).tolist()
    [0.0, 2.0, 4.0]
    """
    u, is_open, labeled, weights = _checked(u, labeled, None, weights)
    cost = _as_pytree(cost)
    covered = _labelled_cover(u, cost, labeled, weights)
    return _remaining_gains(u, jnp.asarray(indices), cost, covered, weights, is_open)


@jax.jit
def _remaining_gains(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
    is_open: Bool[Array, " n"],
) -> Float[Array, " n"]:
    covered = jnp.minimum(covered, _nearest_pair(u, indices, cost, covered, weights).first_cost)
    unknown = jnp.full_like(covered, jnp.inf)
    now = _Progress(jnp.zeros_like(covered), unknown, covered, is_open)
    return _update_gains(_centred(u, weights), cost, weights, now, TILE)


class _Progress(NamedTuple):
    """What one pick leaves for the next."""

    gains: Float[Array, " n"]  # nearly exact, as of coverage `counted`
    counted: Float[Array, " n"]  # the coverage that `gains` know of
    covered: Float[Array, " n"]  # min_{j in S} D_ij, exact; infinite when S is empty
    is_open: Bool[Array, " n"]


@functools.partial(jax.jit, static_argnames=("n_select", "block_size"))
def _greedy(
    u: Float[Array, "n q"],
    cost: Cost,
    is_open: Bool[Array, " n"],
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
    n_select: int,
    block_size: int,
) -> Selection:
    """Return the greedy picks; every argument is checked."""
    centred = _centred(u, weights)
    ceiling = cost(4.0 * jnp.max(jnp.where(is_open | (weights > 0), squared_norms(centred), 0.0)))

    def pick(now: _Progress, _: None) -> tuple[_Progress, tuple[Array, Array]]:
        gains = _update_gains(centred, cost, weights, now, block_size)
        gains, best = _best_gain(u, cost, weights, gains, now.covered, now.is_open)
        squared = squared_differences(u[best][None], u)[0]
        best = jnp.argmax(now.is_open & (squared == 0))  # the lowest of equal rows
        column = cost(squared)
        before = jnp.where(jnp.isinf(now.covered), ceiling, now.covered)
        gain = jnp.sum(weights * _saved(before, column))
        covered = jnp.minimum(now.covered, column)
        then = _Progress(gains, now.covered, covered, now.is_open.at[best].set(False))
        return then, (best.astype(jnp.int32), gain)

    nothing = jnp.zeros(len(u), u.dtype)
    start = _Progress(nothing, nothing, covered, is_open)
    return Selection(*jax.lax.scan(pick, start, length=n_select)[1])


def _saved(covered: Float[Array, "..."], column: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return what a target at ``covered`` gains from a candidate at ``column``; minus that if uncovered."""
    return jnp.where(jnp.isinf(covered), 0.0, covered) - jnp.minimum(covered, column)


def _update_gains(
    centred: Float[Array, "n q"], cost: Cost, weights: Float[Array, " n"], now: _Progress, block_size: int
) -> Float[Array, " n"]:
    """Return the gains of all rows as of ``now.covered``, visiting the targets whose coverage changed.

    When most have changed the gains are summed anew, which costs no more and forgets old rounding errors.
    """
    gains, old, new = now.gains, now.counted, now.covered
    is_most = 2 * jnp.sum((old != new) & (weights > 0)) > jnp.sum(weights > 0)
    gains, old = jax.tree.map(lambda kept: jnp.where(is_most, 0.0, kept), (gains, old))
    rank = jnp.cumsum((old != new) & (weights > 0))

    def visit(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, gains = state
        rows = nth_true(rank, done, block_size)
        targets, before, after, weight = (
            values.at[rows].get(mode="fill", fill_value=0) for values in (centred, old, new, weights)
        )
        block = cost(exact_squared_distances(centred, targets))
        lost = weight * (_saved(before, block) - _saved(after, block))
        for part in lost.reshape(len(gains), -1, TILE).sum(axis=-1).T:
            gains = gains - part
        return done + block_size, gains

    done = jnp.zeros((), rank.dtype)
    gains = jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, (done, gains))[1]
    return jnp.where(jnp.any((weights > 0) & (new > 0)), gains, 0.0)


def _best_gain(
    u: Float[Array, "n q"],
    cost: Cost,
    weights: Float[Array, " n"],
    gains: Float[Array, " n"],
    covered: Float[Array, " n"],
    is_open: Bool[Array, " n"],
) -> tuple[Float[Array, " n"], Int[Array, ""]]:
    """Return the gains with those of the leaders made exact, and the position of the best.

    Lists of the largest gains are evaluated from scratch until no other row can reach the best: twice the
    largest error that the lists have shown is what the others are given in addition.
    """
    position = jnp.arange(len(gains))
    n_short = min(SHORTLIST, len(gains))

    def evaluate(state: tuple[Array, ...]) -> tuple[Array, ...]:
        gains, is_exact, slack, _, _ = state
        waiting = jnp.where(is_open & ~is_exact, gains, -jnp.inf)
        leader = jnp.max(waiting)
        # Ties with the leader go to the front, so that top_k takes them by position.
        key = jnp.where(waiting >= leader - TIE * jnp.abs(leader), jnp.inf, waiting)
        short = jax.lax.top_k(key, n_short)[1]
        blocks = cost(squared_differences(u[short], u))
        exact = jnp.sum(weights * _saved(covered, blocks), axis=-1)
        slack = jnp.maximum(slack, 2.0 * jnp.max(jnp.abs(exact - gains[short])))
        gains, is_exact = gains.at[short].set(exact), is_exact.at[short].set(True)
        best = first_best(gains, is_open & is_exact)
        top = jnp.max(gains, where=is_open & is_exact, initial=-jnp.inf)
        tie = TIE * jnp.abs(top)
        bound = gains + slack
        is_rival = (bound > top + tie) | ((bound >= top - tie) & (position < best))
        return gains, is_exact, slack, best, jnp.any(is_rival & is_open & ~is_exact)

    slack, best = jnp.zeros((), gains.dtype), jnp.zeros((), position.dtype)
    start: tuple[Array, ...] = (gains, ~is_open, slack, best, jnp.array(True))
    gains, _, _, best, _ = jax.lax.while_loop(lambda state: state[-1], evaluate, start)
    return gains, best


def _labelled_cover(
    u: Float[Array, "n q"], cost: Cost, labeled: Bool[Array, " n"] | None, weights: Float[Array, " n"]
) -> Float[Array, " n"]:
    """Return what each row costs to the labelled rows, infinite when there is none."""
    if labeled is None:
        return jnp.full(len(u), jnp.inf, u.dtype)
    return _cover(u, cost, labeled, weights)


@jax.jit
def _cover(
    u: Float[Array, "n q"], cost: Cost, is_chosen: Bool[Array, " n"], weights: Float[Array, " n"]
) -> Float[Array, " n"]:
    """Return ``min_j D_ij`` over the chosen rows."""
    centred = _centred(u, weights)
    rank = jnp.cumsum(is_chosen)

    def visit(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, covered = state
        rows = nth_true(rank, done, TILE)
        block = cost(exact_squared_distances(centred, centred.at[rows].get(mode="clip")))
        closest = jnp.min(block, axis=1, where=rows < len(u), initial=jnp.inf)
        return done + TILE, jnp.minimum(covered, closest)

    start = (jnp.zeros((), rank.dtype), jnp.full(len(u), jnp.inf, u.dtype))
    return jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, start)[1]


@jax.jit
def _coverage(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
) -> Float[Array, " k"]:
    """Return F after each pick; every argument is checked."""

    def add(covered: Array, index: Array) -> tuple[Array, Array]:
        covered = jnp.minimum(covered, cost(squared_differences(u[index][None], u)[0]))
        return covered, jnp.sum(weights * covered)

    return jax.lax.scan(add, covered, indices)[1]


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
    centred = _centred(u, weights)
    n_blocks = -(-len(u) // block_size)

    def visit(block: Array, state: _Partition) -> _Partition:
        rows = block * block_size + jnp.arange(block_size)
        columns = cost(exact_squared_distances(centred, centred.at[rows].get(mode="clip")))
        is_allowed = is_open.at[rows].get(mode="fill", fill_value=False)

        def swap(state: _Partition) -> _Partition:
            change = _swap_changes(state, columns, weights)
            change = jnp.where(is_allowed & ~jnp.isin(rows, state.medoids), change, jnp.inf)
            place, column = jnp.unravel_index(jnp.argmin(change), change.shape)
            return _swap(u, centred, cost, weights, covered, state, place, rows[column])

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
    n_medoids = len(state.medoids)
    removed = jax.ops.segment_sum(
        weight * (jnp.minimum(columns, second) - kept), state.pair.first, num_segments=n_medoids + 1
    )
    return added + removed[:n_medoids]


def _swap(
    u: Float[Array, "n q"],
    centred: Float[Array, "n q"],
    cost: Cost,
    weights: Float[Array, " n"],
    covered: Float[Array, " n"],
    state: _Partition,
    place: Int[Array, ""],
    candidate: Int[Array, ""],
) -> _Partition:
    """Return the partition with the medoid at ``place`` replaced, or as it was when F does not fall."""
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
    is_improved = objective < state.objective * (1.0 - TIE)
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
    return _renew_pairs(_centred(u, weights), medoids, cost, covered, unknown, is_stale)


def _centred(u: Float[Array, "n q"], weights: Float[Array, " n"]) -> Float[Array, "n q"]:
    """Return the rows around the mean of those that count, for small norms and so small rounding errors."""
    is_target = weights > 0
    return u - jnp.mean(u, axis=0, where=is_target[:, None])


def _as_pytree(cost: Cost) -> Cost:
    """Return the cost as a pytree whose bound numbers are leaves and whose function is static."""
    return cost if isinstance(cost, jax.tree_util.Partial) else jax.tree_util.Partial(cost)


def _whole_tiles(block_size: int) -> int:
    """Return the block size rounded up to whole tiles."""
    return -(-block_size // TILE) * TILE


def _checked(
    u: Array, labeled: Array | None, candidates: Array | None, weights: Array | None
) -> tuple[Array, Array, Array | None, Array]:
    """Return the features, what may be picked, what is labelled and the weights, of the right shapes."""
    u = jnp.asarray(u, jnp.float32)
    if u.ndim != 2 or len(u) == 0:
        raise ValueError(f"u has shape {u.shape}, wanted (n, q) with n >= 1; one row per sample")
    for name, value in (("labeled", labeled), ("candidates", candidates), ("weights", weights)):
        if value is not None and jnp.shape(value) != (len(u),):
            raise ValueError(
                f"{name} has shape {jnp.shape(value)}, wanted ({len(u)},): one entry per row of u"
            )
    labeled = None if labeled is None else jnp.asarray(labeled, bool)
    weights = jnp.ones(len(u), u.dtype) if weights is None else jnp.asarray(weights, u.dtype)
    if not isinstance(weights, jax.core.Tracer) and not (weights.min() >= 0 and weights.max() > 0):
        raise ValueError(f"weights go from {weights.min()} to {weights.max()}, wanted >= 0 and one above 0")
    return u, pickable(len(u), labeled, candidates), labeled, weights


def _check_budget(n_select: int, is_open: Array) -> None:
    """Raise when more rows are wanted than may be picked."""
    n_open = len(is_open) if isinstance(is_open, jax.core.Tracer) else int(is_open.sum())
    if not 1 <= n_select <= n_open:
        raise ValueError(f"n_select is {n_select}, wanted 1 to {n_open}: that many rows may be picked")


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
