"""Graphs of nearest neighbours: the k-NN lists, heat-kernel weights, the Laplacian, and LLE weights.

The lists are made in blocks of rows, so nothing of size n x n exists unless a caller needs a Laplacian.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import matmul, safe_divide, squared_differences, squared_distances

BLOCK = 256  # rows whose distances to all others exist at once
GROUP = 128  # numbers whose smallest is found before any is sorted
SPARE = 8  # neighbours beyond k that are measured exactly, for fast distances may confuse near ties


def nearest_neighbors(
    x: Float[Array, "n d"], n_neighbors: int, *, among: Bool[Array, " n"] | None = None
) -> tuple[Int[Array, "n k"], Float[Array, "n k"]]:
    """Return of every row the nearest other rows, nearest first, and the squared distances to them.

    Parameters
    ----------
    x
        (n, d) rows.
    n_neighbors
        k, static; at most n - 1 are returned.
    among
        (n,) rows that may be neighbours, all by default. Where fewer than k of them exist, the squared
        distance of the missing ones is infinite and their position means nothing.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from dual_jax.numerics.graphs import nearest_neighbors
    >>> nearest_neighbors(jnp.array([[0.0], [1.0], [5.0]]), 1)[0].tolist()
    [[1], [0], [1]]
    """
    n = len(x)
    k = min(n_neighbors, n - 1)
    x = x - x.mean(axis=0)
    among = jnp.ones(n, bool) if among is None else among

    def search(row: tuple[Array, Array]) -> tuple[Array, Array]:
        point, position = row
        fast = squared_distances(point[None], x)[0]
        fast = jnp.where(among & (jnp.arange(n) != position), fast, jnp.inf)
        nearest, places = smallest(fast, min(k + SPARE, n))
        places = jnp.sort(jnp.where(jnp.isinf(nearest), n, places))  # of equal distances the lower first
        near = x.at[places].get(mode="clip")
        exact = jnp.where(places < n, squared_differences(point[None], near)[0], jnp.inf)
        order = jnp.argsort(exact, stable=True)[:k]
        return jnp.minimum(places[order], n - 1), exact[order]

    return jax.lax.map(search, (x, jnp.arange(n)), batch_size=BLOCK)


def smallest(x: Float[Array, " n"], k: int) -> tuple[Float[Array, " k"], Int[Array, " k"]]:
    """Return the k smallest numbers, smallest first, and their positions; of equal ones the lower.

    Of many numbers first the k groups of 128 with the smallest members, which hold all k: sorting a million
    numbers would take far longer than reading them.

    Examples
    --------
    >>> [part.tolist() for part in smallest(jnp.array([3.0, 1.0, 2.0]), 2)]
    [[1.0, 2.0], [1, 2]]
    """
    n_groups = -(-len(x) // GROUP)
    if n_groups <= 2 * k:
        closeness, places = jax.lax.top_k(-x, k)
        return -closeness, places
    groups = jnp.pad(x, (0, n_groups * GROUP - len(x)), constant_values=jnp.inf).reshape(n_groups, GROUP)
    chosen = jnp.sort(jax.lax.top_k(-groups.min(axis=1), k)[1])
    closeness, within = jax.lax.top_k(-groups[chosen].ravel(), k)
    return -closeness, chosen[within // GROUP] * GROUP + within % GROUP


def mean_distance(x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Return the mean distance between two different rows, over all pairs; 0 for a single row."""
    n = len(x)
    x = x - x.mean(axis=0)
    sums = jax.lax.map(lambda row: jnp.sqrt(squared_distances(row[None], x)).mean(), x, batch_size=BLOCK)
    return sums.mean() * n / max(n - 1, 1)


def heat_weights(squared: Float[Array, "..."], width: Float[Array, ""]) -> Float[Array, "..."]:
    """Return ``exp(-squared / (2 width^2))``; 1 for a squared distance of 0, whatever the width."""
    return jnp.exp(-safe_divide(squared, jnp.broadcast_to(2.0 * width**2, squared.shape)))


def laplacian(neighbors: Int[Array, "n k"], weights: Float[Array, "n k"]) -> Float[Array, "n n"]:
    """Return ``L = D - W`` of the undirected graph, ``W_ij`` the larger weight of i -> j and j -> i.

    Memory is n^2 numbers.
    """
    n = len(neighbors)
    directed = jnp.zeros((n, n), weights.dtype).at[jnp.arange(n)[:, None], neighbors].max(weights)
    weights = jnp.maximum(directed, directed.T)
    return jnp.diag(weights.sum(axis=1)) - weights


def lle_weights(
    x: Float[Array, "n d"], neighbors: Int[Array, "n k"], regularization: float = 1e-3
) -> Float[Array, "n k"]:
    """Return the weights, summing to 1 in each row, that best rebuild each row from its neighbours.

    Minimises ``||x_i - sum_j w_ij x_j||^2 + regularization * tr(G_i) ||w_i||^2`` subject to
    ``sum_j w_ij = 1``, ``G_i`` the Gram matrix of the neighbours seen from x_i. Source: Roweis and Saul,
    Science 2000; the ridge is the usual 1e-3. Rows whose neighbours all equal them get equal weights.
    """
    k = neighbors.shape[1]

    def solve(row: tuple[Array, Array]) -> Array:
        point, places = row
        offsets = x[places] - point
        gram = matmul(offsets, offsets.T)
        trace = jnp.trace(gram)
        ridge = jnp.where(trace > 0, regularization * trace, 1.0)
        system = gram + ridge * jnp.eye(k, dtype=x.dtype)
        weights = jax.scipy.linalg.solve(system, jnp.ones((k, 1), x.dtype), assume_a="pos")[:, 0]
        return weights / weights.sum()

    return jax.lax.map(solve, (x, neighbors), batch_size=BLOCK)
