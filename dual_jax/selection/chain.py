"""A nested order whose first picks are swapped: the top-down chain.

The greedy's order is nested, and swaps at a fixed budget cover better. The chain has both. The largest set is
swapped among all candidates, then half of its members are chosen by swaps among these members, and so on down
to two. The picks are the smallest set, then the rest of the next one, and so on; within each the greedy
decides.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from dual_jax.selection.cover import TILE, Axis, Cover
from dual_jax.selection.coverage import greedy, greedy_picks
from dual_jax.selection.protocol import Selection
from dual_jax.selection.swaps import check_limits_of_swaps, exchanged, swapped
from dual_jax.selection.targets import Targets, targets_of

SMALLEST = 2  # members of the last set


def chain(cover: Cover, n_select: int, *, pair_first: bool = False, block_size: int = TILE) -> Selection:
    """Return an order of which ``n_select``, half of that, a quarter and so on are swapped sets.

    Prefixes of these sizes are such that no swap with a member of the next larger set lowers F, and the whole
    is such that no swap with any candidate does (swaps end after
    `dual_jax.selection.swaps.MAX_SWEEPS` sweeps). Between them the greedy adds members of the next larger
    set. The order depends on ``n_select``: the picks of two calls are not the first of one another.

    The swaps of each set start from the first half of the larger one, in the order of the greedy, a row that
    was swapped in being in the place of the one that it replaced. (The measurements that this order is from
    say how the sets follow each other; the start, halves rounded down and the first of the last two, which is
    the better one alone, are inferred.) Ties as in the greedy and the swaps; equal rows come last.

    Cost: the greedy, the swaps of `dual_jax.selection.swaps.refine` for ``n_select``, and about as much again
    for all smaller sets and their order.

    Parameters
    ----------
    cover
        The problem, from `dual_jax.selection.cover.build_cover`. Devices share the greedy and the final
        order, not the swaps.
    n_select
        Number of picks, static, at most the number of open rows.
    pair_first, block_size
        Of the greedy that the swaps start from; see `dual_jax.selection.coverage.greedy`. Neither this block
        size nor the number of devices changes the picks.

    Returns
    -------
    Selection
        Positions in the pool, and the gain of each; gains fall within a set, not from set to set.

    Raises
    ------
    ValueError
        When ``n_select`` exceeds the open rows, or the cover has limits on what is picked together.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.selection.cover import build_cover, power_cost
    >>> u = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
    >>> chain(build_cover(u, power_cost(1.0)), 4).indices.tolist()[:2]
    [1, 4]
    """
    check_limits_of_swaps(cover)
    first = greedy(cover, n_select, pair_first=pair_first, block_size=block_size).indices
    alone = cover._replace(axis=Axis())
    members = swapped(alone, first)
    tiers = _halved(alone, targets_of(alone, len(cover.u)), members)
    chosen = cover._replace(is_open=tiers <= n_select, shortlist=jnp.sort(members))
    return greedy_picks(chosen, None, n_select, -(-block_size // TILE) * TILE, tiers)


@jax.jit
def _halved(cover: Cover, targets: Targets, members: Int[Array, " k"]) -> Int[Array, " n"]:
    """Return for each row the size of the smallest set that it is in, n + 1 for rows that are no members.

    All sets are found by one program: places of a smaller one are empty.
    """
    n, k, slots = len(cover.u), len(members), jnp.arange(len(members))

    def smaller(size: Int[Array, ""]) -> Int[Array, ""]:
        return jnp.where(size > SMALLEST, jnp.maximum(size // 2, SMALLEST), 0)

    def shrink(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        size, larger, members, tiers = state
        chosen = jnp.where(slots < size, members, -1)
        chosen = exchanged(cover, targets, chosen, members, larger)
        tiers = tiers.at[jnp.where(chosen < 0, n, chosen)].set(size, mode="drop")
        return smaller(size), size, chosen, tiers

    whole = jnp.asarray(k)
    start = (smaller(whole), whole, members, jnp.full(n, n + 1).at[members].set(k))
    return jax.lax.while_loop(lambda state: state[0] > 0, shrink, start)[-1]
