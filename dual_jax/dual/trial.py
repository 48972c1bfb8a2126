"""A small fit on a device decides whether the kernels of `dual_jax.dual.kernels` may be used there.

They were made without a TPU: its compiler gave their schedules, and JAX interpreted them. So each process
that could use them first compares some steps with plain ones on its own device.
"""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dual_jax.devices.hardware import kind_of
from dual_jax.dual.config import DualConfig
from dual_jax.dual.sizes import PLAIN, Sizes
from dual_jax.dual.steps import init, start_selection, train_step

# Other kinds have less memory on a chip than the simplex' kernels take, or it is not known.
KINDS = {"free": ("v5e", "v6e", "v4"), "simplex": ("v5e", "v6e")}
N_ROWS, N_FEATURES, N_STEPS = 700, 20, 5  # several tiles of targets, and of places, the last ones not full
TOLERANCE = 1e-4  # mean difference of an array, in units of its mean size


def tried(sizes: Sizes, config: DualConfig, mesh: Mesh | None) -> Sizes:
    """Return sizes with "plain" as their kernel where another one is not to be used on the devices of a mesh.

    A device that is only compiled for is not tried. Several processes use none: each would try its own
    device, and all must run the same program.
    """
    if sizes.kernel == PLAIN:
        return sizes
    device = mesh.devices.flat[0] if mesh else jax.devices()[0]
    is_usable = kind_of(device.device_kind) in KINDS[config.objective] and jax.process_count() == 1
    if is_usable and device in jax.devices():
        objection = _objection(config.objective, sizes.kernel, device)
        is_usable = not objection
        if objection:
            warnings.warn(
                f"on this {device.device_kind} the step is the plain one, since {objection}; "
                'kernel="plain" asks for that without a trial',
                stacklevel=2,
            )
    if is_usable:
        return sizes
    own = -(-sizes.n_targets // (mesh.size if mesh else 1))
    block_rows = config.rows_in_block(own, sizes.n_columns, "tpu")
    return sizes._replace(kernel=PLAIN, block_rows=block_rows)


@functools.lru_cache
def _objection(objective: str, kernel: str, device: Any) -> str:
    """Return why a kernel is not to be used on a device, on which it is tried; empty if it is."""
    try:
        with jax.default_device(device):
            difference = trial(objective, kernel)
    except Exception as error:  # an untried compiler or device may raise anything
        return f"its kernel failed there ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "" if difference <= TOLERANCE else f"its kernel's numbers differ there by {difference:.1e}"


def trial(objective: str, kernel: str) -> float:
    """Return by how much a small fit by a kernel differs from a plain one; infinite where it is not finite.

    The mean difference of an array is in units of its mean size. (Adam divides a gradient by its own size: of
    single entries whose gradient is almost 0 it amplifies the rounding.)
    """
    config = DualConfig.paper(n_clusters=5) if objective == "free" else DualConfig(n_clusters=5)
    key, rows = jax.random.key(0), np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES))
    x, is_row = jnp.asarray(rows, jnp.float32), jnp.arange(N_ROWS) < N_ROWS - 3
    sizes = config.sizes(N_ROWS, platform="tpu")
    row = jnp.arange(N_ROWS)
    masks = {"labeled": row % 7 == 0, "candidates": row % 5 > 0, "is_row": is_row}

    def after(kernel: str) -> Any:
        state = start_selection(key, init(key, x, config), x, config, sizes=sizes, **masks)
        for _ in range(N_STEPS):
            state, _ = train_step(state, x, config, is_row=is_row, kernel=kernel)
        return state.params, state.opt_state

    def difference(plain: Any, own: Any) -> float:
        plain, own = np.asarray(plain), np.asarray(own)
        apart = float(np.mean(np.abs(plain - own)) / max(np.mean(np.abs(plain)), 1e-30))
        return apart if np.isfinite(apart) else np.inf

    return max(jax.tree.leaves(jax.tree.map(difference, after(PLAIN), after(kernel))))
