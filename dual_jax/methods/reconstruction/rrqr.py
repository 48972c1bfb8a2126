"""Rank-revealing QR: the rows that a pivoted QR factorisation takes first."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.arithmetic import matmul, safe_divide, squared_norms
from dual_jax.selection.limits import Limits, Used, begin, close_around
from dual_jax.selection.protocol import Selection, first_best
from dual_jax.selection.walks import cut, pick_or_none

_State = tuple[Array, Array, Array, Used | None]  # residuals, open rows, copies of picks, limits


@partial(jax.jit, static_argnames=("n_select",))
def rrqr(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    tol: float = 1e-5,
    limits: Limits | None = None,
) -> Selection:
    """Return the pivots of a QR factorisation of ``x^T`` with column pivoting.

    Each pick is the row that is farthest from the span of the rows before it,

        j = argmax_j ||r_j||,    r_j = x_j - projection of x_j on span(S),

    which greedily maximises the volume of the picked rows. Source: Chan, Linear Algebra Appl. 1987, in the
    practical form of Businger and Golub (Numer. Math. 1965; LAPACK's ``geqp3``): the first rank(x) picks are
    its pivots. A pivoted QR gives no order beyond the rank: the continuation is ours. As soon as no open row
    has a residual, the factorisation starts again on the remaining rows, as often as needed; copies of a
    pick wait until nothing else is left.

    Labelled rows span the first factorisation before the first pick; later ones do not know them. Forbidden
    rows are no pivots, and have no other influence. Deterministic and nested.

    It takes long rows first, and so outliers; unscaled features decide it alone. Cost
    O(n d) per pick, and O(n d min(n, d)) for labelled rows; memory O(n d).

    Parameters
    ----------
    tol
        Residuals of at most this share of the longest row count as zero; 1e-5 by default (ours), what
        float32 can tell.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Pivots, and the length of the residual of each (the absolute diagonal of R); it rises where a
        factorisation starts again.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[3.0, 0.0], [2.9, 0.0], [0.0, 1.0]])
    >>> dj.METHODS["rrqr"](jax.random.key(0), x, 3).indices.tolist()
    [0, 2, 1]
    """
    n, d = x.shape
    scale = jnp.sqrt(squared_norms(x).max(initial=0.0))
    x = safe_divide(x, jnp.broadcast_to(scale, x.shape))  # residuals are shares of the longest row

    def project(i: Array, residual: Array) -> Array:
        known = jnp.where(labeled[:, None], residual, 0.0)
        return residual - _projected(residual, known[jnp.argmax(squared_norms(known))], tol)

    def pick(state: _State, _: None) -> tuple[_State, tuple[Array, Array]]:
        residual, is_open, is_copy, used = state
        is_fresh = is_open & (~is_copy | ~(is_open & ~is_copy).any())
        is_used_up = jnp.max(jnp.sqrt(squared_norms(residual)), where=is_fresh, initial=0.0) <= tol
        residual = jnp.where(is_used_up, x, residual)
        lengths = jnp.sqrt(squared_norms(residual))
        j = first_best(lengths, is_fresh)
        is_copy = is_copy | (x == x[j]).all(axis=1)
        rest = residual - _projected(residual, residual[j], tol)
        is_left, used = close_around(limits, used, is_open, j, x)
        return (rest, is_left, is_copy, used), pick_or_none(limits, is_open, j, lengths[j])

    used, is_open = begin(limits, x, labeled, candidates)
    start = (jax.lax.fori_loop(0, min(n, d), project, x), is_open, jnp.zeros(n, bool), used)
    _, (indices, lengths) = jax.lax.scan(pick, start, length=n_select)
    return cut(limits, x, Selection(indices.astype(jnp.int32), scale * lengths), labeled)


def _projected(rows: Float[Array, "n d"], row: Float[Array, " d"], tol: float | Array) -> Float[Array, "n d"]:
    """Return the projection of the rows on one row; zero where that one is no longer than ``tol``."""
    length = jnp.sqrt(jnp.sum(row * row))
    direction = jnp.where(length > tol, row / jnp.where(length > tol, length, 1.0), 0.0)
    return matmul(rows, direction[:, None]) * direction
