"""Centre, spread and scale of a pool, robust to a few far rows."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.arithmetic import TINY, matmul, safe_divide, safe_sqrt, squared_norms
from dual_jax.numerics.draws import draw_rows

MAX_INPUTS = 128  # wider inputs enter distances by this many principal directions


N_NEAR, SCALE_SAMPLE, SCALE_BATCH = 10, 2048, 64  # of `neighbour_scale`


N_WEISZFELD = 50  # iterations of `robust_moments`


class Moments(NamedTuple):
    """Centre of some rows and their typical distance from it; see `moments` and `robust_moments`."""

    mean: Float[Array, " p"]
    spread: Float[Array, ""]


def moments(rows: Float[Array, "n p"], is_row: Bool[Array, " n"]) -> Moments:
    """Return the mean of the real rows and their root mean squared distance from it."""
    share = is_row / jnp.sum(is_row)
    mean = share @ rows
    return Moments(mean, safe_sqrt(share @ squared_norms(rows - mean)))


def robust_moments(rows: Float[Array, "n p"], is_row: Bool[Array, " n"]) -> Moments:
    """Return the geometric median of the real rows, and their median distance from it as spread.

    A single far row moves a mean and a root mean square as far as it likes; half of the rows must be far to
    move these. Rows at the centre itself, as duplicates may be, do not count for the spread. Source: the
    iteration of Weiszfeld (1937), with the rule of Vardi and Zhang (PNAS 2000) for a centre on a row; at the
    end the nearest row is the centre if it is the median, which the iteration approaches but never reaches.
    """

    def distances(center: Array) -> Array:
        return jnp.where(is_row, jnp.sqrt(squared_norms(rows - center)), 0.0)

    def step(_: Any, center: Array) -> Array:
        pulls = safe_divide(jnp.ones(len(rows)), distances(center))
        total = matmul(pulls, rows - center)
        n_here = jnp.sum(is_row & (pulls == 0))
        share = jnp.maximum(1.0 - safe_divide(n_here, jnp.linalg.norm(total)), 0.0)
        return center + share * safe_divide(total, jnp.sum(pulls))

    center = jax.lax.fori_loop(0, N_WEISZFELD, step, moments(rows, is_row).mean)
    nearest = rows[jnp.argmin(jnp.where(is_row, distances(center), jnp.inf))]
    is_median = jnp.all(step(0, nearest) == nearest)
    center = jnp.where(is_median, nearest, center)
    lengths = distances(center)
    spread = jnp.nanmedian(jnp.where(lengths > 0, lengths, jnp.nan))
    return Moments(center, jnp.where(spread > 0, spread, 1.0))


def neighbour_scale(
    key: Key[Array, ""], u: Float[Array, "n q"], is_row: Bool[Array, " n"]
) -> Float[Array, ""]:
    """Return s0: the mean squared distance of a row to its 10 nearest, over at most 2,048 drawn rows.

    Where duplicates make it zero, the mean squared distance of all pairs stands in, and 1 where that is
    zero too.
    """
    n = len(u)
    n_near = min(N_NEAR, n - 1)
    drawn = draw_rows(key, is_row, SCALE_SAMPLE)
    u = u - moments(u, is_row).mean

    def nearest(row: Array) -> tuple[Array, Array]:
        is_other = is_row & is_row[row] & (jnp.arange(n) != row)
        near = -jax.lax.top_k(jnp.where(is_other, -squared_norms(u - u[row]), -jnp.inf), n_near)[0]
        is_near = jnp.isfinite(near)
        return jnp.sum(near, where=is_near), jnp.sum(is_near, dtype=jnp.float32)

    sums, counts = jax.lax.map(nearest, drawn, batch_size=min(SCALE_BATCH, n))
    near = safe_divide(jnp.sum(sums), jnp.sum(counts))
    spread = 2.0 * moments(u, is_row).spread ** 2
    fallback = jnp.where(spread > 4.0 * TINY, spread, 1.0)
    return jnp.where(near > TINY * spread, near, fallback)


def bounded_gain(squared: Float[Array, " rows"]) -> Float[Array, " rows"]:
    """Return log(1 + l) / l for rows of squared length l^2: times it, a far row has little influence."""
    length = safe_sqrt(squared)
    return jnp.log1p(length) / length
