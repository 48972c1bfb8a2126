"""TypiClust: the most typical row of every cluster, the largest cluster first."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.numerics.arithmetic import squared_distances
from dual_jax.numerics.graphs import BLOCK
from dual_jax.numerics.kmeans import kmeans
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection
from dual_jax.selection.walks import walk

N_NEIGHBORS = 20  # the paper's
MAX_CLUSTERS = 500  # the paper's
SMALL = 5  # the paper drops clusters of at most this many rows
OFFSET = 1e-5  # keeps the typicality of duplicates finite; the released code's


@partial(jax.jit, static_argnames=("n_select", "n_clusters"))
def typiclust(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_clusters: int | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return the row of highest density in every k-means cluster.

    Clusters are visited in rounds, those without labelled rows and the larger ones first; each visit takes
    the row of largest typicality among those left, 1 / (mean distance to its nearest rows in the cluster),
    over min(20, size // 2) of them. Source: Hacohen, Dekel and Weinshall, ICML 2022, and its released code.

    Two departures keep the sizes static and serve every budget. A labelled row counts as a visit to its
    cluster. Clusters of at most 5 rows, which the paper drops, are visited when the larger ones are used up;
    where the mean size is under 10, half of it replaces the 5, so that a few clusters do not give all picks.
    Typicality is computed once over all rows of the cluster, also labelled and forbidden ones; the code
    repeats it among the rows left.

    Not nested: the clusters depend on ``n_select``. Up to ``n_clusters`` picks come from different clusters,
    unless small clusters are left for later; so duplicates are not picked together.

    Made for budgets of a few picks a class. Fails when clusters are no classes, at large budgets (it never
    picks at borders), and on unscaled features; outliers are left out.

    Cost: one k-means and O(n^2 d) work once, O(n) memory and blocks of rows.

    Parameters
    ----------
    key
        Seeds the k-means.
    x
        The paper uses l2-normalised self-supervised features.
    n_clusters
        Static; by default min(n_select, 500). The paper adds the number of labelled rows, which a mask
        inside ``jit`` does not tell: pass ``min(n_labeled + n_select, 500)`` for its rule.
    limits
        See `dual_jax.selection.limits`; ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions, and their typicality.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [3.5], [20.0], [21.0], [23.0]])
    >>> dj.METHODS["typiclust"](jax.random.key(0), x, 2).indices.tolist()
    [1, 4]
    """
    n_clusters = min(n_clusters or min(n_select, MAX_CLUSTERS), len(x))
    clusters = kmeans(key, x, n_clusters)
    labels, sizes = clusters.labels, clusters.sizes.astype(int)
    # Distances inside a cluster are the same around its centroid, where float32 loses less.
    distances = _distance_inside(x - clusters.centroids[labels], labels, sizes)
    visits = jax.ops.segment_sum(labeled.astype(int), labels, n_clusters)
    turn = visits[labels] + _rank_inside(distances, labels, candidates, n_clusters)
    is_small = sizes <= min(SMALL, len(x) / (2 * n_clusters))
    order = jnp.lexsort((labels, -sizes[labels], turn, is_small[labels], ~candidates))
    if limits is not None:
        ranking = Selection(order.astype(jnp.int32), 1.0 / (distances[order] + OFFSET))
        return walk(limits, x, ranking, labeled, candidates, n_select)
    indices = order[:n_select].astype(jnp.int32)
    return Selection(indices, 1.0 / (distances[indices] + OFFSET))


def _distance_inside(
    x: Float[Array, "n d"], labels: Int[Array, " n"], sizes: Int[Array, " K"]
) -> Float[Array, " n"]:
    """Return the mean distance of each row to its nearest ones in its cluster; infinite when it is alone."""
    n_wanted = jnp.clip(sizes // 2, 1, N_NEIGHBORS)
    position = jnp.arange(len(x))

    def mean_distance(row: tuple[Array, Array, Array]) -> Array:
        values, label, here = row
        squared = squared_distances(values[None], x)[0]
        squared = jnp.where((labels == label) & (position != here), squared, jnp.inf)
        nearest = jnp.sqrt(-jax.lax.top_k(-squared, min(N_NEIGHBORS, len(x)))[0])
        return jnp.mean(nearest, where=jnp.arange(len(nearest)) < n_wanted[label])

    return jax.lax.map(mean_distance, (x, labels, position), batch_size=BLOCK)


def _rank_inside(
    distances: Float[Array, " n"], labels: Int[Array, " n"], is_open: Bool[Array, " n"], n_clusters: int
) -> Int[Array, " n"]:
    """Return the place of each open row among those of its cluster, the smallest distance first."""
    order = jnp.lexsort((distances, labels, ~is_open))
    place = jnp.zeros(len(labels), int).at[order].set(jnp.arange(len(labels)))
    first = jax.ops.segment_min(jnp.where(is_open, place, len(labels)), labels, n_clusters)
    return place - first[labels]
