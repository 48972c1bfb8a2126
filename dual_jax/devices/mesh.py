"""Devices: the mesh, and how rows are laid out on it.

Rows are sharded in order, in equal shares; padding fills the last share.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from dual_jax.devices.hardware import platform_name

AXIS = "samples"
ROWS, EVERYWHERE = PartitionSpec(AXIS), PartitionSpec()


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh with one axis over ``devices``, all of them by default.

    Examples
    --------
    >>> make_mesh().axis_names
    ('samples',)
    """
    devices = jax.devices() if devices is None else list(devices)
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def platform_of(mesh: Mesh | None) -> str:
    """Return the platform of the devices of a mesh, or of JAX's default device: "cpu", "gpu" or "tpu"."""
    device = mesh.devices.flat[0] if mesh else jax.devices()[0]
    return platform_name(device)


def sharing(mesh: Mesh | None, n_tiles: int) -> Mesh | None:
    """Return the devices of a CPU mesh that share so many tiles of rows evenly; another mesh as it is.

    They are the first 1, 2, 4, ... ones, as many of each process; so within a process a fit does not depend
    on how many were named. Where the processes cannot share the tiles, each works alone on its own devices.
    None means JAX's default device.

    Examples
    --------
    >>> sharing(make_mesh(jax.devices()[:1]), 4) is None
    True
    """
    if mesh is None or mesh.devices.flat[0].platform != "cpu":
        return mesh
    named = list(mesh.devices.flat)
    processes = sorted({device.process_index for device in named})
    if n_tiles % len(processes):
        processes = [jax.process_index()]
    own = [[device for device in named if device.process_index == process] for process in processes]
    most = min(n_tiles // len(own), *map(len, own))
    devices = [device for of_process in own for device in of_process[: 1 << (most.bit_length() - 1)]]
    return None if devices == jax.local_devices()[:1] else make_mesh(devices)


def shard_rows(rows: Any, mesh: Mesh | None, n_tiles: int = 1) -> Array:
    """Return rows sharded equally over the mesh, or on one device without; padded by zeros at the end.

    Rows of NumPy go from the host to each device as its own share; no device ever holds them all.

    Parameters
    ----------
    rows
        (n, ...) array of NumPy or JAX.
    mesh
        From `make_mesh`, or None.
    n_tiles
        Into how many equal tiles the rows are cut, a multiple of the number of devices.
    """
    if missing := -len(rows) % math.lcm(n_tiles, mesh.size if mesh else 1):
        xp = jnp if isinstance(rows, jax.Array) else np
        rows = xp.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
    return on_device(rows) if mesh is None else put(rows, NamedSharding(mesh, ROWS))


def on_device(rows: Any) -> Array:
    """Return rows on JAX's default device, where `jnp.asarray` would compile a program to copy them."""
    return rows if isinstance(rows, jax.Array) else jax.device_put(rows, may_alias=False)


def put(array: Any, sharding: NamedSharding) -> Array:
    """Return an array that every process holds, placed on the devices of all processes."""
    if jax.process_count() == 1:
        return jax.device_put(array, sharding)
    # Between processes device_put compares the numbers, and NaN is not equal to itself.
    return jax.make_array_from_callback(array.shape, sharding, np.asarray(array).__getitem__)


def on_host(tree: Any) -> Any:
    """Return arrays as those of NumPy; what several processes share is gathered, by all of them together."""

    def whole(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            from jax.experimental.multihost_utils import process_allgather

            leaf = process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(whole, tree)


def on_mesh(function: Callable, mesh: Mesh | None, in_specs: Any, out_specs: Any) -> Callable:
    """Return ``function`` run on every device's own rows; the function itself without a mesh."""
    if mesh is None:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)
