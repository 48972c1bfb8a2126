"""The problem of covering a pool: which rows, what distance costs, what counts and what may be picked.

Rows ``u_i`` are targets with weights ``v_i >= 0``; a set S covers them at

    F(S) = sum_i v_i min_{j in S} D_ij,    D_ij = cost(||u_i - u_j||^2),

which is Eq. (4) of Li et al., IJCAI 2020, with one-hot coefficients, and k-medoids, and facility location. A
`Cover` holds what stays the same while S grows. `dual_jax.selection.coverage` adds rows to S, and
`dual_jax.selection.swaps` exchanges them. D is formed in blocks and never kept.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.devices.collectives import device_index, n_devices, smallest
from dual_jax.numerics.arithmetic import exact_squared_distances, nth_true, squared_differences
from dual_jax.selection.limits import APART, Limits, Used, begin, only
from dual_jax.selection.protocol import pickable

Cost = Callable[[Array], Array]

TILE = 32  # gains are summed over tiles of this many rows, whatever the block size


@jax.tree_util.register_static
@dataclass(frozen=True)
class Axis:
    """The mapped axis of the devices that share the work; a name of None is one device."""

    name: str | None = None


class Cover(NamedTuple):
    """A covering problem; see `build_cover`.

    With an axis every device holds all rows and returns all picks. The targets whose coverage changed are
    shared among the devices; one number for each row and pick is exchanged.
    """

    u: Float[Array, "n q"]
    centred: Float[Array, "n q"]  # around the mean of the targets: small norms, small rounding errors
    cost: Cost  # a pytree: the numbers bound to it are leaves, its function is static
    weights: Float[Array, " n"]
    is_labeled: Bool[Array, " n"]
    is_open: Bool[Array, " n"]  # may be picked
    labelled_cost: Float[Array, " n"]  # min_j D_ij over the labelled rows; infinite without any
    shortlist: Int[Array, " m"] | None = None  # ascending positions outside of which nothing is picked
    axis: Axis = Axis()
    limits: Limits | None = None  # of what is picked; None without any
    used: Used | None = None  # of the limits, before the first pick

    def squared(self, row: Int[Array, ""]) -> Float[Array, " n"]:
        """Return the squared distances between a row and all rows, formed by differences."""
        # The compiler may form u twice, with another rounding: the row itself is at 0 all the same.
        return squared_differences(self.u[row][None], self.u)[0].at[row].set(0.0)

    def column(self, row: Int[Array, ""]) -> Float[Array, " n"]:
        """Return D between a row and all rows."""
        return self.cost(self.squared(row))

    def value(self, costs: Float[Array, " n"]) -> Float[Array, ""]:
        """Return F of a set whose nearest row costs each target this much."""
        return jnp.sum(self.weights * costs)

    def mean(self, costs: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the mean over the targets, each with its weight, of what they cost."""
        return self.value(costs) / jnp.sum(self.weights)


def build_cover(
    u: Float[Array, "n q"],
    cost: Cost,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    weights: Float[Array, " n"] | None = None,
    shortlist: Int[Array, " m"] | None = None,
    axis_name: str | None = None,
    limits: Limits | None = None,
) -> Cover:
    """Return the problem of covering the rows of ``u`` by a few of them.

    Parameters
    ----------
    u
        (n, q) float32 features; D is as meaningful as their scale.
    cost
        Element-wise, non-decreasing function of the squared distance with cost(0) = 0: `power_cost`, or for
        instance ``lambda s: 1 - jnp.exp(-s / 2)``. Give the same function object each time, for a new one is
        compiled again; a number that varies goes into ``jax.tree_util.Partial(function, sigma=...)``.
    labeled, candidates
        Rows that count as picked, and rows that may be picked; see `dual_jax.selection.protocol`.
    weights
        (n,) weights of the targets, 1 by default; 0 for padding.
    shortlist
        (m,) distinct positions outside of which nothing is picked: work and memory follow n * m instead of
        n * n. Where many rows may not be picked, this is what makes their number count.
    axis_name
        Axis of the devices that share the work, under ``pmap`` or ``shard_map``.
    limits
        From `dual_jax.selection.limitchecks.check_limits`; their weights multiply ``weights``.

    Raises
    ------
    ValueError
        When a shape is wrong or a weight negative.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> cover = build_cover(jnp.array([[0.0], [1.0], [4.0]]), power_cost(1.0))
    >>> cover.column(1).tolist()
    [1.0, 0.0, 3.0]
    """
    u = jnp.asarray(u, jnp.float32)
    if u.ndim != 2 or len(u) == 0:
        raise ValueError(f"u has shape {u.shape}, wanted (n, q) with n >= 1; one row per sample")
    for name, value in (("labeled", labeled), ("candidates", candidates), ("weights", weights)):
        if value is not None and jnp.shape(value) != (len(u),):
            raise ValueError(
                f"{name} has shape {jnp.shape(value)}, wanted ({len(u)},): one entry per row of u"
            )
    weights = jnp.ones(len(u), u.dtype) if weights is None else jnp.asarray(weights, u.dtype)
    if limits is not None and limits.weights is not None:
        weights = weights * limits.weights
    if not isinstance(weights, jax.core.Tracer) and not (weights.min() >= 0 and weights.max() > 0):
        raise ValueError(f"weights go from {weights.min()} to {weights.max()}, wanted >= 0 and one above 0")
    is_open, nowhere = pickable(len(u), labeled, candidates), jnp.full(len(u), jnp.inf, u.dtype)
    if shortlist is not None:
        shortlist = jnp.sort(jnp.asarray(shortlist, jnp.int32))
        is_open &= mask_of(shortlist, len(u))
    is_labeled = jnp.zeros(len(u), bool) if labeled is None else jnp.asarray(labeled, bool)
    cost = cost if isinstance(cost, jax.tree_util.Partial) else jax.tree_util.Partial(cost)
    centred, axis = _centred(u, weights), Axis(axis_name)
    cover = Cover(u, centred, cost, weights, is_labeled, is_open, nowhere, shortlist, axis)
    limits = only(limits, "until", *APART, "costs")  # those that close rows
    if limits is not None:
        is_counted = is_labeled | is_open | (weights > 0)  # padding is none of these
        used, is_open = begin(limits, u, is_labeled, is_open, is_counted)
        cover = cover._replace(limits=limits, used=used, is_open=is_open)
    return cover if labeled is None else cover._replace(labelled_cost=least_cost(cover, is_labeled))


@jax.jit
def _centred(u: Float[Array, "n q"], weights: Float[Array, " n"]) -> Float[Array, "n q"]:
    """Return the rows around the mean of those that count."""
    return u - jnp.mean(u, axis=0, where=(weights > 0)[:, None])


@jax.jit
def least_cost(cover: Cover, is_chosen: Bool[Array, " n"]) -> Float[Array, " n"]:
    """Return ``min_j D_ij`` over the chosen rows; infinite when there is none."""
    rank = jnp.cumsum(own_share(is_chosen, cover.axis.name))

    def visit(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, least = state
        rows = nth_true(rank, done, TILE)
        chosen = cover.centred.at[rows].get(mode="clip")
        block = cover.cost(exact_squared_distances(cover.centred, chosen))
        closest = jnp.min(block, axis=1, where=rows < len(rank), initial=jnp.inf)
        return done + TILE, jnp.minimum(least, closest)

    start = (jnp.zeros((), rank.dtype), jnp.full(len(rank), jnp.inf, cover.u.dtype))
    least = jax.lax.while_loop(lambda state: state[0] < rank[-1], visit, start)[1]
    return smallest(least, cover.axis.name)


def own_share(mask: Bool[Array, " n"], axis_name: str | None) -> Bool[Array, " n"]:
    """Return the true positions that this device visits: every d-th position of d devices."""
    return mask & (jnp.arange(len(mask)) % n_devices(axis_name) == device_index(axis_name))


def mask_of(places: Int[Array, " m"], n: int) -> Bool[Array, " n"]:
    """Return positions below n as a mask."""
    return jnp.zeros(n, bool).at[places].set(True)


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
