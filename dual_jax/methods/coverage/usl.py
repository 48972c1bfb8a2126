"""USL: the densest row of every cluster, pushed away from the picks of the other clusters."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.numerics.arithmetic import safe_divide, squared_distances, squared_norms
from dual_jax.numerics.graphs import BLOCK, nearest_neighbors
from dual_jax.numerics.kmeans import kmeans
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection
from dual_jax.selection.walks import walk

N_ROUNDS = 10  # the paper's
NEAREST = 1e-6  # smallest squared distance that counts, where the mean squared norm is 1


@partial(jax.jit, static_argnames=("n_select", "n_neighbors"))
def usl(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_neighbors: int = 20,
    repulsion: float = 0.5,
    decay: float = 0.5,
    horizon: float = 4.0,
    momentum: float = 0.9,
    limits: Limits | None = None,
) -> Selection:
    """Return a dense row of every k-means cluster, away from what the other clusters return.

    In each of ``n_select`` clusters the open row of largest utility is picked,
    ``1 / (mean distance to its nearest rows) - repulsion * R_i``. In ten rounds R follows, as an exponential
    mean that starts at 0 (INFERRED),

        R_i <- momentum * R_i + (1 - momentum) * sum_s (||f_i - f_s||^2)^-decay

    over the picks s of other clusters that are nearer than the horizon. Source: Wang, Lian and Yu, ECCV 2022
    (USL, not the trained USL-T), and its released configuration. Labelled rows are ours: all of them are in
    the sum, in any cluster.

    The rows f are centred and divided by the root of their mean squared length, which gives random pairs the
    mean squared distance 2 that the paper's unit vectors have: the knobs do not depend on the scale of ``x``.

    Not nested. Duplicates share a cluster, so they are not picked together; where a cluster holds no open
    row, the open rows of largest utility fill up. Fails when clusters are no classes, on outliers that form
    clusters of their own, and with budgets under the number of classes.

    Cost: one k-means, O(n^2 d) work once and O(n d n_select) a round; O(n n_select) memory and blocks.

    Parameters
    ----------
    key
        Seeds the k-means.
    x
        Neighbours and clusters are of the whole pool.
    n_neighbors
        Of the density, static; the released default (400 on CIFAR).
    repulsion
        Weight of R, >= 0; the paper's 0.5. With 0 the densest rows are picked.
    decay
        Power of the squared distance, >= 0; the paper's 0.5.
    horizon
        Squared distances from here on do not count; the paper's 4.
    momentum
        Share of R that a round carries over, 0 to 1; the paper's 0.9.
    limits
        See `dual_jax.selection.limits`; ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions and utilities, the largest first (our order: the paper's set has none).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [20.0], [21.0], [22.0]])
    >>> sorted(dj.METHODS["usl"](jax.random.key(0), x, 2, n_neighbors=2).indices.tolist())
    [1, 4]
    """
    f = x - x.mean(0)
    f = safe_divide(f, jnp.sqrt(squared_norms(f).mean()))
    labels = kmeans(key, f, n_select).labels
    density = 1.0 / jnp.sqrt(jnp.maximum(nearest_neighbors(f, n_neighbors)[1], NEAREST)).mean(axis=1)

    def nearness(squared: Array) -> Array:
        return jnp.where(squared < horizon, jnp.maximum(squared, NEAREST) ** -decay, 0.0)

    is_inside = labels[:, None] == jnp.arange(n_select)
    is_member = is_inside & candidates[:, None]
    crowd = _labeled_crowd(f, labeled, nearness)

    def repel(_: Array, repelled: Array) -> Array:
        picks = _best_inside(density - repulsion * repelled, is_member)
        pushes = nearness(squared_distances(f, f.at[picks].get(mode="clip")))
        pushes = jnp.sum(pushes, axis=1, where=~is_inside & (picks < len(x)))
        return momentum * repelled + (1.0 - momentum) * (pushes + crowd)

    utility = density - repulsion * jax.lax.fori_loop(0, N_ROUNDS, repel, jnp.zeros(len(x)))
    picks = _best_inside(utility, is_member)
    is_pick = jnp.zeros(len(x), bool).at[picks].set(True, mode="drop")
    order = jnp.lexsort((-utility, ~is_pick, ~candidates))
    if limits is not None:
        ranking = Selection(order.astype(jnp.int32), utility[order])
        return walk(limits, f, ranking, labeled, candidates, n_select)
    indices = order[:n_select].astype(jnp.int32)
    return Selection(indices, utility[indices])


def _best_inside(utility: Float[Array, " n"], is_member: Bool[Array, "n K"]) -> Int[Array, " K"]:
    """Return the member of largest utility of each cluster, n where there is none."""
    best = jnp.argmax(jnp.where(is_member, utility[:, None], -jnp.inf), axis=0)
    return jnp.where(is_member.any(axis=0), best, len(utility))


def _labeled_crowd(
    f: Float[Array, "n d"], labeled: Bool[Array, " n"], nearness: Callable[[Array], Array]
) -> Float[Array, " n"]:
    """Return the summed nearness of each row to the labelled ones."""

    def crowd(row: Array) -> Array:
        return jnp.sum(nearness(squared_distances(row[None], f)[0]), where=labeled)

    return jax.lax.map(crowd, f, batch_size=BLOCK)
