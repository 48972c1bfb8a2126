"""Self-expression with residuals that are not squared, and few rows: reweighted least squares."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dual_jax.methods.reconstruction.rowsparse import FREE, Pool, row_norms
from dual_jax.numerics.arithmetic import matmul, safe_divide, squared_norms

SMOOTH = 1e-8  # inside the root of a residual's length, for rows of mean squared length 1
SMOOTH_ROWS = 1e-12  # inside the root of the norms of A's rows: more would hold the gap up
N_CONJUGATE = 10  # steps per reweighting; the next one continues from there


class Robust(NamedTuple):
    """Strengths s, W (one row per target), the relative gap, and iterations used; ``A_j = s_j x_j^T W``."""

    strengths: Float[Array, " n"]
    w: Float[Array, "n q"]
    gap: Float[Array, ""]
    n_iters: Array


class Locality(NamedTuple):
    """A symmetric operator on the fit (n, q), acting on each column alike, and its diagonal (n,)."""

    apply: Callable[[Array], Array]
    diagonal: Float[Array, " n"]


class _Weights(NamedTuple):
    """Twice the norms of A's rows, and the lengths of the residuals, both smoothed, of the last iteration."""

    strengths: Float[Array, " n"]
    lengths: Float[Array, " n"]


def robust_lasso(
    pool: Pool,
    penalty: Float[Array, ""] | float,
    *,
    locality: Locality | None = None,
    tol: Float[Array, ""] | float = 1e-3,
    max_iter: Int[Array, ""] | int = 1000,
) -> Robust:
    """Return the strengths of the rows that minimise ``sum_i ||x_i - y_i|| + tr(Y^T M Y) + r ||A||_{2,1}``.

    Y is the fit ``y_i = sum_j A_ji x_j`` plus what the labelled rows add, M the locality operator (0 without
    one). Iteratively reweighted: with ``S = sum_j s_j x_j x_j^T = E diag(l) E^T`` and ``s_j = 2 ||A_j||``,
    each iteration solves, column by column of the rotated rows,

        (r + l_k (U + M)) w_k = U x_k,    U = diag(1 / 2 ||x_i - y_i||),

    which is a division without M and conjugate gradients (10 steps from the last W) with it. Roots are
    smoothed by 1e-8 and 1e-12. It stops when a bound of the duality gap is ``tol`` of the objective.

    Parameters
    ----------
    pool
        Rows, as `prepare` returns them.
    penalty
        r > 0.
    locality
        M, or None.
    tol, max_iter
        Relative gap to stop at, and the cap on iterations.

    Notes
    -----
    O(n q^2 + q^3) an iteration, memory O(n q).
    """
    x, known = pool.rows, pool.known
    rest = jnp.where(pool.enters[:, None], pool.rest, 0.0)

    def iterate(weights: _Weights, w: Array) -> tuple[_Weights, Array, Array]:
        scatter = matmul(rest.T * weights.strengths, rest)
        apart = 1.0 + 2.0 * jnp.trace(scatter)  # beyond all eigenvalues, so that no axis mixes the two spans
        scale, axes = jnp.linalg.eigh(scatter + apart * known)
        scale = jnp.where(scale > apart / 2.0, FREE * apart, jnp.maximum(scale, 0.0))
        u = 0.5 / weights.lengths[:, None]
        rotated = matmul(x, axes)
        if locality is None:
            w = rotated * u / (penalty + scale * u)
            fit, local, left = scale * w, jnp.zeros_like(w), jnp.zeros_like(w)
        else:
            w, left = _solve(locality, scale, u, penalty, rotated * u, matmul(w, axes))
            fit = scale * w
            local = locality.apply(fit)
        # Equal to `rotated - fit`, without its cancellation where a row is met exactly.
        residual = (penalty * w + local + left) / u
        norms = weights.strengths * row_norms(matmul(rest, axes), matmul(w.T, w))
        then = _Weights(2.0 * jnp.sqrt(norms**2 + SMOOTH_ROWS), jnp.sqrt(squared_norms(residual) + SMOOTH))
        force = residual / then.lengths[:, None] - 2.0 * local
        pull = row_norms(matmul(rest, axes), matmul(force.T, force)) / penalty
        objective = jnp.sum(then.lengths) + jnp.sum(fit * local) + penalty * jnp.sum(norms)
        gap = penalty * jnp.sum(norms * (1.0 - pull)) / objective + jnp.maximum(jnp.max(pull) - 1.0, 0.0)
        return then, matmul(w, axes.T), gap

    def step(carry: tuple[_Weights, Robust]) -> tuple[_Weights, Robust]:
        weights, report = carry
        then, w, gap = iterate(weights, report.w)
        return then, Robust(weights.strengths, w, gap, report.n_iters + 1)

    one = jnp.ones(len(x), x.dtype)
    start = Robust(one, jnp.zeros_like(x), jnp.full((), jnp.inf), jnp.zeros((), jnp.int32))
    first = (_Weights(one, 0.5 * one), start)
    return jax.lax.while_loop(
        lambda carry: (carry[1].gap > tol) & (carry[1].n_iters < max_iter), step, first
    )[1]


def _solve(
    locality: Locality,
    scale: Float[Array, " q"],
    u: Float[Array, "n 1"],
    penalty: Float[Array, ""] | float,
    target: Float[Array, "n q"],
    w: Float[Array, "n q"],
) -> tuple[Float[Array, "n q"], Float[Array, "n q"]]:
    """Return w and what is left of the target after some steps of conjugate gradients, column by column."""

    def operator(w: Array) -> Array:
        return penalty * w + scale * (u * w + locality.apply(w))

    preconditioner = penalty + scale * (u + locality.diagonal[:, None])

    def step(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        w, residual, direction, energy = state
        image = operator(direction)
        length = safe_divide(energy, jnp.sum(direction * image, axis=0))
        w, residual = w + length * direction, residual - length * image
        steep = residual / preconditioner
        new = jnp.sum(residual * steep, axis=0)
        return w, residual, steep + safe_divide(new, energy) * direction, new

    residual = target - operator(w)
    steep = residual / preconditioner
    start = (w, residual, steep, jnp.sum(residual * steep, axis=0))
    return jax.lax.fori_loop(0, N_CONJUGATE, step, start)[:2]
