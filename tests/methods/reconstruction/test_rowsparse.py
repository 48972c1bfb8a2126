"""Rows for the row-sparse solvers: labelled, equal and zero rows, and the ranking."""

import jax.numpy as jnp
import numpy as np

from dual_jax.methods.reconstruction.rowsparse import (
    compact,
    prepare,
    ranking,
    row_l1_norms,
    span,
    unexplained,
)

N, D = 60, 6
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def test_labelled_rows_leave_nothing_of_what_they_span():
    labeled = np.arange(N) < 3
    rest = unexplained(jnp.asarray(X), span(jnp.asarray(X), jnp.asarray(labeled)))
    assert not rest[:3].any()
    basis = np.linalg.svd(np.float64(X[:3]), full_matrices=False)[2]
    np.testing.assert_allclose(rest, X - X @ basis.T @ basis, atol=1e-5)


def test_of_equal_rows_the_first_open_one_enters_and_zero_rows_do_not():
    x = jnp.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [-0.0, 3.0], [0.0, 3.0], [1.0, 2.0]])
    is_open = jnp.array([False, True, True, True, True, True])
    assert prepare(x, ~is_open & False, is_open).enters.tolist() == [False, False, True, True, False, False]


def test_compact_rows_have_the_same_inner_products():
    wide = X.T
    assert compact(jnp.asarray(wide)).shape == (D, D)
    np.testing.assert_allclose(compact(wide) @ compact(wide).T, wide @ wide.T, atol=1e-4)  # entries near 60


def test_l1_norms_are_those_of_the_whole_product():
    np.testing.assert_allclose(row_l1_norms(X, 2 * X), np.abs(2 * X @ X.T).sum(1), rtol=1e-5)


def test_unused_rows_follow_by_how_near_they_are_to_entering():
    picks = ranking(
        jnp.array([0.0, 2.0, 0.0, 1.0, 0.0]), jnp.array([0.5, 1.0, 0.9, 1.0, 0.9]), jnp.ones(5, bool), 5
    )
    assert picks.indices.tolist() == [1, 3, 2, 4, 0]
    np.testing.assert_allclose(picks.scores, [2.0, 1.0, -0.1, -0.1, -0.5], atol=1e-6)
