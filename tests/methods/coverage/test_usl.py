"""USL against slow float64 rounds on the same clusters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.numerics.kmeans import kmeans

usl = METHODS["usl"]
KEY = jax.random.key(0)
X = np.random.default_rng(4).normal(size=(24, 4)).astype(np.float32)
K = 7
clusters = jax.jit(kmeans, static_argnums=2)


def scaled(x):
    centred = x - x.mean(0)
    return centred / np.sqrt((centred**2).sum(1).mean())


def slow_usl(x, labels, is_open, labeled, n_neighbors, repulsion=0.5, momentum=0.9, horizon=4.0):
    f = scaled(np.asarray(x, np.float64))
    squared = ((f[:, None] - f[None]) ** 2).sum(-1)
    density = 1 / np.sort(np.sqrt(squared), axis=1)[:, 1 : n_neighbors + 1].mean(1)
    push = np.where(squared < horizon, 1 / np.sqrt(np.maximum(squared, 1e-6)), 0.0)
    repelled = np.zeros(len(f))

    def picks():
        utility = np.where(is_open, density - repulsion * repelled, -np.inf)
        clusters = [c for c in np.unique(labels) if is_open[labels == c].any()]
        return [max(np.flatnonzero(labels == c), key=lambda i: utility[i]) for c in clusters], utility

    for _ in range(10):
        new = [
            sum(push[i, s] for s in picks()[0] if labels[s] != labels[i]) + push[i, labeled].sum()
            for i in range(len(f))
        ]
        repelled = momentum * repelled + (1 - momentum) * np.array(new)
    chosen, utility = picks()
    return sorted(chosen, key=lambda i: -utility[i]), utility


@pytest.mark.slow
def test_the_densest_rows_of_two_far_groups_are_picked():
    x = jnp.array([[0.0], [1.0], [2.0], [20.0], [21.0], [22.0]])

    assert sorted(usl(KEY, x, 2, n_neighbors=2).indices.tolist()) == [1, 4]


def test_picks_and_utilities_are_those_of_the_slow_rounds():
    labels = np.asarray(clusters(KEY, scaled(X), K).labels)
    is_open = np.arange(24) != 4
    expected, utility = slow_usl(X, labels, is_open, np.zeros(24, bool), 5)

    picks = usl(KEY, X, K, candidates=is_open, n_neighbors=5)

    assert picks.indices.tolist() == expected
    np.testing.assert_allclose(picks.scores, utility[expected], rtol=1e-4, atol=1e-4)  # float32 distances


@pytest.mark.slow
def test_labelled_rows_push_the_picks_away():
    labels = np.asarray(clusters(KEY, scaled(X), K).labels)
    labeled = np.isin(np.arange(24), [1, 8])
    expected, utility = slow_usl(X, labels, ~labeled, labeled, 5)

    picks = usl(KEY, X, K, labeled=labeled, n_neighbors=5)

    n_clusters = len(expected)
    assert picks.indices[:n_clusters].tolist() == expected
    np.testing.assert_allclose(picks.scores[:n_clusters], utility[expected], rtol=1e-4, atol=1e-4)  # as above


@pytest.mark.slow
def test_the_units_of_the_features_do_not_matter():
    assert usl(KEY, X, K).indices.tolist() == usl(KEY, 1000 * X, K).indices.tolist()


@pytest.mark.slow
def test_clusters_without_an_open_row_leave_their_pick_to_the_best_of_the_others():
    x = jnp.array([[0.0], [1.0], [2.0], [20.0], [21.0], [22.0]])

    indices = usl(KEY, x, 2, candidates=np.arange(6) < 3, n_neighbors=2).indices

    assert indices[0] == 1
    assert indices[1] in (0, 2)
