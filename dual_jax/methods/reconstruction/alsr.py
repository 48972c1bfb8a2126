"""Sparse representation with unsquared residuals (RRSS), and with a fit that keeps local structure (ALSR)."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.methods.reconstruction.robustlasso import Locality, robust_lasso
from dual_jax.methods.reconstruction.rowsparse import by_l1_norms, prepare
from dual_jax.numerics.graphs import lle_weights, nearest_neighbors
from dual_jax.selection.protocol import Selection


@partial(jax.jit, static_argnames=("n_select", "n_neighbors"))
def alsr(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    penalty: Float[Array, ""] | float = 1.0,
    locality: Float[Array, ""] | float | None = 0.1,
    n_neighbors: int = 5,
    max_iter: Int[Array, ""] | int = 1000,
) -> Selection:
    """Return the rows that rebuild the pool most, with residuals that outliers cannot dominate.

        min_A  sum_i ||x_i - y_i||_2 + r sum_j ||A_j||_2 + locality * tr(Y^T M Y),    Y = A^T X,

    ``M = (I - W)^T (I - W)`` with W the LLE weights of the k nearest neighbours.

    Without locality this is RRSS (`rrss`; Nie, Wang, Huang and Ding, IJCAI 2013, and the authors' code, which
    has no affine constraint and ranks by the l1 norms of A's rows, as here). Their reweighting (n systems of
    size n in each iteration) is carried out in the eigenbasis of ``X D^-1 X^T``, which gives the same
    numbers, and runs until a bound of the duality gap is 1e-3 of the objective instead of 50 times. The
    locality is from Li, Shi, Zhou, Bao and Guo, Pattern Recognition Letters 2017 (`alsr`), of which only the
    start of the abstract could be read: that objective is INFERRED (the residuals of RRSS, and the local
    structure of LLR). With it the system of each iteration is solved by conjugate gradients.

    Scaling, labelled and forbidden rows: see `dual_jax.methods.reconstruction.rowsparse`. Norms of unused
    rows fall towards 0 without reaching it, and order these rows too; then come copies of other rows and rows
    in the span of the labelled ones, with -1, by position. Fewer rows than about d matter when the residual
    vanishes.

    Parameters
    ----------
    penalty
        r > 0, for rows of mean squared length 1. Papers search 0.01 to 10; larger uses fewer rows. Default 1,
        ours.
    locality
        Weight of the local structure, at least 0, or None for none at all. Default 0.1, ours.
    n_neighbors
        k of the graph, static; 5 by default, as in LLR.
    max_iter
        Cap on the iterations.

    Returns
    -------
    Selection
        Positions, and l1 norms of A's rows. Nested.

    Notes
    -----
    Cost: O(n^2 d) work once, for the neighbours and to rank, and O(n d (d + k)) an iteration with
    k = ``n_neighbors``, some hundreds of them and 1000 at most, whatever ``n_select``; O(n d k) memory and
    blocks of 256 x n. Without locality k is 1. If d > n, d is min(n, d).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.8]])
    >>> sorted(dj.METHODS["alsr"](jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    pool = prepare(x, labeled, candidates)
    graph = None if locality is None else _lle_operator(pool.rows, locality, n_neighbors)
    solution = robust_lasso(pool, penalty, locality=graph, max_iter=max_iter)
    return by_l1_norms(pool, solution.strengths, solution.w, n_select)


def _lle_operator(x: Float[Array, "n q"], locality: Float[Array, ""] | float, n_neighbors: int) -> Locality:
    """Return ``locality * (I - W)^T (I - W)`` by its k + 1 entries a row."""
    places, _ = nearest_neighbors(x, n_neighbors)
    weights = lle_weights(x, places)

    def apply(fit: Array) -> Array:
        bend = fit - jnp.einsum("nk,nkq->nq", weights, fit[places], precision=jax.lax.Precision.HIGHEST)
        return locality * (bend - jnp.zeros_like(fit).at[places].add(weights[..., None] * bend[:, None]))

    return Locality(apply, locality * jnp.ones(len(x)).at[places].add(weights**2))
