"""Leverage scores against their definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS

dcs = METHODS["dcs"]
KEY = jax.random.key(0)
N, D = 30, 8
ATOL = 1e-5  # leverages are at most 1; singular vectors in float32, gaps of some tenths


@pytest.fixture(scope="module")
def x():
    return (np.random.default_rng(0).normal(size=(N, D)) * np.geomspace(1, 0.1, D)).astype(np.float32)


def leverages(x, rank):
    u = np.linalg.svd(np.float64(x), full_matrices=False)[0]
    return (u[:, :rank] ** 2).sum(1)


@pytest.mark.parametrize(
    "rank", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)]
)
def test_scores_are_the_leverages_of_the_given_rank_in_falling_order(x, rank):
    picks = dcs(KEY, x, N, rank=rank)
    expected = leverages(x, rank)
    np.testing.assert_array_equal(picks.indices, np.argsort(-expected))
    np.testing.assert_allclose(picks.scores, np.sort(expected)[::-1], atol=ATOL)


def test_the_default_rank_is_the_smallest_that_holds_the_energy(x):
    shares = np.cumsum(np.linalg.svd(np.float64(x))[1] ** 2)
    for energy in (0.5, 0.9):
        rank = 1 + int((shares < energy * shares[-1]).sum())
        picks = dcs(KEY, x, N, energy=energy)
        np.testing.assert_allclose(picks.scores.sum(), rank, atol=N * ATOL)


def test_full_rank_gives_the_diagonal_of_the_hat_matrix(x):
    hat = np.float64(x) @ np.linalg.pinv(np.float64(x))
    picks = dcs(KEY, x, N, rank=D)
    np.testing.assert_allclose(picks.scores, np.diag(hat)[np.asarray(picks.indices)], atol=ATOL)


def test_a_rank_beyond_that_of_the_pool_counts_no_rounding(x):
    flat = x * (np.arange(D) < 3)
    np.testing.assert_allclose(dcs(KEY, flat, N, rank=D).scores.sum(), 3.0, atol=N * ATOL)


def test_centring_is_an_option(x):
    picks, centred = dcs(KEY, x + 3.0, N, rank=4, center=True), dcs(KEY, x - x.mean(0), N, rank=4)
    np.testing.assert_array_equal(picks.indices, centred.indices)


@pytest.mark.slow
def test_labelled_rows_are_scored_with_the_pool_and_left_out(x):
    order = np.asarray(dcs(KEY, x, N).indices)
    labeled = jnp.zeros(N, bool).at[order[:4]].set(True)
    np.testing.assert_array_equal(dcs(KEY, x, N - 4, labeled=labeled).indices, order[4:])


@pytest.mark.slow
def test_a_lone_direction_has_leverage_one():
    x = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])
    picks = dcs(KEY, x, 3, rank=2)
    assert picks.indices[0] == 2
    np.testing.assert_allclose(picks.scores, [1.0, 0.5, 0.5], atol=ATOL)


def test_a_rank_below_one_is_refused(x):
    with pytest.raises(ValueError, match="rank=0"):
        dcs(KEY, x, 3, rank=0)


def test_copies_come_in_the_order_of_their_positions(x):
    picks = np.asarray(dcs(KEY, np.concatenate([x, x[::-1]]), 2 * N).indices)
    place = np.argsort(picks)
    assert (place[:N] < place[N:][::-1]).all()
