"""k-means on the device: greedy k-means++ seeding, Lloyd iterations, restarts.

Rows are visited in chunks (`dual_jax.numerics.chunks`). A function that takes ``axis_name`` gets the rows of
its own device: an iteration exchanges K x (d + 1) numbers.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from dual_jax.devices.collectives import device_index, gather_rows, n_devices, total
from dual_jax.numerics.arithmetic import matmul, safe_divide, squared_norms
from dual_jax.numerics.chunks import (
    Chunks,
    centred_chunks,
    default_chunk,
    nearest,
    nearest_all,
    total_of_chunks,
)
from dual_jax.numerics.precision import in_float32
from dual_jax.numerics.scaling import check_spread
from dual_jax.numerics.seeding import greedy_seeds
from dual_jax.numerics.tiles import Tiles, each_tile, total_of_tiles


class KMeansResult(NamedTuple):
    """Centroids, the nearest one of each row, summed weights per cluster, inertia, Lloyd iterations."""

    centroids: Float[Array, "K d"]
    labels: Int[Array, " n"]
    sizes: Float[Array, " K"]
    inertia: Float[Array, ""]
    n_iters: Int[Array, ""]


class _Lloyd(NamedTuple):
    """The state of the iterations: centroids, the squared length of their last move, its number."""

    centroids: Float[Array, "K d"]
    shift: Float[Array, ""]
    n_iters: Int[Array, ""]


class _Labelled(NamedTuple):
    """The state of the last labels: whether the last turn moved a centroid, and how many turns there were."""

    centroids: Float[Array, "K d"]
    labels: Int[Array, "m c"]
    distances: Float[Array, "m c"]
    sizes: Float[Array, " K"]
    has_moved: Array
    n_turns: Int[Array, ""]


@in_float32
def kmeans(
    key: Key[Array, ""],
    x: Float[ArrayLike, "n d"],
    n_clusters: int,
    *,
    weights: Float[ArrayLike, " n"] | None = None,
    n_restarts: int = 4,
    max_iter: int = 100,
    tol: float = 1e-4,
    chunk_size: int | None = None,
    init: Float[ArrayLike, "K d"] | None = None,
    axis_name: str | None = None,
    n_tiles: int = 1,
) -> KMeansResult:
    """Return the best of several k-means clusterings of the rows of ``x``.

    Minimises the inertia ``sum_i w_i min_k ||x_i - c_k||^2`` by Lloyd iterations (Lloyd, IEEE Trans. Inf.
    Theory 1982) from greedy k-means++ seeds (Arthur and Vassilvitskii, SODA 2007, with 2 + log K trials per
    centre). An empty cluster is seeded again on the row farthest from its centroid. The result is a
    constant to differentiation. Restarts run one after the other on a CPU, and side by side elsewhere.

    Parameters
    ----------
    key : random key; without effect when ``init`` is given.
    x : (n, d), the rows, taken as given; with ``axis_name``, the rows of this device.
    n_clusters : K, static, from 1 to n. With fewer distinct rows than K some clusters stay empty.
    weights : (n,), >= 0, 1 by default; a row of weight 0 (padding) never seeds and never counts.
    n_restarts : number of seedings of which the one of smallest inertia is returned, static.
    max_iter : largest number of Lloyd iterations.
    tol : stop when the summed squared shift of the centroids is at most ``tol`` times the mean variance of
        the columns.
    chunk_size : rows whose distances to all centroids exist at once, static; by default what suits the cache.
    init : (K, d), start from these centroids instead of seeding (one run).
    axis_name : the mapped axis over which the rows are split.
    n_tiles : equal parts of these rows, static; with the same parts in all the result has the same bits on 1,
        2, 4, ... devices. They divide the number of rows.

    Returns
    -------
    KMeansResult : ``centroids`` (K, d), ``labels`` (n,) int32, ``sizes`` (K,) summed weights per cluster,
        ``inertia`` and ``n_iters`` of the best run. On several devices only ``labels`` differ.

    Raises
    ------
    ValueError : ``x`` is not a matrix or not finite, ``n_clusters`` is outside 1..n, or ``weights`` or
        ``init`` do not fit (values are checked only outside ``jit``).

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> result = kmeans(jax.random.key(0), jnp.array([[0.0], [1.0], [10.0], [11.0]]), 2)
    >>> sorted(result.centroids[:, 0].tolist())
    [0.5, 10.5]
    """
    x = jax.lax.stop_gradient(_as_float(x))
    weights = jnp.ones(x.shape[:1], x.dtype) if weights is None else _as_float(weights)
    init = None if init is None else jax.lax.stop_gradient(_as_float(init))
    _check(x, n_clusters, weights, init, axis_name)
    return _kmeans(
        key,
        x,
        jax.lax.stop_gradient(weights),
        init,
        tol,
        max_iter,
        n_clusters=n_clusters,
        n_restarts=n_restarts,
        chunk_size=chunk_size,
        tiles=Tiles(n_tiles, axis_name),
    )


@functools.partial(jax.jit, static_argnames=("n_clusters", "n_restarts", "chunk_size", "tiles"))
def _kmeans(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    weights: Float[Array, " n"],
    init: Float[Array, "K d"] | None,
    tol: Float[Array, ""],
    max_iter: Int[Array, ""],
    *,
    n_clusters: int,
    n_restarts: int,
    chunk_size: int | None,
    tiles: Tiles,
) -> KMeansResult:
    """Return the best of ``n_restarts`` runs, or the run that starts from ``init``."""
    n_runs = 1 if init is not None else n_restarts
    rows, mean = centred_chunks(x, weights, chunk_size or default_chunk(n_runs * n_clusters), tiles)

    def run(key: Array) -> KMeansResult:
        start = init - mean if init is not None else greedy_seeds(key, rows, n_clusters, tiles)
        return _lloyd(rows, start, tol, max_iter, tiles)

    # One after the other on a CPU: a loop in a loop is a smaller program than loops side by side.
    each = jax.lax.map if jax.default_backend() == "cpu" else _side_by_side
    runs = each(run, jax.random.split(key, n_runs))
    best = jax.tree.map(lambda leaf: leaf[jnp.argmin(runs.inertia)], runs)
    labels = best.labels.reshape(tiles.n, -1)[:, : len(x) // tiles.n].reshape(-1)
    return best._replace(centroids=best.centroids + mean, labels=labels)


def _side_by_side(run: Callable[[Array], KMeansResult], keys: Array) -> KMeansResult:
    return jax.vmap(run)(keys)


def _as_float(x: ArrayLike) -> Array:
    """Return ``x`` as an array of float32."""
    return jnp.asarray(x).astype(jnp.float32)


def _check(x: Array, n_clusters: int, weights: Array, init: Array | None, axis_name: str | None) -> None:
    """Raise ValueError for mistakes of the caller; values are checked only outside ``jit``."""
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}, but k-means needs a matrix (rows, features): reshape it.")
    n_rows = len(x) * n_devices(axis_name)
    if not 1 <= n_clusters <= n_rows:
        raise ValueError(
            f"n_clusters is {n_clusters}, but it must be from 1 to the number of rows, {n_rows}."
        )
    if weights.shape != x.shape[:1]:
        raise ValueError(f"weights has shape {weights.shape}, but x has {len(x)} rows: give one per row.")
    if init is not None and init.shape != (n_clusters, x.shape[1]):
        raise ValueError(f"init has shape {init.shape}, but {(n_clusters, x.shape[1])} is wanted.")
    if not isinstance(x, jax.core.Tracer) and not jnp.isfinite(x).all():
        raise ValueError("x holds NaN or infinite values: impute them or drop their rows first.")
    check_spread(x)
    if isinstance(weights, jax.core.Tracer):
        return
    if not (weights >= 0).all():
        raise ValueError(
            f"weights must be at least 0, but the smallest is {weights.min()}: use 0 to ignore a row."
        )
    if not 0 < weights.sum() < jnp.inf:
        raise ValueError(f"weights sum to {weights.sum()}, but a positive and finite sum is wanted.")


def _lloyd(rows: Chunks, start: Array, tol: Array, max_iter: Array, tiles: Tiles) -> KMeansResult:
    """Return the clustering that Lloyd iterations reach from ``start``; its labels are in chunks."""
    x, weights = rows
    squares = jnp.einsum("mcd,mc->md", x * x, weights, precision=jax.lax.Precision.HIGHEST)
    squares, mass = total_of_chunks((squares, weights.sum(1)), tiles)
    variance = safe_divide(squares.mean(), mass)

    def goes_on(state: _Lloyd) -> Array:
        return (state.n_iters < max_iter) & (state.shift > tol * variance)

    def iterate(state: _Lloyd) -> _Lloyd:
        sums, sizes = _cluster_sums(rows, state.centroids, tiles)
        means = jnp.where(
            sizes[:, None] > 0, sums / jnp.where(sizes > 0, sizes, 1.0)[:, None], state.centroids
        )
        means = _refilled(rows, state.centroids, means, sizes, tiles)
        return _Lloyd(means, squared_norms(means - state.centroids).sum(), state.n_iters + 1)

    state = _Lloyd(start, jnp.full((), jnp.inf, start.dtype), jnp.zeros((), jnp.int32))
    state = jax.lax.while_loop(goes_on, iterate, state)
    centroids, labels, distances, sizes = _labelled(rows, state.centroids, tiles)
    inertia = total_of_chunks((weights * distances).sum(1), tiles)
    return KMeansResult(centroids, labels, sizes, inertia, state.n_iters)


def _refilled(rows: Chunks, centroids: Array, means: Array, sizes: Array, tiles: Tiles) -> Array:
    """Return the means, those of empty clusters moved to the rows farthest from the former centroids.

    A loop of at most one turn and not a branch, of which ``vmap`` would take both sides in every iteration.
    """

    def refill(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, distances = nearest_all(rows, centroids, tiles)
        return _moved_to_farthest(rows, distances, state[0], sizes, tiles), jnp.zeros((), bool)

    return jax.lax.while_loop(lambda state: state[1], refill, (means, (sizes <= 0).any()))[0]


def _labelled(
    rows: Chunks, centroids: Array, tiles: Tiles
) -> tuple[Float[Array, "K d"], Int[Array, "m c"], Float[Array, "m c"], Float[Array, " K"]]:
    """Return the centroids, labels and squared distances that go with them, and sizes.

    Labels are computed again until no cluster is empty, or no row is left that could fill it.
    """
    n_clusters = len(centroids)

    def label(state: _Labelled) -> _Labelled:
        moved = _moved_to_farthest(rows, state.distances, state.centroids, state.sizes, tiles)
        labels, distances = nearest_all(rows, moved, tiles)
        counts = jax.vmap(lambda w, k: jax.ops.segment_sum(w, k, n_clusters))(rows.weights, labels).sum(0)
        has_moved = (state.n_turns == 0) | (moved != state.centroids).any()
        return _Labelled(
            moved, labels, distances, total(counts, tiles.axis_name), has_moved, state.n_turns + 1
        )

    def goes_on(state: _Labelled) -> Array:
        is_open = state.has_moved & (state.sizes <= 0).any() & (state.n_turns <= n_clusters)
        return (state.n_turns == 0) | is_open

    zeros = jnp.zeros_like(rows.weights)
    sizes = jnp.ones_like(centroids[:, 0])
    start = _Labelled(
        centroids, zeros.astype(jnp.int32), zeros, sizes, jnp.ones((), bool), jnp.zeros((), jnp.int32)
    )
    return jax.lax.while_loop(goes_on, label, start)[:4]


def _moved_to_farthest(
    rows: Chunks, distances: Float[Array, "m c"], centroids: Array, sizes: Array, tiles: Tiles
) -> Float[Array, "K d"]:
    """Return the centroids, each of an empty cluster replaced by another one of the farthest rows.

    A row that equals its centroid in float32 replaces none.
    """
    distances = jnp.where(rows.weights > 0, distances, -1.0).reshape(-1)
    distances, positions = jax.lax.top_k(distances, min(len(centroids), len(distances)))
    all_distances = gather_rows(distances, tiles.axis_name)
    best, order = jax.lax.top_k(all_distances, min(len(centroids), len(all_distances)))
    owner, place = jnp.divmod(order, len(positions))
    flat = rows.x.reshape(-1, rows.x.shape[-1])
    is_mine = owner == device_index(tiles.axis_name)
    farthest = total(jnp.where(is_mine[:, None], flat[positions[place]], 0.0), tiles.axis_name)
    is_apart = best > jnp.finfo(best.dtype).eps * squared_norms(farthest)
    is_empty = sizes <= 0
    rank = jnp.cumsum(is_empty) - 1
    is_moved = is_empty & is_apart[rank]
    return jnp.where(is_moved[:, None], farthest[rank], centroids)


def _cluster_sums(
    rows: Chunks, centroids: Float[Array, "K d"], tiles: Tiles
) -> tuple[Float[Array, "K d"], Float[Array, " K"]]:
    """Return weighted sums of the rows and of the weights over each cluster."""
    n_clusters = len(centroids)

    def scattered(x: Array, weights: Array, labels: Array) -> tuple[Array, Array]:
        sums = jax.ops.segment_sum(weights[:, None] * x, labels, n_clusters)
        return sums, jax.ops.segment_sum(weights, labels, n_clusters)

    def multiplied(x: Array, weights: Array, labels: Array) -> tuple[Array, Array]:
        members = jnp.where(labels == jnp.arange(n_clusters)[:, None], weights, 0.0)
        return matmul(members, x), members.sum(1)

    def add(
        sums: tuple[Array, Array], chunk: tuple[Array, Array], centroids: Array
    ) -> tuple[tuple[Array, Array], None]:
        x, weights = chunk
        # A scatter is 3 times as fast on a CPU, and on a GPU its order is not deterministic.
        here = jax.lax.platform_dependent(
            x, weights, nearest(x, centroids), cpu=scattered, default=multiplied
        )
        return jax.tree.map(jnp.add, sums, here), None

    def of_tile(rows: Chunks, centroids: Array) -> tuple[Array, Array]:
        zeros = (jnp.zeros_like(centroids), jnp.zeros_like(centroids[:, 0]))
        return jax.lax.scan(functools.partial(add, centroids=centroids), zeros, rows)[0]

    return total_of_tiles(each_tile(of_tile, rows, tiles, centroids), tiles)
