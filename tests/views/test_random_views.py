"""Random views: what no change leaves alone, what each one does, and where the background comes from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.views.random_views import ImageChanges, pixel_places, resample, view_images, view_series

KEY = jax.random.key(0)
NONE = ImageChanges(0.0, 1.0, 1.0, *(0.0,) * 6)
IMAGES = jax.random.normal(jax.random.key(1), (3, 6, 8, 2))


def test_an_image_without_changes_is_itself():
    np.testing.assert_allclose(view_images(KEY, IMAGES, NONE), IMAGES, atol=1e-5)  # weights in float32


def test_a_certain_flip_is_a_mirror_image():
    views = view_images(KEY, IMAGES, NONE._replace(flip=1.0))

    np.testing.assert_allclose(views, IMAGES[:, :, ::-1], atol=1e-5)


def test_a_zoom_shows_a_part_of_the_image():
    views = view_images(KEY, IMAGES, NONE._replace(smallest=0.5, largest=0.5))

    middle = IMAGES[:, 2:4, 3:5].mean(axis=(1, 2))
    np.testing.assert_allclose(views[:, 2:4, 3:5].mean(axis=(1, 2)), middle, atol=1e-5)


def test_beyond_the_edge_is_the_background_or_the_edge():
    whole = jnp.ones((1, 6, 6, 1))
    far = NONE._replace(smallest=3.0, largest=3.0)

    assert view_images(KEY, whole, far, jnp.array([-2.0]))[0, 0, 0, 0] == -2.0
    assert view_images(KEY, whole, far)[0, 0, 0, 0] == 1.0


def test_pixels_between_four_others_are_their_mean():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)

    moved = resample(image, pixel_places((4, 4))[None] + 0.125)

    np.testing.assert_allclose(moved[0, 1, 1, 0], np.mean([5, 6, 9, 10]), rtol=1e-5)


def test_every_image_has_changes_of_its_own_and_a_key_decides_them():
    same = jnp.tile(IMAGES[:1], (2, 1, 1, 1))

    views = view_images(KEY, same)

    assert float(jnp.abs(views[0] - views[1]).max()) > 0.1
    np.testing.assert_array_equal(views, view_images(KEY, same))


@pytest.mark.parametrize("length", [10, 40])
def test_a_view_of_a_series_is_one_of_its_stretches_in_another_amplitude(length):
    series = jnp.arange(1.0, 41.0).reshape(1, 1, 40)

    view = view_series(KEY, series, length)[0, 0]

    assert view.shape == (length,)
    steps = jnp.diff(view)
    assert 0.3 < float(jnp.mean(steps)) < 3  # the slope is the amplitude: a log-normal draw
