"""Every exchange between devices, as the identity when there is only one.

A function that takes ``axis_name`` gets the rows of its own device; with ``axis_name=None`` it gets all
rows. Nothing here is ever differentiated: gradients are taken of the local part and summed afterwards (the
transpose of a ``psum`` differs between ``pmap`` and ``shard_map``, an explicit sum does not).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

FEW = 1 << 12  # numbers that a device receives from all others in one exchange rather than two


def n_devices(axis_name: str | None) -> int:
    """Return how many devices share the axis; a static number."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def device_index(axis_name: str | None) -> Array:
    """Return the position of this device on the axis."""
    return jnp.zeros((), jnp.int32) if axis_name is None else jax.lax.axis_index(axis_name)


def total(tree: Any, axis_name: str | None) -> Any:
    """Return the sum over devices of each leaf."""
    return tree if axis_name is None else jax.lax.psum(tree, axis_name)


def sum_in_pairs(parts: Shaped[Array, "k ..."]) -> Shaped[Array, "..."]:
    """Return the sum over the first axis: neighbours first, then neighbouring pairs, and so on.

    Of 2^i parts the sum of each half is a part of the whole one: so 1, 2, 4, ... devices that each add their
    own parts first get the same bits.

    Examples
    --------
    >>> float(sum_in_pairs(jnp.arange(5.0)))
    10.0
    """
    while len(parts) > 1:
        n_even = len(parts) // 2 * 2
        parts = jnp.concatenate([parts[:n_even:2] + parts[1:n_even:2], parts[n_even:]])
    return parts[0]


def total_in_order(tree: Any, axis_name: str | None) -> Any:
    """Return the sum over devices of each leaf, of one type, added by `sum_in_pairs`.

    A ``psum`` adds in an order that the backend chooses. A few numbers are gathered from all devices; of
    many, each device adds a share.
    """
    count = n_devices(axis_name)
    if count == 1:
        return tree
    leaves, structure = jax.tree.flatten(tree)
    numbers = jnp.concatenate([leaf.ravel() for leaf in leaves])
    if numbers.size * count <= FEW:
        added = sum_in_pairs(jax.lax.all_gather(numbers, axis_name))
    else:
        shares = jnp.pad(numbers, (0, -numbers.size % count)).reshape(count, -1)
        own = sum_in_pairs(jax.lax.all_to_all(shares, axis_name, 0, 0))
        added = jax.lax.all_gather(own, axis_name, tiled=True)
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = [added[end - leaf.size : end] for leaf, end in zip(leaves, ends, strict=True)]
    return jax.tree.unflatten(
        structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )


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
