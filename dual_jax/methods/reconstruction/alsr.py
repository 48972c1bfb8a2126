"""Active learning by sparse representation with locality: RRSS whose fit keeps the pool's local structure."""

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
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    penalty: Float[Array, ""] | float = 1.0,
    locality: Float[Array, ""] | float = 0.1,
    n_neighbors: int = 5,
    max_iter: Int[Array, ""] | int = 1000,
) -> Selection:
    """Return the rows that rebuild the pool most, in a fit that each row's neighbours rebuild as well.

        min_A  sum_i ||x_i - y_i||_2 + r sum_j ||A_j||_2 + locality * tr(Y^T M Y),    Y = A^T X,

    ``M = (I - W)^T (I - W)`` with W the LLE weights of the k nearest neighbours. Source: Li, Shi, Zhou, Bao
    and Guo, Pattern Recognition Letters 2017, of which only the start of the abstract could be read: this
    objective is INFERRED (the residuals of RRSS, and the local structure of LLR). Reweighted least squares
    as in `rrss`, the system of each iteration by conjugate gradients, until a bound of the duality gap is
    1e-3 of the objective. ``locality = 0`` is `rrss`, whose docstring says the rest: scaling, labelled and
    forbidden rows, order of unused rows, and when it fails.

    Parameters
    ----------
    key, x, n_select, labeled, candidates
        See `dual_jax.selection.protocol`; ``key`` is not used.
    penalty
        r > 0, as in `rrss`.
    locality
        Weight of the local structure, at least 0. Default 0.1, ours.
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
    blocks of 256 x n. min(n, d) stands in place of d when d > n.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.8]])
    >>> sorted(alsr(jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    pool = prepare(x, labeled, candidates)
    graph = _lle_operator(pool.rows, locality, n_neighbors)
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
