"""Histograms of gradients: against plain loops in float64, and what must not change them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.views.gradients import coarse_colours, gradient_centroids, gradient_histograms

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 18, 18, 3)).astype(np.float32)


def slow_histograms(image):
    """Return the features of one image by loops over pixels and cells."""
    side = len(image)
    cell, stride = round(side / 4), round(side / 9)
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    n_cells = (side - cell) // stride + 1
    parts = np.zeros((side, side, 16))
    for i in range(side):
        for j in range(side):
            across, down = padded[i + 1, j + 2] - padded[i + 1, j], padded[i + 2, j + 1] - padded[i, j + 1]
            best = np.argmax(across**2 + down**2)
            turn = np.arctan2(down[best], across[best]) / (2 * np.pi) * 16 % 16
            first, length = int(turn), np.hypot(across[best], down[best])
            parts[i, j, first % 16] += length * (1 - turn + first)
            parts[i, j, (first + 1) % 16] += length * (turn - first)
    cells = np.zeros((n_cells, n_cells, 16))
    for i in range(n_cells):
        for j in range(n_cells):
            rows, columns = slice(i * stride, i * stride + cell), slice(j * stride, j * stride + cell)
            cells[i, j] = parts[rows, columns].mean(axis=(0, 1))
    energy = np.pad((cells**2).sum(axis=2), 1)
    around = sum(energy[i : i + n_cells, j : j + n_cells] for i in range(3) for j in range(3))
    floor = 1e-3 * energy[1:-1, 1:-1].mean()
    return np.sqrt(cells / np.sqrt(around + floor)[..., None]).ravel()


@pytest.mark.parametrize("n_channels", [1, 3])
def test_histograms_are_those_of_plain_loops(n_channels):
    images = IMAGES[..., :n_channels]

    found = gradient_histograms(jnp.asarray(images))

    # A root near zero has the square root of the rounding of its argument.
    np.testing.assert_allclose(found, [slow_histograms(image) for image in images], atol=1e-3)


def test_contrast_and_brightness_change_nothing():
    found = gradient_histograms(jnp.asarray(IMAGES))

    np.testing.assert_allclose(gradient_histograms(jnp.asarray(7 * IMAGES + 3)), found, atol=1e-3)


def test_an_image_upside_down_has_its_directions_turned_by_half():
    images = jnp.asarray(IMAGES[..., :1])

    found = gradient_histograms(images).reshape(2, 8, 8, 16)
    turned = gradient_histograms(images[:, ::-1, ::-1]).reshape(2, 8, 8, 16)

    np.testing.assert_allclose(turned[:, ::-1, ::-1], np.roll(found, 8, axis=3), atol=1e-3)


def test_an_image_of_one_colour_is_finite_and_has_a_gradient():
    def total(images):
        return jnp.sum(gradient_histograms(images))

    value, gradient = jax.value_and_grad(total)(jnp.ones((1, 18, 18, 1)))

    assert abs(float(value)) < 1.0
    assert np.isfinite(gradient).all()


def test_coarse_colours_are_means_over_parts():
    parts = IMAGES[:, :16, :16].reshape(2, 4, 4, 4, 4, 3).mean(axis=(2, 4))

    np.testing.assert_allclose(
        coarse_colours(jnp.asarray(IMAGES[:, :16, :16])), parts.reshape(2, -1), atol=1e-5
    )
    constant = coarse_colours(jnp.full((1, 18, 10, 3), 2.0))  # parts of 4.5 and 2.5 pixels
    np.testing.assert_allclose(constant, np.full((1, 48), 2.0), rtol=1e-5)


def test_the_centroid_is_where_the_edges_are():
    image = np.zeros((1, 20, 20, 1), np.float32)
    image[0, 3:6, 12:15] = 1.0

    centre = gradient_centroids(jnp.asarray(image))[0]

    np.testing.assert_allclose(centre, [(4 - 9.5) / 20, (13 - 9.5) / 20], atol=1e-5)
