"""Distances that no coordinates give: along a graph, by local scale, by spreading; and the greedy on them.

What `bench.rare` and `bench.selfexpression` try. A matrix of all pairs is held, so pools have some thousand
rows at most.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import kneighbors_graph

NEIGHBOURS, ALPHA = 10, 0.99
MAX_TURNS = 20  # in which one of the first pair is chosen again


def scales(x: np.ndarray) -> np.ndarray:
    """Return the distance of each row to its tenth neighbour, at least a tenth of the mean."""
    k = min(NEIGHBOURS, len(x) - 1)
    found = kneighbors_graph(x, k, mode="distance").max(axis=1).toarray()[:, 0]
    return np.maximum(found, 0.1 * found.mean())


def geodesics(x: np.ndarray, graph: sparse.csr_matrix | None = None) -> np.ndarray:
    """Return lengths of shortest paths along a graph, its edges as long as their rows are apart.

    The edges are those between ten nearest neighbours, or the entries of ``graph``. The least spanning tree
    joins what they leave apart.
    """
    away = pairwise_distances(x).astype(np.float64)
    if graph is None:
        graph = kneighbors_graph(x, min(NEIGHBOURS, len(x) - 1))
    edges = ((graph + graph.T) > 0) + (minimum_spanning_tree(away) > 0)
    rows, columns = edges.nonzero()
    lengths = sparse.csr_matrix((np.maximum(away[rows, columns], 1e-9), (rows, columns)), away.shape)
    return shortest_path(lengths, directed=False)


def weighted(x: np.ndarray) -> sparse.csr_matrix:
    """Return the graph of ten nearest neighbours with self-tuning weights (Zelnik-Manor and Perona, 2004)."""
    graph = kneighbors_graph(x, min(NEIGHBOURS, len(x) - 1), mode="distance").tocoo()
    scale = scales(x)
    weights = np.exp(-(graph.data**2) / (scale[graph.row] * scale[graph.col]))
    directed = sparse.csr_matrix((weights, (graph.row, graph.col)), graph.shape)
    return directed.maximum(directed.T)


def spreading(graph: sparse.spmatrix) -> np.ndarray:
    """Return ``(I - alpha D^-1/2 W D^-1/2)^-1``: what each row gets of a mark on any other."""
    root = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12) ** -0.5
    share = root[:, None] * graph.toarray() * root
    return np.linalg.inv(np.eye(len(share)) - ALPHA * share)


def by_spreading(graph: sparse.spmatrix) -> np.ndarray:
    """Return distances between the rows of the spreading matrix as a kernel, scaled to a diagonal of 1."""
    kernel = spreading(graph)
    root = np.sqrt(np.diag(kernel))
    return np.sqrt(np.maximum(2 - 2 * kernel / root[:, None] / root, 0))


def greedy(cost: np.ndarray, n_select: int, weights: np.ndarray | None = None, far: int = 0) -> np.ndarray:
    """Return picks that greedily lower ``sum_i w_i min_j cost_ij``, the first two chosen together.

    With ``far`` every ``far``-th pick is another: the middle of the region that is farthest from the picks,
    the row whose ten nearest rows are on average the farthest from them.
    """
    cost = cost.astype(np.float32)
    weights = (np.ones(len(cost)) if weights is None else weights).astype(np.float32)
    near = np.argsort(cost, axis=1)[:, : NEIGHBOURS + 1] if far else None

    def best(covered: np.ndarray) -> int:
        return int(np.argmax(weights @ np.maximum(covered[:, None] - cost, 0)))

    picks = _first_pair(cost, weights, best)
    covered = cost[:, picks].min(axis=1)
    while len(picks) < n_select:
        is_far = near is not None and len(picks) % far == far - 1
        picks.append(int(np.argmax(covered[near].mean(axis=1))) if is_far else best(covered))
        covered = np.minimum(covered, cost[:, picks[-1]])
    return np.array(picks[:n_select])


def _first_pair(cost: np.ndarray, weights: np.ndarray, best: Callable[[np.ndarray], int]) -> list[int]:
    """Return two rows of which neither has a better partner, as `dual_jax.selection.coverage.greedy` does."""
    pair = [int(np.argmin(weights @ cost))]
    pair.append(best(cost[:, pair[0]]))
    for turn in range(MAX_TURNS):
        other = best(cost[:, pair[1 - turn % 2]])
        if other == pair[turn % 2]:
            break
        pair[turn % 2] = other
    return sorted(pair, key=lambda row: float(weights @ cost[:, row]))
