"""Draws of rows: evenly spaced ones are even, random ones are fair, closed rows come last."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.numerics.draws import draw_rows, even_places, even_rows, spread_along_clusters


@pytest.mark.parametrize(("n", "size"), [(12, 4), (100, 7), (9, 9), (5, 9), (1, 1), (0, 0)])
def test_even_places_are_the_same_on_host_and_device_and_a_step_apart(n, size):
    places = even_places(n, size)
    assert places.tolist() == even_places(jnp.asarray(n), size).tolist()
    assert len(set(places.tolist())) == size
    if 0 < size <= n:
        assert set(np.diff(places)) <= {n // size, -(-n // size)}
        assert places[0] <= n // size
        assert places[-1] < n


def test_even_places_of_a_large_pool_are_exact_on_the_host():
    n, size = 3_000_000_001, 1000
    expected = [(2 * i + 1) * n // (2 * size) for i in range(size)]
    assert even_places(n, size).tolist() == expected


def test_even_rows_are_open_and_the_last_one_is_repeated_where_too_few_are():
    is_open = jnp.arange(30) % 3 == 0
    assert even_rows(is_open, 5).tolist() == [3, 9, 15, 21, 27]
    assert even_rows(jnp.arange(30) == 4, 3).tolist() == [4, 4, 4]


@pytest.mark.parametrize("size", [3, 10])
def test_a_systematic_sample_of_the_host_is_that_of_the_device(size):
    rng = np.random.default_rng(0)
    labels, squared, is_open = rng.integers(0, 4, 40), rng.random(40).astype(np.float32), rng.random(40) < 0.5
    found = spread_along_clusters(labels, squared, is_open, size)
    assert is_open[found].all()
    on_device = spread_along_clusters(*map(jnp.asarray, (labels, squared, is_open)), size)
    assert found.tolist() == on_device.tolist()


def test_each_open_row_is_drawn_as_often_as_any_other_and_closed_ones_last():
    is_open = jnp.arange(10) < 6
    draws = np.asarray(
        jax.vmap(lambda key: draw_rows(key, is_open, 8))(jax.random.split(jax.random.key(0), 600))
    )
    assert (np.sort(draws[:, :6]) == np.arange(6)).all()
    assert (draws[:, 6:] >= 6).all()
    counts = np.bincount(draws[:, :2].ravel(), minlength=6)
    assert np.abs(counts - 200).max() < 4 * np.sqrt(200)  # four deviations of a fair draw
