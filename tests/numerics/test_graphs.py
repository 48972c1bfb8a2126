"""Graphs of nearest neighbours against loops in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.numerics.graphs import (
    heat_weights,
    laplacian,
    lle_weights,
    mean_distance,
    nearest_neighbors,
    smallest,
)

N, D, K = 40, 3, 4
RTOL = 1e-5  # float32 sums over some tens of numbers


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(N, D)), jnp.float32)


def all_squared(x):
    x = np.asarray(x, np.float64)
    return ((x[:, None] - x[None]) ** 2).sum(-1)


def test_neighbors_are_the_nearest_other_rows_in_order(x):
    indices, squared = nearest_neighbors(x, K)
    expected = all_squared(x) + np.diag(np.full(N, np.inf))
    np.testing.assert_array_equal(indices, np.argsort(expected, axis=1)[:, :K])
    np.testing.assert_allclose(squared, np.sort(expected, axis=1)[:, :K], rtol=RTOL)


def test_the_origin_of_the_rows_does_not_matter(x):
    np.testing.assert_array_equal(nearest_neighbors(x + 100.0, K)[0], nearest_neighbors(x, K)[0])


def test_copies_are_neighbors_at_distance_zero_the_lower_position_first():
    copies = jnp.ones((N, D)).at[20:].set(7.0)
    indices, squared = nearest_neighbors(copies, K)
    assert indices[0].tolist() == [1, 2, 3, 4]
    assert not squared.any()


def test_only_allowed_rows_are_neighbors_and_missing_ones_are_infinitely_far(x):
    indices, squared = nearest_neighbors(x, K, among=jnp.arange(N) < 3)
    assert set(indices[:, :2].ravel().tolist()) == {0, 1, 2}
    assert jnp.isinf(squared[:3, 2:]).all()
    assert jnp.isfinite(squared[3:, :3]).all()


def test_there_are_never_more_neighbors_than_other_rows(x):
    assert nearest_neighbors(x[:3], K)[0].shape == (3, 2)


def test_mean_distance_is_over_all_pairs(x):
    pairs = np.sqrt(all_squared(x))[np.triu_indices(N, 1)]
    np.testing.assert_allclose(mean_distance(x), pairs.mean(), rtol=1e-4)  # the diagonal rounds to some 1e-4


def test_heat_weights_are_one_at_distance_zero_even_without_a_width():
    np.testing.assert_allclose(heat_weights(jnp.array([0.0, 2.0]), jnp.array(1.0)), [1.0, np.exp(-1.0)], RTOL)
    assert heat_weights(jnp.zeros(2), jnp.array(0.0)).tolist() == [1.0, 1.0]


def test_the_laplacian_joins_both_directions(x):
    indices, squared = nearest_neighbors(x, K)
    weights = heat_weights(squared, jnp.array(1.0))
    expected = np.zeros((N, N))
    for i in range(N):
        for j, weight in zip(np.asarray(indices[i]), np.asarray(weights[i]), strict=True):
            expected[i, j] = expected[j, i] = max(expected[i, j], weight)
    expected = np.diag(expected.sum(1)) - expected
    np.testing.assert_allclose(laplacian(indices, weights), expected, atol=1e-6)  # entries are near 1


def test_lle_weights_solve_the_constrained_least_squares(x):
    indices, _ = nearest_neighbors(x, K)
    weights = lle_weights(x, indices)
    for i in range(N):
        offsets = np.float64(x)[np.asarray(indices[i])] - np.float64(x)[i]
        gram = offsets @ offsets.T
        expected = np.linalg.solve(gram + 1e-3 * np.trace(gram) * np.eye(K), np.ones(K))
        # Four neighbours in three dimensions: the system's condition number is about 1e3.
        np.testing.assert_allclose(weights[i], expected / expected.sum(), atol=1e-3)


def test_a_row_halfway_is_rebuilt_half_and_half():
    x = jnp.array([[0.0], [1.0], [2.0]])
    np.testing.assert_allclose(lle_weights(x, nearest_neighbors(x, 2)[0])[1], [0.5, 0.5], rtol=RTOL)


def test_copies_share_their_weight_equally():
    x = jnp.ones((5, 2))
    np.testing.assert_allclose(lle_weights(x, nearest_neighbors(x, K)[0]), 0.25, rtol=RTOL)


@pytest.mark.parametrize("n", [50, 5000])
def test_the_smallest_numbers_come_in_order_and_of_equals_the_lower_position_first(n):
    x = jnp.asarray(np.random.default_rng(0).integers(0, n // 2, n), jnp.float32)
    numbers, places = smallest(x, 7)
    expected = np.argsort(np.asarray(x), kind="stable")[:7]
    assert places.tolist() == expected.tolist()
    assert numbers.tolist() == x[expected].tolist()
