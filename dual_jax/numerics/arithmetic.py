"""Roots, divisions and distances that survive float32, sparsity and duplicates.

Matrix products whose rounding can change a ranking go through `matmul`, at full float32 precision on every
device (a TPU multiplies in bfloat16 unless told otherwise).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.numerics.xla import transposed_matmul

TINY = 1e-12
N_ITERATIONS = 4  # of `principal_directions`
NEAR = 1e-3  # squared distances below this share of the squared norms are formed by differences


def matmul(a: Float[Array, "... m k"], b: Float[Array, "... k n"]) -> Float[Array, "... m n"]:
    """Return ``a @ b`` at full float32 precision."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def safe_sqrt(x: Float[Array, "..."], floor: float = TINY) -> Float[Array, "..."]:
    """Return ``sqrt(x + floor)``, whose gradient is finite where ``x`` is zero."""
    return jnp.sqrt(x + floor)


def safe_divide(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``a / b`` for ``b >= 0``, and 0 where ``b`` is zero, also in the gradient."""
    is_zero = b <= 0
    return jnp.where(is_zero, 0.0, a / jnp.where(is_zero, 1.0, b))


def stochastic_round(x: Float[Array, "..."], salt: Int[Array, ""]) -> Array:
    """Return float32 numbers in bfloat16, rounded stochastically: the mean of the result is the number.

    Rounding to the nearest loses every change below 1/512 of a number, so an average with decay 0.999 stops
    changing once it has grown. The chance is a hash of the number and ``salt``; what bfloat16 holds stays.
    Source: Gupta et al., ICML 2015, stochastic rounding.

    Parameters
    ----------
    salt
        Another number at each step; the same one gives the same result.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    noise = (bits ^ (salt.astype(jnp.uint32) * jnp.uint32(0x9E3779B1))) * jnp.uint32(0x85EBCA6B)
    noise = (noise ^ (noise >> 13)) * jnp.uint32(0xC2B2AE35)
    cut = (bits + (noise >> 16)) & jnp.uint32(0xFFFF0000)
    return jax.lax.bitcast_convert_type(cut, jnp.float32).astype(jnp.bfloat16)


def min_max(x: Float[Array, " n"], where: Bool[Array, " n"] | None = None) -> Float[Array, " n"]:
    """Return ``x`` scaled to [0, 1] by its extremes over ``where``; zeros when it is constant."""
    low = jnp.min(x, where=where, initial=jnp.inf)
    high = jnp.max(x, where=where, initial=-jnp.inf)
    return safe_divide(x - low, jnp.broadcast_to(high - low, x.shape))


def squared_norms(x: Float[Array, "n q"]) -> Float[Array, " n"]:
    """Return the squared length of each row."""
    return jnp.sum(x * x, axis=-1)


def unit_power(x: Float[Array, "n q"]) -> Float[Array, "n q"]:
    """Return ``x`` divided by the root mean square of its rows' lengths; zeros stay zeros."""
    return safe_divide(x, jnp.broadcast_to(jnp.sqrt(jnp.mean(squared_norms(x))), x.shape))


def squared_distances(a: Float[Array, "m q"], b: Float[Array, "n q"]) -> Float[Array, "m n"]:
    """Return ``||a_i - b_j||^2`` by one matrix product; fast, never negative, not exact for near pairs.

    The rounding error is some 1e-7 of the squared norms, so centre the rows first. Where a root of a small
    distance matters, use `exact_squared_distances`.
    """
    gram = matmul(a, b.T)
    return jnp.maximum(squared_norms(a)[:, None] + squared_norms(b)[None, :] - 2.0 * gram, 0.0)


def squared_differences(a: Float[Array, "m q"], b: Float[Array, "n q"]) -> Float[Array, "m n"]:
    """Return ``||a_i - b_j||^2`` formed by differences: exact to rounding, 0 for equal rows.

    Some ten times the cost of `squared_distances`: for a few rows of ``a``.
    """
    return jnp.sum((a[:, None] - b[None, :]) ** 2, axis=-1)


def exact_squared_distances(
    a: Float[Array, "m q"], b: Float[Array, "n q"], *, chunk: int = 64
) -> Float[Array, "m n"]:
    """Return `squared_distances` with near pairs (`NEAR`) formed by differences; equal rows give 0.

    Rows of ``a`` that are near to some row of ``b`` are recomputed, ``chunk`` of them at a time, so that the
    cost follows their number: let ``a`` be the longer one, and centre both first.
    """
    squared = squared_distances(a, b)
    scale = squared_norms(a)[:, None] + squared_norms(b)[None, :]
    rank = jnp.cumsum(jnp.any(squared < NEAR * scale, axis=1))

    def recompute(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, squared = state
        rows = nth_true(rank, done, chunk)
        near = a.at[rows].get(mode="clip")
        limit = NEAR * scale.at[rows].get(mode="clip")
        old = squared.at[rows].get(mode="clip")
        exact = jnp.where(old < limit, squared_differences(near, b), old)
        return done + chunk, squared.at[rows].set(exact, mode="drop")

    done = jnp.zeros((), rank.dtype)
    return jax.lax.while_loop(lambda state: state[0] < rank[-1], recompute, (done, squared))[1]


def principal_directions(
    key: Key[Array, ""], x: Float[Array, "n d"], n_directions: int
) -> Float[Array, "d n_directions"]:
    """Return orthonormal directions that hold nearly the most variance of centred rows.

    Subspace iteration from random directions; O(n d n_directions). Source: Halko, Martinsson and Tropp, SIAM
    Review 2011, Algorithm 4.4.
    """
    start = jnp.linalg.qr(jax.random.normal(key, (x.shape[1], n_directions)))[0]

    def iterate(_: Array, basis: Array) -> Array:
        return jnp.linalg.qr(transposed_matmul(x, matmul(x, basis)))[0]

    return jax.lax.fori_loop(0, N_ITERATIONS, iterate, start)


def sum_by_label(x: Float[Array, "n q"], labels: Int[Array, " n"], n_labels: int) -> Float[Array, "k q"]:
    """Return the sum of the rows of each label below ``n_labels``; others are left out.

    Deterministic: on a GPU a scatter adds in any order, so there it is a product.
    """

    def scattered(x: Array, labels: Array) -> Array:
        return jax.ops.segment_sum(x, labels, n_labels)

    def multiplied(x: Array, labels: Array) -> Array:
        return matmul((labels == jnp.arange(n_labels)[:, None]).astype(x.dtype), x)

    return jax.lax.platform_dependent(x, labels, cpu=scattered, default=multiplied)


def nth_true(rank: Int[Array, " n"], start: Int[Array, ""], size: int) -> Int[Array, " size"]:
    """Return the next ``size`` true positions after the first ``start``; n where there is none left.

    ``rank`` is the cumulative sum of the mask, so that a loop can visit a mask in pieces of fixed shape.
    """
    return jnp.searchsorted(rank, start + 1 + jnp.arange(size))


def squared_distances_to_nearest(x: Float[Array, "n d"], among: Bool[Array, " n"]) -> Float[Array, " n"]:
    """Return the squared distance of each row to the nearest row of a mask; infinite where that is empty.

    Exact to rounding, and 0 for the rows of the mask; O(n d) for each of those.
    """
    rank = jnp.cumsum(among)

    def visit(i: Array, nearest: Array) -> Array:
        return jnp.minimum(nearest, squared_differences(x[nth_true(rank, i, 1)], x)[0])

    start = jnp.where(among, 0.0, jnp.full(len(x), jnp.inf, x.dtype))
    return jax.lax.fori_loop(0, rank[-1], visit, start)
