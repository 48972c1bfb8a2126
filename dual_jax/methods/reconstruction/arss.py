"""Accelerated robust subset selection: row-sparse self-expression whose errors count by a power up to 1."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.methods.reconstruction.rowsparse import Pool, by_l1_norms, prepare, row_l1_norms, row_norms
from dual_jax.numerics.arithmetic import matmul, safe_divide
from dual_jax.selection.protocol import Selection

MU_START, MU_GROWTH, MU_MAX = 1e-3, 1.1, 1e4  # the authors' schedule of the augmented Lagrangian
SELF_ONLY = 0.8  # sparsity from which a row is taken to rebuild only itself
EPS = 1e-8  # added to the norms of rows; a row that reached 0 would stay there


class _State(NamedTuple):
    """Strengths v of the rows, W, fit Y = A^T X, multiplier and penalty of the constraint B = X - Y."""

    strengths: Float[Array, " n"]
    w: Float[Array, "n q"]
    fit: Float[Array, "n q"]
    multiplier: Float[Array, "n q"]
    mu: Float[Array, ""]
    violation: Float[Array, ""]
    n_iters: Int[Array, ""]


@partial(jax.jit, static_argnames="n_select")
def arss(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    penalty: Float[Array, ""] | float = 0.1,
    power: Float[Array, ""] | float = 0.5,
    tol: Float[Array, ""] | float = 1e-4,
    max_iter: Int[Array, ""] | int = 300,
) -> Selection:
    """Return the rows that rebuild the pool most when single wrong entries must not matter.

        min_A  sum_ik |X - XA|_ik^p + r ||A||_{2,1},    0 < p <= 1.

    Source: Zhu et al., AAAI 2015, and the author's code: augmented Lagrangian with ``B = X - XA``, a
    shrinkage for B, one reweighting of A's rows per step, mu growing by 1.1 from 1e-3 to 1e4. For p < 1 it
    is not convex: the result is that of the schedule and need not be a minimum. Rows are ranked by their l1
    norms; a row whose coefficients are nearly 1-sparse (Hoyer's measure above 0.8: it rebuilds only itself)
    counts as an outlier and is picked after the others. That the measure is Hoyer's is INFERRED.

    The released r = 0.1 hardly regularises. With more rows than features it leaves no error at all, and then
    r and p have nothing to weigh: with p = 1 the first 50 of 500 rows stay the same, with r = 1 48 of them;
    many rows keep weight, and they rank much as by leverage, far-out rows first (rank correlation .8 to .9
    with `dcs` at full rank; measured on three standardised pools). Errors begin near r = 10; at 100 A is
    nearly 0.

    Scaling, labelled and forbidden rows: see `dual_jax.methods.reconstruction.rowsparse`. Copies of other
    rows, outliers and rows in the span of the labelled ones have score -1 and are ordered by position.

    Parameters
    ----------
    penalty
        r > 0; the author's 0.1 by default, which hardly regularises, see above.
    power
        p in (0, 1]; the author's 0.5 by default. With 1 the problem is convex.
    tol, max_iter
        The steps end when ``||B - X + XA||_F`` is ``tol`` of ``||X||_F``, or at ``max_iter`` (the author
        stops after 100).

    Returns
    -------
    Selection
        Positions, and l1 norms of A's rows. Nested.

    Notes
    -----
    Cost: with q = min(n, d), O(n d q + q^3) work a step, some hundred steps and 300 at most, and O(n^2 d)
    once to rank, whatever ``n_select``; O(n d + d^2) memory and blocks of 256 x n. The loss depends on the
    axes, so residuals keep all d when it exceeds n.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.8]])
    >>> sorted(dj.METHODS["arss"](jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    pool = prepare(x, labeled, candidates, keep_axes=True)
    state = _run(pool, penalty, power, tol, max_iter)
    ratio = safe_divide(row_l1_norms(pool.rest, state.w), row_norms(pool.rest, matmul(state.w.T, state.w)))
    sparsity = (len(x) ** 0.5 - ratio) / max(len(x) ** 0.5 - 1.0, 1.0)
    pool = pool._replace(enters=pool.enters & (sparsity <= SELF_ONLY))
    return by_l1_norms(pool, state.strengths, state.w, n_select)


def _run(
    pool: Pool,
    penalty: Float[Array, ""] | float,
    power: Float[Array, ""] | float,
    tol: Float[Array, ""] | float,
    max_iter: Int[Array, ""] | int,
) -> _State:
    """Return the state in which ``B = X - XA`` holds to ``tol``, or that after ``max_iter`` steps.

    W belongs to the strengths of the same step: ``A_j = v_j x_j^T W`` with x_j less what the labelled rows
    span. In the loop its columns are coordinates in ``basis``.
    """
    x, rest = pool.rows, jnp.where(pool.enters[:, None], pool.rest, 0.0)
    basis = _row_space(rest)
    inner = matmul(rest, basis)

    def step(state: _State) -> _State:
        error = _shrink(x - state.fit - state.multiplier / state.mu, power, state.mu)
        target = x - error - state.multiplier / state.mu
        strengths = EPS + state.strengths * row_norms(inner, matmul(state.w.T, state.w))
        strengths = jnp.where(state.n_iters == 0, 1.0, strengths)
        explained = matmul(target, pool.known)
        scale, turn = jnp.linalg.eigh(matmul(inner.T * strengths, inner))
        scale, axes = jnp.maximum(scale, 0.0), matmul(basis, turn)
        rotated = matmul(target - explained, axes) / (penalty / state.mu + scale)
        fit = explained + matmul(rotated * scale, axes.T)
        broken = error - x + fit
        violation = jnp.sqrt(safe_divide(jnp.sum(broken**2), jnp.sum(x**2)))
        mu = jnp.minimum(MU_MAX, MU_GROWTH * state.mu)
        multiplier = state.multiplier + state.mu * broken
        return _State(strengths, matmul(rotated, turn.T), fit, multiplier, mu, violation, state.n_iters + 1)

    zeros, one = jnp.zeros_like(x), jnp.ones((), x.dtype)
    start = _State(
        *(zeros[:, 0], jnp.zeros_like(inner), x, zeros),
        *(MU_START * one, jnp.inf * one, jnp.zeros((), jnp.int32)),
    )
    end = jax.lax.while_loop(lambda state: (state.violation > tol) & (state.n_iters < max_iter), step, start)
    return end._replace(w=matmul(end.w, basis.T))


def _row_space(rows: Float[Array, "n d"]) -> Float[Array, "d q"]:
    """Return an orthonormal basis, as columns, that rows are in; with d <= n every axis."""
    n, d = rows.shape
    return jnp.eye(d, dtype=rows.dtype) if d <= n else jnp.linalg.qr(rows.T)[0]


def _shrink(
    x: Float[Array, "n q"], power: Float[Array, ""] | float, mu: Float[Array, ""]
) -> Float[Array, "n q"]:
    """Return the minimiser over b of ``|b|^p + mu / 2 (b - x)^2``, by two steps of its fixed point.

    Source: the generalised shrinkage of Zuo et al., ICCV 2013; soft thresholding for p = 1.
    """
    size, free = jnp.abs(x), 2.0 * (1.0 - power) / mu
    limit = free ** (1.0 / (2.0 - power)) + power / mu * free ** ((power - 1.0) / (2.0 - power))
    is_kept = size > limit
    safe = jnp.where(is_kept, size, limit)
    shrunk = safe - power / mu * safe ** (power - 1.0)
    shrunk = safe - power / mu * shrunk ** (power - 1.0)
    return jnp.where(is_kept, jnp.sign(x) * shrunk, 0.0)
