"""Rows in chunks of fixed shape, and the nearest centroid of each row.

Nothing of size n x K exists beyond a chunk. Rows are centred first (distances of data far from the origin
survive float32), and the padding of the last chunk has weight 0.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dual_jax.devices.collectives import gather_rows
from dual_jax.numerics.arithmetic import matmul, safe_divide, squared_norms
from dual_jax.numerics.tiles import WHOLE, Tiles, alone, each, isolated

FEW_SCORES = 1 << 18  # distances that an argmin reads in less time than the chain takes to compile
TILE = 64  # centroids compared in one unrolled chain; more only lengthens compilation
CPU_SCORES = 2**19  # distances per chunk: as float32 they fill the 2 MiB second-level cache of a core
SCORES = 2**24  # distances per chunk on an accelerator, where launching a kernel costs more than memory


class Chunks(NamedTuple):
    """This device's rows, centred, in m chunks of c rows, and their weights."""

    x: Float[Array, "m c d"]
    weights: Float[Array, "m c"]


@jax.jit
def assign(
    x: Float[Array, "n d"], centroids: Float[Array, "K d"]
) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Return the nearest centroid of each row, the first of equals, and the squared distance to it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> labels, squared = assign(jnp.array([[0.0], [4.0]]), jnp.array([[1.0], [3.0], [9.0]]))
    >>> labels.tolist(), squared.tolist()
    ([0, 1], [1.0, 1.0])
    """
    rows, mean = centred_chunks(x, jnp.ones(len(x), x.dtype), default_chunk(len(centroids)))
    labels, distances = nearest_all(rows, centroids - mean)
    return labels.reshape(-1)[: len(x)], distances.reshape(-1)[: len(x)]


def default_chunk(n_scores: int) -> int:
    """Return how many rows with ``n_scores`` distances each make a chunk."""
    budget = CPU_SCORES if jax.default_backend() == "cpu" else SCORES
    return max(budget // n_scores, 256)


def centred_chunks(x: Array, weights: Array, chunk_size: int, tiles: Tiles = WHOLE) -> tuple[Chunks, Array]:
    """Return the rows less their weighted mean in even chunks, each within one tile, and that mean."""
    n, d = len(x) // tiles.n, x.shape[1]
    n_chunks = -(-n // chunk_size)
    size = -(-n // n_chunks)
    missing = (0, 0), (0, n_chunks * size - n)
    x = jnp.pad(x.reshape(tiles.n, n, d), (*missing, (0, 0))).reshape(-1, size, d)
    weights = jnp.pad(weights.reshape(tiles.n, n), missing).reshape(-1, size)
    sums = jnp.einsum("mcd,mc->md", x, weights, precision=jax.lax.Precision.HIGHEST)
    sums, mass = total_of_chunks((sums, weights.sum(1)), tiles)
    mean = safe_divide(sums, jnp.broadcast_to(mass, sums.shape))
    return Chunks(x - mean, weights), mean


def total_of_chunks(parts: Any, tiles: Tiles) -> Any:
    """Return the sum of each leaf over the chunks of all devices, in order; it has an entry per own chunk."""
    everywhere = jax.tree.map(lambda leaf: gather_rows(leaf, tiles.axis_name), isolated(parts, tiles))
    return alone(lambda parts: jax.tree.map(lambda leaf: leaf.sum(0), parts), tiles)(everywhere)


def nearest_all(
    rows: Chunks, centroids: Array, tiles: Tiles = WHOLE
) -> tuple[Int[Array, "m c"], Float[Array, "m c"]]:
    """Return of every row the nearest centroid and the squared distance to it, formed by differences."""

    def measure(x: Array, centroids: Array) -> tuple[Array, Array]:
        labels = nearest(x, centroids)
        return labels, squared_norms(x - centroids[labels])

    return each(measure, rows.x, tiles, centroids)


def nearest(x: Float[Array, "c d"], centroids: Float[Array, "K d"]) -> Int[Array, " c"]:
    """Return the position of the nearest centroid, the first of equals: argmin_k ||c_k||^2 / 2 - x . c_k.

    For many scores one chain of selections over the clusters, which XLA fuses with the subtraction into a
    single vectorised pass over the products: its own argmin is several times slower than the matrix product
    on a CPU. For few scores that argmin, for the chain takes seconds to compile.
    """
    if len(x) * len(centroids) <= FEW_SCORES:
        scores = (squared_norms(centroids) / 2)[:, None] - matmul(centroids, x.T)
        return jnp.argmin(scores, axis=0).astype(jnp.int32)
    n_tiles = -(-len(centroids) // TILE)
    size = -(-len(centroids) // n_tiles)
    n_pads = n_tiles * size - len(centroids)
    tiles = jnp.pad(centroids, ((0, n_pads), (0, 0))).reshape(n_tiles, size, -1)
    halves = jnp.pad(squared_norms(centroids) / 2, (0, n_pads), constant_values=jnp.inf).reshape(
        n_tiles, size
    )

    def compare(
        state: tuple[Array, Array], tile: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        best, label = state
        centroids, halves, start = tile
        scores = halves[:, None] - matmul(centroids, x.T)
        for k in range(size):
            is_nearer = scores[k] < best
            best = jnp.where(is_nearer, scores[k], best)
            label = jnp.where(is_nearer, start + k, label)
        return (best, label), None

    state = (jnp.full(len(x), jnp.inf, x.dtype), jnp.zeros(len(x), jnp.int32))
    starts = size * jnp.arange(n_tiles, dtype=jnp.int32)
    return jax.lax.scan(compare, state, (tiles, halves, starts))[0][1]
