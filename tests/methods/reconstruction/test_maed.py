"""MAED against the authors' formula in float64, and against TED where the graph has no weight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.numerics.kernels import kernel_matrix

maed = METHODS["maed"]
ted = METHODS["ted"]
KEY = jax.random.key(0)
N, D, K = 30, 4, 12
kernels = jax.jit(kernel_matrix, static_argnums=2)


@pytest.fixture(scope="module")
def x():
    x = np.random.default_rng(0).normal(size=(N, D)) + 3.0 * np.eye(D)[np.arange(N) % 3]
    x /= np.sqrt((x**2).sum(1).mean())
    return x.astype(np.float32)


def bent_kernel(x, gram, beta, n_neighbors=5):
    """K_M by its definition, with loops."""
    x, n = np.float64(x), len(x)
    distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    t = distances[np.triu_indices(n, 1)].mean()
    w = np.zeros((n, n))
    for i in range(n):
        for j in np.argsort(distances[i])[1 : n_neighbors + 1]:  # the first is the row itself
            w[i, j] = w[j, i] = np.exp(-(distances[i, j] ** 2) / (2 * t**2))
    return np.linalg.solve(np.eye(n) + beta * gram @ (np.diag(w.sum(1)) - w), gram)


def sequential(gram, n_select, mu=0.01, labeled=()):
    """Yu's algorithm on a kernel matrix; picks and scores."""
    picks, scores = [], []
    for t in range(len(labeled) + n_select):
        drops = (gram**2).sum(0) / (np.diag(gram) + mu)
        drops[list(labeled) + picks] = -np.inf
        j = labeled[t] if t < len(labeled) else int(drops.argmax())
        if t >= len(labeled):
            picks.append(j)
            scores.append(drops[j])
        gram = gram - np.outer(gram[:, j], gram[j]) / (gram[j, j] + mu)
    return picks, scores


@pytest.mark.parametrize("kernel", ["linear", pytest.param("rbf", marks=pytest.mark.slow)])
def test_without_the_graph_it_is_ted(x, kernel):
    bent, plain = maed(KEY, x, K, beta=0.0, kernel=kernel), ted(KEY, x, K, kernel=kernel)
    np.testing.assert_array_equal(bent.indices, plain.indices)
    np.testing.assert_allclose(bent.scores, plain.scores, rtol=1e-4)  # twelve deflations in float32


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("beta", [0.1, 10.0])
def test_picks_and_scores_are_those_of_the_definition(x, kernel, beta):
    gram = np.float64(kernels(x, x, kernel))
    picks, scores = sequential(bent_kernel(x, gram, beta), K)
    found = maed(KEY, x, K, beta=beta, kernel=kernel)
    np.testing.assert_array_equal(found.indices[:D], picks[:D])
    # Of float32, a system of condition 1e3 and twelve deflations remain three digits.
    np.testing.assert_allclose(found.scores[:D], scores[:D], rtol=1e-3)


@pytest.mark.slow
def test_labelled_rows_deflate_the_kernel_first(x):
    gram = np.float64(kernels(x, x, "rbf"))
    picks, _ = sequential(bent_kernel(x, gram, 1.0), K, labeled=(3, 8))
    found = maed(KEY, x, K, kernel="rbf", labeled=jnp.zeros(N, bool).at[jnp.array([3, 8])].set(True))
    np.testing.assert_array_equal(found.indices, picks)


@pytest.mark.slow
def test_more_features_than_rows_take_the_kernel_path(x):
    wide = np.pad(x, ((0, 0), (0, N)))
    np.testing.assert_array_equal(maed(KEY, wide, D).indices, maed(KEY, x, K).indices[:D])


@pytest.mark.slow
def test_groups_that_the_graph_joins_give_one_pick_each():
    line = jnp.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [9.0], [9.1], [9.2]])
    picks = maed(KEY, line, 3, beta=100.0, n_neighbors=2, kernel="rbf", width=1.0)
    assert sorted((picks.indices // 3).tolist()) == [0, 1, 2]
