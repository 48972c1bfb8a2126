"""Directions: against SciPy's eigenproblem in float64, and columns of one variance."""

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from dual_jax.views.directions import agreeing_projection, evened, principal_projection, project

RNG = np.random.default_rng(0)
ROWS = (RNG.normal(size=(60, 8)) * np.arange(1, 9)).astype(np.float32)


def test_principal_directions_are_those_of_the_covariance():
    projection = principal_projection(jnp.asarray(ROWS), 3)

    values, vectors = np.linalg.eigh(np.cov(ROWS.T.astype(np.float64), bias=True))
    factor = np.sqrt(3 / values.sum())
    np.testing.assert_allclose(np.abs(projection.directions), np.abs(vectors[:, :-4:-1]) * factor, atol=1e-5)


def test_agreeing_directions_solve_the_generalised_eigenproblem():
    samples = RNG.normal(size=(50, 1, 5)) * [3, 1, 1, 1, 1]
    views = (samples + RNG.normal(size=(50, 4, 5)) * [1, 1, 3, 1, 1]).astype(np.float32)

    projection = agreeing_projection(jnp.asarray(views), 2)

    x = views.astype(np.float64)
    within = np.einsum("nvi,nvj->ij", x - x.mean(1, keepdims=True), x - x.mean(1, keepdims=True)) / (50 * 3)
    rows = x.reshape(-1, 5) - x.mean((0, 1))
    values, vectors = scipy.linalg.eigh(
        rows.T @ rows / 200 - within, within + 0.1 * np.trace(within) / 5 * np.eye(5)
    )
    wanted = vectors[:, :-3:-1] * np.sqrt(values[:-3:-1] / (1 + values[:-3:-1]))
    np.testing.assert_allclose(np.abs(projection.directions), np.abs(wanted), atol=1e-4)


def test_evened_columns_have_one_variance_and_the_same_distances():
    x = jnp.asarray(ROWS)
    projection = principal_projection(x, 8)

    code = project(evened(projection, 8), x)

    np.testing.assert_allclose(np.var(code, axis=0), 1.0, rtol=1e-3)
    np.testing.assert_allclose(code @ code.T, project(projection, x) @ project(projection, x).T, atol=1e-3)


def test_views_without_differences_have_directions():
    views = jnp.broadcast_to(jnp.asarray(ROWS)[:, None], (60, 3, 8))

    assert np.isfinite(agreeing_projection(views, 4).directions).all()
