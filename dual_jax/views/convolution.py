"""A convolutional encoder for images, as a pure module."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

from dual_jax.data.errors import InputError
from dual_jax.dual.network import Module, pure

KERNEL = 3  # pixels a side


def convolutional(
    widths: tuple[int, ...], latent_dim: int, *, image_shape: tuple[int, ...] | None = None
) -> Module:
    """Return strided convolutions with ReLU after each and a linear output, written in Flax NNX.

    Each convolution is 3 x 3 and halves both sides. The pair stands wherever `dual_jax.dual.network.dense`
    does, as ``DualConfig(encoder=...)`` too; its decoder may stay dense.

    Parameters
    ----------
    widths
        Channels after each convolution.
    latent_dim
        Width of the output.
    image_shape
        (h, w) or (h, w, channels) of rows that come flattened, as from a table; by default images come as
        (n, h, w) or (n, h, w, channels).

    Examples
    --------
    >>> import jax
    >>> encoder = convolutional((8, 16), 32)
    >>> images = jax.numpy.ones((5, 28, 28))
    >>> encoder.apply(encoder.init(jax.random.key(0), images), images).shape
    (5, 32)
    """

    def network(shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Sequential:
        *sides, n_inputs = shape
        layers: list[Callable] = []
        for n_outputs in widths:
            layers += [patches, nnx.Linear(KERNEL**2 * n_inputs, n_outputs, rngs=rngs), nnx.relu]
            sides, n_inputs = [-(-side // 2) for side in sides], n_outputs
        output = nnx.Linear(math.prod(sides) * n_inputs, latent_dim, rngs=rngs)
        return nnx.Sequential(*layers, lambda x: x.reshape(len(x), -1), output)

    def as_images(x: Array) -> Array:
        return with_channels(x if image_shape is None else x.reshape(len(x), *image_shape))

    module = pure(network)

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        return module.init(key, as_images(x))

    return Module(init, lambda params, x: module.apply(params, as_images(x)))


def patches(images: Float[Array, "n h w c"]) -> Float[Array, "n rows columns q"]:
    """Return the 3 x 3 pixels around every second pixel of every second row, zeros beyond the edges.

    A linear layer on them is a convolution of stride 2: written so because XLA's CPU backend runs its own
    convolutions some 13 times slower inside a loop, and training is a loop.
    """
    h, w = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    moved = [padded[:, i : i + h : 2, j : j + w : 2] for i in range(KERNEL) for j in range(KERNEL)]
    return jnp.concatenate(moved, axis=-1)


def with_channels(images: Array) -> Array:
    """Return images (n, h, w) or (n, h, w, channels) as (n, h, w, channels).

    Raises
    ------
    ValueError
        When they have other axes.
    """
    if images.ndim not in (3, 4):
        raise InputError(f"images have shape {images.shape}, wanted (n, h, w) or (n, h, w, channels)")
    return images if images.ndim == 4 else images[..., None]
