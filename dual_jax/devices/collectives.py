"""Every exchange between devices, as the identity when there is only one.

A function that takes ``axis_name`` gets the rows of its own device; with ``axis_name=None`` it gets all
rows. Nothing here is ever differentiated: gradients are taken of the local part and summed afterwards (the
transpose of a ``psum`` differs between ``pmap`` and ``shard_map``, an explicit sum does not).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


def n_devices(axis_name: str | None) -> int:
    """Return how many devices share the axis; a static number."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def device_index(axis_name: str | None) -> Array:
    """Return the position of this device on the axis."""
    return jnp.zeros((), jnp.int32) if axis_name is None else jax.lax.axis_index(axis_name)


def total(tree: Any, axis_name: str | None) -> Any:
    """Return the sum over devices of each leaf."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def largest(tree: Any, axis_name: str | None) -> Any:
    """Return the maximum over devices of each leaf."""
    return tree if axis_name is None else jax.lax.pmax(tree, axis_name)


def smallest(tree: Any, axis_name: str | None) -> Any:
    """Return the minimum over devices of each leaf."""
    return tree if axis_name is None else jax.lax.pmin(tree, axis_name)


def gather_rows(rows: Shaped[Array, "local ..."], axis_name: str | None) -> Shaped[Array, "all ..."]:
    """Return the rows of all devices, in device order."""
    return rows if axis_name is None else jax.lax.all_gather(rows, axis_name, tiled=True)


def scatter_rows(rows: Shaped[Array, "all ..."], axis_name: str | None) -> Shaped[Array, "local ..."]:
    """Return this device's rows of the sum over devices; the counterpart of `gather_rows`."""
    return rows if axis_name is None else jax.lax.psum_scatter(rows, axis_name, tiled=True)


def own_rows(rows: Shaped[Array, "all ..."], axis_name: str | None) -> Shaped[Array, "local ..."]:
    """Return this device's part of rows that every device holds; the inverse of `gather_rows`."""
    if axis_name is None:
        return rows
    n_local = rows.shape[0] // n_devices(axis_name)
    return jax.lax.dynamic_slice_in_dim(rows, device_index(axis_name) * n_local, n_local)
