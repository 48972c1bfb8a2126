"""Kernels between rows against their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.numerics.kernels import kernel_matrix, median_distance

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


def distances(x):
    x = np.asarray(x, np.float64)
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


def test_the_rbf_kernel_falls_with_distance_at_the_median_width():
    width = np.sort(distances(X)[np.triu_indices(30, 1)])[(30 * 29 // 2 - 1) // 2]
    expected = np.exp(-(distances(X) ** 2) / (2 * width**2))
    np.testing.assert_allclose(kernel_matrix(X, X, "rbf"), expected, rtol=1e-5)  # float32 distances
    assert median_distance(jnp.asarray(X)) == pytest.approx(width, rel=1e-6)


def test_the_linear_kernel_is_the_inner_product():
    np.testing.assert_allclose(kernel_matrix(X, X[:7]), X @ X[:7].T, atol=1e-6)


def test_equal_rows_far_from_the_origin_have_similarity_one():
    x = jnp.asarray(np.repeat(X[:5], 2, axis=0) + 100.0)
    assert (jnp.diagonal(kernel_matrix(x, x, "rbf"), 1)[::2] == 1.0).all()


@pytest.mark.parametrize("n", [1, 4])
def test_the_width_of_equal_rows_is_one(n):
    assert median_distance(jnp.ones((n, 3))) == 1.0


def test_an_unknown_kernel_is_named():
    with pytest.raises(ValueError, match="kernel='cosine' is unknown: give one of linear, rbf"):
        kernel_matrix(X, X, "cosine")
