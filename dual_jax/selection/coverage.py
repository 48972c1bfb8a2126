"""The blockwise greedy that covers a pool, and the objective after each pick.

`greedy` adds the row that lowers F of a `dual_jax.selection.cover.Cover` most; `dual_jax.selection.swaps`
exchanges rows as long as F falls.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.draws import even_rows
from dual_jax.selection.cover import TILE, Cover, least_cost, mask_of
from dual_jax.selection.gains import (
    Progress,
    best_gain,
    ceiling_cost,
    saved,
    start_progress,
    update_gains,
)
from dual_jax.selection.limits import Limits, Used, close
from dual_jax.selection.protocol import TIE, Selection
from dual_jax.selection.walks import NONE_LEFT

PAIRED = 4096  # candidates for the first pair
MAX_TURNS = 20  # in which one of the first pair is chosen again


def greedy(cover: Cover, n_select: int, *, pair_first: bool = False, block_size: int = TILE) -> Selection:
    """Return the rows that greedily lower F, best first, each with its gain ``F(S) - F(S + j)``.

    Nested: a larger ``n_select`` continues the same order. Ties within 1e-6 relative go to the lowest
    position, and so do equal rows. Labelled rows are in S from the start. Without them the first pick
    minimises F({j}), and its score is counted from a pool where every target costs as much as the diameter
    of the ball around the mean row that holds all rows.

    The gains of all rows are kept up to date from the rows whose coverage changed, about n^2 log(n_select)
    distances in all; a pick is made among gains that were evaluated again from exact distances. Once all is
    covered the remaining picks are the open rows in order, with score 0.

    Parameters
    ----------
    cover
        The problem, from `dual_jax.selection.cover.build_cover`.
    n_select
        Number of picks, static, at most the number of open rows.
    pair_first
        Choose the first two rows together where nothing is labelled. The best single row is between the
        groups of a pool, and a partner can then cover only one of them. Starting with the best row and its
        best partner, each in turn is replaced by the best partner of the other as long as F falls, among at
        most `PAIRED` evenly spaced candidates. The one that lowers F more comes first. With ``n_select`` of
        1 it need not be the best single row, so that picks are nested.
    block_size
        Targets per block of D, static: memory is some m * block_size numbers. It does not change the picks.

    Returns
    -------
    Selection
        Positions in the pool and gains, in pick order. With limits on the cover, -1 for the picks that they
        leave none for.

    Raises
    ------
    ValueError
        When ``n_select`` exceeds the open rows (inside an outer ``jit`` the masks are not known and this is
        the caller's care).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.cover import build_cover, power_cost
    >>> greedy(build_cover(jnp.array([[0.0], [1.0], [2.0], [9.0]]), power_cost(1.0)), 2).indices.tolist()
    [1, 3]
    """
    if cover.limits is None:  # limits may leave fewer
        _check_budget(n_select, cover.is_open)
    opening = _first_pair(cover) if pair_first else None
    block_size = -(-block_size // TILE) * TILE
    if cover.limits is not None and cover.used is not None and cover.limits.costs is not None:
        return _best_within_cost(cover, cover.limits, cover.used, opening, n_select, block_size)
    return greedy_picks(cover, opening, n_select, block_size)


@jax.jit
def coverage(cover: Cover, indices: Int[Array, " k"]) -> Float[Array, " k"]:
    """Return F after each pick: a curve that needs no labels; lower is better.

    Parameters
    ----------
    cover
        The problem; what may be picked has no effect.
    indices
        (k,) positions in pick order.

    Returns
    -------
    Array
        (k,) F of the first 1, ..., k picks and the labelled rows.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.cover import build_cover, power_cost
    >>> cover = build_cover(jnp.array([[0.0], [1.0], [3.0]]), power_cost(1.0))
    >>> coverage(cover, jnp.array([1, 2])).tolist()
    [3.0, 1.0]
    """

    def add(covered: Array, index: Array) -> tuple[Array, Array]:
        covered = jnp.minimum(covered, cover.column(index))
        return covered, cover.value(covered)

    return jax.lax.scan(add, cover.labelled_cost, indices)[1]


@jax.jit
def remaining_gains(cover: Cover, indices: Int[Array, " k"]) -> Float[Array, " n"]:
    """Return by how much each row alone would lower F below that of the picks; 0 for the picks.

    One pass over the distances to all targets of positive weight; parameters are those of `coverage`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.cover import build_cover, power_cost
    >>> cover = build_cover(jnp.array([[0.0], [1.0], [4.0]]), power_cost(1.0))
    >>> remaining_gains(cover, jnp.array([0])).tolist()
    [0.0, 2.0, 4.0]
    """
    is_chosen = mask_of(indices, len(cover.u)) | cover.is_labeled
    now = start_progress(cover, len(cover.u), least_cost(cover, is_chosen))
    return update_gains(cover, cover.centred, now._replace(counted=jnp.full_like(now.counted, jnp.inf)))


@functools.partial(jax.jit, static_argnames=("n_select", "block_size"))
def greedy_picks(
    cover: Cover,
    opening: Int[Array, " 2"] | None,
    n_select: int,
    block_size: int,
    tiers: Int[Array, " n"] | None = None,
) -> Selection:
    """Return the greedy picks; they begin with ``opening`` where that is given and not negative.

    ``block_size`` is a multiple of `TILE`. With ``tiers`` open rows of a lower tier are picked before all
    others.
    """
    places = jnp.arange(len(cover.u)) if cover.shortlist is None else cover.shortlist
    atoms = cover.centred if cover.shortlist is None else cover.centred[places]
    ceiling = ceiling_cost(cover)

    def turn(is_open: Array) -> Array:
        """Return the open rows whose turn it is."""
        if tiers is None:
            return is_open
        return is_open & (tiers == jnp.min(tiers, where=is_open, initial=len(cover.u) + 1))

    def choose(now: Progress) -> tuple[Array, Array, Array]:
        gains = update_gains(cover, atoms, now, block_size)
        gains, best = best_gain(cover, places, now._replace(gains=gains, is_open=turn(now.is_open)))
        return gains, now.covered, best

    def pick(now: Progress, given: Array) -> tuple[Progress, tuple[Array, Array]]:
        if cover.limits is not None:
            given = jnp.where(now.is_open[given], given, -1)
        gains, counted, best = jax.lax.cond(
            given < 0, choose, lambda now: (now.gains, now.counted, given), now
        )
        squared = cover.squared(best)
        is_equal = turn(now.is_open) & _is_equal(cover, best, squared)
        best = jnp.argmax(is_equal)  # the lowest of equal rows
        column = cover.cost(squared)
        before = jnp.where(jnp.isinf(now.covered), ceiling, now.covered)
        gain = cover.value(saved(before, column))
        covered = jnp.minimum(now.covered, column)
        mean = None if cover.limits is None else cover.mean(covered)
        is_open, used = close(cover.limits, now.used, now.is_open, best, squared, mean)
        return Progress(gains, counted, covered, is_open, used), (best.astype(jnp.int32), gain)

    def pick_if_any(now: Progress, given: Array) -> tuple[Progress, tuple[Array, Array]]:
        none = (jnp.asarray(NONE_LEFT, jnp.int32), jnp.zeros((), cover.u.dtype))
        return jax.lax.cond(jnp.any(now.is_open), pick, lambda now, _: (now, none), now, given)

    given = jnp.full(n_select, -1, jnp.int32)
    given = given if opening is None else given.at[jnp.arange(2)].set(opening, mode="drop")
    start = start_progress(cover, len(places), cover.labelled_cost)
    return Selection(*jax.lax.scan(pick if cover.limits is None else pick_if_any, start, given)[1])


def _is_equal(cover: Cover, row: Int[Array, ""], squared: Float[Array, " n"]) -> Bool[Array, " n"]:
    """Return the rows that are equal to a row, also in what they cost, from the distances to it."""
    if cover.limits is None or cover.limits.costs is None:
        return squared == 0
    costs = jnp.asarray(cover.limits.costs)
    return (squared == 0) & (costs == costs[row])


def _best_within_cost(
    cover: Cover,
    limits: Limits,
    used: Used,
    opening: Int[Array, " 2"] | None,
    n_select: int,
    block_size: int,
) -> Selection:
    """Return the picks by gain per cost, or by gain alone where these cover better for the total cost.

    By gain per cost alone many cheap rows can keep out a single good one. Source: Khuller, Moss and Naor,
    Information Processing Letters 1999; Leskovec et al., KDD 2007. With ``until`` they are by gain per cost:
    both would cover alike.
    """
    costs = jnp.asarray(limits.costs)
    least = jnp.min(costs, where=cover.is_open, initial=jnp.inf)
    is_even = least == jnp.max(costs, where=cover.is_open, initial=0.0)
    opening = None if opening is None else jnp.where(is_even, opening, -1)

    def pick(prices: Array) -> tuple[Selection, Array]:
        priced = cover._replace(used=used._replace(prices=prices))
        picks = greedy_picks(priced, opening, n_select, block_size)
        places = jnp.where(picks.indices < 0, len(costs), picks.indices)
        is_chosen = cover.is_labeled.at[places].set(True, mode="drop")
        return picks, cover.value(least_cost(cover, is_chosen))

    if limits.until is not None:
        return pick(costs)[0]
    picks, objectives = jax.lax.map(pick, jnp.stack([costs, jnp.ones_like(costs)]))
    better = jnp.argmin(objectives)
    return jax.tree.map(lambda both: both[better], picks)


@jax.jit
def _first_pair(cover: Cover) -> Int[Array, " 2"]:
    """Return two rows that cover the pool together; (-1, -1) where rows are labelled or no pair gains."""
    n_rows, none = len(cover.u), jnp.full(2, -1, jnp.int32)
    is_free = (jnp.sum(cover.is_open) >= 2) & jnp.all(jnp.isinf(cover.labelled_cost))
    places = even_rows(cover.is_open, min(n_rows, PAIRED))
    atoms = cover.centred[places]

    def partner(row: Array, covered: Array) -> Array:
        """Return the best partner of ``row``, which covers the targets at these costs."""
        now = start_progress(cover, len(places), covered)
        now = now._replace(is_open=now.is_open & (jnp.arange(n_rows) != row))
        return best_gain(cover, places, now._replace(gains=update_gains(cover, atoms, now)))[1]

    def turn(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        rows, least, turns, _ = state  # the second row is paired with its best partner
        covered = jnp.where(rows[1] < 0, cover.labelled_cost, cover.column(rows[1]))
        found = partner(rows[1], covered)
        objective = cover.value(jnp.minimum(covered, cover.column(found)))
        is_better = objective < least * (1 - TIE)
        rows = jnp.where(is_better, jnp.stack([rows[1], found]), rows)
        return rows, jnp.minimum(objective, least), turns + 1, is_better

    def is_going_on(state: tuple[Array, ...]) -> Array:
        # Turns are counted here and not in the flag: on a flag alone the TPU's compiler (0.0.42) aborts.
        return state[-1] & (state[-2] < MAX_TURNS)

    start = (none, jnp.asarray(jnp.inf, cover.u.dtype), jnp.asarray(0), is_free)
    rows = jax.lax.while_loop(is_going_on, turn, start)[0]
    alone = jax.vmap(lambda row: cover.value(cover.column(row)))(rows)
    return jnp.where(rows[0] < 0, none, rows[jnp.argsort(alone)])


def _check_budget(n_select: int, is_open: Array) -> None:
    """Raise when more rows are wanted than may be picked."""
    n_open = len(is_open) if isinstance(is_open, jax.core.Tracer) else int(is_open.sum())
    if not 1 <= n_select <= n_open:
        raise ValueError(f"n_select is {n_select}, wanted 1 to {n_open}: that many rows may be picked")
