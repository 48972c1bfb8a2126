"""Convex transductive experimental design: a group lasso over the rows that rebuild the pool."""

from jaxtyping import Array, Bool, Float, Key

from dual_jax.methods.reconstruction.dcted import dcted
from dual_jax.selection.protocol import Selection


def cted(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    penalty: Float[Array, ""] | float = 0.03,
) -> Selection:
    """Return the rows of largest strength in the sparse linear self-expression of the pool.

    Minimises over A and beta >= 0

        sum_i (||x_i - X a_i||^2 + sum_j A_ji^2 / beta_j) + gamma sum_j beta_j,

    which is ``||X - XA||_F^2 + 2 sqrt(gamma) ||A||_{2,1}``, the top branch of DUAL's Eq. (5) with a fixed
    latent space and without the zero diagonal. Source: Yu, Zhu, Xu and Gong, SIGIR 2008. Solved in beta
    alone, by coordinate and Newton steps to a relative duality gap of 1e-6, with exact zeros
    (`dual_jax.methods.reconstruction.grouplasso.group_lasso`), instead of a fixed number of alternations.

    Rows are divided by their root mean squared length, not centred. Labelled rows are in the dictionary
    without penalty; forbidden rows are not in it and still are targets. Picks come by beta; rows with
    ``beta = 0`` follow by how near they are to entering, ``||x_j^T R|| / sqrt(gamma) - 1`` (R the residual),
    then copies of other rows and rows in the span of the labelled ones with -1; ties by position. No more
    than d (d + 1) / 2 rows can be needed, and d labelled rows in general position leave nothing to decide.
    One score a sample: neighbours may be picked together; long rows and outliers come first.

    Parameters
    ----------
    key, x, n_select, labeled, candidates
        See `dual_jax.selection.protocol`; ``key`` is not used.
    penalty
        sqrt(gamma) as a share of ``max_j ||K_j||`` (K the inner products, less what the labelled rows
        explain), from which on A = 0; between 0 and 1. Smaller uses more rows and takes more sweeps. The
        paper leaves the scale open; the share and its default of 0.03 are ours.

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
    >>> sorted(cted(jax.random.key(0), x, 2).indices.tolist())
    [0, 2]
    """
    return dcted(key, x, n_select, labeled=labeled, candidates=candidates, penalty=penalty, diversity=0.0)
