"""ARSS: the multiplier method against its definition in float64."""

import jax
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.reconstruction.arss import EPS, MU_GROWTH, MU_MAX, MU_START, _shrink

ARSS = METHODS["arss"]
KEY, N = jax.random.key(0), 40
X, WIDE = (np.random.default_rng(0).normal(size=(N, d)).astype(np.float32) for d in (5, 60))
LABELED, CANDIDATES = np.arange(N) < 3, np.arange(N) < 30


def naive(x, r, p, n_iters):
    """A after some steps, by an n x n system each; columns are samples as in the paper."""
    x = np.float64(x).T / np.sqrt((np.float64(x) ** 2).sum(1).mean())
    a, multiplier, mu = np.eye(N), np.zeros_like(x), MU_START
    for _ in range(n_iters):
        b = np.float64(_shrink(x - x @ a - multiplier / mu, p, mu))
        target, v = x - b - multiplier / mu, np.linalg.norm(a, axis=1) + EPS
        a = np.linalg.solve(r * np.diag(1 / v) + mu * x.T @ x, mu * x.T @ target)
        multiplier += mu * (b - x + x @ a)
        mu = min(MU_MAX, MU_GROWTH * mu)
    return a


@pytest.mark.slow
def test_the_rows_that_span_the_pool_come_first():
    x = np.array([[2.0, 0.0], [0.5, 0.5], [0.0, 1.9], [0.4, 0.1], [0.3, 0.6], [0.7, 0.8]])
    assert sorted(ARSS(KEY, x, 2).indices.tolist()) == [0, 2]


@pytest.mark.parametrize(("x", "power"), [(X, 0.5), (X, 1.0), (WIDE, 0.5)], ids=["p=.5", "p=1", "wide"])
def test_the_norms_are_those_of_the_plain_iteration(x, power):
    norms = np.abs(naive(x, 5.0, power, 40)).sum(1)
    picks = ARSS(KEY, x, N, penalty=5.0, power=power, tol=0.0, max_iter=40)
    is_ranked = np.asarray(picks.scores) > 0
    # Thresholds turn float32's rounding into small jumps.
    np.testing.assert_allclose(
        np.asarray(picks.scores)[is_ranked], norms[picks.indices[is_ranked]], atol=1e-3 * norms.max()
    )
    assert is_ranked.sum() > N / 2


@pytest.mark.parametrize("power", [0.5, 0.8, 1.0])
def test_the_shrinkage_minimises_its_scalar_problem(power):
    grid = np.linspace(-4, 4, 80_001)
    for value in (0.1, 1.2, -2.0, 3.5):
        objective = np.abs(grid) ** power + 2.0 / 2 * (grid - value) ** 2
        # Two steps of the fixed point leave percents just above the threshold.
        assert _shrink(np.float32(value), power, np.float32(2.0)) == pytest.approx(
            grid[objective.argmin()], abs=0.02
        )


@pytest.mark.slow
def test_a_row_that_only_rebuilds_itself_is_taken_for_an_outlier():
    x = np.concatenate([X[:, :4] * [1, 1, 1, 0.0], [[0.0, 0.0, 0.0, 9.0]]])
    assert ARSS(KEY, x, N + 1).indices[-1] == N
    assert ARSS(KEY, x, N + 1).scores[-1] == -1
