"""What a fit takes before it runs: bytes on each device by array, traffic, operations and seconds.

Everything is a formula of sizes: `dual_jax.dual.costs`. Seconds are traffic, exchange and operations at a
device's rates, one after the other, without compilation.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from dual_jax.data.errors import InputError
from dual_jax.devices.hardware import ACCELERATORS, Device, at_hand, host, parse_devices
from dual_jax.dual.config import DualConfig
from dual_jax.dual.costs import Arrays, Cost, arrays_of, bytes_an_entry, costs_of, count, measure_network
from dual_jax.dual.sizes import Sizes

MAX_DEVICES = 1 << 12  # times the number that was asked for: advice goes up to that


class Stage(NamedTuple):
    """A stage on one device: bytes of each array in memory, number of steps, and the costs of a step."""

    arrays: Arrays
    n_steps: int
    cost: Cost
    seconds: float  # a step

    @property
    def n_bytes(self) -> float:
        """All arrays together."""
        return sum(self.arrays.values())


class Plan(NamedTuple):
    """What a fit takes on each device."""

    shape: tuple[int, ...]
    config: DualConfig
    sizes: Sizes
    device: Device
    n_devices: int
    stages: dict[str, Stage]  # "pretrain", "start", "train", "rank"

    @property
    def n_bytes(self) -> float:
        """Bytes on a device in the stage that needs most."""
        return max(stage.n_bytes for stage in self.stages.values())

    @property
    def seconds(self) -> float:
        """Seconds of the whole fit, without compilation, when no stage stops early."""
        return sum(stage.n_steps * stage.seconds for stage in self.stages.values())

    @property
    def fits(self) -> bool:
        """Whether a device's memory holds it."""
        return self.n_bytes <= self.device.memory

    @property
    def advice(self) -> str:
        """What to change so that it fits; empty if nothing needs to change."""
        if self.n_bytes <= self.device.preset:
            return ""
        larger_share = "set XLA_PYTHON_CLIENT_MEM_FRACTION=.95, so that JAX takes more of the memory"
        if self.fits:
            return larger_share
        is_share = self.device.platform == "gpu" and self.device.memory == self.device.preset
        ways = [larger_share] if is_share else []
        ways += filter(None, (self._smaller_dictionary(), self._smaller_moments(), self._more_devices()))
        return ", or ".join(ways) or "use a smaller network, a smaller pool or larger devices"

    def on(self, device: Device) -> "Plan":
        """Return this plan for devices with other numbers."""
        return plan_for(self.shape, self.config, device, self.n_devices)

    @property
    def largest_dictionary(self) -> int:
        """How many rows of a dictionary fit, below the number that is planned for; 0 when not even one."""
        low, high = 0, self.sizes.n_places
        while low + 1 < high:
            middle = (low + high) // 2
            fits = self._changed(dictionary_size=middle).fits
            low, high = (middle, high) if fits else (low, middle)
        return low

    def _smaller_dictionary(self) -> str:
        largest = self.largest_dictionary
        return f"set dictionary_size to at most {largest:,}" if largest else ""

    def _smaller_moments(self) -> str:
        return 'set moments_dtype to "bfloat16"' if self._changed(moments_dtype="bfloat16").fits else ""

    def _more_devices(self) -> str:
        if self.device.platform == "cpu":  # more of them would share the same memory
            return f"use a machine with {self.n_devices * self.n_bytes / 1e9:,.0f} GB to spare"
        counts = (self.n_devices << i for i in range(1, MAX_DEVICES.bit_length()))
        enough = next((n for n in counts if self._changed(n).fits), None)
        return f"spread the rows over {enough} devices" if enough else ""

    def _changed(self, n_devices: int | None = None, **settings: Any) -> "Plan":
        config = dataclasses.replace(self.config, **{"block_rows": None, **settings})
        return plan_for(self.shape, config, self.device, n_devices or self.n_devices)


def plan(
    n: int, n_features: int | tuple[int, ...], config: DualConfig | None = None, devices: str = "cpu:1"
) -> Plan:
    """Return what a fit takes on each device: bytes by array, traffic, operations, seconds.

    Parameters
    ----------
    n
        Rows of the pool.
    n_features
        Numbers in a row, or the shape of a row.
    config
        `DualConfig()` by default.
    devices
        Kind and number, ``"cpu:1"``, ``"h200:1"``, ``"v5e:8"``, or a TPU's topology, ``"v5e:2x4"``. Kinds are
        cpu (this machine), h200, h100, a100, l4, t4, v5e, v4 and v6e. Times on all but the first are formula
        only, at the rates of data sheets.

    Returns
    -------
    Plan
        With ``n_bytes`` on each device, ``seconds`` of the whole fit, ``fits``, ``advice``, and ``stages``.

    Raises
    ------
    ValueError
        A size is below 1, a setting is out of range, or there is no such kind of device.

    Examples
    --------
    >>> from dual_jax import DualConfig
    >>> config = DualConfig(dictionary_size=50_000)
    >>> plan(50_000, 768, config, "v5e:1").fits, plan(50_000, 768, config, "v5e:4").fits
    (False, True)
    """
    shape = (n, n_features) if isinstance(n_features, int | np.integer) else (n, *n_features)
    if min(shape) < 1:
        raise InputError(f"the pool's shape is {shape}: give at least one row and one feature")
    config = config or DualConfig()
    config.check()
    kind, sizes = parse_devices(devices)
    n_devices = math.prod(sizes)
    return plan_for(shape, config, host(n_devices) if kind == "cpu" else ACCELERATORS[kind], n_devices)


def check_memory(
    shape: tuple[int, ...], config: DualConfig, mesh: Mesh | None, sizes: Sizes | None = None
) -> None:
    """Raise ValueError, with advice, when a fit cannot fit on the devices of a mesh; see `here`."""
    expected = here(shape, config, mesh, sizes=sizes)
    if not expected.fits:
        raise InputError(refusal(expected))


def here(
    shape: tuple[int, ...],
    config: DualConfig,
    mesh: Mesh | None,
    host_memory: float = math.inf,
    sizes: Sizes | None = None,
) -> Plan:
    """Return what a fit takes on the devices at hand, with the memory that they have.

    Parameters
    ----------
    shape
        Of the pool, (n, ...).
    mesh
        Without one the fit runs on JAX's default device.
    host_memory
        Bytes that this process may still take, if the caller knows; only CPU devices use them.
    sizes
        From `DualConfig.sizes`, by default for a pool whose rows may all rebuild others.
    """
    own = list(mesh.local_devices) if mesh else jax.local_devices()[:1]
    device = at_hand(own[0], len(own))
    if device.platform == "cpu":
        room = min(device.memory, host_memory / len(own))
        device = device._replace(memory=room, preset=room)
    return plan_for(shape, config, device, mesh.size if mesh else 1, sizes)


def refusal(expected: Plan) -> str:
    """Return the error text of a fit that does not fit: bytes needed, bytes available, what to change."""
    shape = " x ".join(map(str, expected.shape))
    return (
        f"a pool of {shape} takes {expected.n_bytes / 1e9:,.1f} GB on a device "
        f"that has {expected.device.memory / 1e9:,.1f} GB: {expected.advice}"
    )


def plan_for(
    shape: tuple[int, ...],
    config: DualConfig,
    device: Device,
    n_devices: int,
    sizes: Sizes | None = None,
) -> Plan:
    """Return `plan` for devices with their own numbers; every argument is checked."""
    sizes = sizes or config.sizes(shape[0], n_devices=n_devices, platform=device.platform)
    pool, targets = (count(n, shape, config, sizes, n_devices) for n in (shape[0], sizes.n_targets))
    batch = -(-pool.local // sizes.n_batches)
    network = measure_network(
        shape[1:], config.hidden, config.latent_dim, config.encoder, config.decoder, config.optimizer
    )
    moments = bytes_an_entry(config.coefficient_optimizer, config.moments_dtype)
    arrays = arrays_of(pool, targets, batch, config, network, moments, device.platform)
    costs = costs_of(pool, targets, batch, config, network, moments, device.platform)
    if n_devices == 1:
        costs = {name: cost._replace(exchanged=0.0) for name, cost in costs.items()}
    n_steps = {"pretrain": config.pretrain_steps, "start": 1, "train": config.steps, "rank": 1}
    stages = {
        name: Stage(arrays[name], n_steps[name], cost, cost.seconds(device)) for name, cost in costs.items()
    }
    return Plan(shape, config, sizes, device, n_devices, stages)
