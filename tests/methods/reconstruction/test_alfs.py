"""ALFS: the optimality conditions of its convex problem, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.reconstruction.alfs import alfs_features, decompose

alfs = METHODS["alfs"]
KEY = jax.random.key(0)
N, D, K = 30, 6, 7
NONE = jnp.zeros(N, bool)
solve = jax.jit(decompose)


@pytest.fixture(scope="module")
def x():
    x = np.random.default_rng(0).normal(size=(N, D)) * np.geomspace(1, 0.2, D)
    return (x / np.linalg.norm(x, 2)).astype(np.float32)


def penalties(x, alpha, beta):
    slope = 2 * np.float64(x) @ (x.T @ x)
    row, column = np.linalg.norm(slope, axis=1).max(), np.linalg.norm(slope, axis=0).max()
    return np.full(N, alpha * row), np.full(D, beta * column)


def fit(x, alpha, beta):
    rows, columns = penalties(x, alpha, beta)
    return solve(x, jnp.asarray(rows, jnp.float32), jnp.asarray(columns, jnp.float32), 1e-5, 5000)


def check_subgradient(duals, w, limits, axis):
    """Multipliers are subgradients of the sum of weighted norms along the axis."""
    norms, sizes = np.linalg.norm(w, axis=axis), np.linalg.norm(duals, axis=axis)
    np.testing.assert_array_less(sizes, 1.0001 * limits)
    directions = w / np.expand_dims(np.where(norms > 0, norms, 1.0), axis)
    expected = directions * np.expand_dims(limits, axis)
    is_used = norms > 1e-3 * norms.max()
    found, expected = np.moveaxis(duals, axis, -1)[is_used], np.moveaxis(expected, axis, -1)[is_used]
    np.testing.assert_allclose(found, expected, atol=1e-3 * limits.max())


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.1), (0.4, 0.1), (0.1, 0.4)])
def test_the_solution_is_optimal(x, alpha, beta):
    found = fit(x, alpha, beta)
    rows, columns = penalties(x, alpha, beta)
    by_row, by_column, of_rows, of_columns = (np.float64(part) for part in found[:4])
    # Both splits agree and the multipliers balance the slope, within the tolerance of 1e-5 of ADMM.
    np.testing.assert_allclose(by_row, by_column, atol=1e-4 * np.abs(by_row).max())
    slope = 2 * x @ (x.T - x.T @ by_row @ x.T) @ x
    np.testing.assert_allclose(of_rows + of_columns, slope, atol=1e-3 * np.abs(of_rows).max())
    check_subgradient(of_rows, by_row, rows, 1)
    check_subgradient(of_columns, by_column, columns, 0)


def test_scores_are_row_norms_and_then_what_is_missing_to_the_penalty(x):
    found = fit(x, 0.4, 0.1)
    norms = np.linalg.norm(found.by_row, axis=1)
    share = np.linalg.norm(found.row_duals, axis=1) / penalties(x, 0.4, 0.1)[0]
    expected = np.where(norms > 0, norms, share - 1)
    picks = alfs(KEY, x, N, alpha=0.4, tol=1e-5, max_iter=5000)
    assert 0 < (norms > 0).sum() < N
    np.testing.assert_allclose(picks.scores, np.sort(expected)[::-1], atol=1e-3)  # ADMM's tolerance
    np.testing.assert_array_equal(picks.indices[:K], np.argsort(-expected)[:K])


@pytest.mark.slow
def test_nothing_is_used_from_a_penalty_share_of_one(x):
    assert (alfs(KEY, x, N, alpha=1.01).scores <= 0.0).all()
    assert alfs(KEY, x, N, alpha=0.5).scores[0] > 0.0


def test_labelled_rows_are_free_and_forbidden_rows_unused(x):
    rows = jnp.full(N, 0.5 * penalties(x, 1, 1)[0][0]).at[:3].set(0.0).at[3:6].set(jnp.inf)
    found = solve(x, rows, jnp.asarray(penalties(x, 0.1, 0.1)[1], jnp.float32), 1e-5, 5000)
    assert not found.by_row[3:6].any()
    assert not found.row_duals[:3].any()
    assert found.by_row[:3].any(axis=1).all()


def test_features_are_ranked_by_the_columns_of_the_same_solution(x):
    expected = np.argsort(-np.linalg.norm(fit(x, 0.1, 0.4).by_column, axis=0))
    found = alfs_features(x, D, beta=0.4, tol=1e-5, max_iter=5000)
    n_used = int((found.scores > 0).sum())
    assert 0 < n_used < D
    np.testing.assert_array_equal(found.indices[:n_used], expected[:n_used])
    assert sorted(found.indices.tolist()) == list(range(D))


@pytest.mark.slow
def test_the_scale_of_the_table_does_not_matter(x):
    np.testing.assert_array_equal(alfs(KEY, 1000.0 * x, K).indices, alfs(KEY, x, K).indices)


@pytest.mark.slow
def test_a_row_and_a_column_that_stand_for_all():
    x = jnp.outer(jnp.array([3.0, 1.0, 0.5, 0.0]), jnp.array([2.0, 0.1]))
    assert alfs(KEY, x, 4).indices.tolist() == [0, 1, 2, 3]
    assert alfs_features(x, 2).indices.tolist() == [0, 1]
