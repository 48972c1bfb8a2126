"""Determinantal point process: rows whose kernel matrix has a large determinant."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.methods.coverage.kcenter import spread_rest
from dual_jax.numerics.arithmetic import matmul, squared_norms
from dual_jax.numerics.kernels import kernel_matrix, median_distance
from dual_jax.selection.limits import APART, Limits, Used, begin, close_around, only
from dual_jax.selection.protocol import TIE, Selection, first_best
from dual_jax.selection.walks import cut, pick_or_none

RANK = 1e-5  # a residual below this share of the largest kernel value is rounding
MAX_LABELED = 256  # labelled rows that are conditioned on, the least explained first

_Factor = tuple[Float[Array, "r n"], Float[Array, " n"]]


@partial(jax.jit, static_argnames=("n_select", "kernel"))
def dpp(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    kernel: str = "rbf",
    width: float | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return rows that span the largest volume in the kernel's feature space.

    Greedily maximises ``log det L_S``, L the kernel matrix and S the labelled rows and picks: each pick has
    the largest residual ``L_ii - L_iS L_SS^-1 L_Si``, kept up to date by an incremental Cholesky factor.
    Source: Chen, Zhang and Zhou, NeurIPS 2018, Algorithm 1, and its released code (whose quality scores are 1
    here).

    Nested. Deterministic: among rows that tie (within 1e-6 relative; with the RBF kernel that is every row at
    the first pick) the one nearest to the mean of the pool comes first, then the lowest position. A duplicate
    has residual 0. Past the rank of L, in float32 where the residual falls below 1e-5 of the largest kernel
    value (with the linear kernel after some d picks), `kcenter` continues from the picks: our rule.

    Pure diversity: outliers come first, and density has no influence. Forbidden rows have none either, for
    the objective has no term for rows that are not picked. Above 256 labelled rows the 256 least explained by
    the others represent all (pivoted Cholesky).

    Cost: O(n n_select (d + n_select + 256)) work and O(n (n_select + 256)) memory.

    Parameters
    ----------
    kernel, width
        As in `dual_jax.numerics.kernels.kernel_matrix`; both defaults are ours.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions, and by how much each raises ``log det L_S``; past the rank the log of the smallest residual
        distinguished.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> dj.METHODS["dpp"](jax.random.key(0), x, 3, width=1.0).indices.tolist()
    [2, 3, 0]
    """
    sigma = median_distance(x) if width is None else width
    diagonal = jnp.ones(len(x)) if kernel == "rbf" else squared_norms(x)
    floor = jnp.maximum(RANK * diagonal.max(), jnp.finfo(x.dtype).tiny)
    from_mean = squared_norms(x - x.mean(0))
    n_kept = min(len(x), MAX_LABELED)

    def absorb(factor: _Factor, slot: Array, row: Int[Array, ""]) -> _Factor:
        """Add a row to the Cholesky factor and take what it explains from the residuals."""
        columns, residual = factor
        kernels = kernel_matrix(x, x[row][None], kernel, sigma)[:, 0]
        rest = kernels - matmul(columns[:, row][None], columns)[0]
        column = rest / jnp.sqrt(jnp.maximum(residual[row], floor))
        residual = jnp.maximum(residual - column**2, 0.0).at[row].set(0.0)
        return columns.at[slot].set(column), residual

    def condition(state: tuple[Array, _Factor]) -> tuple[Array, _Factor]:
        slot, factor = state
        return slot + 1, absorb(factor, slot, jnp.argmax(jnp.where(labeled, factor[1], -1.0)))

    def is_unexplained(state: tuple[Array, _Factor]) -> Array:
        slot, (_, residual) = state
        return (slot < n_kept) & (jnp.max(residual, where=labeled, initial=0.0) > floor)

    def pick(
        state: tuple[_Factor, Array, Used | None], slot: Array
    ) -> tuple[tuple[_Factor, Array, Used | None], tuple[Array, Array]]:
        factor, is_open, used = state
        residual = factor[1]
        best = jnp.max(residual, where=is_open, initial=0.0)
        row = first_best(-from_mean, is_open & (residual >= (1.0 - TIE) * best))
        factor = absorb(factor, slot, row)
        found = pick_or_none(limits, is_open, row, best)
        is_open, used = close_around(limits, used, is_open, row, x)
        return (factor, is_open, used), found

    nothing = (jnp.zeros((n_kept + n_select, len(x))), diagonal)
    _, factor = jax.lax.while_loop(is_unexplained, condition, (jnp.zeros((), int), nothing))
    slots = n_kept + jnp.arange(n_select)
    used, is_open = begin(limits, x, labeled, candidates)
    _, (indices, residuals) = jax.lax.scan(pick, (factor, is_open, used), slots)
    n_useful = jnp.sum(jnp.cumprod(residuals > floor))
    indices = spread_rest(x, indices, n_useful, labeled, candidates, only(limits, *APART))
    return cut(limits, x, Selection(indices, jnp.log(jnp.maximum(residuals, floor))), labeled)
