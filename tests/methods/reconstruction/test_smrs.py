"""SMRS: affine self-expression, its optimality conditions and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS

SMRS = METHODS["smrs"]
KEY, N = jax.random.key(0), 40
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
LABELED, CANDIDATES = np.arange(N) < 3, np.arange(N) < 30


def solution(x, picks):
    """A, nu and lambda in float64 from the scores: rows of A are strengths times affine correlations."""
    x = np.float64(x) - np.float64(x).mean(0)
    x /= np.sqrt((x**2).sum(1).mean())
    s = np.zeros(len(x))
    s[picks.indices] = np.maximum(picks.scores, 0)
    mean = s @ x / s.sum()
    scatter = ((x - mean).T * s) @ (x - mean)
    residual = np.linalg.solve(np.eye(x.shape[1]) + scatter, (x - mean).T).T
    nu = 1 / s.sum() - residual @ mean
    return x, s[:, None] * (x @ residual.T + nu), residual, nu


@pytest.mark.slow
def test_the_ends_of_a_line_represent_it():
    x = jnp.array([[0.0], [1.0], [5.0], [6.0], [10.0]])
    assert sorted(SMRS(KEY, x, 2).indices.tolist()) == [0, 4]


def test_the_solution_is_affine_and_optimal_in_float64():
    picks = SMRS(KEY, X, N, alpha=20.0)
    x, a, residual, nu = solution(X, picks)
    penalty = np.linalg.norm(x @ x.T, axis=1).max() / 20.0
    np.testing.assert_allclose(a.sum(0), 1.0, atol=1e-9)  # exact in the closed form
    np.testing.assert_allclose(x - a.T @ x, residual, atol=1e-9)
    pull = np.linalg.norm(x @ residual.T + nu, axis=1) / penalty
    is_used = np.linalg.norm(a, axis=1) > 0.1 * np.linalg.norm(a, axis=1).max()
    # The gap is quadratic in the violation: 1e-6 of the objective is some 1e-3 in a correlation.
    assert pull.max() < 1.003
    np.testing.assert_allclose(pull[is_used], 1.0, atol=3e-3)


def test_the_order_of_the_rows_does_not_matter():
    picks = SMRS(KEY, X, N, alpha=20.0)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(N)
        shuffled = SMRS(KEY, X[order], N, alpha=20.0)
        assert order[shuffled.indices].tolist() == picks.indices.tolist()
        np.testing.assert_allclose(shuffled.scores, picks.scores, atol=1e-4 * picks.scores[0])  # some 1e-5


@pytest.mark.slow
def test_the_origin_and_the_unit_do_not_matter():
    moved = SMRS(KEY, 10.0 * X + 50.0, 7)
    assert moved.indices.tolist() == SMRS(KEY, X, 7).indices.tolist()


@pytest.mark.slow
def test_labelled_rows_are_free_and_forbidden_rows_only_targets():
    x = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [3.0, 1.0], [3.0, 9.0], [2.0, 0.0]])
    labeled, candidates = np.arange(6) < 1, np.arange(6) != 4
    picks = SMRS(KEY, x, 4, labeled=labeled, candidates=candidates)
    # Seen from row 0 only row 3 helps with the forbidden row 4, and row 2 reaches farthest on the line.
    assert sorted(picks.indices[:2].tolist()) == [2, 3]
    assert sorted(picks.indices.tolist()) == [1, 2, 3, 5]


@pytest.mark.slow
def test_what_lies_in_the_affine_span_of_labelled_rows_comes_last():
    flat = X[:, :3] * [1.0, 1.0, 0.0] + [0.0, 0.0, 7.0]
    flat[20:, 2] += X[20:, 3]
    picks = SMRS(KEY, flat, 37, labeled=LABELED)
    assert sorted(picks.indices[20:].tolist()) == list(range(3, 20))
    assert (picks.scores[20:] == -1).all()
