"""TypiClust against a slow float64 version on the same clusters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.numerics.kmeans import kmeans

typiclust = METHODS["typiclust"]
KEY = jax.random.key(0)
X = np.random.default_rng(4).normal(size=(24, 4)).astype(np.float32)
K = 7
clusters = jax.jit(kmeans, static_argnums=2)
LABELED = np.isin(np.arange(24), [1, 5, 9])


def slow_typicality(x, labels):
    """1 / mean distance to the nearest half of the cluster, at most 20 rows."""
    x, result = np.asarray(x, np.float64), np.zeros(len(x))
    for i in range(len(x)):
        others = [j for j in range(len(x)) if labels[j] == labels[i] and j != i]
        near = sorted(np.linalg.norm(x[i] - x[j]) for j in others)[: min(20, max(1, (len(others) + 1) // 2))]
        result[i] = 1 / (np.mean(near) + 1e-5) if near else 0.0
    return result


def slow_picks(typicality, labels, labeled, n_select):
    """Visit one cluster after the other: fewest visits, then largest, then first."""
    sizes, is_open, picks = np.bincount(labels), ~labeled, []
    is_small = sizes <= min(5, len(labels) / (2 * len(sizes)))
    visits = np.bincount(labels[labeled], minlength=len(sizes))
    for _ in range(n_select):
        left = [c for c in range(len(sizes)) if is_open[labels == c].any()]
        cluster = min(left, key=lambda c: (is_small[c], visits[c], -sizes[c], c))
        members = np.flatnonzero(is_open & (labels == cluster))
        picks.append(int(members[np.argmax(typicality[members])]))
        is_open[picks[-1]] = False
        visits[cluster] += 1
    return picks


@pytest.mark.slow
def test_the_middle_rows_of_two_groups_are_picked_the_larger_group_first():
    x = jnp.array([[20.0], [21.0], [22.0], [23.5], [0.0], [1.0], [2.0], [2.9], [4.5]])

    assert typiclust(KEY, x, 2).indices.tolist() == [6, 1]


def test_picks_and_typicalities_are_those_of_the_slow_version():
    labels = np.asarray(clusters(KEY, X, K).labels)
    typicality = slow_typicality(X, labels)

    picks = typiclust(KEY, X, K, labeled=LABELED)

    assert picks.indices.tolist() == slow_picks(typicality, labels, LABELED, K)
    np.testing.assert_allclose(picks.scores, typicality[picks.indices], rtol=1e-4)  # float32 distances


@pytest.mark.slow
def test_with_few_clusters_the_visits_go_round():
    labels = np.asarray(clusters(KEY, X, 3).labels)

    picks = typiclust(KEY, X, K, labeled=LABELED, n_clusters=3)

    assert picks.indices.tolist() == slow_picks(slow_typicality(X, labels), labels, LABELED, K)


@pytest.mark.slow
def test_a_labelled_group_waits_for_the_others():
    x = jnp.array([[0.0], [1.0], [2.0], [2.9], [4.5], [20.0], [21.0], [22.0], [23.5]])

    indices = typiclust(KEY, x, 2, labeled=np.arange(9) == 0, n_clusters=2).indices

    assert indices.tolist() == [6, 2]


@pytest.mark.slow
def test_an_outlier_alone_in_its_cluster_comes_last():
    x = np.concatenate([np.arange(12.0), 100 + np.arange(12.0), [1000.0]])[:, None]

    indices = typiclust(KEY, x.astype(np.float32), 25, n_clusters=3).indices

    assert indices[-1] == 24
