"""Roots, divisions and distances that survive float32, sparsity and duplicates.

Matrix products whose rounding can change a ranking go through `matmul`, at full float32 precision on every
device (a TPU multiplies in bfloat16 unless told otherwise).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TINY = 1e-12
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


def min_max(x: Float[Array, " n"], where: Float[Array, " n"] | None = None) -> Float[Array, " n"]:
    """Return ``x`` scaled to [0, 1] by its extremes over ``where``; zeros when it is constant."""
    low = jnp.min(x, where=where, initial=jnp.inf)
    high = jnp.max(x, where=where, initial=-jnp.inf)
    return safe_divide(x - low, jnp.broadcast_to(high - low, x.shape))


def squared_norms(x: Float[Array, "n q"]) -> Float[Array, " n"]:
    """Return the squared length of each row."""
    return jnp.sum(x * x, axis=-1)


def squared_distances(a: Float[Array, "m q"], b: Float[Array, "n q"]) -> Float[Array, "m n"]:
    """Return ``||a_i - b_j||^2`` by one matrix product; fast, never negative, not exact for near pairs.

    The rounding error is some 1e-7 of the squared norms, so centre the rows first. Where a root of a small
    distance matters, use `exact_squared_distances`.
    """
    gram = matmul(a, b.T)
    return jnp.maximum(squared_norms(a)[:, None] + squared_norms(b)[None, :] - 2.0 * gram, 0.0)
