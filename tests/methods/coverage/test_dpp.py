"""The greedy DPP against determinants in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.coverage.dpp import RANK

dpp = METHODS["dpp"]
KEY = jax.random.key(0)
X = np.random.default_rng(4).normal(size=(24, 4)).astype(np.float32)
WIDTH = 1.5


def kernel_of(x, kernel, width=WIDTH):
    x = np.asarray(x, np.float64)
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    return x @ x.T if kernel == "linear" else np.exp(-squared / (2 * width**2))


def log_det(k, chosen):
    return np.linalg.slogdet(k[np.ix_(chosen, chosen)])[1]


def slow_dpp(k, n_select, done):
    """Continue a set by the row of largest determinant, from scratch at every pick."""
    done, gains, n_before = list(done), [], len(done)
    for _ in range(n_select):
        values = [-np.inf if j in done else log_det(k, [*done, j]) for j in range(len(k))]
        gains.append(max(values) - log_det(k, done))
        done.append(int(np.argmax(values)))
    return done[n_before:], gains


@pytest.mark.slow
def test_on_a_line_the_picks_spread_from_the_row_nearest_to_the_mean():
    x = jnp.array([[0.0], [1.0], [2.0], [9.0], [10.0]])

    assert dpp(KEY, x, 3, width=2.0).indices.tolist() == [2, 4, 0]


@pytest.mark.parametrize(("kernel", "n_select"), [("rbf", 7), ("linear", 2)])
def test_after_labelled_rows_each_pick_raises_the_determinant_most(kernel, n_select):
    labeled = np.isin(np.arange(24), [5, 20])
    expected, gains = slow_dpp(kernel_of(X, kernel), n_select, [5, 20])

    picks = dpp(KEY, X, n_select, labeled=labeled, kernel=kernel, width=WIDTH)

    assert picks.indices.tolist() == expected
    np.testing.assert_allclose(picks.scores, gains, rtol=1e-3, atol=1e-4)  # logs of float32 residuals


@pytest.mark.slow
def test_past_the_rank_the_picks_are_spread_over_the_pool():
    picks = dpp(KEY, X, 7, kernel="linear")

    longest = (X.astype(np.float64) ** 2).sum(1).max()
    distance = np.linalg.norm(X[:, None] - X[np.asarray(picks.indices[:4])], axis=-1).min(1)
    assert picks.indices[4] == distance.argmax()
    assert picks.scores[4:].tolist() == pytest.approx([np.log(RANK * longest)] * 3, rel=1e-5)  # float32


@pytest.mark.slow
def test_a_duplicate_of_a_labelled_row_comes_last():
    x = np.concatenate([X[:6], X[:1]])

    indices = dpp(KEY, x, 6, labeled=np.arange(7) == 0, width=WIDTH).indices

    assert indices[-1] == 6


@pytest.mark.slow
def test_a_pool_of_equal_rows_is_picked_in_order():
    assert dpp(KEY, jnp.zeros((4, 2)), 3, kernel="linear").indices.tolist() == [0, 1, 2]
