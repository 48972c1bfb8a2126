"""ALNR: the optimality conditions of its convex problem, and groups on a plane."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.reconstruction.alnr import reconstruct

alnr = METHODS["alnr"]
KEY = jax.random.key(0)
N, D, K = 30, 4, 5
NONE = jnp.zeros(N, bool)
solve = jax.jit(functools.partial(reconstruct, n_neighbors=K, tol=1e-5, max_iter=5000))


@pytest.fixture(scope="module")
def x():
    x = np.random.default_rng(0).normal(size=(N, D)) + 1.0
    return (x / np.sqrt((x**2).sum(1).mean())).astype(np.float32)


def dense(fit):
    """Coefficients a_ij, and 1 / w_ij (zero where j may not rebuild i), as n x n."""
    a, closeness = np.zeros((N, N)), np.zeros((N, N))
    for i in range(N):
        a[i, np.asarray(fit.neighbors[i])] = fit.coefficients[i]
        closeness[i, np.asarray(fit.neighbors[i])] = fit.closeness[i]
    return a, closeness


def weighted(a, closeness):
    """Coefficients ``b_ij = sqrt(w_ij) a_ij`` of the plain group lasso."""
    return np.where(closeness > 0, a / np.sqrt(np.where(closeness > 0, closeness, 1)), 0)


@pytest.mark.parametrize("regularization", [0.1, 0.5])
def test_the_solution_is_optimal(x, regularization):
    fit = solve(x, is_open=~NONE, is_free=NONE, regularization=regularization)
    a, closeness = dense(fit)
    slopes = (x - a @ x) @ x.T * np.sqrt(closeness)  # of half the squared error, in b
    b, r = weighted(a, closeness), float(fit.weight)
    norms = np.sqrt((b**2).sum(0))
    is_active = norms > 1e-2 * norms.max()
    # The sweeps stop within 1e-5 of their fixed point, which they near linearly.
    np.testing.assert_allclose(slopes[:, is_active], r * (b[:, is_active] / norms[is_active]), atol=5e-3 * r)
    assert np.sqrt((slopes[:, ~is_active] ** 2).sum(0)).max(initial=0.0) <= 1.005 * r
    assert is_active.any()


def test_the_neighbourhood_and_the_weights_are_those_of_the_definition(x):
    _, closeness = dense(solve(x, is_open=~NONE, is_free=NONE, regularization=0.1))
    squared = ((np.float64(x)[:, None] - x[None]) ** 2).sum(-1)
    is_near = squared.argsort(1).argsort(1) <= K
    np.fill_diagonal(is_near, False)
    expected = np.where(is_near, np.exp(-squared / np.sort(squared[is_near])[N * K // 2 - 1]), 0)
    np.testing.assert_allclose(closeness, expected, atol=1e-5)  # exponentials of float32 squares


@pytest.mark.slow
def test_nothing_is_used_above_the_largest_weight(x):
    assert (alnr(KEY, x, 7, n_neighbors=K, regularization=1.01).scores <= 0.0).all()
    assert alnr(KEY, x, 7, n_neighbors=K, regularization=0.9).scores[0] > 0.0


@pytest.mark.slow
def test_scores_are_the_norms_of_the_weighted_coefficients(x):
    a, closeness = dense(solve(x, is_open=~NONE, is_free=NONE, regularization=0.1))
    norms = np.sqrt((weighted(a, closeness) ** 2).sum(0))
    picks = alnr(KEY, x, 7, n_neighbors=K, tol=1e-5)
    np.testing.assert_array_equal(picks.indices, np.argsort(-norms)[:7])
    np.testing.assert_allclose(picks.scores, np.sort(norms)[::-1][:7], rtol=1e-3)  # both stop early


def test_labelled_rows_rebuild_at_no_cost_and_forbidden_ones_do_not(x):
    is_free, is_open = NONE.at[:3].set(True), ~NONE.at[:6].set(True)
    a, _ = dense(solve(x, is_open=is_open, is_free=is_free, regularization=0.5))
    assert not a[:, 3:6].any()
    residual = x - a @ x
    neighbours = [(i, j) for i in range(N) for j in range(3) if a[i, j] != 0]
    assert neighbours
    # What is left is not correlated with a free row, but for the 1e-4 of its finite beta.
    assert max(abs(residual[i] @ x[j]) for i, j in neighbours) < 1e-2


@pytest.mark.slow
def test_the_middle_of_each_group_comes_before_its_ends_and_an_outlier_last():
    groups = [[1.0, 0.0], [1.1, 0.0], [1.2, 0.0], [0.0, 1.0], [0.0, 1.1], [0.0, 1.2], [9.0, 9.0]]
    picks = alnr(KEY, jnp.array(groups), 7, n_neighbors=2).indices.tolist()
    assert sorted(picks[:2]) == [1, 4]
    assert picks[-1] == 6
