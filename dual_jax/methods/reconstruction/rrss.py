"""Robust representative and structure-preserving selection: unsquared residuals, few rows."""

from functools import partial

import jax
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.methods.reconstruction.robustlasso import robust_lasso
from dual_jax.methods.reconstruction.rowsparse import by_l1_norms, prepare
from dual_jax.selection.protocol import Selection


@partial(jax.jit, static_argnames="n_select")
def rrss(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    penalty: Float[Array, ""] | float = 1.0,
    max_iter: Int[Array, ""] | int = 1000,
) -> Selection:
    """Return the rows that rebuild the pool most, with residuals that outliers cannot dominate.

        min_A  sum_i ||x_i - X a_i||_2 + r sum_j ||A_j||_2.

    Source: Nie, Wang, Huang and Ding, IJCAI 2013, and the authors' code, which has no affine constraint and
    ranks by the l1 norms of A's rows, as here. Their reweighting (n systems of size n in each iteration) is
    carried out in the eigenbasis of ``X D^-1 X^T``, which gives the same numbers, and runs until a bound of
    the duality gap is 1e-3 of the objective instead of 50 times.

    Rows are divided by their root mean squared length, not centred. Labelled rows are in the dictionary
    without penalty; forbidden rows are not in it and still are targets. Norms of unused rows fall towards 0
    without reaching it, and order these rows too; then come copies of other rows and rows in the span of the
    labelled ones, with -1, by position. Fewer rows than about d matter when the residual vanishes; one score
    a sample, so neighbours may be picked together.

    Parameters
    ----------
    key, x, n_select, labeled, candidates
        See `dual_jax.selection.protocol`; ``key`` is not used.
    penalty
        r > 0, for rows of mean squared length 1. Papers search 0.01 to 10; larger uses fewer rows. Default 1,
        ours.
    max_iter
        Cap on the iterations.

    Returns
    -------
    Selection
        Positions, and l1 norms of A's rows. Nested.

    Notes
    -----
    Cost: O(n d^2) work an iteration, some hundreds of them and 1000 at most, and O(n^2 d) once to rank,
    whatever ``n_select``; O(n d) memory and blocks of 256 x n. min(n, d) stands in place of d when d > n.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.8]])
    >>> sorted(rrss(jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    pool = prepare(x, labeled, candidates)
    solution = robust_lasso(pool, penalty, max_iter=max_iter)
    return by_l1_norms(pool, solution.strengths, solution.w, n_select)
