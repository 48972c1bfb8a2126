"""Local features of images: histograms of oriented gradients, and coarse colour.

Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005, with signed
directions. Written as slices, element-wise work and products with two banded matrices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dual_jax.numerics.arithmetic import TINY, safe_sqrt
from dual_jax.views.random_views import pixel_places

N_DIRECTIONS = 16
CELLS_PER_SIDE, STRIDES_PER_SIDE = 4, 9  # a cell is a quarter of a side, neighbours are a ninth apart
FLOOR = 1e-3  # of an image's mean energy, in the normalisation
N_COLOURS = 4  # coarse colour: means over this many parts of each side


@jax.jit
def gradient_histograms(images: Float[Array, "n h w c"]) -> Float[Array, "n q"]:
    """Return for each image how strong its gradient is in each of 16 directions in each cell.

    With g the difference of the two neighbours of a pixel along rows and columns, in the channel where it is
    longest, ``|g|`` is shared between the two nearest of 16 directions and averaged over overlapping cells,
    o(cell, direction). The feature is ``sqrt(o / sqrt(e + f))``, where e is the sum of o^2 over the 3 x 3
    cells around and over directions, and f a thousandth of the image's mean of the sums over one cell.

    Parameters
    ----------
    images
        (n, h, w, channels), any scale: a factor of the contrast changes nothing.

    Returns
    -------
    (n, cells * 16) float32; an image of one colour gives zeros. Channels above one add their means over
    4 x 4 parts of the image; see `coarse_colours`.

    Examples
    --------
    >>> gradient_histograms(jnp.ones((2, 28, 28, 1))).shape
    (2, 1024)
    """
    n, h, w, _ = images.shape
    across, down = _strongest(images)
    length = safe_sqrt(across**2 + down**2)
    is_flat = (across == 0) & (down == 0)  # where arctan2 has no gradient
    turn = jnp.arctan2(down, jnp.where(is_flat, 1.0, across)) / (2 * jnp.pi) * N_DIRECTIONS
    away = jnp.abs(
        (turn[..., None] - jnp.arange(N_DIRECTIONS) + N_DIRECTIONS / 2) % N_DIRECTIONS - N_DIRECTIONS / 2
    )
    parts = (length - TINY**0.5)[..., None] * jax.nn.relu(1.0 - away)
    by_rows = jnp.einsum("ih,nhq->niq", _cells(h), parts.reshape(n, h, -1))
    by_rows = by_rows.reshape(n, -1, w, N_DIRECTIONS)
    cells = jnp.einsum("jw,niwb->nijb", _cells(w), by_rows)
    energy = jnp.sum(cells**2, axis=-1)
    floor = FLOOR * jnp.mean(energy, axis=(1, 2), keepdims=True) + TINY
    around = _sum_of_neighbours(_sum_of_neighbours(energy, 1), 2)
    return safe_sqrt(cells / jnp.sqrt(around + floor)[..., None]).reshape(n, -1)


def coarse_colours(images: Float[Array, "n h w c"]) -> Float[Array, "n q"]:
    """Return the mean of each channel over 4 x 4 parts of each image.

    Examples
    --------
    >>> coarse_colours(jnp.ones((2, 32, 32, 3))).shape
    (2, 48)
    """
    _, h, w, _ = images.shape
    rows, columns = (_means(side, N_COLOURS, side / N_COLOURS, side / N_COLOURS) for side in (h, w))
    return jnp.einsum("ih,jw,nhwc->nijc", rows, columns, images).reshape(len(images), -1)


def gradient_centroids(images: Float[Array, "n h w c"]) -> Float[Array, "n 2"]:
    """Return the centroid (row, column) of the length of each image's gradient, from its middle in sides."""
    across, down = _strongest(images)
    length = jnp.sqrt(across**2 + down**2)
    places = pixel_places(images.shape[1:3])
    return jnp.einsum("nhw,ahw->na", length, places) / (jnp.sum(length, axis=(1, 2)) + TINY)[:, None]


def _strongest(images: Float[Array, "n h w c"]) -> tuple[Float[Array, "n h w"], Float[Array, "n h w"]]:
    """Return the gradient along columns and along rows, of the channel in which it is longest."""
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    if images.shape[-1] == 1:
        return across[..., 0], down[..., 0]
    squared = across**2 + down**2
    is_best = jax.nn.one_hot(jnp.argmax(squared, axis=-1), images.shape[-1], dtype=images.dtype)
    return jnp.sum(across * is_best, axis=-1), jnp.sum(down * is_best, axis=-1)


def _cells(side: int) -> Float[np.ndarray, "cells side"]:
    """Return the matrix that averages over the cells of a side."""
    cell, stride = max(1, round(side / CELLS_PER_SIDE)), max(1, round(side / STRIDES_PER_SIDE))
    n_cells = (side - cell) // stride + 1
    return _means(side, n_cells, cell, stride)


def _means(side: int, n_parts: int, width: float, stride: float) -> Float[np.ndarray, "parts side"]:
    starts = (np.arange(n_parts) * stride)[:, None]
    pixels = np.arange(side)
    overlap = np.minimum(pixels + 1, starts + width) - np.maximum(pixels, starts)
    return (np.clip(overlap, 0, 1) / width).astype(np.float32)


def _sum_of_neighbours(energy: Float[Array, "n i j"], axis: int) -> Float[Array, "n i j"]:
    n = energy.shape[axis]
    near = np.abs(np.arange(n)[:, None] - np.arange(n)) <= 1
    return jnp.moveaxis(jnp.tensordot(energy, jnp.asarray(near, energy.dtype), ((axis,), (0,))), -1, axis)
