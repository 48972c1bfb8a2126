"""Active learning by neighbourhood reconstruction: rows that rebuild the rows near to them."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.methods.reconstruction.rowsparse import FREE, ranking
from dual_jax.numerics.arithmetic import matmul, safe_divide, unit_power
from dual_jax.numerics.graphs import heat_weights, nearest_neighbors
from dual_jax.selection.protocol import Selection

ACTIVE = 0.999  # share of the penalty from which on a row is used; below it, its beta goes to zero


class Reconstruction(NamedTuple):
    """Neighbours, closeness 1 / w_ij, coefficients a_ij, beta_j, multipliers, weight r, number of sweeps."""

    neighbors: Int[Array, "n k"]
    closeness: Float[Array, "n k"]
    coefficients: Float[Array, "n k"]
    beta: Float[Array, " n"]
    multipliers: Float[Array, " n"]
    weight: Float[Array, ""]
    n_iters: Int[Array, ""]


@partial(jax.jit, static_argnames=("n_select", "n_neighbors"))
def alnr(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_neighbors: int = 10,
    regularization: float = 0.1,
    tol: float = 1e-4,
    max_iter: int = 1000,
) -> Selection:
    """Return the rows that matter most when each row is rebuilt from its nearest neighbours.

    Minimises over A and beta >= 0

        sum_i ( ||x_i - sum_{j in N(i)} a_ij x_j||^2 + sum_j w_ij a_ij^2 / beta_j ) + r^2 sum_j beta_j,
        w_ij = exp(||x_i - x_j||^2 / sigma^2),

    N(i) the nearest other rows and sigma^2 their median squared distance; without beta it is the convex
    ``... + 2 r sum_j (sum_i w_ij a_ij^2)^{1/2}``. Rows are ranked by beta. Source: Hu et al., IJCAI 2013,
    whose formula is UNKNOWN to us; this one is INFERRED from the abstract: the reconstruction of CTED (Yu et
    al., SIGIR 2008) in which far rows are penalised severely, solved in two alternating stages. The weights
    mu and gamma of such a form act through their product alone, here r^2.

    Labelled rows may rebuild others at nearly no cost (their beta is 1e4), forbidden rows may not; both are
    rebuilt. Rows whose beta is zero follow by the share of the penalty that they reach. Deterministic and
    nested. A score belongs to a row: near-duplicates share it. Outliers are in no row's neighbourhood and are
    picked last. Unscaled features spoil the neighbourhoods, and the origin matters: centred rows are rebuilt
    differently.

    Cost: O(n^2 d) work once for the neighbours and O(n k^3) a sweep with k = ``n_neighbors``, some hundred
    sweeps and 1000 at most, whatever ``n_select``; O(n (k^2 + d)) memory and blocks of 256 x n.

    Parameters
    ----------
    n_neighbors
        k, static; 10 by default (ours; 5 to 20 is usual).
    regularization
        r as a share, in (0, 1), of the smallest one at which all coefficients are zero; 0.1 by default
        (ours). Larger selects fewer.
    tol, max_iter
        The sweeps end when no beta moves by more than ``tol`` of the largest (1e-4), or after 1000.

    Returns
    -------
    Selection
        Positions; the scores are ``r beta_j = (sum_i w_ij a_ij^2)^{1/2}`` above zero, and at most zero for
        rows that rebuild nothing: the share of the penalty that they reach, less 1.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [1.1, 0.0], [1.2, 0.0], [0.0, 1.0], [0.0, 1.1], [0.0, 1.2], [9.0, 9.0]])
    >>> sorted(dj.METHODS["alnr"](jax.random.key(0), x, 2, n_neighbors=2).indices.tolist())
    [1, 4]
    """
    fit = reconstruct(x, candidates, labeled, n_neighbors, regularization, tol, max_iter)
    share = safe_divide(fit.multipliers, jnp.broadcast_to(fit.weight, candidates.shape))
    return ranking(jnp.where(share > ACTIVE, fit.weight * fit.beta, 0.0), share, candidates, n_select)


def reconstruct(
    x: Float[Array, "n d"],
    is_open: Bool[Array, " n"],
    is_free: Bool[Array, " n"],
    n_neighbors: int,
    regularization: float | Array,
    tol: float | Array,
    max_iter: int | Array,
) -> Reconstruction:
    """Return the minimiser of `alnr`'s objective for rows scaled to a mean squared length of 1.

    With ``a_ij = (beta_j / w_ij)^{1/2} c_ij`` each row is one well-conditioned k x k system for c, and beta
    follows without a division: ``beta_j = (beta_j sum_i c_ij^2)^{1/2} / r``. The multipliers
    ``(sum_i (x_j . residual_i)^2 / w_ij)^{1/2}`` equal r where beta is above zero, and are at most r
    elsewhere.
    """
    n, eye = len(x), jnp.eye(min(n_neighbors, len(x) - 1), dtype=x.dtype)
    x = unit_power(x)
    neighbors, squared = nearest_neighbors(x, n_neighbors, among=is_open | is_free)
    is_there = jnp.isfinite(squared)
    middle = jnp.sort(jnp.append(squared, jnp.inf))[(is_there.sum() - 1) // 2]
    width = jnp.sqrt(middle / 2.0)
    closeness = jnp.where(is_there, heat_weights(squared, width), 0.0)
    near = x[neighbors]
    grams = matmul(near, near.mT)
    moments = matmul(near, x[:, :, None])[..., 0]

    def over_targets(values: Float[Array, "n k"]) -> Float[Array, " n"]:
        return jax.ops.segment_sum(values.ravel(), neighbors.ravel(), n)

    largest = jnp.max(jnp.sqrt(over_targets(closeness * moments**2)), where=is_open, initial=0.0)
    weight = regularization * largest

    def solve(beta: Array) -> tuple[Array, Array]:
        roots = jnp.sqrt(beta[neighbors] * closeness)
        systems = roots[:, :, None] * grams * roots[:, None, :] + eye
        return roots, _solved(systems, roots * moments)

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        beta, _, n_iters = state
        norms = jnp.sqrt(beta * over_targets(solve(beta)[1] ** 2))
        new = jnp.where(is_free, FREE, safe_divide(norms, jnp.broadcast_to(weight, norms.shape)))
        goes_on = jnp.abs(new - beta).max() > tol * jnp.max(new, where=is_open, initial=0.0)
        return new, goes_on, n_iters + 1

    start = (jnp.where(is_free, FREE, 1.0), jnp.ones((), bool), jnp.zeros((), jnp.int32))
    beta, _, n_iters = jax.lax.while_loop(lambda state: state[1] & (state[2] < max_iter), sweep, start)
    roots, solution = solve(beta)
    coefficients = roots * solution
    products = moments - jnp.einsum("nij,nj->ni", grams, coefficients, precision=jax.lax.Precision.HIGHEST)
    multipliers = jnp.sqrt(over_targets(closeness * products**2))
    return Reconstruction(neighbors, closeness, coefficients, beta, multipliers, weight, n_iters)


def _solved(systems: Float[Array, "n k k"], right: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Return the solution of each positive definite system."""
    roots = jnp.linalg.cholesky(systems)
    return jax.scipy.linalg.cho_solve((roots, True), right[..., None])[..., 0]
