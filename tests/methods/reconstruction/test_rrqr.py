"""Pivoted QR against LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dual_jax.methods import METHODS

rrqr = METHODS["rrqr"]
KEY = jax.random.key(0)
N, D = 30, 8


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def lapack(x):
    """Absolute diagonal of R, and pivots."""
    r, pivots = scipy.linalg.qr(np.float64(x).T, mode="r", pivoting=True)
    return np.abs(np.diag(r)), pivots


def test_the_first_picks_are_the_pivots_of_lapack(x):
    lengths, pivots = lapack(x)
    picks = rrqr(KEY, x, N)
    np.testing.assert_array_equal(picks.indices[:D], pivots[:D])
    np.testing.assert_allclose(picks.scores[:D], lengths, rtol=1e-4)  # eight projections in float32


def test_beyond_the_rank_a_factorisation_of_the_rows_left_follows(x):
    picks = np.asarray(rrqr(KEY, x, N).indices)
    for start in range(0, N, D):
        left = np.setdiff1d(np.arange(N), picks[:start])
        expected = left[lapack(x[left])[1][:D]]
        np.testing.assert_array_equal(picks[start : start + D], expected[: N - start])


def test_a_deficient_rank_ends_a_factorisation_early(x):
    flat = x * (np.arange(D) < 3)
    _, pivots = lapack(flat)
    picks = np.asarray(rrqr(KEY, flat, N).indices)
    np.testing.assert_array_equal(picks[:3], pivots[:3])
    left = np.setdiff1d(np.arange(N), picks[:3])
    np.testing.assert_array_equal(picks[3:6], left[lapack(flat[left])[1][:3]])


def test_labelled_rows_are_projected_out_first(x):
    labeled = np.arange(N) < 5
    basis = np.linalg.qr(np.float64(x[:5]).T)[0]
    rest = np.where(labeled[:, None], 0, x - x @ basis @ basis.T)
    picks = rrqr(KEY, x, N - 5, labeled=jnp.asarray(labeled))
    np.testing.assert_array_equal(picks.indices[: D - 5], lapack(rest)[1][: D - 5])
    assert sorted(picks.indices.tolist()) == list(range(5, N))


def test_copies_and_axes_on_a_plane():
    x = jnp.array([[3.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    picks = rrqr(KEY, x, 4)
    assert picks.indices.tolist() == [0, 2, 3, 1]  # the copy waits for the row of zeros
    np.testing.assert_allclose(picks.scores, [3.0, 2.0, 0.0, 3.0], rtol=1e-6)
