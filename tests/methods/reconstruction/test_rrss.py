"""RRSS: the eigenvalue form against the authors' n systems per iteration."""

import jax
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.reconstruction.robustlasso import SMOOTH, SMOOTH_ROWS

CTED = METHODS["cted"]
RRSS = METHODS["rrss"]
KEY, N = jax.random.key(0), 40
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
LABELED, CANDIDATES = np.arange(N) < 3, np.arange(N) < 30


def naive(x, r, n_iters):
    """A of the authors' iteration in float64: a system of size n for every sample."""
    x = np.float64(x) / np.sqrt((np.float64(x) ** 2).sum(1).mean())
    k, d, u = x @ x.T, np.ones(N), np.ones(N)
    for _ in range(n_iters):
        a = np.stack([np.linalg.solve(u[i] * k + r * np.diag(d), u[i] * k[:, i]) for i in range(N)], axis=1)
        d = 0.5 / np.sqrt((a**2).sum(1) + SMOOTH_ROWS)
        u = 0.5 / np.sqrt(((x - a.T @ x) ** 2).sum(1) + SMOOTH)
    return a


@pytest.mark.slow
def test_the_rows_that_span_the_pool_come_first():
    x = np.array([[2.0, 0.0], [0.5, 0.5], [0.0, 1.9], [0.4, 0.1]])
    assert sorted(RRSS(KEY, x, 2).indices.tolist()) == [0, 2]


@pytest.mark.parametrize("n_iters", [1, 10])
def test_the_fast_form_is_the_naive_one(n_iters):
    norms = np.abs(naive(X, 1.0, n_iters)).sum(1)
    picks = RRSS(KEY, X, N, max_iter=n_iters)
    # 1e-5 of the largest norm, the precision of float32 after a few reweightings
    np.testing.assert_allclose(picks.scores, norms[picks.indices], atol=1e-5 * norms.max())


@pytest.mark.slow
def test_a_wild_target_moves_the_picks_less_than_those_of_squared_residuals():
    wild, candidates = X.copy(), np.arange(N) < 39
    wild[39] *= 100.0
    # The scale follows the wild row, so the penalty is given in the unit of the calm rows.
    unit = np.sqrt((wild**2).sum() / (X**2).sum())
    kept = [
        len({*calm(KEY, X, 10, candidates=candidates).indices.tolist()} & {*moved.indices.tolist()})
        for calm, moved in (
            (RRSS, RRSS(KEY, wild, 10, candidates=candidates, penalty=1.0 / unit)),
            (CTED, CTED(KEY, wild, 10, candidates=candidates)),
        )
    ]
    assert kept[0] > kept[1]


@pytest.mark.slow
def test_rows_in_the_span_of_labelled_ones_and_copies_come_last():
    x = np.concatenate([X[:20], X[:1] + X[1:2], X[10:29]])
    picks = RRSS(KEY, x, 37, labeled=LABELED)
    assert set(picks.indices[-11:].tolist()) >= {20, *range(21, 31)}
    assert (picks.scores[-11:] == -1).all()


@pytest.mark.slow
def test_the_order_of_the_rows_does_not_matter():
    shuffle = np.random.default_rng(2).permutation(N)
    assert shuffle[RRSS(KEY, X[shuffle], 7).indices].tolist() == RRSS(KEY, X, 7).indices.tolist()
