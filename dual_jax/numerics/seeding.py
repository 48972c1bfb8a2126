"""Seeds of k-means: greedy k-means++ over rows in chunks."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from dual_jax.devices.collectives import device_index, gather_rows, total
from dual_jax.numerics.arithmetic import squared_differences
from dual_jax.numerics.chunks import Chunks, total_of_chunks
from dual_jax.numerics.tiles import WHOLE, Tiles, each, isolated


def greedy_seeds(
    key: Key[Array, ""],
    rows: Chunks,
    n_clusters: int,
    tiles: Tiles = WHOLE,
    *,
    reached: Float[Array, "m c"] | None = None,
) -> Float[Array, "K d"]:
    """Return seeds by greedy k-means++: of 2 + log K rows drawn by D^2, each time the one that gains most.

    Row i is drawn with probability ``w_i D_i / sum_j w_j D_j``, D_i the squared distance to the nearest seed
    so far, and the drawn row that lowers ``sum_i w_i D_i`` most is the next seed. Without ``reached`` the
    first seed is the first row drawn; it is in the same loop because a second copy doubles compilation.
    Source: Arthur and Vassilvitskii, SODA 2007.

    Parameters
    ----------
    rows
        This device's rows, and their weights.
    n_clusters
        K, static.
    tiles
        How the rows are split over devices.
    reached
        D before the first seed, for rows that other centres serve; infinite by default.
    """
    n_trials, n_plain = 2 + int(math.log(n_clusters)), 1 if reached is None else 0

    def add(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        seeds, closest = state
        mass = rows.weights * jnp.where(jnp.isinf(closest), 1.0, closest)
        trials = _draw(jax.random.fold_in(key, k), rows, mass, n_trials, tiles)

        def potential(chunk: tuple[Array, Array, Array], trials: Array) -> Array:
            x, weights, closest = chunk
            return (weights * jnp.minimum(closest, squared_differences(trials, x))).sum(1)

        potentials = total_of_chunks(each(potential, (*rows, closest), tiles, trials), tiles)
        seed = trials[jnp.where(k < n_plain, 0, jnp.argmin(potentials))]
        distances = each(lambda x, seed: squared_differences(seed[None], x)[0], rows.x, tiles, seed)
        return seeds.at[k].set(seed), jnp.minimum(closest, distances)

    seeds = jnp.zeros((n_clusters, rows.x.shape[-1]), rows.x.dtype)
    reached = jnp.full_like(rows.weights, jnp.inf) if reached is None else reached
    return jax.lax.fori_loop(0, n_clusters, add, (seeds, reached))[0]


def _draw(
    key: Array, rows: Chunks, mass: Float[Array, "m c"], n_draws: int, tiles: Tiles
) -> Float[Array, "n_draws d"]:
    """Return rows drawn in proportion to ``mass`` (to their weights where no mass is left).

    The inverse of the cumulative mass over all rows of all devices at one uniform number a draw: chunks
    first, then rows in the chunk, so that float32 sums stay short and the draw does not depend on the layout.
    """
    axis_name, n_chunks = tiles.axis_name, len(mass)
    mass = jnp.where(total(mass.sum(), axis_name) > 0, mass, rows.weights)

    def invert(mass: Array, target: Array) -> tuple[Array, Array]:
        edges = jnp.cumsum(mass)
        is_hit = (edges > target) & (mass > 0)
        # Rounding can leave the target at the last edge: then the row of largest mass is taken.
        position = jnp.where(is_hit.any(), jnp.argmax(is_hit), jnp.argmax(mass))
        return position, target - (edges[position] - mass[position])

    mass = isolated(mass, tiles)
    chunk_mass = isolated(gather_rows(isolated(mass.sum(1), tiles), axis_name), tiles)

    def draw(uniform: Array) -> Array:
        chunk, rest = invert(chunk_mass, uniform * chunk_mass.sum())
        chunk = chunk - n_chunks * device_index(axis_name)
        row, _ = invert(mass[chunk], rest)
        return jnp.where((chunk >= 0) & (chunk < n_chunks), rows.x[chunk, row], 0.0)

    return total(jax.vmap(draw)(jax.random.uniform(key, (n_draws,), mass.dtype)), axis_name)
