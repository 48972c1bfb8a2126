"""How DUAL will be trained on a pool: what was asked, what was decided, on which devices, in what memory."""

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.sharding import Mesh

from dual_jax.data.errors import InputError
from dual_jax.devices.mesh import make_mesh, sharing
from dual_jax.dual.checkpoint import Checkpoint
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import check_coefficient_optimizer
from dual_jax.dual.room import sizes_with_room
from dual_jax.dual.sizes import Sizes
from dual_jax.estimators.prepared import Request

ROWS_PER_DEVICE = 1000  # below this another device costs more than it saves


class Training(NamedTuple):
    """What was asked of a fit, what was decided for its pool, and where it is kept."""

    config: DualConfig
    sizes: Sizes
    checkpoint: Checkpoint | None = None


def plan_training(
    request: Request,
    config: DualConfig,
    mesh: Mesh | None,
    checkpoint_dir: str | os.PathLike[str] | None = None,
) -> Training:
    """Return the settings and sizes of a fit, after checking them and the memory that they take.

    Raises
    ------
    InputError
        A setting is out of range, or the fit would not fit in memory.
    """
    is_for_budget = config.readout in ("refine", "chain")
    n_exact = request.n_select if is_for_budget else max(request.n_select, config.n_exact)
    config = dataclasses.replace(config, n_exact=n_exact)
    config.check()
    check_coefficient_optimizer(config)
    checkpoint = None if checkpoint_dir is None else Checkpoint(checkpoint_dir)
    # A fit that goes on keeps its dictionary, although memory may leave room for another number now.
    n_places = checkpoint.places() if checkpoint and config.dictionary_size is None else None
    n_usable = int((request.is_labeled | request.is_open).sum())
    mesh = sharing(mesh, config.sizes(request.shape[0], n_usable).n_tiles)
    sizes = sizes_with_room(request.shape, n_usable, config, mesh, n_places)
    if sizes.n_clusters > sizes.n_targets:
        raise InputError(f"n_clusters={sizes.n_clusters} exceeds the {sizes.n_targets} rows: ask for fewer.")
    return Training(config, sizes, checkpoint)


def mesh_for(n: int, devices: Sequence[jax.Device] | None = None) -> Mesh | None:
    """Return the devices for a pool of n rows as a mesh, or None for JAX's default device alone.

    Of those of a CPU `dual_jax.devices.mesh.sharing` uses no more than the pool has tiles.
    """
    if devices is not None:
        if not len(devices):
            raise InputError("devices is empty: name at least one, or None for those that pay.")
        return None if list(devices) == jax.devices()[:1] else make_mesh(devices)
    is_worth = jax.default_backend() != "cpu"
    devices = jax.devices()[: max(1, n // ROWS_PER_DEVICE)] if is_worth else jax.devices()[:1]
    return make_mesh(devices) if len(devices) > 1 else None
