"""The k-means baseline: of each cluster the row nearest to its centre."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.numerics.arithmetic import squared_differences, squared_distances_to_nearest, squared_norms
from dual_jax.numerics.chunks import Chunks
from dual_jax.numerics.kmeans import kmeans as lloyd
from dual_jax.numerics.seeding import greedy_seeds
from dual_jax.selection.limits import Limits, Used, begin, close_around
from dual_jax.selection.protocol import Selection, first_best
from dual_jax.selection.walks import pick_or_none

_Turn = tuple[Array, Array, Array, Array, Array, Array]

MAX_TURNS = 20  # of clustering what the labelled rows do not hold; a handful suffices


@partial(jax.jit, static_argnames=("n_select", "n_restarts"))
def kmeans(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_restarts: int = 4,
    max_iter: int = 100,
    limits: Limits | None = None,
) -> Selection:
    """Return the rows nearest to the centres of as many clusters as there are picks, largest cluster first.

    The centres minimise

        sum_i min(min_k ||x_i - c_k||^2, min_{j labelled} ||x_i - x_j||^2)

    over k = 1, ..., ``n_select`` by Lloyd iterations: labelled rows are centres that do not move, so that the
    free ones settle where no label is near. Then clusters by falling size each take the nearest row that may
    be picked and is not picked yet; ties go to the lowest position. A cluster that stays empty, with fewer
    distinct rows than picks, takes the nearest row left. Forbidden rows are clustered like all others.

    Source: the usual baseline; the paper says "implemented by us" and no more (details UNKNOWN), the rules
    for labelled rows, distinct picks and order are ours. Random through its seeds, and not nested: another
    budget is another clustering. Outliers form clusters of their own and unscaled features decide alone. Cost
    O(n d n_select) per iteration and restart; memory O(n d) and a block of distances.

    Parameters
    ----------
    n_restarts
        Seedings (k-means++, with labelled rows as the first centres) of which the best clustering is used,
        static; 4 by default (ours).
    max_iter
        Largest number of Lloyd iterations between two assignments of the labelled rows; 100 by default
        (ours).
    limits
        See `dual_jax.selection.limits`; ``min_distance`` and ``per_group`` are kept when
        clusters take their rows.

    Returns
    -------
    Selection
        Positions by falling size of their clusters, and those sizes (rows held by labelled ones left out).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [8.0], [8.5]])
    >>> dj.METHODS["kmeans"](jax.random.key(0), x, 2).indices.tolist()
    [1, 3]
    """
    x = x - x.mean(axis=0)
    reached = squared_distances_to_nearest(x, labeled)

    rows = Chunks(x[None], jnp.ones((1, len(x)), x.dtype))

    def cluster(key: Array) -> tuple[Array, Array, Array]:
        seeds = greedy_seeds(key, rows, n_select, reached=reached[None])
        return _cluster(key, x, reached, seeds, max_iter)

    losses, centroids, sizes = jax.lax.map(cluster, jax.random.split(key, n_restarts))
    best = jnp.argmin(losses)
    start = begin(limits, x, labeled, candidates)
    return _nearest_open(x, centroids[best], sizes[best], limits, start)


def _cluster(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    reached: Float[Array, " n"],
    seeds: Float[Array, "K d"],
    max_iter: int,
) -> tuple[Float[Array, ""], Float[Array, "K d"], Float[Array, " K"]]:
    """Return loss, centres and sizes of the clusters of the rows that no labelled row holds.

    Lloyd iterations with the held rows left out lower the loss, and so does deciding again which are held.
    """

    def turn(state: _Turn) -> _Turn:
        n_turns, is_free, _, _, centroids, _ = state
        result = lloyd(key, x, len(seeds), weights=is_free.astype(x.dtype), init=centroids, max_iter=max_iter)
        distances = squared_norms(x - result.centroids[result.labels])
        is_now_free = distances < reached
        loss = jnp.minimum(distances, reached).sum()
        has_changed = (is_now_free != is_free).any()
        return n_turns + 1, is_now_free, has_changed, loss, result.centroids, result.labels

    def is_going_on(state: _Turn) -> Array:
        # Turns are counted here and not in the flag: on a flag alone the TPU's compiler (0.0.42) aborts.
        return state[2] & (state[0] < MAX_TURNS)

    zero = jnp.zeros((), x.dtype)
    labels: Int[Array, " n"] = jnp.zeros(len(x), jnp.int32)
    start = (jnp.zeros((), jnp.int32), reached > 0, jnp.ones((), bool), zero, seeds, labels)
    _, is_free, _, loss, centroids, labels = jax.lax.while_loop(is_going_on, turn, start)
    return loss, centroids, jax.ops.segment_sum(is_free.astype(x.dtype), labels, len(seeds))


def _nearest_open(
    x: Float[Array, "n d"],
    centroids: Float[Array, "K d"],
    sizes: Float[Array, " K"],
    limits: Limits | None,
    start: tuple[Used | None, Bool[Array, " n"]],
) -> Selection:
    """Return of each cluster, by falling size, the nearest open row that no former cluster took."""

    def take(state: tuple[Used | None, Array], k: Array) -> tuple[tuple[Used | None, Array], Array]:
        used, is_open = state
        j = first_best(-squared_differences(centroids[k][None], x)[0], is_open)
        found, _ = pick_or_none(limits, is_open, j, j)
        is_open, used = close_around(limits, used, is_open, j, x)
        return (used, is_open), found

    order = jnp.argsort(-sizes, stable=True)
    return Selection(jax.lax.scan(take, start, order)[1], sizes[order])
