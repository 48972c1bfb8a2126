"""ProbCover against a slow maximum-coverage greedy and the definition of its radius."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.coverage.probcover import _pure_radius
from dual_jax.numerics.kmeans import kmeans

probcover = METHODS["probcover"]
KEY = jax.random.key(0)
X = np.random.default_rng(4).normal(size=(24, 4)).astype(np.float32)
RADIUS = 2.1


def balls(x, radius):
    x = np.asarray(x, np.float64)
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)) < radius


def slow_cover(inside, n_select, labeled):
    covered, is_open, picks, counts = inside[labeled].any(0), ~labeled, [], []
    for _ in range(n_select):
        gains = np.where(is_open, (inside & ~covered).sum(1), -1)
        picks.append(int(gains.argmax()))
        counts.append(int(gains.max()))
        covered = covered | inside[picks[-1]]
        is_open[picks[-1]] = False
    return picks, counts


@pytest.mark.slow
def test_on_a_line_the_largest_group_is_covered_first_and_the_rest_is_spread():
    x = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [2.5]])

    picks = probcover(KEY, x, 4, radius=1.6)

    assert picks.indices.tolist() == [1, 3, 5, 0]  # 5 is 1.5 and 0 is 1 from the nearest pick
    assert picks.scores.tolist() == [4.0, 2.0, 0.0, 0.0]


def test_picks_and_counts_are_those_of_the_slow_greedy_until_all_is_covered():
    labeled = np.isin(np.arange(24), [0, 13])
    expected, counts = slow_cover(balls(X, RADIUS), 7, labeled)

    picks = probcover(KEY, X, 7, labeled=labeled, radius=RADIUS)

    n_useful = sum(count > 0 for count in counts)
    assert n_useful >= 3
    assert picks.indices[:n_useful].tolist() == expected[:n_useful]
    assert picks.scores.tolist() == counts


@pytest.mark.slow
def test_forbidden_rows_want_cover_and_are_not_picked():
    x = jnp.array([[0.0], [5.0], [6.0], [7.0], [20.0]])
    candidates = np.array([True, True, False, False, True])

    picks = probcover(KEY, x, 2, candidates=candidates, radius=1.5)

    assert picks.indices.tolist() == [1, 0]
    assert picks.scores.tolist() == [2.0, 1.0]


@pytest.mark.slow
def test_the_default_radius_is_the_largest_with_enough_pure_balls():
    labels = np.asarray(kmeans(KEY, X - X.mean(0), 10).labels)
    radius = float(_pure_radius(KEY, jnp.asarray(X), 0.75, 10))

    def share(radius):
        return np.mean([len(set(labels[ball])) == 1 for ball in balls(X, radius)])

    # 2e-4: the margin against rounding, twice.
    assert share(radius) >= 0.75
    assert share(radius * (1 + 2e-4)) < 0.75


@pytest.mark.slow
def test_one_cluster_for_all_covers_the_pool_at_once_and_spreads_the_rest():
    x = jnp.ones((4, 2)).at[3].set(2.0)

    picks = probcover(KEY, x, 3, n_clusters=1)

    assert picks.scores.tolist() == [4.0, 0.0, 0.0]
    assert 3 in picks.indices.tolist()
