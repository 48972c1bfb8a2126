"""What a budget may say beside its number: when to stop, which rows exclude each other, weights and costs.

`Limits` holds what was asked, and travels as one keyword. `begin` closes the rows that may not be picked from
the start, and `close` those that a pick excludes; every greedy loop calls both, so that the limits hold while
it runs. `dual_jax.selection.limitchecks` makes them from what a caller gives.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import (
    squared_differences,
    squared_distances,
    squared_distances_to_nearest,
)
from dual_jax.numerics.draws import even_rows
from dual_jax.numerics.graphs import BLOCK

NAMES = ("until", "min_distance", "per_group", "weights", "costs")  # what a method may honour
APART = ("min_distance", "per_group")  # limits by which picks exclude each other
MEASURED = 8192  # rows whose distance to the nearest other row is measured, evenly spaced in a larger pool
ROUNDING = 1e-5  # by which two squared distances, or sums of costs, may differ and count as equal


class Limits(NamedTuple):
    """What is asked of the picks beside their number; None where nothing is.

    Distances are the method's own: for `dual` those of the learnt space, for `medoids` and `facility` those
    of their read-out, for all others the Euclidean distances of the rows as the method uses them.

    Attributes
    ----------
    until
        Stop when the mean distance to the nearest pick has fallen to this share, in (0, 1), of its value
        after the first pick. The mean is over the targets, labelled rows count as picks, and `dual`,
        `medoids`, `facility` and `probcover` take the cost of their objective for the distance.
    min_distance
        A quantile in [0, 1]: no pick is nearer to another pick, or to a labelled row, than this quantile of
        the distances from each row to its nearest other row. Equal rows are always too near.
    groups, per_group
        (n,) group of each row, as numbers or words, and the largest number of rows of one group; labelled
        rows count. A row whose group is None, NaN, "" or negative belongs to no group.
    weights
        (n,) weight, at least 0, of each row as a target of the objective.
    costs, total_cost
        (n,) positive cost of each row, and the largest sum of the costs of the picks. Rows are then picked
        by gain per cost.

    Examples
    --------
    >>> Limits(per_group=1, groups=["a", "a", "b"]).asked()
    ('per_group',)
    """

    until: Any = None
    min_distance: Any = None
    groups: Any = None
    per_group: Any = None
    weights: Any = None
    costs: Any = None
    total_cost: Any = None

    def asked(self) -> tuple[str, ...]:
        """Return which of `NAMES` are asked for."""
        return tuple(name for name in NAMES if getattr(self, name) is not None)

    def padded(self, n: int) -> "Limits":
        """Return the limits of n rows of which the last ones are padding, which is never picked."""
        fill = {"groups": -1, "weights": 0, "costs": 1}
        columns = {name: getattr(self, name) for name in fill if getattr(self, name) is not None}
        longer = {
            name: jnp.pad(column, (0, n - len(column)), constant_values=fill[name])
            for name, column in columns.items()
        }
        return self._replace(**longer)


class Used(NamedTuple):
    """What the picks so far have used of the limits; None for a limit that is not asked for.

    ``prices`` are what gains are divided by: the costs, or ones where a gain counts in full.
    """

    reach: Float[Array, ""] | None = None  # squared distance below which two rows are too near
    counts: Int[Array, " n_groups"] | None = None  # of each group; the last place is for rows without one
    left: Float[Array, ""] | None = None  # of the total cost
    goal: Float[Array, ""] | None = None  # mean distance at which to stop; negative before the first pick
    prices: Float[Array, " n"] | None = None


def only(limits: Limits | None, *names: str) -> Limits | None:
    """Return some of the limits, without what the others need; None where none of them is asked.

    Examples
    --------
    >>> only(Limits(until=0.5, min_distance=0.1), "until").asked()
    ('until',)
    """
    if limits is None:
        return None
    parts = {"per_group": ("groups",), "costs": ("total_cost",)}
    fields = [field for name in names for field in (name, *parts.get(name, ()))]
    kept = Limits(**{field: getattr(limits, field) for field in fields})
    return kept if kept.asked() else None


def begin(
    limits: Limits | None,
    x: Float[Array, "n q"],
    is_labeled: Bool[Array, " n"],
    is_open: Bool[Array, " n"],
    is_counted: Bool[Array, " n"] | None = None,
) -> tuple[Used | None, Bool[Array, " n"]]:
    """Return what is used before the first pick, and the rows that may be picked within the limits.

    Parameters
    ----------
    limits
        From `dual_jax.selection.limitchecks.check_limits`; None changes nothing.
    x
        (n, q) rows in the space of the method.
    is_labeled, is_open
        Rows that count as picked, and rows that may be picked.
    is_counted
        Rows among which distances are measured, all by default: padding is left out.
    """
    if limits is None:
        return None, is_open
    used = Used()
    if limits.min_distance is not None:
        is_counted = jnp.ones(len(x), bool) if is_counted is None else is_counted
        reach = squared_spacing(x, is_counted, limits.min_distance)
        used = used._replace(reach=reach)
        is_open &= ~_is_near(squared_distances_to_nearest(x, is_labeled), reach)
    if limits.per_group is not None:
        groups = jnp.asarray(limits.groups)
        places = jnp.where(is_labeled & (groups >= 0), groups, len(x))
        counts = jnp.zeros(len(x) + 1, jnp.int32).at[places].add(1)
        used = used._replace(counts=counts)
        is_open &= (groups < 0) | (counts[groups] < limits.per_group)
    if limits.costs is not None:
        left, costs = jnp.asarray(limits.total_cost, x.dtype), jnp.asarray(limits.costs)
        used = used._replace(left=left, prices=costs)
        is_open &= _is_affordable(limits, left)
    if limits.until is not None:
        used = used._replace(goal=jnp.asarray(-1.0, x.dtype))
    return used, is_open


def close(
    limits: Limits | None,
    used: Used | None,
    is_open: Bool[Array, " n"],
    row: Int[Array, ""],
    squared: Float[Array, " n"],
    mean: Float[Array, ""] | None = None,
) -> tuple[Bool[Array, " n"], Used | None]:
    """Return the rows that may still be picked after a pick, and what is used then.

    Parameters
    ----------
    limits, used, is_open
        As they were before the pick; without limits only the pick itself is closed.
    row, squared
        The pick, and the squared distances from it to all rows.
    mean
        Mean distance to the nearest pick, this one included; needed for ``until``.
    """
    is_open = is_open.at[row].set(False)
    if limits is None or used is None:
        return is_open, used
    if used.reach is not None:
        is_open &= ~_is_near(squared, used.reach)
    if used.counts is not None:
        groups = jnp.asarray(limits.groups)
        group = groups[row]
        counts = used.counts.at[group].add(1)
        used = used._replace(counts=counts)
        is_full = (group >= 0) & (counts[group] >= limits.per_group)
        is_open &= ~(is_full & (groups == group))
    if used.left is not None:
        left = used.left - jnp.asarray(limits.costs)[row]
        used = used._replace(left=left)
        is_open &= _is_affordable(limits, left)
    if used.goal is not None and mean is not None:
        goal = jnp.where(used.goal < 0, limits.until * mean, used.goal)
        used = used._replace(goal=goal)
        is_open &= mean > goal
    return is_open, used


def close_around(
    limits: Limits | None, used: Used | None, is_open: Bool[Array, " n"], row: Int[Array, ""], x: Array
) -> tuple[Bool[Array, " n"], Used | None]:
    """Return what `close` returns, from the rows of the method's space."""
    if limits is None:
        return is_open.at[row].set(False), used
    return close(limits, used, is_open, row, squared_differences(x[row][None], x)[0])


def squared_spacing(
    x: Float[Array, "n q"], is_counted: Bool[Array, " n"], quantile: ArrayLike
) -> Float[Array, ""]:
    """Return the square of a quantile of the distances from each row to its nearest other row.

    Quantiles between two distances are interpolated. Above `MEASURED` rows it is that of as many evenly
    spaced rows, each to its nearest of all. O(n min(n, MEASURED) q) work, in blocks.

    Examples
    --------
    >>> float(squared_spacing(jnp.array([[0.0], [1.0], [5.0]]), jnp.ones(3, bool), 1.0))
    16.0
    """
    n, n_near = len(x), min(8, len(x))
    centred, n_counted = x - jnp.mean(x, axis=0), jnp.sum(is_counted)
    rows = even_rows(is_counted, min(n, MEASURED))

    def nearest(row: Array) -> Array:
        fast = squared_distances(centred[row][None], centred)[0]
        fast = jnp.where(is_counted & (jnp.arange(n) != row), fast, jnp.inf)
        closeness, near = jax.lax.top_k(-fast, n_near)
        exact = squared_differences(x[row][None], x[near])[0]
        return jnp.min(exact, where=jnp.isfinite(closeness), initial=jnp.inf)

    squared = jax.lax.map(nearest, rows, batch_size=BLOCK)
    n_measured = jnp.minimum(n_counted, len(rows))  # beyond them even_rows repeats the last
    distances = jnp.sort(jnp.where(jnp.arange(len(rows)) < n_measured, jnp.sqrt(squared), jnp.inf))
    place = quantile * jnp.maximum(n_measured - 1, 0)
    low = jnp.floor(place).astype(jnp.int32)
    below, above = distances[low], distances[jnp.minimum(low + 1, n_measured - 1)]
    between = jnp.where(above > below, below + (place - low) * (above - below), below)
    return jnp.where(n_counted > 1, between**2, 0.0).astype(x.dtype)


def _is_near(squared: Float[Array, " n"], reach: Float[Array, ""]) -> Bool[Array, " n"]:
    return (squared < reach * (1 - ROUNDING)) | (squared == 0)


def _is_affordable(limits: Limits, left: Float[Array, ""]) -> Bool[Array, " n"]:
    return jnp.asarray(limits.costs) <= left + ROUNDING * limits.total_cost
