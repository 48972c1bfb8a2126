"""Convex experimental design, plain (CTED) and diversified: similar rows raise each other's price (DCTED)."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.methods.reconstruction.grouplasso import Problem, group_lasso
from dual_jax.methods.reconstruction.rowsparse import prepare, ranking, row_norms
from dual_jax.numerics.arithmetic import TINY, matmul
from dual_jax.selection.protocol import Selection


@partial(jax.jit, static_argnames="n_select")
def dcted(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    penalty: Float[Array, ""] | float = 0.03,
    diversity: Float[Array, ""] | float = 0.1,
) -> Selection:
    """Return the rows of largest strength in the sparse linear self-expression of the pool.

    Minimises over A and beta >= 0

        sum_i (||x_i - X a_i||^2 + sum_j A_ji^2 / beta_j) + gamma sum_j beta_j + lambda beta^T S beta,

    with S the squared cosines between rows and ``lambda = diversity * gamma * penalty / 2`` (beta grows as
    1 / penalty, so ``diversity`` means the same at any penalty).

    Without diversity this is CTED (`cted`; Yu, Zhu, Xu and Gong, SIGIR 2008), which is the same as
    ``||X - XA||_F^2 + 2 sqrt(gamma) ||A||_{2,1}``: the top branch of DUAL's Eq. (5) with a fixed latent space
    and without the zero diagonal. The diversity is from Shi and Shen, IJCAI 2016 (`dcted`), of which only the
    idea (CTED and a diversity regularizer) could be read: the quadratic form and S are INFERRED. S is
    positive semi-definite, so the problem is convex. Solved in beta alone, by coordinate and Newton steps
    until the optimality conditions hold to 1e-6, with exact zeros
    (`dual_jax.methods.reconstruction.grouplasso.group_lasso`), instead of a fixed number of alternations.

    Scaling, labelled and forbidden rows: see `dual_jax.methods.reconstruction.rowsparse`. Picks come by beta;
    rows with ``beta = 0`` follow by how near they are to entering, ``||x_j^T R|| / sqrt(gamma) - 1`` (R the
    residual), then copies of other rows and rows in the span of the labelled ones with -1; ties by position.
    No more than d (d + 1) / 2 rows can be needed, and d labelled rows in general position leave nothing to
    decide. With diversity neighbours are picked together less often; long rows and outliers come first.

    Parameters
    ----------
    penalty
        sqrt(gamma) as a share of ``max_j ||K_j||`` (K the inner products, less what the labelled rows
        explain), from which on A = 0; between 0 and 1. Smaller uses more rows and takes more sweeps. The
        papers leave the scale open; the share and its default of 0.03 are ours.
    diversity
        At least 0. Default 0.1, ours.

    Returns
    -------
    Selection
        Positions, and beta, or a number in [-1, 0] for rows that are not used. Nested.

    Notes
    -----
    Cost: O(n d^2) work a sweep, some ten sweeps and 200 at most, and O(n log n) to rank, whatever
    ``n_select``; O(n d) memory. If d > n, d is min(n, d).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.8]])
    >>> sorted(dj.METHODS["dcted"](jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    pool = prepare(x, labeled, candidates)
    norms = row_norms(pool.rest, matmul(pool.rest.T, pool.rest))
    price = penalty * jnp.max(norms, where=pool.enters, initial=TINY)
    problem = Problem(pool.rest, jnp.ones(pool.rest.shape[1]), pool.enters)
    solution = group_lasso(problem, price, diversity=diversity * price**2 * penalty / 2.0)
    return ranking(solution.strengths, pool.enters * solution.entering, pool.is_open, n_select)
