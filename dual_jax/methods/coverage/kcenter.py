"""Greedy k-center: each pick is the row farthest from all earlier picks."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.numerics.arithmetic import squared_differences, squared_distances_to_nearest, squared_norms
from dual_jax.selection.limits import Limits, Used, begin, close
from dual_jax.selection.protocol import Selection, first_best
from dual_jax.selection.walks import cut, pick_or_none


@partial(jax.jit, static_argnames="n_select")
def kcenter(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    limits: Limits | None = None,
) -> Selection:
    """Return rows that leave no row far from a pick: farthest-point traversal, the coreset method.

    Lowers the cover radius ``r(S) = max_i min_{j in S} ||x_i - x_j||`` by adding, each time, the open row
    that is farthest from the labelled rows and the picks. Source: Gonzalez, TCS 1985; Sener and Savarese,
    ICLR 2018, Algorithm 1. Over the open rows r is at most 2 times that of the best ``n_select`` centres;
    over a pool with forbidden rows at most 3 times (they lie at most one optimal radius from an open row).

    Nested. Deterministic: without labelled rows the first pick is the open row nearest to the mean of the
    pool (the guarantee holds for any start; the paper starts from labelled rows). A duplicate of a pick comes
    only after all distinct rows, then in order of position with score 0.

    Fails on outliers: they are the first picks, and with budgets of a few picks a class it falls below random
    choice. Scale the features, for r is as meaningful as their units.

    Cost: O(n d) work and O(n) memory a pick, and O(n d) work a labelled row.

    Parameters
    ----------
    x
        Distances are Euclidean.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions, and the distance of each pick to the nearest earlier one: the radius over the open rows
        just before it. With nothing before it, twice the radius around the mean, which bounds all distances.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> dj.METHODS["kcenter"](jax.random.key(0), jnp.array([[0.0], [1.0], [2.0], [9.0]]), 3).indices.tolist()
    [2, 3, 0]
    """
    from_mean = squared_norms(x - x.mean(0))
    ceiling = 4.0 * from_mean.max()

    def pick(
        state: tuple[Array, Array, Used | None], _: None
    ) -> tuple[tuple[Array, Array, Used | None], tuple[Array, Array]]:
        closest, is_open, used = state
        best = first_best(jnp.where(jnp.isinf(closest), -from_mean, closest), is_open)
        score = jnp.sqrt(jnp.minimum(closest[best], ceiling))
        squared = squared_differences(x[best][None], x)[0]
        closest = jnp.minimum(closest, squared)
        found = pick_or_none(limits, is_open, best, score)
        is_open, used = close(limits, used, is_open, best, squared)
        return (closest, is_open, used), found

    start = squared_distances_to_nearest(x, labeled)
    used, candidates = begin(limits, x, labeled, candidates)
    picks = Selection(*jax.lax.scan(pick, (start, candidates, used), length=n_select)[1])
    return cut(limits, x, picks, labeled)


def spread_rest(
    x: Float[Array, "n d"],
    picks: Int[Array, " k"],
    n_kept: Int[Array, ""],
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    limits: Limits | None = None,
) -> Int[Array, " k"]:
    """Return the picks, all after the first ``n_kept`` replaced by farthest points from what is done.

    For methods whose own objective gives no more picks before the budget is reached; nested if they are. Of
    the limits those of `kcenter` are kept, but for ``until``.
    """
    place = jnp.arange(len(picks))
    done = labeled.at[jnp.where(place < n_kept, picks, len(x))].set(True, mode="drop")
    is_open = candidates & ~done
    rest = kcenter(jax.random.key(0), x, len(picks), labeled=done, candidates=is_open, limits=limits).indices
    return jnp.where(place < n_kept, picks, rest[place - n_kept])
