"""Spreading of marks over the nearest-neighbour graph of a pool, by sparse products on the device.

The graph joins each row with its k nearest ones. Memory is that of the rows, of n k edges, and of a few
(n, columns) tables of marks.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Float, Int

from dual_jax.numerics.arithmetic import safe_divide
from dual_jax.numerics.graphs import nearest_neighbors

N_NEIGHBORS = 10
ALPHA = 0.99  # share of a row's marks that comes from its neighbours
NARROWEST = 0.1  # least width of a row, in mean widths: a row among its own copies stays joined with others
TOLERANCE, MAX_STEPS = 1e-6, 300  # of the solver; the condition of the system is at most 199


class Graph(NamedTuple):
    """An undirected graph as a directed list: row i has ``neighbors[i]`` with ``weights[i]``.

    The weight between i and j is the sum of both directions; two rows that are neighbours of each other hold
    half of it each. The degrees are divided out: the matrix is ``D^-1/2 W D^-1/2``.
    """

    neighbors: Int[Array, "n k"]
    weights: Float[Array, "n k"]


@partial(jax.jit, static_argnames="n_neighbors")
def neighbor_graph(x: Float[Array, "n d"], n_neighbors: int = N_NEIGHBORS) -> Graph:
    """Return the normalised graph of nearest neighbours with self-tuning weights.

    Rows are joined where one is among the k nearest of the other, with the weight
    ``exp(-||x_i - x_j||^2 / (s_i s_j))``, where s_i is the distance of row i to its k-th neighbour. Source:
    Zelnik-Manor and Perona, NeurIPS 2004. The search compares all pairs, in blocks.

    Parameters
    ----------
    x
        (n, d) rows in the space in which near means alike; at least 2.
    n_neighbors
        k, static.

    Examples
    --------
    >>> graph = neighbor_graph(jnp.array([[0.0], [1.0], [5.0], [6.0]]), 1)
    >>> graph.neighbors.ravel().tolist(), graph.weights.ravel().tolist()
    ([1, 0, 3, 2], [0.5, 0.5, 0.5, 0.5])
    """
    neighbors, squared = nearest_neighbors(x, n_neighbors)
    width = jnp.sqrt(squared[:, -1])
    width = jnp.maximum(width, NARROWEST * jnp.mean(width))
    weights = jnp.exp(-safe_divide(squared, width[:, None] * width[neighbors]))
    is_mutual = jnp.any(neighbors[neighbors] == jnp.arange(len(x))[:, None, None], axis=2)
    graph = Graph(neighbors, jnp.where(is_mutual, weights / 2.0, weights))
    root = jnp.sqrt(propagate(graph, jnp.ones((len(x), 1)))[:, 0])
    return Graph(neighbors, safe_divide(graph.weights, root[:, None] * root[neighbors]))


def propagate(graph: Graph, marks: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Return the product of the graph's matrix with marks, one neighbour of all rows at a time.

    A row gathers from its neighbours and adds to them. On a GPU the order of these additions varies, and
    with it the last digit.
    """

    def add(total: Array, edges: tuple[Array, Array]) -> tuple[Array, None]:
        places, weights = edges
        gathered = total + weights[:, None] * marks[places]
        return gathered + jax.ops.segment_sum(weights[:, None] * marks, places, len(marks)), None

    return jax.lax.scan(add, jnp.zeros_like(marks), (graph.neighbors.T, graph.weights.T))[0]


@jax.jit
def spread(graph: Graph, marks: Float[Array, "n c"], alpha: float = ALPHA) -> Float[Array, "n c"]:
    """Return ``(I - alpha S)^-1 marks``: what each row gets of the marks in each column.

    S is the graph's matrix. Solved by conjugate gradients to a relative residual of 1e-6. No entry is
    negative; those of a part of the graph without a mark are 0. Source: Zhou et al., NeurIPS 2003, Eq. (3),
    without its factor 1 - alpha.

    Parameters
    ----------
    graph
        From `neighbor_graph`.
    marks
        (n, c) at least 0; for instance 1 in the column of a row's class.
    alpha
        From 0 to below 1; the default is usual.

    Examples
    --------
    >>> graph = neighbor_graph(jnp.array([[0.0], [1.0], [5.0], [6.0]]), 1)
    >>> marks = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    >>> spread(graph, marks).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    found, _ = cg(lambda f: f - alpha * propagate(graph, f), marks, tol=TOLERANCE, maxiter=MAX_STEPS)
    return jnp.maximum(found, 0.0)
