"""Random views of images and series: changes that keep what a sample shows.

A view of an image is moved, zoomed, turned, sheared, stretched and bent smoothly, all in one resampling, then
given another contrast and noise. Beyond its edge there is background. A view of a series is a stretch of half
its length, with another amplitude and noise.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

GRID = 5  # points on a side at which the smooth displacement is drawn
CROP = 0.5  # share of a series that a view keeps
AMPLITUDE, SERIES_NOISE = 0.2, 0.02  # standard deviations: of the logarithm; of a series' own deviation


class ImageChanges(NamedTuple):
    """Sizes of the changes of an image; lengths in units of its side, angles in radians.

    Attributes
    ----------
    shift
        Largest move either way.
    smallest, largest
        Zoom: how much of the image a view shows, as a factor of its side.
    rotation, shear, aspect
        Largest turn; largest slope; largest logarithm of the change of the ratio of the sides.
    displacement
        Standard deviation of a smooth random displacement.
    contrast
        Largest relative change.
    noise
        Standard deviation, for images of variance 1.
    flip
        Chance of a mirror image; 0 where left and right mean something, 0.5 where they do not.
    """

    shift: float | Array = 0.1
    smallest: float | Array = 0.75
    largest: float | Array = 1.2
    rotation: float | Array = 0.35
    shear: float | Array = 0.25
    aspect: float | Array = 0.15
    displacement: float | Array = 0.04
    contrast: float | Array = 0.4
    noise: float | Array = 0.1
    flip: float | Array = 0.0


def view_images(
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    changes: ImageChanges = ImageChanges(),  # noqa: B008  a NamedTuple of numbers
    background: Float[Array, " c"] | None = None,
) -> Float[Array, "n h w c"]:
    """Return one random view of each image.

    Source: the kinds of change are usual in contrastive learning (Chen et al., ICML 2020) and in
    handwriting (Simard et al., ICDAR 2003); their sizes are ours.

    Parameters
    ----------
    key
        Of this draw.
    images
        Of mean 0 and variance 1 over all images.
    changes
        How large they are.
    background
        Value of each channel beyond the edge; None repeats the edge.

    Examples
    --------
    >>> view_images(jax.random.key(0), jnp.ones((2, 8, 8, 1))).shape
    (2, 8, 8, 1)
    """
    key_places, key_contrast, key_noise = jax.random.split(key, 3)
    places = random_places(key_places, len(images), images.shape[1:3], changes)
    if background is None:
        moved = resample(images, places, repeat=True)
    else:
        moved = resample(images - background, places) + background
    factor = 1.0 + changes.contrast * jax.random.uniform(key_contrast, (len(images), 1, 1, 1), minval=-1.0)
    return moved * factor + changes.noise * jax.random.normal(key_noise, images.shape)


def random_places(
    key: Key[Array, ""], n: int, sides: tuple[int, ...], changes: ImageChanges
) -> Float[Array, "n 2 h w"]:
    """Return where in its image each pixel of a view lies, as (row, column) from the middle in sides."""
    keys = jax.random.split(key, 7)

    def symmetric(key: Array, shape: tuple[int, ...] = (n,)) -> Array:
        return jax.random.uniform(key, shape, minval=-1.0)

    zoom = jax.random.uniform(keys[0], (n,), minval=changes.smallest, maxval=changes.largest)
    angle, slope = changes.rotation * symmetric(keys[1]), changes.shear * symmetric(keys[2])
    stretch = jnp.exp(changes.aspect * symmetric(keys[3]))
    mirror = 1.0 - 2.0 * jax.random.bernoulli(keys[4], changes.flip, (n,))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = _matrices([[cos, -sin], [sin, cos]])
    one, zero = jnp.ones(n), jnp.zeros(n)
    matrix = zoom[:, None, None] * rotation @ _matrices([[one, zero], [slope, one]])
    matrix = matrix @ _matrices([[stretch, zero], [zero, mirror / stretch]])
    h, w = sides
    shift = changes.shift * symmetric(keys[5], (n, 2, 1, 1))
    bent = changes.displacement * jax.random.normal(keys[6], (n, 2, GRID, GRID))
    rows, columns = _smooth(h), _smooth(w)
    return jnp.einsum("nij,jhw->nihw", matrix, pixel_places(sides)) + shift + rows @ bent @ columns.T


def _matrices(entries: list[list[Array]]) -> Float[Array, "n 2 2"]:
    return jnp.stack([jnp.stack(row, axis=-1) for row in entries], axis=-2)


def pixel_places(sides: tuple[int, ...]) -> Float[Array, "2 h w"]:
    """Return where the pixels of an image lie, as (row, column) from the middle in sides."""
    axes = [(jnp.arange(side) - (side - 1) / 2) / side for side in sides]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"))


def _smooth(side: int) -> Float[Array, "side grid"]:
    """Return the matrix that interpolates `GRID` numbers smoothly along a side."""
    return jax.image.resize(jnp.eye(GRID), (side, GRID), "cubic")


def resample(
    images: Float[Array, "n h w c"], places: Float[Array, "n 2 r s"], *, repeat: bool = False
) -> Float[Array, "n r s c"]:
    """Return images at places (row, column) from the middle in sides, bilinear.

    Beyond the edge there is 0, or with ``repeat`` the edge.
    """
    mode = "nearest" if repeat else "constant"

    def one(image: Array, places: Array) -> Array:
        middle = [(side - 1) / 2 for side in image.shape[:2]]
        where = [place * side + m for place, side, m in zip(places, image.shape, middle, strict=False)]
        return jax.vmap(lambda plane: map_coordinates(plane, where, 1, mode=mode), -1, -1)(image)

    return jax.vmap(one)(images, places)


@partial(jax.jit, static_argnames="length")
def view_series(
    key: Key[Array, ""], series: Float[Array, "n c t"], length: int
) -> Float[Array, "n c length"]:
    """Return one random stretch of each series, of that length, with another amplitude and noise.

    Examples
    --------
    >>> view_series(jax.random.key(0), jnp.ones((2, 3, 40)), 20).shape
    (2, 3, 20)
    """
    key_start, key_amplitude, key_noise = jax.random.split(key, 3)
    n, _, n_times = series.shape
    starts = jax.random.randint(key_start, (n,), 0, n_times - length + 1)

    def cut(one: Array, start: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(one, start, length, axis=1)

    stretches = jax.vmap(cut)(series, starts)
    stretches *= jnp.exp(AMPLITUDE * jax.random.normal(key_amplitude, (n, 1, 1)))
    deviation = jnp.std(stretches, axis=2, keepdims=True)
    return stretches + SERIES_NOISE * deviation * jax.random.normal(key_noise, stretches.shape)
