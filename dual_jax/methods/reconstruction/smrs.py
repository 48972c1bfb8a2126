"""Sparse modelling of representative selection: row-sparse affine self-expression."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.methods.reconstruction.grouplasso import Problem, group_lasso
from dual_jax.methods.reconstruction.rowsparse import (
    compact,
    first_of_equals,
    ranking,
    row_norms,
    span,
    unexplained,
)
from dual_jax.numerics.arithmetic import TINY, matmul, unit_power
from dual_jax.selection.protocol import Selection


@partial(jax.jit, static_argnames="n_select")
def smrs(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    alpha: Float[Array, ""] | float = 30.0,
) -> Selection:
    """Return the rows of largest norm in the sparse affine self-expression of the pool.

        min_A  lambda ||A||_{2,1} + 1/2 ||X - XA||_F^2   subject to   1^T A = 1^T.

    Source: Elhamifar, Sapiro and Vidal, CVPR 2012. The constraint makes the choice independent of the
    origin, and prefers rows near the hull of the pool. The authors solve it by ADMM; here the same optimum is
    found by coordinate and Newton steps on the strengths of rows, to a relative duality gap of 1e-6
    (`dual_jax.methods.reconstruction.grouplasso.group_lasso`): the constraint is a constant feature with
    ridge 0.

    Rows are centred and divided by their root mean squared length. Labelled rows are in the dictionary
    without penalty: with the origin at their mean they meet the constraint for all others, and what they span
    is projected out. Forbidden rows are not in the dictionary and still are targets. Unused rows follow the
    used ones by how near they are to entering, then copies and rows in the affine span of the labelled ones;
    ties by position. Needs scaled features; outliers are vertices of the hull and come first (the authors
    remove them afterwards, this does not).

    Parameters
    ----------
    alpha
        ``lambda = max_j ||K_j|| / alpha``, K the inner products of the centred rows; above 1. The authors use
        2 to 50; larger uses more rows. Default 30, ours.

    Returns
    -------
    Selection
        Positions, and the norms of A's rows over lambda, or a number in [-1, 0] for unused rows. Nested.

    Notes
    -----
    Cost: O(n d^2) work a sweep, some ten sweeps and 200 at most, and O(n log n) to rank, whatever
    ``n_select``; O(n d) memory. If d > n, d is min(n, d).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [5.0], [6.0], [10.0]])
    >>> sorted(dj.METHODS["smrs"](jax.random.key(0), x, 2).indices.tolist())
    [0, 4]
    """
    origin = jnp.where(jnp.any(labeled), jnp.mean(x, axis=0, where=labeled[:, None]), jnp.mean(x, axis=0))
    features = compact(unit_power(x - origin))
    features = unexplained(features, span(features, labeled))
    is_bound = ~jnp.any(labeled)
    features = jnp.pad(features, ((0, 0), (0, 1)), constant_values=1.0).at[:, -1].multiply(is_bound)
    ridge = jnp.ones(features.shape[1]).at[-1].set(jnp.where(is_bound, 0.0, 1.0))
    enters = first_of_equals(x, candidates) & jnp.any(features != 0, axis=1)
    centred = features[:, :-1]
    largest = jnp.max(row_norms(centred, matmul(centred.T, centred)), where=enters, initial=TINY)
    solution = group_lasso(Problem(features, ridge, enters), largest / alpha)
    return ranking(solution.strengths, enters * solution.entering, candidates, n_select)
