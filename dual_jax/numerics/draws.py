"""Draws of rows: evenly spaced along an order, or uniformly at random; both without replacement."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.numerics.xla import OneOff

Vector = Any  # an array of NumPy on the host, of JAX on the device


def even_places(n: int | Int[Array, ""], size: int) -> Int[Vector, " size"]:
    """Return ``floor((i + 1/2) n / size)`` for i < size: evenly spaced places among n, ascending.

    For fewer than ``size`` places they are 0, 1, 2, ... and go on beyond the last one. On the host, in
    float64, where n is a number; on the device where it is an array.

    Examples
    --------
    >>> even_places(12, 4).tolist(), even_places(2, 4).tolist()
    ([1, 4, 7, 10], [0, 1, 2, 3])
    """
    xp = jnp if isinstance(n, jax.Array) else np
    ranks = xp.arange(size)
    spaced = ((ranks + 0.5) * (n / max(size, 1))).astype(ranks.dtype)
    return xp.where(n < size, ranks, spaced)


def even_rows(is_open: Bool[Array, " n"], size: int) -> Int[Array, " size"]:
    """Return evenly spaced open positions, ascending; where fewer are open, the last one is repeated.

    Examples
    --------
    >>> even_rows(jnp.array([True, False, True, True, True]), 2).tolist()
    [2, 4]
    """
    rank = jnp.cumsum(is_open)
    places = jnp.minimum(even_places(rank[-1], size), rank[-1] - 1)
    return jnp.searchsorted(rank, places + 1).astype(jnp.int32)


def spread_along_clusters(
    labels: Int[Vector, " n"], squared: Float[Vector, " n"], is_open: Bool[Vector, " n"], size: int
) -> Int[Vector, " size"]:
    """Return ``size`` open positions from all over a pool: a systematic sample, the same for any layout.

    Rows are ordered cluster by cluster, from the centroid outwards, and evenly spaced ones are taken: every
    cluster has its share, of the middle and of the rim. When fewer are open, closed rows follow.

    Parameters
    ----------
    labels, squared
        (n,) cluster of each row and its squared distance from the centroid, as `assign` returns them: arrays
        of NumPy on the host, or of JAX on the device.
    is_open
        (n,) rows that may be drawn.

    Examples
    --------
    >>> labels, squared = np.array([0, 1, 0, 1]), np.array([3.0, 0.0, 0.0, 2.0])
    >>> spread_along_clusters(labels, squared, np.ones(4, bool), 2).tolist()
    [0, 3]
    """
    on_device = isinstance(is_open, jax.Array)
    n_open, xp = (jnp.sum(is_open), jnp) if on_device else (int(is_open.sum()), np)
    return xp.lexsort((squared, labels, ~is_open))[even_places(n_open, size)]


def draw_rows(key: Key[Array, ""], is_open: Bool[Array, " n"], size: int) -> Int[Array, " size"]:
    """Return ``size`` positions drawn at random, each open row as likely as any other; at most n.

    When fewer are open, the closed rows follow, in an order as random.

    Examples
    --------
    >>> sorted(draw_rows(jax.random.key(0), jnp.array([True, False, True]), 2).tolist())
    [0, 2]
    """
    return jnp.lexsort((jax.random.uniform(key, is_open.shape), ~is_open))[:size]


def _two_keys(key: Key[Array, ""]) -> tuple[Key[Array, ""], Key[Array, ""]]:
    first, second = jax.random.split(key)
    return first, second


two_keys = OneOff(_two_keys, lambda _: True)
"""The two keys of `jax.random.split`, by one program instead of three."""


def seeded(seed: int) -> Key[Array, ""]:
    """Return ``jax.random.key(seed)``, without a program where the numbers of the key are known.

    Examples
    --------
    >>> bool(seeded(7) == jax.random.key(7))
    True
    """
    is_known = jax.config.values["jax_default_prng_impl"] == "threefry2x32" and 0 <= seed < 1 << 31
    if not is_known:
        return jax.random.key(seed)
    numbers: Any = np.array([0, seed], np.uint32)
    return jax.random.wrap_key_data(numbers)
