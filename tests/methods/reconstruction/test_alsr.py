"""ALSR: RRSS with local structure, against its optimality conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.reconstruction.alsr import _lle_operator
from dual_jax.methods.reconstruction.robustlasso import SMOOTH, robust_lasso
from dual_jax.methods.reconstruction.rowsparse import prepare
from dual_jax.numerics.graphs import lle_weights, nearest_neighbors

ALSR = METHODS["alsr"]
RRSS = METHODS["rrss"]
KEY, N = jax.random.key(0), 40
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
LABELED, CANDIDATES = np.arange(N) < 3, np.arange(N) < 30


@pytest.mark.slow
def test_the_rows_that_span_the_pool_come_first():
    x = np.array([[2.0, 0.0], [0.5, 0.5], [0.0, 1.9], [0.4, 0.1], [0.3, 0.6], [0.7, 0.8]])
    assert sorted(ALSR(KEY, x, 2).indices.tolist()) == [0, 2]


@jax.jit
def graph(x):
    places, _ = nearest_neighbors(x, 5)
    return places, lle_weights(x, places)


def locality_matrix(x):
    places, weights = graph(x)
    w = np.zeros((N, N))
    w[np.arange(N)[:, None], places] = weights
    return (np.eye(N) - w).T @ (np.eye(N) - w)


@jax.jit
def applied(x, locality):
    operator = _lle_operator(x, locality, 5)
    return operator.apply(x), operator.diagonal


@jax.jit
def solved(pool, penalty, locality):
    operator = _lle_operator(pool.rows, locality, 5)
    return robust_lasso(pool, penalty, locality=operator, tol=1e-3, max_iter=1000)


def test_the_operator_is_that_of_the_lle_weights():
    m = 0.3 * locality_matrix(jnp.asarray(X))
    image, diagonal = applied(X, 0.3)
    np.testing.assert_allclose(image, m @ X, atol=1e-5)  # float32 sums of entries near 1
    np.testing.assert_allclose(diagonal, np.diag(m), rtol=1e-5)


def test_the_solution_satisfies_its_optimality_conditions_in_float64():
    pool = jax.jit(prepare)(X, np.zeros(N, bool), np.ones(N, bool))
    solution = solved(pool, 2.0, 0.5)
    x, m = np.float64(pool.rows), 0.5 * locality_matrix(pool.rows)
    a = np.float64(solution.strengths)[:, None] * (x @ np.float64(solution.w).T)
    fit = a.T @ x
    force = (x - fit) / np.sqrt(((x - fit) ** 2).sum(1, keepdims=True) + SMOOTH) - 2 * m @ fit
    pull, norms = np.linalg.norm(x @ force.T, axis=1), np.linalg.norm(a, axis=1)
    # A gap of 1e-3 bounds the excess of a correlation by 1e-3; used rows near it by percents.
    assert pull.max() <= 2.0 * 1.01
    np.testing.assert_allclose(pull[norms > 0.1 * norms.max()], 2.0, rtol=0.03)


@pytest.mark.slow
def test_without_locality_it_is_rrss():
    picks, plain = ALSR(KEY, X, 7, locality=0.0, max_iter=50), RRSS(KEY, X, 7, max_iter=50)
    assert picks.indices.tolist() == plain.indices.tolist()
    np.testing.assert_allclose(picks.scores, plain.scores, rtol=1e-3)  # conjugate gradients in float32
