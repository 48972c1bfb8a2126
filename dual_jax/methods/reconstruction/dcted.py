"""Diversified convex experimental design: CTED in which similar rows raise each other's price."""

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
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    penalty: Float[Array, ""] | float = 0.03,
    diversity: Float[Array, ""] | float = 0.1,
) -> Selection:
    """Return the rows of largest strength in `cted` with a price on similar rows that are strong together.

    Minimises over A and beta >= 0

        sum_i (||x_i - X a_i||^2 + sum_j A_ji^2 / beta_j) + gamma sum_j beta_j + lambda beta^T S beta,

    with S the squared cosines between rows and ``lambda = diversity * gamma * penalty / 2`` (beta grows as
    1 / penalty, so ``diversity`` means the same at any penalty). Source: Shi and Shen, IJCAI 2016, of which
    only the idea (CTED and a diversity regularizer) could be read: the quadratic form and S are INFERRED. S
    is positive semi-definite, so the problem is convex. Solved by coordinate and Newton steps until the
    optimality conditions hold to 1e-6 (`dual_jax.methods.reconstruction.grouplasso.group_lasso`).
    ``diversity = 0`` is exactly
    `cted`, whose docstring says the rest: scaling, labelled and forbidden rows, order of unused rows, and
    when it fails.

    Parameters
    ----------
    key, x, n_select, labeled, candidates
        See `dual_jax.selection.protocol`; ``key`` is not used.
    penalty
        As in `cted`.
    diversity
        At least 0. Default 0.1, ours.

    Returns
    -------
    Selection
        Positions, and beta, or a number in [-1, 0] for rows that are not used. Nested.

    Notes
    -----
    Cost: O(n d^2) work a sweep, some ten sweeps and 200 at most, and O(n log n) to rank, whatever
    ``n_select``; O(n d) memory. min(n, d) stands in place of d when d > n.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [0.9, 0.1], [0.0, 0.8]])
    >>> sorted(dcted(jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    pool = prepare(x, labeled, candidates)
    norms = row_norms(pool.rest, matmul(pool.rest.T, pool.rest))
    price = penalty * jnp.max(norms, where=pool.enters, initial=TINY)
    problem = Problem(pool.rest, jnp.ones(pool.rest.shape[1]), pool.enters)
    solution = group_lasso(problem, price, diversity=diversity * price**2 * penalty / 2.0)
    return ranking(solution.strengths, pool.enters * solution.entering, pool.is_open, n_select)
