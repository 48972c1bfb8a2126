"""The one blockwise greedy of coverage.

Rows ``u_i`` are targets with weights ``v_i >= 0``; a set S covers them at

    F(S) = sum_i v_i min_{j in S} D_ij,    D_ij = cost(||u_i - u_j||^2),

which is Eq. (4) of the paper with one-hot coefficients, and k-medoids, and facility location. `greedy` adds
the row that lowers F most; `dual_jax.selection.swaps` swaps rows as long as F falls. D is formed in blocks
and never kept.

``cost`` is an element-wise, non-decreasing function with cost(0) = 0: `power_cost`, or for instance
``lambda s: 1 - jnp.exp(-s / 2)``. Give the same function object each time, for a new one compiles anew; a
number that varies travels in ``jax.tree_util.Partial(function, sigma=...)`` and does not.

With ``axis_name`` (under ``pmap`` or ``shard_map``) every device holds all rows and returns all picks; the
targets whose coverage changed are dealt out among the devices, and what travels is one number a row and pick.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.devices.collectives import device_index, n_devices, smallest, total
from dual_jax.numerics.arithmetic import exact_squared_distances, nth_true, squared_differences, squared_norms
from dual_jax.selection.protocol import TIE, Selection, first_best, pickable

Cost = Callable[[Array], Array]

TILE = 32  # gains are summed over tiles of this many rows, whatever the block size
SHORTLIST = 4  # candidates whose gains are evaluated exactly at a time
PAIRED = 4096  # candidates that are looked at for the first pair
MAX_TURNS = 20  # of a partner chosen anew


def power_cost(power: float | Float[Array, ""]) -> Cost:
    """Return the cost ``||u_i - u_j||^power``: one program for each float, one for all arrays."""
    if isinstance(power, jax.Array):
        return jax.tree_util.Partial(_to_the_power, power=power)
    return _fixed_power(float(power))


@functools.lru_cache  # the same object each time
def _fixed_power(power: float) -> Cost:
    return _two_roots if power == 0.5 else lambda squared: squared ** (power / 2)


def _to_the_power(squared: Array, power: Float[Array, ""]) -> Array:
    return jax.lax.cond(power == 0.5, _two_roots, lambda squared: squared ** (power / 2), squared)


def _two_roots(squared: Array) -> Array:  # a third of the time of a general power
    return jnp.sqrt(jnp.sqrt(squared))


def greedy(
    u: Float[Array, "n q"],
    n_select: int,
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
    shortlist: Int[Array, " m"] | None = None,
    pair_first: bool = False,
    block_size: int = TILE,
    axis_name: str | None = None,
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
        Rows that count as picked, and rows that may be picked; see `dual_jax.selection.protocol`.
    weights
        (n,) weights of the targets, 1 by default; 0 for padding.
    shortlist
        (m,) distinct positions outside of which nothing is picked: work and memory follow n * m instead of
        n * n. Where many rows may not be picked, this is what makes their number count.
    pair_first
        Choose the first two rows together where nothing is labelled, for the best single row lies between
        the groups of a pool and leaves its partner one of them: from the best row and its best partner on,
        each in turn is chosen anew beside the other as long as F falls. Among at most `PAIRED` candidates,
        drawn evenly. The first of the two lowers F more; with ``n_select`` of 1 it is not the best single
        row, so that picks stay nested.
    block_size
        Targets per block of D, static: memory is some m * block_size numbers. It does not change the picks.
    axis_name
        Axis of the devices that share the work.

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
    >>> from dual_jax.selection.coverage import greedy, power_cost
    >>> greedy(jnp.array([[0.0], [1.0], [2.0], [9.0]]), 2, power_cost(1.0)).indices.tolist()
    [1, 3]
    """
    u, is_open, labeled, weights = checked(u, labeled, candidates, weights)
    is_open = is_open if shortlist is None else is_open & _is_at(shortlist, len(u))
    _check_budget(n_select, is_open)
    cost, block_size = as_pytree(cost), _whole_tiles(block_size)
    shortlist = None if shortlist is None else jnp.sort(jnp.asarray(shortlist, jnp.int32))
    covered = labelled_cover(u, cost, labeled, weights, axis_name)
    opening = _first_pair(u, cost, is_open, covered, weights, axis_name) if pair_first else None
    return greedy_picks(
        u, cost, is_open, covered, weights, shortlist, opening, n_select, block_size, axis_name
    )


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
    >>> from dual_jax.selection.coverage import coverage, power_cost
    >>> coverage(jnp.array([[0.0], [1.0], [3.0]]), jnp.array([1, 2]), power_cost(1.0)).tolist()
    [3.0, 1.0]
    """
    u, _, labeled, weights = checked(u, labeled, None, weights)
    cost = as_pytree(cost)
    return _coverage(u, jnp.asarray(indices), cost, labelled_cover(u, cost, labeled, weights), weights)


def remaining_gains(
    u: Float[Array, "n q"],
    indices: Int[Array, " k"],
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
    axis_name: str | None = None,
) -> Float[Array, " n"]:
    """Return by how much each row alone would lower F below that of the picks; 0 for the picks.

    Parameters are those of `coverage`; one pass over the distances to all targets of positive weight.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.coverage import power_cost, remaining_gains
    >>> u = jnp.array([[0.0], [1.0], [4.0]])
    >>> remaining_gains(u, jnp.array([0]), power_cost(1.0)).tolist()
    [0.0, 2.0, 4.0]
    """
    u, is_open, labeled, weights = checked(u, labeled, None, weights)
    is_chosen = _is_at(jnp.asarray(indices), len(u)) | ~is_open
    return _remaining_gains(u, as_pytree(cost), is_chosen, weights, axis_name)


@functools.partial(jax.jit, static_argnames="axis_name")
def _remaining_gains(
    u: Float[Array, "n q"],
    cost: Cost,
    is_chosen: Bool[Array, " n"],
    weights: Float[Array, " n"],
    axis_name: str | None,
) -> Float[Array, " n"]:
    centred, covered = centred_rows(u, weights), _cover(u, cost, is_chosen, weights, axis_name)
    unknown = jnp.full_like(covered, jnp.inf)
    now = _Progress(jnp.zeros_like(covered), unknown, covered, ~is_chosen)
    return _update_gains(centred, centred, cost, weights, now, TILE, axis_name)


class _Progress(NamedTuple):
    """What one pick leaves for the next."""

    gains: Float[Array, " m"]  # of the short list, nearly exact, as of coverage `counted`
    counted: Float[Array, " n"]  # the coverage that `gains` know of
    covered: Float[Array, " n"]  # min_{j in S} D_ij, exact; infinite when S is empty
    is_open: Bool[Array, " n"]


@functools.partial(jax.jit, static_argnames=("n_select", "block_size", "axis_name"))
def greedy_picks(
    u: Float[Array, "n q"],
    cost: Cost,
    is_open: Bool[Array, " n"],
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
    shortlist: Int[Array, " m"] | None,
    opening: Int[Array, " 2"] | None,
    n_select: int,
    block_size: int,
    axis_name: str | None,
) -> Selection:
    """Return the greedy picks; every argument is checked, and the short list in order.

    The picks begin with ``opening`` where that is given and not negative.
    """
    centred = centred_rows(u, weights)
    places = jnp.arange(len(u)) if shortlist is None else shortlist
    atoms = centred if shortlist is None else centred[shortlist]
    ceiling = cost(4.0 * jnp.max(jnp.where(is_open | (weights > 0), squared_norms(centred), 0.0)))

    def choose(now: _Progress) -> tuple[Array, Array, Array]:
        gains = _update_gains(atoms, centred, cost, weights, now, block_size, axis_name)
        gains, best = _best_gain(u, places, cost, weights, gains, now.covered, now.is_open[places])
        return gains, now.covered, best.astype(jnp.int32)

    def pick(now: _Progress, given: Array) -> tuple[_Progress, tuple[Array, Array]]:
        gains, counted, best = jax.lax.cond(
            given < 0, choose, lambda now: (now.gains, now.counted, given), now
        )
        # The compiler may form u twice, with another rounding: the row itself is at 0 all the same.
        squared = squared_differences(u[best][None], u)[0].at[best].set(0.0)
        best = jnp.argmax(now.is_open & (squared == 0))  # the lowest of equal rows
        column = cost(squared)
        before = jnp.where(jnp.isinf(now.covered), ceiling, now.covered)
        gain = jnp.sum(weights * _saved(before, column))
        covered = jnp.minimum(now.covered, column)
        then = _Progress(gains, counted, covered, now.is_open.at[best].set(False))
        return then, (best.astype(jnp.int32), gain)

    given = jnp.full(n_select, -1, jnp.int32)
    given = given if opening is None else given.at[jnp.arange(2)].set(opening, mode="drop")
    start = _Progress(jnp.zeros(len(places), u.dtype), jnp.zeros(len(u), u.dtype), covered, is_open)
    return Selection(*jax.lax.scan(pick, start, given)[1])


@functools.partial(jax.jit, static_argnames="axis_name")
def _first_pair(
    u: Float[Array, "n q"],
    cost: Cost,
    is_open: Bool[Array, " n"],
    covered: Float[Array, " n"],
    weights: Float[Array, " n"],
    axis_name: str | None,
) -> Int[Array, " 2"]:
    """Return two rows that cover the pool together; (-1, -1) where rows are labelled or no pair gains."""
    none = jnp.full(2, -1, jnp.int32)
    is_free = (jnp.sum(is_open) >= 2) & jnp.all(jnp.isinf(covered))
    places, centred = _drawn_evenly(is_open, min(len(u), PAIRED)), centred_rows(u, weights)

    def partner(covered: Array, is_open: Array) -> Array:
        now = _Progress(jnp.zeros(len(places), u.dtype), jnp.zeros(len(u), u.dtype), covered, is_open)
        gains = _update_gains(centred[places], centred, cost, weights, now, TILE, axis_name)
        return _best_gain(u, places, cost, weights, gains, covered, is_open[places])[1].astype(jnp.int32)

    def column(row: Array) -> Array:
        return cost(squared_differences(u[row][None], u)[0].at[row].set(0.0))

    def turn(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        rows, least, turns, _ = state  # the second row stays, and is joined by its best partner
        kept = jnp.where(rows[1] < 0, covered, column(rows[1]))
        found = partner(kept, is_open & (jnp.arange(len(u)) != rows[1]))
        cover = jnp.sum(weights * jnp.minimum(kept, column(found)))
        is_better = cover < least * (1 - TIE)
        rows = jnp.where(is_better, jnp.stack([rows[1], found]), rows)
        return rows, jnp.minimum(cover, least), turns + 1, is_better

    def is_going_on(state: tuple[Array, ...]) -> Array:
        # Turns are counted here and not in the flag: on a flag alone the TPU's compiler (0.0.42) aborts.
        return state[-1] & (state[-2] < MAX_TURNS)

    start = (none, jnp.asarray(jnp.inf, u.dtype), jnp.asarray(0), is_free)
    rows = jax.lax.while_loop(is_going_on, turn, start)[0]
    alone = jax.vmap(lambda row: jnp.sum(weights * column(row)))(rows)
    return jnp.where(rows[0] < 0, none, rows[jnp.argsort(alone)])


def _drawn_evenly(is_open: Bool[Array, " n"], size: int) -> Int[Array, " size"]:
    """Return open positions from all over, ascending; where fewer are open, the last again and again."""
    n_open, ranks = jnp.sum(is_open), jnp.arange(size)
    steps = ((ranks + 0.5) * (n_open / size)).astype(jnp.int32)
    ranks = jnp.minimum(jnp.where(n_open > size, steps, ranks), n_open - 1)
    return jnp.searchsorted(jnp.cumsum(is_open), ranks + 1).astype(jnp.int32)


def _saved(covered: Float[Array, "..."], column: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return what a target at ``covered`` gains from a candidate at ``column``; minus that if uncovered."""
    return jnp.where(jnp.isinf(covered), 0.0, covered) - jnp.minimum(covered, column)


def _update_gains(
    atoms: Float[Array, "m q"],
    centred: Float[Array, "n q"],
    cost: Cost,
    weights: Float[Array, " n"],
    now: _Progress,
    block_size: int,
    axis_name: str | None,
) -> Float[Array, " m"]:
    """Return the gains of all atoms as of ``now.covered``, visiting the targets whose coverage changed.

    When most have changed the gains are summed anew, which costs no more and forgets old rounding errors.
    """
    gains, old, new = now.gains, now.counted, now.covered
    is_most = 2 * jnp.sum((old != new) & (weights > 0)) > jnp.sum(weights > 0)
    gains, old = jax.tree.map(lambda kept: jnp.where(is_most, 0.0, kept), (gains, old))
    rank = jnp.cumsum(_own_share((old != new) & (weights > 0), axis_name))

    def visit(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, change = state
        rows = nth_true(rank, done, block_size)
        targets, before, after, weight = (
            values.at[rows].get(mode="fill", fill_value=0) for values in (centred, old, new, weights)
        )
        block = cost(exact_squared_distances(atoms, targets))
        lost = weight * (_saved(before, block) - _saved(after, block))
        for part in lost.reshape(len(change), -1, TILE).sum(axis=-1).T:
            change = change - part
        return done + block_size, change

    start = (jnp.zeros((), rank.dtype), jnp.zeros_like(gains))
    change = jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, start)[1]
    return jnp.where(jnp.any((weights > 0) & (new > 0)), gains + total(change, axis_name), 0.0)


def _own_share(mask: Bool[Array, " n"], axis_name: str | None) -> Bool[Array, " n"]:
    """Return the true positions that are this device's to visit: dealt out one by one."""
    return mask & (jnp.arange(len(mask)) % n_devices(axis_name) == device_index(axis_name))


def _is_at(places: Int[Array, " m"], n: int) -> Bool[Array, " n"]:
    """Return the positions as a mask."""
    return jnp.zeros(n, bool).at[places].set(True)


def _best_gain(
    u: Float[Array, "n q"],
    places: Int[Array, " m"],
    cost: Cost,
    weights: Float[Array, " n"],
    gains: Float[Array, " m"],
    covered: Float[Array, " n"],
    is_open: Bool[Array, " m"],
) -> tuple[Float[Array, " m"], Int[Array, ""]]:
    """Return the gains with those of the leaders made exact, and the position of the best in the pool.

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
        blocks = cost(squared_differences(u[places[short]], u))
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
    return gains, places[best]


def labelled_cover(
    u: Float[Array, "n q"],
    cost: Cost,
    labeled: Bool[Array, " n"] | None,
    weights: Float[Array, " n"],
    axis_name: str | None = None,
) -> Float[Array, " n"]:
    """Return what each row costs to the labelled rows, infinite when there is none."""
    if labeled is None:
        return jnp.full(len(u), jnp.inf, u.dtype)
    return _cover(u, cost, labeled, weights, axis_name)


@functools.partial(jax.jit, static_argnames="axis_name")
def _cover(
    u: Float[Array, "n q"],
    cost: Cost,
    is_chosen: Bool[Array, " n"],
    weights: Float[Array, " n"],
    axis_name: str | None,
) -> Float[Array, " n"]:
    """Return ``min_j D_ij`` over the chosen rows."""
    centred = centred_rows(u, weights)
    rank = jnp.cumsum(_own_share(is_chosen, axis_name))

    def visit(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, covered = state
        rows = nth_true(rank, done, TILE)
        block = cost(exact_squared_distances(centred, centred.at[rows].get(mode="clip")))
        closest = jnp.min(block, axis=1, where=rows < len(u), initial=jnp.inf)
        return done + TILE, jnp.minimum(covered, closest)

    start = (jnp.zeros((), rank.dtype), jnp.full(len(u), jnp.inf, u.dtype))
    return smallest(jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, start)[1], axis_name)


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


def centred_rows(u: Float[Array, "n q"], weights: Float[Array, " n"]) -> Float[Array, "n q"]:
    """Return the rows around the mean of those that count, for small norms and so small rounding errors."""
    is_target = weights > 0
    return u - jnp.mean(u, axis=0, where=is_target[:, None])


def as_pytree(cost: Cost) -> Cost:
    """Return the cost as a pytree whose bound numbers are leaves and whose function is static."""
    return cost if isinstance(cost, jax.tree_util.Partial) else jax.tree_util.Partial(cost)


def _whole_tiles(block_size: int) -> int:
    """Return the block size rounded up to whole tiles."""
    return -(-block_size // TILE) * TILE


def checked(
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
