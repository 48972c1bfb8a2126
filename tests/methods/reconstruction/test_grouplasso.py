"""The group lasso: optimality in float64, also where coordinate steps alone would crawl."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods.reconstruction.grouplasso import Problem, group_lasso

N, D = 60, 6
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
ALL = np.ones(N, bool)
solve = jax.jit(group_lasso)


def coefficients(x, strengths, inverse):
    """A of the group lasso in float64: A_j = s_j x_j^T N X."""
    return strengths[:, None] * (x @ inverse @ x.T)


def lasso_in_float64(problem, penalty, **knobs):
    x, ridge = np.float64(problem.x), np.float64(problem.ridge)
    solution = solve(problem, jnp.float32(penalty), **knobs)
    strengths = np.float64(solution.strengths)
    inverse = np.linalg.inv(np.diag(ridge) + (x.T * strengths) @ x)
    return x, strengths, coefficients(x, strengths, inverse), solution


def test_two_orthogonal_rows_shrink_by_soft_thresholding():
    problem = Problem(jnp.diag(jnp.array([3.0, 2.0])), jnp.ones(2), jnp.ones(2, bool))
    # One row alone: 1/2 (c - c a)^2 + 4 |a| is least at a = 1 - 4 / c^2 = 5/9, or 0 when c^2 = 4.
    strengths = solve(problem, jnp.float32(4.0), tol=1e-6).strengths
    np.testing.assert_allclose(strengths * 4.0, [5 / 9, 0.0], atol=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_the_group_lasso_satisfies_its_optimality_conditions_in_float64(share):
    penalty = share * np.linalg.norm(X @ X.T, axis=1).max()
    x, strengths, a, solution = lasso_in_float64(Problem(X, jnp.ones(D), ALL), penalty, tol=1e-6)
    pull = np.linalg.norm(x @ (x - a.T @ x).T, axis=1) / penalty
    # The gap is quadratic in the violation: 1e-6 of the objective is some 1e-3 in a correlation.
    assert pull.max() < 1 + 3e-3
    np.testing.assert_allclose(pull[strengths > 0.01 * strengths.max()], 1.0, atol=3e-3)
    assert solution.gap <= 1e-6
    assert (strengths == 0).any()


def test_the_reported_gap_is_primal_minus_dual():
    penalty = 0.05 * np.linalg.norm(X @ X.T, axis=1).max()
    x, _, a, solution = lasso_in_float64(Problem(X, jnp.ones(D), ALL), penalty, max_sweeps=1, tol=0.0)
    residual = x - a.T @ x
    t = min(1.0, penalty / np.linalg.norm(x @ residual.T, axis=1).max())
    primal = 0.5 * (residual**2).sum() + penalty * np.linalg.norm(a, axis=1).sum()
    dual = 0.5 * ((x**2).sum() - ((x - t * residual) ** 2).sum())
    assert solution.gap == pytest.approx((primal - dual) / primal, rel=1e-2)  # a small difference in float32


def test_a_feature_of_ridge_zero_makes_the_columns_of_a_sum_to_one():
    bound = np.concatenate([X - X.mean(0), np.ones((N, 1), np.float32)], axis=1)
    ridge = jnp.ones(D + 1).at[-1].set(0.0)
    _, _, a, solution = lasso_in_float64(Problem(bound, ridge, ALL), 3.0)
    np.testing.assert_allclose(a.sum(0), 1.0, atol=1e-9)  # an identity of the closed form in float64
    assert solution.gap <= 1e-4


def test_a_diversified_solution_meets_its_conditions():
    units = np.float64(X) / np.linalg.norm(np.float64(X), axis=1, keepdims=True)
    penalty, diversity = 3.0, 2.0
    x, strengths, a, _ = lasso_in_float64(
        Problem(X, jnp.ones(D), ALL), penalty, diversity=diversity, tol=1e-6
    )
    price = np.sqrt(penalty**2 + 2 * diversity * (units @ units.T) ** 2 @ strengths)
    pull = np.linalg.norm(x @ (x - a.T @ x).T, axis=1) / price
    assert pull.max() < 1 + 3e-3  # as above
    np.testing.assert_allclose(pull[strengths > 0.01 * strengths.max()], 1.0, atol=3e-3)


def test_rows_that_are_alike_are_told_apart_in_a_few_sweeps():
    alike = np.random.default_rng(54).normal(size=(24, 4)).astype(np.float32)  # 400 sweeps by coordinates
    bound = np.concatenate([alike - alike.mean(0), np.ones((24, 1), np.float32)], axis=1)
    penalty = np.linalg.norm(bound[:, :4] @ bound[:, :4].T, axis=1).max() / 30
    ridge, order = jnp.ones(5).at[-1].set(0.0), np.random.default_rng(1).permutation(24)
    here, there = (solve(Problem(x, ridge, ALL[:24]), penalty) for x in (bound, bound[order]))
    assert max(here.n_sweeps, there.n_sweeps) < 30
    # The gap of 1e-6 leaves strengths that differ by some 1e-5; by coordinates it was 2e-2.
    np.testing.assert_allclose(there.strengths, here.strengths[order], atol=2e-4 * here.strengths.max())
