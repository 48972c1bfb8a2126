"""By how much each row would lower the objective of a `Cover`, kept up to date while rows are picked.

The gain of row j for a set S that covers target i at cost c_i is

    F(S) - F(S + j) = sum_i v_i (c_i - min(c_i, D_ij)).

`update_gains` visits only the targets whose c_i changed, in blocks of D; `best_gain` picks among gains that
it forms again from exact distances.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.devices.collectives import total
from dual_jax.numerics.arithmetic import (
    exact_squared_distances,
    nth_true,
    squared_differences,
    squared_norms,
)
from dual_jax.selection.cover import TILE, Cover, own_share
from dual_jax.selection.limits import Used
from dual_jax.selection.protocol import TIE, first_best

LEADERS = 4  # candidates whose gains are evaluated exactly at a time


class Progress(NamedTuple):
    """What one pick leaves for the next. Gains are those of m atoms: the rows that may ever be picked."""

    gains: Float[Array, " m"]  # nearly exact, as of the costs `counted`
    counted: Float[Array, " n"]  # the costs that `gains` know of
    covered: Float[Array, " n"]  # min_{j in S} D_ij, exact; infinite when S is empty
    is_open: Bool[Array, " n"]
    used: Used | None = None  # of the limits of the cover


def start_progress(cover: Cover, n_atoms: int, covered: Float[Array, " n"]) -> Progress:
    """Return the progress before the first gain is known, from what each target costs to S."""
    gains, counted = (jnp.zeros(size, cover.u.dtype) for size in (n_atoms, len(cover.u)))
    return Progress(gains, counted, covered, cover.is_open, cover.used)


def update_gains(
    cover: Cover, atoms: Float[Array, "m q"], now: Progress, block_size: int = TILE
) -> Float[Array, " m"]:
    """Return the gains of the atoms, centred rows, as of ``now.covered``.

    When most targets have changed the gains are summed again from zero, which costs no more and drops old
    rounding errors.
    """
    gains, old, new, weights = now.gains, now.counted, now.covered, cover.weights
    is_most = 2 * jnp.sum((old != new) & (weights > 0)) > jnp.sum(weights > 0)
    gains, old = jax.tree.map(lambda kept: jnp.where(is_most, 0.0, kept), (gains, old))
    rank = jnp.cumsum(own_share((old != new) & (weights > 0), cover.axis.name))

    def visit(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, change = state
        rows = nth_true(rank, done, block_size)
        targets, before, after, weight = (
            values.at[rows].get(mode="fill", fill_value=0) for values in (cover.centred, old, new, weights)
        )
        block = cover.cost(exact_squared_distances(atoms, targets))
        lost = weight * (saved(before, block) - saved(after, block))
        for part in lost.reshape(len(change), -1, TILE).sum(axis=-1).T:
            change = change - part
        return done + block_size, change

    start = (jnp.zeros((), rank.dtype), jnp.zeros_like(gains))
    change = jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, start)[1]
    return jnp.where(jnp.any((weights > 0) & (new > 0)), gains + total(change, cover.axis.name), 0.0)


def best_gain(
    cover: Cover, places: Int[Array, " m"], now: Progress
) -> tuple[Float[Array, " m"], Int[Array, ""]]:
    """Return the gains with those of the leaders made exact, and the position of the best in the pool.

    The atoms are the rows at ``places``. Lists of the largest gains are evaluated from all targets until no
    other row can reach the best: twice the largest error that the lists have shown is what the others are
    given in addition. Where picks have costs, it is the best by gain per cost.
    """
    is_open, position = now.is_open[places], jnp.arange(len(places))
    worth = _worth(cover, places, now)
    n_leaders = min(LEADERS, len(places))

    def evaluate(state: tuple[Array, ...]) -> tuple[Array, ...]:
        gains, is_exact, slack, _, _ = state
        waiting = jnp.where(is_open & ~is_exact, worth(gains), -jnp.inf)
        leader = jnp.max(waiting)
        # Ties with the leader go to the front, so that top_k takes them by position.
        key = jnp.where(waiting >= leader - TIE * jnp.abs(leader), jnp.inf, waiting)
        leaders = jax.lax.top_k(key, n_leaders)[1]
        blocks = cover.cost(squared_differences(cover.u[places[leaders]], cover.u))
        exact = jnp.sum(cover.weights * saved(now.covered, blocks), axis=-1)
        slack = jnp.maximum(slack, 2.0 * jnp.max(jnp.abs(exact - gains[leaders])))
        gains, is_exact = gains.at[leaders].set(exact), is_exact.at[leaders].set(True)
        best = first_best(worth(gains), is_open & is_exact)
        top = jnp.max(worth(gains), where=is_open & is_exact, initial=-jnp.inf)
        tie = TIE * jnp.abs(top)
        bound = worth(gains + slack)
        is_rival = (bound > top + tie) | ((bound >= top - tie) & (position < best))
        return gains, is_exact, slack, best, jnp.any(is_rival & is_open & ~is_exact)

    slack, best = jnp.zeros((), now.gains.dtype), jnp.zeros((), position.dtype)
    start: tuple[Array, ...] = (now.gains, ~is_open, slack, best, jnp.array(True))
    gains, _, _, best, _ = jax.lax.while_loop(lambda state: state[-1], evaluate, start)
    return gains, places[best].astype(jnp.int32)


def _worth(cover: Cover, places: Int[Array, " m"], now: Progress) -> Callable[[Array], Array]:
    """Return what a row is picked for, as a function of the gains: themselves, or per cost of the row.

    Gains before the first pick are counted from `ceiling_cost`, for a quotient needs a zero. Equal costs
    leave the gains as they are.
    """
    if now.used is None or now.used.prices is None:
        return lambda gains: gains
    prices = now.used.prices[places]
    is_open = now.is_open[places]
    least, most = jnp.min(prices, where=is_open, initial=jnp.inf), jnp.max(prices, where=is_open, initial=0.0)
    uncovered = cover.value(jnp.where(jnp.isinf(now.covered), ceiling_cost(cover), 0.0))
    return lambda gains: jnp.where(least == most, gains, (gains + uncovered) / prices)


def ceiling_cost(cover: Cover) -> Float[Array, ""]:
    """Return what a target costs that nothing covers: no row is farther from another one."""
    is_used = cover.is_open | (cover.weights > 0)
    return cover.cost(4.0 * jnp.max(jnp.where(is_used, squared_norms(cover.centred), 0.0)))


def saved(covered: Float[Array, "..."], column: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return what a target at ``covered`` gains from a candidate at ``column``; minus that if uncovered."""
    return jnp.where(jnp.isinf(covered), 0.0, covered) - jnp.minimum(covered, column)
