"""Random changes of an image: where they take pixels from, and how far they go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.views import augmentation
from dual_jax.views.augmentation import add_noise, augment, change_contrast, crop, shift, turn, warp

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5, 2)), jnp.float32)
SIDES = jnp.array([5, 5])
KEYS = jax.random.split(jax.random.key(0), 200)


def test_every_draw_is_another_image_of_the_same_shape_and_a_key_gives_the_same():
    first, second = augment(KEYS[0], IMAGE), augment(KEYS[1], IMAGE)

    assert first.shape == IMAGE.shape
    assert bool(jnp.any(jnp.abs(first - second) > 0.1))
    np.testing.assert_array_equal(augment(KEYS[0], IMAGE), first)


def test_a_move_by_whole_pixels_moves_them_and_repeats_the_edge():
    moved = warp(IMAGE, jnp.eye(3).at[0, 2].set(1.0))

    np.testing.assert_allclose(moved[:4], IMAGE[1:], atol=1e-6)  # a weight of 1 and one of 0
    np.testing.assert_allclose(moved[4], IMAGE[4], atol=1e-6)


def test_a_quarter_turn_is_that_of_numpy():
    quarter = jnp.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])

    np.testing.assert_allclose(warp(IMAGE, quarter), np.rot90(IMAGE), atol=1e-5)  # places are rounded


@pytest.mark.parametrize("change", [shift, crop], ids=["shift", "crop"])
def test_the_middle_moves_no_further_than_allowed(change):
    where = jax.vmap(lambda key: change(key, SIDES))(KEYS)

    limit = 5 * {shift: augmentation.SHIFT, crop: (1 - augmentation.CROP) / 2}[change]
    assert 0.5 * limit < float(jnp.max(jnp.abs(where[:, :2, 2]))) <= limit


def test_a_crop_never_looks_beyond_the_image():
    corners = jnp.array([[2.5, 2.5, 1], [-2.5, -2.5, 1]]).T

    looked_at = jax.vmap(lambda key: crop(key, SIDES) @ corners)(KEYS)[:, :2]

    assert float(jnp.max(jnp.abs(looked_at))) <= 2.5 + 1e-6  # one rounding


def test_a_turn_keeps_lengths_and_stays_small():
    where = jax.vmap(turn)(KEYS)

    np.testing.assert_allclose(jnp.linalg.det(where), 1, atol=1e-6)  # some float32 roundings
    assert float(jnp.min(where[:, 0, 0])) >= np.cos(augmentation.ANGLE) - 1e-6


def test_contrast_is_one_factor_and_noise_is_not():
    factor = change_contrast(KEYS[0], IMAGE) / IMAGE

    np.testing.assert_allclose(factor, float(factor[0, 0, 0]), rtol=1e-5)  # a product and a quotient
    assert float(jnp.std(add_noise(KEYS[0], IMAGE) - IMAGE)) > augmentation.NOISE / 2
