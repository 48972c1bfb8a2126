"""Transductive experimental design, greedy: rows from which a ridge regression rebuilds the pool best."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.kernels import kernel_matrix
from dual_jax.numerics import matmul, nth_true, squared_norms, unit_power
from dual_jax.rowsparse import first_of_equals
from dual_jax.selection import Selection, first_best, pickable


@partial(jax.jit, static_argnames=("n_select", "kernel"))
def ted(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    regularization: Float[Array, ""] | float = 0.01,
    kernel: str = "linear",
    width: Float[Array, ""] | float | None = None,
) -> Selection:
    """Return the rows that greedily lower the pool's error under ridge regression from the picks.

    With K the kernel matrix and mu the regularization, a set S leaves the error

        T(S) = tr(K - K[:, S] (K[S, S] + mu I)^-1 K[S, :]),

    and the next pick is the row of largest drop, ``||K_j||^2 / (K_jj + mu)`` in the K that the earlier picks
    have left (deflated). Source: Yu, Bi and Tresp, ICML 2006, the sequential algorithm.

    Rows are divided by their root mean squared length for the linear kernel (ours), so that ``tr(K) = n`` for
    either kernel, a score of n would explain the whole pool, and mu has no unit. Rows are not centred, as in
    the authors' code: uncentred or unscaled features favour long rows and outliers. Labelled rows deflate K
    before the first pick; forbidden rows are only targets. The order is nested and needs no randomness. mu
    keeps all scores above 0, so it goes on beyond the rank of x, where a linear kernel decides by little
    (prefer ``"rbf"`` for more picks than features). Copies of open rows come after all others (ours).

    Parameters
    ----------
    key, x, n_select, labeled, candidates
        See `dual_jax.selection`; ``key`` is not used.
    regularization
        mu > 0. Yu's example uses 0.01, the default here; papers search 0.01 to 10. Larger favours dense
        regions.
    kernel
        ``"linear"`` or ``"rbf"``, static.
    width
        Of the RBF kernel; the median distance between two rows by default (ours).

    Returns
    -------
    Selection
        Positions, and the drop of T(S) by each pick.

    Notes
    -----
    Work: Linear and d <= n: O(n d^2 + d^3) a pick, memory O(n d). Otherwise O(n^2) a pick, memory O(n^2).

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> ted(jax.random.key(0), x, 2).indices.tolist()
    [1, 2]
    """
    is_open = pickable(len(x), labeled, candidates)
    labeled = jnp.zeros(len(x), bool) if labeled is None else labeled
    if kernel == "linear":
        x = unit_power(x)
    if kernel == "linear" and x.shape[1] <= len(x):
        return by_features(x, is_open, labeled, regularization, n_select)
    gram = kernel_matrix(x, x, kernel, width)
    return by_deflation(gram, is_open, labeled, regularization, n_select)


def by_features(
    x: Float[Array, "n d"],
    is_open: Bool[Array, " n"],
    labeled: Bool[Array, " n"],
    mu: Float[Array, ""] | float,
    n_select: int,
) -> Selection:
    """Return the picks without an n x n array.

    With ``B = (mu I + X_S^T X_S)^-1`` the deflated K is ``mu X B X^T`` (rows of X are samples). B is formed
    anew from the picks each time, so that no rounding error piles up.
    """
    scatter, is_first = matmul(x.T, x), first_of_equals(x, is_open)

    def pick(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        information, is_open = state
        root = jnp.linalg.cholesky(information)
        whiten = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root)), lower=True)
        inverse = matmul(whiten.T, whiten)
        lengths = jnp.sum(matmul(x, inverse) * x, axis=1)
        energies = jnp.sum(matmul(x, matmul(matmul(inverse, scatter), inverse)) * x, axis=1)
        scores = mu * energies / (lengths + 1.0)
        best = first_best(scores, _prefer(is_open, is_first)).astype(jnp.int32)
        information = information + jnp.outer(x[best], x[best])
        return (information, is_open.at[best].set(False)), (best, scores[best])

    known = jnp.where(labeled[:, None], x, 0.0)
    start = mu * jnp.eye(x.shape[1]) + matmul(known.T, known)
    return Selection(*jax.lax.scan(pick, (start, is_open), length=n_select)[1])


def by_deflation(
    gram: Float[Array, "n n"],
    is_open: Bool[Array, " n"],
    labeled: Bool[Array, " n"],
    mu: Float[Array, ""] | float,
    n_select: int,
) -> Selection:
    """Return the picks from the kernel matrix, one rank-one deflation for each labelled row and each pick."""
    rank, is_first = jnp.cumsum(labeled), first_of_equals(gram, is_open)

    def deflate(gram: Array, row: Array) -> Array:
        column = gram[row]
        return gram - jnp.outer(column / (column[row] + mu), column)

    def pick(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        gram, is_open = state
        scores = squared_norms(gram) / (jnp.maximum(jnp.diagonal(gram), 0.0) + mu)
        best = first_best(scores, _prefer(is_open, is_first)).astype(jnp.int32)
        return (deflate(gram, best), is_open.at[best].set(False)), (best, scores[best])

    gram = jax.lax.fori_loop(0, rank[-1], lambda i, gram: deflate(gram, nth_true(rank, i, 1)[0]), gram)
    return Selection(*jax.lax.scan(pick, (gram, is_open), length=n_select)[1])


def _prefer(is_open: Bool[Array, " n"], is_first: Bool[Array, " n"]) -> Bool[Array, " n"]:
    """Return the open rows that are no copies, or all open rows when no others are left."""
    preferred = is_open & is_first
    return jnp.where(jnp.any(preferred), preferred, is_open)
