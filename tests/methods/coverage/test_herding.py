"""Kernel herding against the formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS

herding = METHODS["herding"]
KEY = jax.random.key(0)
X = np.random.default_rng(4).normal(size=(24, 4)).astype(np.float32)
WIDTH = 1.5


def kernel_of(x, kernel):
    x = np.asarray(x, np.float64)
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    return x @ x.T if kernel == "linear" else np.exp(-squared / (2 * WIDTH**2))


def slow_herding(k, n_select, done=()):
    done, scores, n_before = list(done), [], len(done)
    for _ in range(n_select):
        objective = k.mean(0) - k[done].sum(0) / (len(done) + 1)
        objective[done] = -np.inf
        scores.append(objective.max())
        done.append(int(objective.argmax()))
    return done[n_before:], scores


def discrepancy(k, chosen):
    return k.mean() - 2 * k[chosen].mean() + k[np.ix_(chosen, chosen)].mean()


def test_two_groups_on_a_line_are_picked_in_proportion_to_their_size():
    x = jnp.array([[0.0], [0.1], [0.2], [0.3], [9.0], [9.1]])

    indices = herding(KEY, x, 3, width=1.0).indices

    assert sorted((indices >= 4).tolist()) == [False, False, True]


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_picks_and_scores_are_those_of_the_formula(kernel):
    labeled = np.isin(np.arange(24), [5, 20])
    expected, scores = slow_herding(kernel_of(X, kernel), 7, done=[5, 20])

    picks = herding(KEY, X, 7, labeled=labeled, kernel=kernel, width=WIDTH)

    assert picks.indices.tolist() == expected
    np.testing.assert_allclose(picks.scores, scores, rtol=1e-4, atol=1e-5)  # float32 sums of 24 kernels


@pytest.mark.slow
def test_the_blocks_of_a_longer_pool_give_the_same_picks():
    x = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)

    picks = herding(KEY, x, 7, width=WIDTH)

    assert picks.indices.tolist() == slow_herding(kernel_of(x, "rbf"), 7)[0]


@pytest.mark.slow
def test_the_picks_follow_the_pool_more_closely_than_nearly_all_random_sets():
    k, draw = kernel_of(X, "rbf"), np.random.default_rng(0)
    random = [discrepancy(k, draw.choice(24, 7, replace=False)) for _ in range(200)]

    chosen = np.asarray(herding(KEY, X, 7, width=WIDTH).indices)

    assert discrepancy(k, chosen) < np.quantile(random, 0.05)
