"""Distances, roots and directions against float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.numerics.arithmetic import (
    exact_squared_distances,
    min_max,
    nth_true,
    principal_directions,
    safe_divide,
    safe_sqrt,
    squared_distances,
    stochastic_round,
    unit_power,
)

KEY = jax.random.key(0)


def rows(n, q, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, q)), jnp.float32)


def slow_squared_distances(a, b):
    return ((np.asarray(a, float)[:, None] - np.asarray(b, float)) ** 2).sum(-1)


def test_near_pairs_are_exact_and_equal_rows_are_at_no_distance():
    a = rows(40, 6)
    b = jnp.concatenate([a[:5], a[5:10] + 1e-4, rows(10, 6, 1)])
    squared = exact_squared_distances(a, b)
    # By differences near pairs keep float32's relative precision; by products the others lose a digit or two.
    np.testing.assert_allclose(squared, slow_squared_distances(a, b), rtol=1e-4)
    assert not np.diagonal(squared)[:5].any()


def test_distances_by_one_product_are_never_negative():
    a = rows(40, 6)
    squared = squared_distances(a, a)
    assert squared.min() >= 0
    np.testing.assert_allclose(squared, slow_squared_distances(a, a), atol=1e-5)  # 1e-7 of the squared norms


@pytest.mark.parametrize("function", [lambda x: safe_sqrt(x), lambda x: safe_divide(1.0 + x, x)])
def test_zero_has_a_finite_value_and_gradient(function):
    value, gradient = jax.value_and_grad(function)(0.0)
    assert np.isfinite([value, gradient]).all()


def test_min_max_looks_at_the_rows_that_count_and_is_zero_for_a_constant():
    x, where = jnp.array([1.0, 3.0, 2.0, 99.0]), jnp.array([True, True, True, False])
    assert min_max(x, where)[:3].tolist() == [0.0, 1.0, 0.5]
    assert min_max(jnp.ones(3)).tolist() == [0.0, 0.0, 0.0]


def test_unit_power_makes_the_mean_squared_length_one():
    assert float((unit_power(rows(30, 4)) ** 2).sum(1).mean()) == pytest.approx(1.0, rel=1e-6)
    assert not unit_power(jnp.zeros((3, 2))).any()


def test_true_positions_come_in_order_and_then_the_length():
    mask = jnp.array([False, True, True, False, True])
    assert nth_true(jnp.cumsum(mask), jnp.array(1), 4).tolist() == [2, 4, 5, 5]


def test_principal_directions_hold_the_variance_that_an_svd_finds():
    x = rows(60, 20) * jnp.linspace(1.0, 0.1, 20) ** 2
    basis = np.asarray(principal_directions(KEY, x - x.mean(0), 5), float)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-5)  # float32 QR
    best = np.linalg.svd(x - x.mean(0), compute_uv=False)[:5]
    assert ((x - x.mean(0)) @ basis).var(0).sum() * 60 >= 0.99 * (best**2).sum()  # four iterations


def test_directions_beyond_the_rank_are_orthonormal_too():
    basis = np.asarray(principal_directions(KEY, rows(10, 20), 15))
    np.testing.assert_allclose(basis.T @ basis, np.eye(15), atol=1e-5)  # float32 QR


def test_rounding_by_chance_goes_to_a_neighbour_and_is_right_on_average():
    x, salts = rows(50, 4), jnp.arange(1000)
    rounded = jax.vmap(stochastic_round, (None, 0))(x, salts).astype(jnp.float32)
    step = 2.0 ** (jnp.floor(jnp.log2(jnp.abs(x))) - 7)  # bfloat16 has 7 binary places
    assert stochastic_round(x, salts[0]).dtype == jnp.bfloat16
    assert jnp.all(jnp.abs(rounded - x) < step)
    # A draw between two neighbours deviates by half a step at most, the mean of 1,000 by 1/63 of that.
    assert jnp.all(jnp.abs(rounded.mean(0) - x) < 5 * step / 2 / 1000**0.5)


def test_rounding_by_chance_leaves_what_bfloat16_holds():
    x = jnp.array([0.0, -0.0, 1.0, -0.375, jnp.inf])
    for salt in range(5):
        np.testing.assert_array_equal(stochastic_round(x, jnp.int32(salt)), x.astype(jnp.bfloat16))


def test_an_average_that_rests_in_bfloat16_follows_its_numbers_down():
    numbers, sizes = jnp.linspace(1.0, 0.01, 3000) ** 2, jnp.linspace(0.5, 1.5, 1000)

    def follow(kept, at):
        new = 0.999 * kept.astype(jnp.float32) + 0.001 * numbers[at] * sizes
        return stochastic_round(new, at), None

    kept, _ = jax.lax.scan(follow, jnp.zeros(1000, jnp.bfloat16), jnp.arange(3000))
    weights = 0.001 * 0.999 ** np.arange(2999, -1, -1)
    # A thousand averages, each with its own chance. Rounded to the nearest, they end at three times that.
    assert float(kept.astype(jnp.float32).mean()) == pytest.approx(weights @ np.asarray(numbers), rel=0.02)
