"""Diversified convex experimental design: what its regularizer adds to CTED."""

import jax
import numpy as np
import pytest

from dual_jax.methods import METHODS

CTED = METHODS["cted"]
DCTED = METHODS["dcted"]
KEY, N = jax.random.key(0), 40
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)


def picks_at(diversity, penalty=0.2):
    return DCTED(KEY, X, N, penalty=penalty, diversity=diversity)


def alternation(share, diversity, n_steps):
    """Beta of CTED's alternation in float64, with the price of similar rows in its second stage."""
    x = np.float64(X) / np.sqrt((np.float64(X) ** 2).sum(1).mean())
    lengths, k, beta = np.linalg.norm(x, axis=1), x @ x.T, np.ones(N)
    cosines, gamma = k / np.outer(lengths, lengths), (share * np.linalg.norm(k, axis=1).max()) ** 2
    for _ in range(n_steps):
        a = np.linalg.solve(beta[:, None] * k + np.eye(N), beta[:, None] * k)
        price = gamma + diversity * gamma * share * cosines**2 @ beta
        beta = np.sqrt((a**2).sum(1) / price)
    return beta


def test_without_diversity_it_is_exactly_cted():
    plain, picks = CTED(KEY, X, N, penalty=0.2), picks_at(0.0)
    assert picks.indices.tolist() == plain.indices.tolist()
    np.testing.assert_array_equal(picks.scores, plain.scores)


def test_beta_is_that_of_an_alternation_at_its_limit():
    beta, picks = alternation(0.2, 1.0, 2000), picks_at(1.0)
    # Gap of 1e-6 against 2,000 alternations, whose vanishing betas are not at 0 yet.
    np.testing.assert_allclose(np.maximum(picks.scores, 0), beta[picks.indices], atol=0.02 * beta.max())


@pytest.mark.slow
def test_of_two_similar_strong_rows_one_falls_behind_a_weaker_different_one():
    x = np.array([[2.0, 0.0], [1.99, 0.2], [0.0, 1.0], [1.8, 0.3], [0.2, 0.9]])
    assert sorted(DCTED(KEY, x, 2, diversity=10.0).indices.tolist()) in ([0, 2], [1, 2])


def test_more_diversity_lowers_the_betas_that_it_prices():
    assert np.maximum(picks_at(10.0).scores, 0).sum() < np.maximum(picks_at(0.0).scores, 0).sum()


@pytest.mark.slow
def test_the_order_of_the_rows_does_not_matter():
    shuffle = np.random.default_rng(2).permutation(N)
    picks = DCTED(KEY, X[shuffle], 7, diversity=1.0)
    assert shuffle[picks.indices].tolist() == DCTED(KEY, X, 7, diversity=1.0).indices.tolist()
