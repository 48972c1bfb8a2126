"""Active learning by locally linear reconstruction: rows from which the whole manifold can be rebuilt."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float, Float64, Int, Key

from dual_jax.numerics.graphs import lle_weights, nearest_neighbors
from dual_jax.selection.protocol import TIE, Selection

RIDGE = 1e-5  # keeps M invertible, as in the public code


@partial(jax.jit, static_argnames=("n_select", "n_neighbors"))
def llr(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    n_neighbors: int = 5,
    mu: float = 0.1,
) -> Selection:
    """Return the rows whose values, spread over a graph of neighbours, best rebuild all the others.

    With W the LLE weights (`dual_jax.numerics.graphs.lle_weights`), ``M = (I - W)^T (I - W) + 1e-5 I`` and S
    the rows that are known, all rows are rebuilt as

        Y(S) = argmin_Y sum_{i in S} ||y_i - x_i||^2 + mu tr(Y^T M Y),

    and each pick is the one that lowers ``e(S) = ||X - Y(S)||_F^2`` most. Source: Zhang et al., IEEE TPAMI
    2011; the sequential form of the public MATLAB code, with the 1e-5 as a part of M, so that each score is
    exactly the fall of e.

    Labelled rows are in S from the start. Forbidden rows are rebuilt like all others. Deterministic, nested.
    Blind to what the graph joins wrongly: unscaled features, noise dimensions, copies (their weights are
    equal), and one pick in each far group comes first, outliers too when they are k or more.

    H = (mu M + S)^{-1} has a condition number of 1 / (1e-5 mu): the graph is made on the device, then all
    runs in float64 on the host (``jax.pure_callback``; inside ``jit`` and ``vmap`` too). X - Y, H (X - Y) and
    the diagonals of H and H^2 are rank-updated.

    Cost: O(n^3 + n^2 d) work once and O(n (n + d + n_select)) a pick; O(n (n + n_select)) memory, some 4 n^2
    numbers of 8 bytes.

    Parameters
    ----------
    n_neighbors
        k of the graph, static; 5 by default (the authors').
    mu
        Weight of the smoothness, above 0, usually 0.01 to 1; 0.1 by default (the public code's). With one so
        small that H does not exist in float64 all scores are NaN.

    Returns
    -------
    Selection
        Positions, and the fall of e in squared units of x. The first may be negative, for with nothing known
        all rows are rebuilt as 0, which centred data are near to; so may the last.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[4.0], [4.1], [4.2], [9.0], [9.1], [9.2], [15.0], [15.1], [15.2]])
    >>> sorted(dj.METHODS["llr"](jax.random.key(0), x, 3, n_neighbors=2).indices.tolist())
    [1, 4, 7]
    """
    neighbors, _ = nearest_neighbors(x, n_neighbors)
    weights = lle_weights(x, neighbors)
    shapes = (jax.ShapeDtypeStruct((n_select,), jnp.int32), jax.ShapeDtypeStruct((n_select,), jnp.float32))
    select = partial(_select, n_select)
    arguments = (x, neighbors, weights, labeled, candidates, mu)
    return Selection(*jax.pure_callback(select, shapes, *arguments, vmap_method="sequential"))


def _select(
    n_select: int,
    x: Float[Array, "n d"],
    neighbors: Int[Array, "n k"],
    weights: Float[Array, "n k"],
    is_labeled: Bool[Array, " n"],
    is_open: Bool[Array, " n"],
    mu: Float[Array, ""],
) -> tuple[Int[np.ndarray, " n_select"], Float[np.ndarray, " n_select"]]:
    """Return picks and gains, in NumPy.

    With p a column of H, ``H <- H - p p^T / (1 + h)`` for the picked row, and everything else follows; H
    itself is kept as its start and the columns subtracted since.
    """
    energy = float(mu) * _smoothness(np.asarray(neighbors), np.asarray(weights, np.float64))
    try:
        start = _inverse(energy + np.diag(np.asarray(is_labeled, np.float64)))
    except np.linalg.LinAlgError:
        return np.flatnonzero(is_open)[:n_select].astype(np.int32), np.full(n_select, np.nan, np.float32)
    residual = start @ (energy @ np.asarray(x, np.float64))  # X - Y
    spread = start @ residual  # H (X - Y)
    diagonal, square = np.diag(start).copy(), np.einsum("ij,ij->j", start, start)
    is_left = np.array(is_open)
    columns = np.zeros((n_select, len(x)))
    indices, gains = np.zeros(n_select, np.int32), np.zeros(n_select, np.float32)
    for t in range(n_select):
        scale = 1.0 + diagonal
        falls = (2.0 * (spread * residual).sum(1) - square * (residual**2).sum(1) / scale) / scale
        j = _first_best(falls, is_left)
        indices[t], gains[t], is_left[j] = j, falls[j], False
        used = columns[:t]
        p = start[j] - used[:, j] @ used
        hp = start @ p - (used @ p) @ used
        share = residual[j] / scale[j]
        square += p * (p * (p @ p) / scale[j] - 2.0 * hp) / scale[j]
        spread -= np.outer(hp, share) + np.outer(p, (p @ residual) / scale[j] - (p @ p) / scale[j] * share)
        residual -= np.outer(p, share)
        diagonal -= p * p / scale[j]
        columns[t] = p / np.sqrt(scale[j])
    return indices, gains


def _smoothness(
    neighbors: Int[np.ndarray, "n k"], weights: Float64[np.ndarray, "n k"]
) -> Float64[np.ndarray, "n n"]:
    """Return ``M = (I - W)^T (I - W) + RIDGE I``."""
    n = len(neighbors)
    errors = np.eye(n)
    errors[np.arange(n)[:, None], neighbors] -= weights
    return errors.T @ errors + RIDGE * np.eye(n)


def _inverse(a: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    """Return the inverse of a positive definite matrix, exactly symmetric."""
    factor = scipy.linalg.cho_factor(a, overwrite_a=True)
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(a)), overwrite_b=True)
    return (inverse + inverse.T) / 2.0


def _first_best(scores: Float64[np.ndarray, " n"], is_open: Bool[np.ndarray, " n"]) -> int:
    """Return `dual_jax.selection.protocol.first_best`; a callback must not call JAX."""
    scores = np.where(is_open, scores, -np.inf)
    best = scores.max()
    return int(np.argmax(is_open & (scores >= best - TIE * abs(best))))
