"""Spreading over the neighbour graph against dense float64 and scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.semi_supervised import LabelSpreading

from dual_jax.numerics.spreading import neighbor_graph, propagate, spread

N, K, ALPHA = 60, 5, 0.9


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def marks():
    return np.random.default_rng(1).random((N, 4)).astype(np.float32)


def dense(x, k):
    """Return the normalised matrix of the graph, by loops in float64."""
    x = x.astype(np.float64)
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.fill_diagonal(squared, np.inf)
    near = np.argsort(squared, axis=1, kind="stable")[:, :k]
    width = np.sqrt(squared[np.arange(len(x)), near[:, -1]])
    weights = np.zeros_like(squared)
    for i, row in enumerate(near):
        for j in row:
            weights[i, j] = weights[j, i] = np.exp(-squared[i, j] / (width[i] * width[j]))
    root = np.sqrt(weights.sum(axis=1))
    return weights / root[:, None] / root


def test_the_sparse_product_is_that_of_the_dense_symmetric_matrix(x, marks):
    found = propagate(neighbor_graph(jnp.asarray(x), K), jnp.asarray(marks))
    np.testing.assert_allclose(found, dense(x, K) @ marks, rtol=1e-4)  # of float32 distances


def test_spreading_solves_the_system_of_zhou_and_others(x, marks):
    found = spread(neighbor_graph(jnp.asarray(x), K), jnp.asarray(marks), ALPHA)
    expected = np.linalg.solve(np.eye(N) - ALPHA * dense(x, K), marks)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_where_definitions_coincide_it_is_scikit_learns_label_spreading():
    # On a ring of even steps all edges are mutual and equal; scikit-learn counts a row among its neighbours.
    angles = 2 * np.pi * np.arange(N) / N
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.full(N, -1)
    labels[[0, 20, 45]] = [0, 1, 2]
    theirs = LabelSpreading(kernel="knn", n_neighbors=3, alpha=ALPHA, max_iter=1000, tol=1e-9)
    theirs.fit(ring, labels)

    marks = np.eye(3)[labels] * (labels >= 0)[:, None]
    weights = np.asarray(spread(neighbor_graph(jnp.asarray(ring), 2), jnp.asarray(marks), ALPHA))

    shares = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, theirs.label_distributions_, atol=1e-4)


def test_parts_without_a_mark_get_nothing_and_copies_stay_joined_with_others():
    x = np.concatenate([np.zeros((12, 2)), [[0.1, 0.0]], 100 + np.random.default_rng(0).normal(size=(12, 2))])
    marks = np.zeros((25, 1), np.float32)
    marks[12] = 1.0
    found = np.asarray(spread(neighbor_graph(jnp.asarray(x, jnp.float32), 3), jnp.asarray(marks)))[:, 0]
    assert found[13:].tolist() == [0.0] * 12
    assert found[12] > 0
    assert found[:3].min() > 0
