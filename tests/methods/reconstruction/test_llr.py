"""LLR: scores against the error they stand for, in float64, one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.numerics.graphs import lle_weights, nearest_neighbors

llr = METHODS["llr"]
KEY = jax.random.key(0)
N, D, K = 30, 4, 12
RTOL = 1e-3  # weights in float32 against a condition number of 1e6


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32) + 1.0


@jax.jit
def graph(x):
    neighbors, _ = nearest_neighbors(x, 5)
    return neighbors, lle_weights(x, neighbors)


@pytest.fixture(scope="module")
def error(x):
    """``||X - Y(S)||_F^2`` by its definition, as a function of S and mu."""
    neighbors, weights = graph(x)
    w = np.zeros((N, N))
    w[np.arange(N)[:, None], neighbors] = weights
    m = (np.eye(N) - w).T @ (np.eye(N) - w) + 1e-5 * np.eye(N)

    def of(known, mu=0.1):
        s = np.diag(np.isin(np.arange(N), known).astype(float))
        return ((x - np.linalg.solve(mu * m + s, s @ np.float64(x))) ** 2).sum()

    return of


@pytest.mark.parametrize("mu", [0.01, 0.1, 1.0])
def test_each_score_is_the_exact_fall_of_the_error(x, error, mu):
    picks = llr(KEY, x, K, mu=mu)
    known = picks.indices.tolist()
    errors = [error(known[:t], mu) for t in range(K + 1)]
    np.testing.assert_allclose(picks.scores, -np.diff(errors), rtol=RTOL)


def test_each_pick_is_the_row_of_largest_fall(x, error):
    known = []
    for j in llr(KEY, x, K).indices.tolist():
        errors = [error([*known, i]) if i not in known else np.inf for i in range(N)]
        assert errors[j] <= min(errors) * (1 + RTOL)
        known.append(j)


def test_labelled_rows_are_known_from_the_start(x, error):
    known = [2, 9, 20]
    labeled = jnp.zeros(N, bool).at[jnp.array(known)].set(True)
    for j, fall in zip(*map(np.asarray, llr(KEY, x, K, labeled=labeled)), strict=True):
        np.testing.assert_allclose(fall, error(known) - error([*known, j]), rtol=RTOL)
        known.append(j)
    assert len(set(known)) == K + 3


def test_it_runs_inside_jit_and_vmap(x):
    grid = jax.jit(jax.vmap(lambda mu: llr(KEY, x, K, mu=mu).indices))(jnp.array([0.01, 1.0]))
    np.testing.assert_array_equal(grid[0], llr(KEY, x, K, mu=0.01).indices)
    np.testing.assert_array_equal(grid[1], llr(KEY, x, K, mu=1.0).indices)


def test_each_group_of_a_line_gives_its_middle():
    line = jnp.array([[4.0], [4.1], [4.2], [9.0], [9.1], [9.2], [15.0], [15.1], [15.2]])
    assert sorted(llr(KEY, line, 3, n_neighbors=2).indices.tolist()) == [1, 4, 7]
