"""C on the simplex that rebuilds views, the graph that it is, and spreading along it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bench import distances, joint_views, selfexpression
from dual_jax.views.agreement import init_agreement


def test_coefficients_are_on_the_simplex_and_no_row_rebuilds_itself():
    codes = jax.random.normal(jax.random.key(0), (30, 4))
    c, scale = joint_views.coefficients(jnp.zeros((30, 30)), codes)
    assert np.allclose(c.sum(axis=1), 1, atol=1e-5)
    assert (np.diag(c) == 0).all()
    away = np.sort(((codes[:, None] - codes) ** 2).sum(axis=2), axis=1)[:, 1:11]
    assert float(scale) == pytest.approx(away.mean(), rel=1e-4)


def test_training_lowers_what_c_leaves_of_the_codes():
    codes = jax.random.normal(jax.random.key(0), (40, 3))
    left = [
        jnp.mean(jnp.linalg.norm(codes - c @ codes, axis=1))
        for c in (joint_views.coefficients(jnp.zeros((40, 40)), codes)[0], joint_views.of_fixed(codes))
    ]
    assert left[1] < 0.9 * left[0]


@pytest.mark.slow
def test_the_control_has_no_c_and_the_joint_stage_moves_both():
    views = jax.random.normal(jax.random.key(0), (24, joint_views.N_VIEWS, 5))
    data = joint_views.Rows(views[:, 0], views, views[:, 1])
    start = init_agreement(jax.random.key(1), 5, 4).params
    control, nothing = joint_views.train(jax.random.key(2), start, data, 0.0, False)
    together, raw = joint_views.train(jax.random.key(2), start, data, 1.0, False)
    assert not nothing.any()
    assert raw.any()
    assert not np.allclose(control.layers[0].kernel, together.layers[0].kernel, atol=1e-3)


def test_spreading_guesses_the_class_of_each_part_from_one_label():
    x = np.random.default_rng(0).normal(size=(40, 2)) + np.repeat([0, 30], 20)[:, None]
    kernel = distances.spreading(distances.weighted(x))
    assert selfexpression.spread_accuracy(kernel, np.array([0, 39]), np.repeat([0, 1], 20)) == 1.0


def test_budgets_are_the_tournaments():
    assert selfexpression.budgets(10, 500) == [10, 20, 40, 62, 125, 250]
