"""Limits for methods that rank: down an order row by row, and up to the pick at which to stop.

A loop that has no open row left returns `NONE_LEFT` for the other picks, and `trimmed` drops them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import squared_differences, squared_distances_to_nearest
from dual_jax.selection.limits import Limits, begin, close_around
from dual_jax.selection.protocol import Selection

NONE_LEFT = -1  # a missing pick: no open row was left


@partial(jax.jit, static_argnames="n_select")
def walk(
    limits: Limits,
    x: Float[Array, "n q"],
    order: Selection,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_select: int,
    is_counted: Bool[Array, " n"] | None = None,
) -> Selection:
    """Return the first rows of an order that the limits allow together: each row in turn, or never.

    For methods that give each row a score of its own. ``order`` holds every candidate, best first;
    ``min_distance`` and ``per_group`` are kept, and `cut` does ``until``.

    Examples
    --------
    >>> order = Selection(jnp.array([2, 1, 0]), jnp.array([3.0, 2.0, 1.0]))
    >>> limits = Limits(groups=jnp.array([0, 1, 1]), per_group=1)
    >>> x, nothing = jnp.array([[0.0], [1.0], [5.0]]), jnp.zeros(3, bool)
    >>> walk(limits, x, order, nothing, ~nothing, 3).indices.tolist()
    [2, 0, -1]
    """
    n = len(x)
    place = jnp.full(n, n, jnp.int32).at[order.indices].set(jnp.arange(len(order.indices), dtype=jnp.int32))
    scores = jnp.zeros(n, order.scores.dtype).at[order.indices].set(order.scores)

    def pick(state: tuple[Any, Array], _: None) -> tuple[tuple[Any, Array], tuple[Array, Array]]:
        used, is_open = state
        row = jnp.argmin(jnp.where(is_open, place, n + 1))
        found = pick_or_none(limits, is_open, row, scores[row])
        is_open, used = close_around(limits, used, is_open, row, x)
        return (used, is_open), found

    start = begin(limits, x, labeled, candidates, is_counted)
    return Selection(*jax.lax.scan(pick, start, length=n_select)[1])


def pick_or_none(
    limits: Limits | None, is_open: Bool[Array, " n"], row: Int[Array, ""], score: Array
) -> tuple[Int[Array, ""], Array]:
    """Return the position of a pick and its score; `NONE_LEFT` and 0 where the limits leave no row open."""
    if limits is None:
        return row.astype(jnp.int32), score
    is_any = jnp.any(is_open)
    return jnp.where(is_any, row, NONE_LEFT).astype(jnp.int32), jnp.where(is_any, score, 0)


def cut(
    limits: Limits | None,
    x: Float[Array, "n q"],
    picks: Selection,
    labeled: Bool[Array, " n"],
    is_counted: Bool[Array, " n"] | None = None,
) -> Selection:
    """Return the picks up to the one that reaches ``until``, by Euclidean distances of ``x``.

    For nested methods, whose first picks are those of a smaller budget.

    Examples
    --------
    >>> picks = Selection(jnp.array([0, 2, 1]), jnp.ones(3))
    >>> x = jnp.array([[0.0], [1.0], [5.0]])
    >>> cut(Limits(until=0.5), x, picks, jnp.zeros(3, bool)).indices.tolist()
    [0, 2, -1]
    """
    if limits is None or limits.until is None:
        return picks
    return _cut(limits.until, x, picks, labeled, is_counted)


@jax.jit
def _cut(
    until: Float[Array, ""],
    x: Float[Array, "n q"],
    picks: Selection,
    labeled: Bool[Array, " n"],
    is_counted: Bool[Array, " n"] | None,
) -> Selection:
    def add(closest: Array, row: Array) -> tuple[Array, Array]:
        column = squared_differences(x[row][None], x)[0]
        closest = jnp.where(row < 0, closest, jnp.minimum(closest, column))
        return closest, jnp.mean(jnp.sqrt(closest), where=is_counted)

    means = jax.lax.scan(add, squared_distances_to_nearest(x, labeled), picks.indices)[1]
    n_reached = jnp.cumsum(means <= until * means[0])
    is_kept = jnp.concatenate([jnp.ones(1, bool), n_reached[:-1] == 0]) & (picks.indices >= 0)
    return Selection(jnp.where(is_kept, picks.indices, NONE_LEFT), jnp.where(is_kept, picks.scores, 0))


def trimmed(picks: Selection) -> Selection:
    """Return the picks without `NONE_LEFT`, maybe none; inside ``jit`` as they are."""
    if isinstance(picks.indices, jax.core.Tracer):
        return picks
    n_picks = int((np.asarray(picks.indices) >= 0).sum())
    return Selection(picks.indices[:n_picks], picks.scores[:n_picks])
