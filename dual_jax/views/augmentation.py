"""Random changes of an image that keep what it shows: moved, cropped, turned, in another light, with noise.

Those of geometry return where in the image each pixel is to be taken from, as a 3 x 3 matrix on
``(row, column, 1)`` from the middle of the image; so any number of them is one matrix and one resampling.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

SHIFT = 1 / 6  # of each side, at most
CROP = 0.7  # of each side that is left, at least
ANGLE = 0.26  # radians, 15 degrees, at most
CONTRAST = 0.4  # change of the contrast, at most
NOISE = 0.1  # standard deviation, for images of variance 1


def augment(key: Key[Array, ""], image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """Return an image after one draw of every change.

    Source: the kinds of change are those of Chen et al., ICML 2020; their sizes are ours, small enough for
    images in which place and direction mean something.

    Parameters
    ----------
    key
        Of this draw.
    image
        (h, w, channels), of mean 0 and variance 1 over all images.

    Examples
    --------
    >>> augment(jax.random.key(0), jnp.ones((8, 8, 1))).shape
    (8, 8, 1)
    """
    key_shift, key_crop, key_turn, key_contrast, key_noise = jax.random.split(key, 5)
    sides = jnp.array(image.shape[:2])
    where = shift(key_shift, sides) @ crop(key_crop, sides) @ turn(key_turn)
    return add_noise(key_noise, change_contrast(key_contrast, warp(image, where)))


def shift(key: Key[Array, ""], sides: Array, share: float = SHIFT) -> Float[Array, "3 3"]:
    """Return a move by up to a share of each side, any way."""
    return _moved(share * sides * jax.random.uniform(key, (2,), minval=-1.0))


def crop(key: Key[Array, ""], sides: Array, least: float = CROP) -> Float[Array, "3 3"]:
    """Return a window anywhere in the image, of at least that share of its sides, at the image's size."""
    key_size, key_place = jax.random.split(key)
    size = jax.random.uniform(key_size, minval=least)
    place = 0.5 * (1.0 - size) * sides * jax.random.uniform(key_place, (2,), minval=-1.0)
    return _moved(place) @ jnp.diag(jnp.stack([size, size, jnp.ones(())]))


def turn(key: Key[Array, ""], angle: float = ANGLE) -> Float[Array, "3 3"]:
    """Return a rotation by up to an angle in radians, either way."""
    by = angle * jax.random.uniform(key, minval=-1.0)
    cos, sin = jnp.cos(by), jnp.sin(by)
    return jnp.eye(3).at[:2, :2].set(jnp.array([[cos, -sin], [sin, cos]]))


def _moved(by: Float[Array, "2"]) -> Float[Array, "3 3"]:
    return jnp.eye(3).at[:2, 2].set(by)


def warp(image: Float[Array, "h w c"], where: Float[Array, "3 3"]) -> Float[Array, "h w c"]:
    """Return the image with each pixel taken from ``where`` it says, bilinear; beyond an edge, the edge."""
    rows, columns = jnp.meshgrid(
        *(jnp.arange(side) - (side - 1) / 2 for side in image.shape[:2]), indexing="ij"
    )
    from_middle = jnp.tensordot(where[:2], jnp.stack([rows, columns, jnp.ones_like(rows)]), 1)
    places = [axis + (side - 1) / 2 for axis, side in zip(from_middle, image.shape, strict=False)]
    return jax.vmap(lambda plane: map_coordinates(plane, places, 1, mode="nearest"), -1, -1)(image)


def change_contrast(
    key: Key[Array, ""], image: Float[Array, "..."], change: float = CONTRAST
) -> Float[Array, "..."]:
    """Return the image times one number near 1."""
    return image * (1.0 + change * jax.random.uniform(key, minval=-1.0))


def add_noise(
    key: Key[Array, ""], image: Float[Array, "..."], deviation: float = NOISE
) -> Float[Array, "..."]:
    """Return the image with independent normal noise on each value."""
    return image + deviation * jax.random.normal(key, image.shape)
