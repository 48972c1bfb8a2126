"""Diversified convex experimental design: what its regularizer adds to CTED."""

import jax
import numpy as np

from dual_jax.methods import Method
from dual_jax.methods.cted import cted
from dual_jax.methods.dcted import dcted

DCTED = Method(dcted, is_nested=True)
KEY, N = jax.random.key(0), 40
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)


def test_without_diversity_it_is_exactly_cted():
    plain, picks = cted(KEY, X, N), DCTED(KEY, X, N, diversity=0.0)
    assert picks.indices.tolist() == plain.indices.tolist()
    np.testing.assert_array_equal(picks.scores, plain.scores)


def test_of_two_similar_strong_rows_one_falls_behind_a_weaker_different_one():
    x = np.array([[2.0, 0.0], [1.99, 0.2], [0.0, 1.0], [1.8, 0.3], [0.2, 0.9]])
    assert sorted(DCTED(KEY, x, 2, diversity=10.0).indices.tolist()) in ([0, 2], [1, 2])


def test_more_diversity_lowers_the_betas_that_it_prices():
    plain, picks = DCTED(KEY, X, N, diversity=0.0), DCTED(KEY, X, N, diversity=10.0)
    assert np.maximum(picks.scores, 0).sum() < np.maximum(plain.scores, 0).sum()


def test_the_order_of_the_rows_does_not_matter():
    shuffle = np.random.default_rng(2).permutation(N)
    picks = DCTED(KEY, X[shuffle], 7, diversity=1.0)
    assert shuffle[picks.indices].tolist() == DCTED(KEY, X, 7, diversity=1.0).indices.tolist()


def test_labelled_and_forbidden_rows_are_never_picked():
    labeled, candidates = np.arange(N) < 2, np.arange(N) < 30
    picks = DCTED(KEY, X, 28, labeled=labeled, candidates=candidates)
    assert sorted(picks.indices.tolist()) == list(range(2, 30))


def test_a_smaller_budget_is_a_prefix():
    assert DCTED(KEY, X, 7).indices.tolist() == DCTED(KEY, X, N).indices[:7].tolist()
