"""Row-sparse solvers: optimality in float64, and the handling of labelled, equal and zero rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.rowsparse import (
    SMOOTH,
    Problem,
    compact,
    group_lasso,
    prepare,
    ranking,
    robust_lasso,
    row_l1_norms,
    span,
    unexplained,
)

N, D = 60, 6
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
NONE, ALL = np.zeros(N, bool), np.ones(N, bool)
solve = jax.jit(group_lasso)
solve_robust = jax.jit(robust_lasso)


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


def robust_in_float64(labeled, penalty, **knobs):
    """Fit, correlations with the force and norms of A's rows, from the solver's strengths and W."""
    pool = prepare(jnp.asarray(X), jnp.asarray(labeled), None)
    solution = solve_robust(pool, penalty, **knobs)
    rest = np.float64(pool.rest) * np.asarray(pool.enters)[:, None]
    a = np.float64(solution.strengths)[:, None] * (rest @ np.float64(solution.w).T)
    target = np.float64(unexplained(pool.rows, pool.known))
    residual = target - a.T @ rest
    force = residual / np.sqrt((residual**2).sum(1, keepdims=True) + SMOOTH)
    return np.linalg.norm(rest @ force.T, axis=1), np.linalg.norm(a, axis=1), solution


@pytest.mark.parametrize("labeled", [NONE, np.arange(N) < 2])
def test_the_robust_lasso_satisfies_its_optimality_conditions_in_float64(labeled):
    pull, norms, solution = robust_in_float64(labeled, 3.0, tol=1e-4, max_iter=3000)
    assert solution.gap <= 1e-4
    # Reweighting nears the limit of a correlation only as its row dies out, hence percents. Rows that the
    # fit meets exactly have forces that float32 knows to 1e-3.
    assert pull.max() <= 3.0 * 1.01
    np.testing.assert_allclose(pull[norms > 0.1 * norms.max()], 3.0, rtol=0.02)
    assert (norms[labeled] == 0).all()


def test_labelled_rows_leave_nothing_of_what_they_span():
    labeled = np.arange(N) < 3
    rest = unexplained(jnp.asarray(X), span(jnp.asarray(X), jnp.asarray(labeled)))
    assert not rest[:3].any()
    basis = np.linalg.svd(np.float64(X[:3]), full_matrices=False)[2]
    np.testing.assert_allclose(rest, X - X @ basis.T @ basis, atol=1e-5)


def test_of_equal_rows_the_first_open_one_enters_and_zero_rows_do_not():
    x = jnp.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [-0.0, 3.0], [0.0, 3.0], [1.0, 2.0]])
    is_open = jnp.array([False, True, True, True, True, True])
    assert prepare(x, None, is_open).enters.tolist() == [False, False, True, True, False, False]


def test_compact_rows_have_the_same_inner_products():
    wide = X.T
    assert compact(jnp.asarray(wide)).shape == (D, D)
    np.testing.assert_allclose(compact(wide) @ compact(wide).T, wide @ wide.T, atol=1e-4)  # entries near 60


def test_l1_norms_are_those_of_the_whole_product():
    np.testing.assert_allclose(row_l1_norms(X, 2 * X), np.abs(2 * X @ X.T).sum(1), rtol=1e-5)


def test_unused_rows_follow_by_how_near_they_are_to_entering():
    picks = ranking(jnp.array([0.0, 2.0, 0.0, 1.0, 0.0]), jnp.array([0.5, 1.0, 0.9, 1.0, 0.9]), ALL[:5], 5)
    assert picks.indices.tolist() == [1, 3, 2, 4, 0]
    np.testing.assert_allclose(picks.scores, [2.0, 1.0, -0.1, -0.1, -0.5], atol=1e-6)
