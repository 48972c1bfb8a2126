"""Convex experimental design: its optimum, its order, and its masks."""

import jax
import numpy as np
import pytest

from dual_jax.methods import METHODS

CTED = METHODS["cted"]
KEY, N = jax.random.key(0), 40
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
LABELED, CANDIDATES = np.arange(N) < 2, np.arange(N) < 30


def alternation(x, share, labeled, candidates, n_steps):
    """Beta of the paper's alternation in float64, with the labelled rows projected out."""
    x = np.float64(x) / np.sqrt((np.float64(x) ** 2).sum(1).mean())
    x = x - x @ np.linalg.pinv(x[labeled]) @ x[labeled]
    k, enters = x @ x.T, candidates & ~labeled
    root, beta = share * np.linalg.norm(k, axis=1)[enters].max(), enters.astype(float)
    for _ in range(n_steps):
        a = np.linalg.solve(beta[:, None] * k + np.eye(N), beta[:, None] * k)
        beta = np.linalg.norm(a, axis=1) / root
    return beta


def proximal_gradient(x, weight, n_steps=4000):
    """A that minimises ``||X - XA||_F^2 + weight ||A||_{2,1}``, the top branch, by FISTA in float64."""
    k = x @ x.T
    rate, a, y, t = 0.5 / np.linalg.norm(k, 2), np.zeros_like(k), np.zeros_like(k), 1.0
    for _ in range(n_steps):
        z = y - rate * 2 * (k @ y - k)
        new = z * np.maximum(1 - rate * weight / np.linalg.norm(z, axis=1, keepdims=True), 0)
        t, last = (1 + np.sqrt(1 + 4 * t**2)) / 2, t
        a, y = new, new + (last - 1) / t * (new - a)
    return a


@pytest.mark.slow
def test_a_row_for_each_direction_comes_first():
    x = np.array([[2.0, 0.0], [0.5, 0.5], [0.0, 1.9], [0.4, 0.1]])
    assert sorted(CTED(KEY, x, 2, penalty=0.5).indices.tolist()) == [0, 2]


@pytest.mark.parametrize("masks", [(LABELED & False, CANDIDATES | True), (LABELED, CANDIDATES)])
def test_beta_is_that_of_the_papers_alternation_at_its_limit(masks):
    labeled, candidates = masks
    beta = alternation(X, 0.2, labeled, candidates, 2000)
    picks = CTED(KEY, X, 28, labeled=labeled, candidates=candidates, penalty=0.2)
    # Gap of 1e-6 against 2,000 alternations, whose vanishing betas are not at 0 yet.
    np.testing.assert_allclose(np.maximum(picks.scores, 0), beta[picks.indices], atol=0.02 * beta.max())


def test_it_is_the_top_branch_of_dual_solved_to_optimality():
    x = np.float64(X) / np.sqrt((np.float64(X) ** 2).sum(1).mean())
    root = 0.2 * np.linalg.norm(x @ x.T, axis=1).max()
    norms = np.linalg.norm(proximal_gradient(x, 2 * root), axis=1)
    picks = CTED(KEY, X, 28, labeled=LABELED & False, candidates=CANDIDATES | True, penalty=0.2)
    # beta_j = ||A_j|| / sqrt(gamma); a gap of 1e-6 leaves some 1e-5 of the largest.
    np.testing.assert_allclose(
        np.maximum(picks.scores, 0) * root, norms[picks.indices], atol=1e-3 * norms.max()
    )


@pytest.mark.slow
def test_rows_that_are_not_used_follow_with_scores_from_0_to_minus_1():
    scores = np.asarray(CTED(KEY, X, N, penalty=0.2).scores)
    assert (np.diff(scores) <= 0).all()
    assert scores[0] > 0 > scores[-1] >= -1


@pytest.mark.slow
def test_a_copy_comes_after_all_rows_that_add_something():
    twice = np.concatenate([X[:20], X[:20]])
    assert sorted(CTED(KEY, twice, N).indices[:20].tolist()) == list(range(20))


def test_what_labelled_rows_explain_wholly_is_left_in_order():
    labeled = np.arange(N) < 6
    picks = CTED(KEY, X, 28, labeled=labeled)
    assert picks.indices.tolist() == list(range(6, 34))
    assert (picks.scores == -1).all()


@pytest.mark.slow
def test_more_features_than_rows_do_not_change_the_order():
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(60, 5)))[0].T
    assert CTED(KEY, X @ turn, 7).indices.tolist() == CTED(KEY, X, 7).indices.tolist()
