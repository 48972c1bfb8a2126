"""Manifold adaptive experimental design: TED in a kernel that a graph of neighbours has bent."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.methods.reconstruction.ted import by_deflation, by_features
from dual_jax.numerics.arithmetic import matmul, unit_power
from dual_jax.numerics.graphs import heat_weights, laplacian, mean_distance, nearest_neighbors
from dual_jax.numerics.kernels import kernel_matrix
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection


@partial(jax.jit, static_argnames=("n_select", "n_neighbors", "kernel"))
def maed(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    beta: Float[Array, ""] | float = 1.0,
    n_neighbors: int = 5,
    regularization: Float[Array, ""] | float = 0.01,
    kernel: str = "linear",
    width: Float[Array, ""] | float | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return the picks of TED in a kernel under which rows that the graph joins are alike.

    With L = D - W the Laplacian of the k-NN graph, ``W_ij = exp(-||x_i - x_j||^2 / (2 t^2))`` and t the mean
    distance of two rows, TED (`dual_jax.methods.reconstruction.ted`) runs on

        K_M = (I + beta K L)^-1 K.

    Source: Cai and He, IEEE TKDE 2012, and the first author's MATLAB code, which takes the larger of K_M and
    its transpose; here the mean of the two, which keeps it positive semi-definite (in exact arithmetic all
    three are one), and t over all pairs. ``beta = 0`` is TED.

    Labelled rows deflate K_M before the first pick; forbidden rows are targets and part of the graph.
    Deterministic and nested. Rows are divided by their root mean squared length for the linear kernel, as in
    `ted`, so that the knobs have no unit; they are not centred. Unscaled features spoil graph and kernel; a
    row or small group far from all others keeps its weight under any beta, and is picked early.

    Parameters
    ----------
    beta
        Weight of the graph, at least 0; the code has no default, papers search 0.01 to 100; 1 here (ours).
        At 100 the float32 error of an RBF K_M is below 1e-3 of its diagonal (measured, n = 2,500).
    n_neighbors
        k of the graph, static; 5 by default (the authors').
    regularization, kernel, width
        As in `ted`; 0.01 is the authors' default too.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions, and the drop of TED's objective in K_M by each pick.

    Notes
    -----
    Cost: O(n^2 d) for the graph. Linear and d <= n: then O(n d^2 + d^3) a pick. Otherwise O(n^3) once and
    O(n^2) a pick. Memory O(n^2) in both cases.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]])
    >>> dj.METHODS["maed"](jax.random.key(0), x, 2, n_neighbors=2).indices.tolist()
    [2, 3]
    """
    if kernel == "linear":
        x = unit_power(x)
    neighbors, squared = nearest_neighbors(x, n_neighbors)
    graph = laplacian(neighbors, heat_weights(squared, mean_distance(x)))
    if kernel == "linear" and x.shape[1] <= len(x):
        return by_features(
            _bent_features(x, graph, beta), candidates, labeled, regularization, n_select, limits, x
        )
    gram = _bent_kernel(kernel_matrix(x, x, kernel, width), graph, beta)
    return by_deflation(gram, candidates, labeled, regularization, n_select, limits, x)


def _bent_features(
    x: Float[Array, "n d"], graph: Float[Array, "n n"], beta: Float[Array, ""] | float
) -> Float[Array, "n d"]:
    """Return ``F = x R^-T`` with ``R R^T = I + beta x^T L x``: its linear kernel ``F F^T`` is K_M."""
    smoothness = matmul(x.T, matmul(graph, x))
    root = jnp.linalg.cholesky(jnp.eye(x.shape[1]) + beta * (smoothness + smoothness.T) / 2.0)
    return jax.scipy.linalg.solve_triangular(root, x.T, lower=True).T


def _bent_kernel(
    gram: Float[Array, "n n"], graph: Float[Array, "n n"], beta: Float[Array, ""] | float
) -> Float[Array, "n n"]:
    """Return K_M from a kernel matrix.

    One step of refinement, whose residual takes the product with L first, where the bent kernel is smooth:
    it removes nine tenths of the float32 error at beta = 100.
    """
    factor = jax.scipy.linalg.lu_factor(jnp.eye(len(gram)) + beta * matmul(gram, graph))
    bent = jax.scipy.linalg.lu_solve(factor, gram)
    rest = gram - bent - matmul(gram, beta * matmul(graph, bent))
    bent = bent + jax.scipy.linalg.lu_solve(factor, rest)
    return (bent + bent.T) / 2.0
