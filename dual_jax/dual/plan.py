"""What a fit takes before it runs: bytes on each device by array, traffic, operations and seconds.

Everything is a formula of sizes. What stays in memory follows from the shapes; how many arrays of a target
block's size a compiled step holds, and how often it moves them, was read from XLA's memory analysis and
measured on a CPU. Seconds are traffic, exchange and operations at a device's rates, one after the other,
without compilation.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dual_jax.data.errors import InputError
from dual_jax.devices.hardware import ACCELERATORS, Device, at_hand, host, parse_devices
from dual_jax.dual.blocks import at_rest
from dual_jax.dual.config import DualConfig, Sizes
from dual_jax.dual.readout import MAX_EXACT, MIN_SHORTLIST, N_TARGETS, PER_PICK
from dual_jax.dual.steps import init
from dual_jax.numerics.chunks import CPU_SCORES, SCORES
from dual_jax.numerics.statistics import MAX_INPUTS, SCALE_SAMPLE
from dual_jax.selection.cover import TILE
from dual_jax.selection.gains import LEADERS
from dual_jax.selection.swaps import FINAL_PER_PICK, MAX_SWEEPS, MIN_FINAL
from dual_jax.selection.targets import number_of_targets

FLOAT = 4  # bytes
MAX_DEVICES = 1 << 12  # times the number that was asked for: advice goes up to that

# Arrays of a target block's size that compiled programs hold at once: while the block is rebuilt and updated,
# by objective, and if it is the only one of the simplex; in addition with moments in bfloat16; while it is
# drawn at random; while only its norms are wanted. Those of GPUs and TPUs are by their compilers, as
# `python -m bench.passes` shows.
BLOCKS = {
    "cpu": {"free": 1.1, "simplex": 4.2, "bfloat16": 0.1, "drawn": 3.0, "normed": 1.2},
    "gpu": {"free": 0.1, "simplex": 7.5, "bfloat16": 0.1, "drawn": 0.0, "normed": 1.2, "only": 4.4},
    "tpu": {"free": 0.1, "simplex": 5.0, "bfloat16": 0.1, "drawn": 0.0, "normed": 1.2},
}
# Bytes for which a TPU's compiler uses the chip's own memory, and not main memory: of a block's arrays, and
# all if they are no more, of the others of a step, and of those of another stage.
ON_CHIP = {"target block": 146e6, "train": 10e6, "other": 64e6}
# Bytes an entry of C and step, with those of the block's arrays; Adam's moments in float32 are among them.
# Four for each pass that `python -m bench.passes` counts in a GPU's and a TPU's programs.
TRAFFIC = {
    "cpu": {"free": 40, "simplex": 84},
    "gpu": {"free": 36, "simplex": 142},
    "tpu": {"free": 32, "simplex": 100},
}
ADAM = 8
FEATURES = 3  # copies of its rows in the space of the selection block that a step or a read-out holds
RANKED = 2.5  # the same in the ranking
VECTOR = 8  # an operation outside of matrix products takes the time of this many inside
# Such operations: of an entry of C in a step, by objective, and when it is drawn at random; of a distance of
# the greedy read-out. A CPU's are fitted by `python -m bench.plan`; other devices do them while they move the
# entry.
OUTSIDE = {
    "cpu": {"free": 34, "simplex": 130, "drawn": 400, "distance": 140},
    "tpu": {"free": 0, "simplex": 20, "drawn": 20, "distance": 20},
}
RESTARTS, TRIALS, ITERATIONS = 4, 2, 100  # of k-means: TRIALS + log K candidates a seed, iterations at most


Arrays = dict[str, float]  # bytes of each


class Cost(NamedTuple):
    """What a step takes on one device."""

    traffic: float  # bytes read and written
    exchanged: float  # bytes to and from other devices
    operations: float

    def seconds(self, device: Device) -> float:
        """Return the time of the step: traffic, exchange and operations in sequence."""
        moving = self.traffic / device.bandwidth + self.exchanged / device.link
        return moving + self.operations / device.rate


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


class _Counts(NamedTuple):
    """Numbers of rows and columns; ``local`` ones are a device's share."""

    n: int
    local: int
    d: int
    wide: int  # d where the inputs enter by principal directions, else 0
    p: int
    q: int
    m: int
    k: int
    local_k: int
    block: int


class _Network(NamedTuple):
    """The autoencoder: parameters, bytes with the optimiser's state, and bytes of activations a row."""

    n_parameters: int
    n_bytes: int
    activations: int


def plan_for(
    shape: tuple[int, ...],
    config: DualConfig,
    device: Device,
    n_devices: int,
    sizes: Sizes | None = None,
) -> Plan:
    """Return `plan` for devices with their own numbers; every argument is checked."""
    sizes = sizes or config.sizes(shape[0], n_devices=n_devices, platform=device.platform)
    pool, targets = (_counts(n, shape, config, sizes, n_devices) for n in (shape[0], sizes.n_targets))
    batch = -(-pool.local // sizes.n_batches)
    network = _network(
        shape[1:], config.hidden, config.latent_dim, config.encoder, config.decoder, config.optimizer
    )
    moments = _bytes_an_entry(config.coefficient_optimizer, config.moments_dtype)
    arrays = _arrays(pool, targets, batch, config, network, moments, device.platform)
    costs = _costs(pool, targets, batch, config, network, moments, device.platform)
    if n_devices == 1:
        costs = {name: cost._replace(exchanged=0.0) for name, cost in costs.items()}
    n_steps = {"pretrain": config.pretrain_steps, "start": 1, "train": config.steps, "rank": 1}
    stages = {
        name: Stage(arrays[name], n_steps[name], cost, cost.seconds(device)) for name, cost in costs.items()
    }
    return Plan(shape, config, sizes, device, n_devices, stages)


def _counts(n: int, shape: tuple[int, ...], config: DualConfig, sizes: Sizes, n_devices: int) -> _Counts:
    """Return the numbers of rows and columns for ``n`` rows of the pool."""
    d, p, local = math.prod(shape[1:]), config.latent_dim, -(-n // n_devices)
    m, k = sizes.n_columns, sizes.n_clusters
    inputs = 0 if config.objective == "free" else min(d, MAX_INPUTS)
    wide = d if 0 < inputs < d else 0
    block = min(local, sizes.block_rows)
    return _Counts(local * n_devices, local, d, wide, p, p + inputs, m, k, -(-k // n_devices), block)


@functools.lru_cache
def _network(
    row: tuple[int, ...], hidden: tuple[int, ...], latent_dim: int, encoder: Any, decoder: Any, optimizer: Any
) -> _Network:
    """Return what the network takes; shapes alone are computed."""
    config = DualConfig(
        hidden=hidden, latent_dim=latent_dim, encoder=encoder, decoder=decoder, optimizer=optimizer
    )

    def kept(network: Any, x: Any) -> Any:
        """Return what differentiation keeps of the forward pass."""
        modules = config.modules(x)

        def rebuilt(network: Any) -> Any:
            return modules.decoder.apply(network.decoder, modules.encoder.apply(network.encoder, x))

        return jax.vjp(rebuilt, network)[1]

    one, two = (jax.ShapeDtypeStruct((n, *row), jnp.float32) for n in (1, 2))
    state = jax.eval_shape(init, jax.eval_shape(jax.random.key, 0), one, config)
    network = state.params.network
    a_row = _bytes(jax.eval_shape(kept, network, two)) - _bytes(jax.eval_shape(kept, network, one))
    error = 2 * FLOAT * math.prod(row)  # the rebuilt row and its gradient
    return _Network(sum(leaf.size for leaf in jax.tree.leaves(network)), _bytes(state), a_row + error)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@functools.lru_cache
def _bytes_an_entry(optimizer: Any, moments_dtype: str) -> int:
    """Return the bytes that an optimiser needs for each entry of C."""
    n_entries = 1 << 10
    entries = jax.ShapeDtypeStruct((n_entries,), jnp.float32)
    resting = at_rest(optimizer(1.0), moments_dtype, jnp.zeros((), jnp.int32))
    return _bytes(jax.eval_shape(resting.init, entries)) // n_entries


def _arrays(
    pool: _Counts,
    targets: _Counts,
    batch: int,
    config: DualConfig,
    network: _Network,
    moments: int,
    platform: str,
) -> dict[str, Arrays]:
    """Return the bytes of each array in each stage.

    ``batch`` rows are in a step of stage 1, ``moments`` bytes belong to an entry of C.
    """
    stages = _temporary(targets, config, network, platform)
    stages["pretrain"] = {"activations": float(network.activations * batch)}
    stages["rank"] = _temporary(pool, config, network, platform)["rank"]
    if platform == "tpu":
        stages = {name: _off_chip(name, own) for name, own in stages.items()}
    kept: Arrays = {"pool": FLOAT * pool.local * pool.d, "network and its moments": network.n_bytes}
    selection = kept | _selection(targets, moments)
    if targets.n < pool.n:
        selection["rows of the targets"] = FLOAT * targets.local * targets.d
    return {name: (kept if name == "pretrain" else selection) | own for name, own in stages.items()}


def _off_chip(stage: str, own: Arrays) -> Arrays:
    """Return what a TPU's main memory holds of a stage's own arrays."""
    least: Arrays = {}
    if stage == "train":
        of_block = own["target block"]
        least = {"target block": of_block / BLOCKS["tpu"]["simplex"]}  # one of the five arrays of the simplex
        own = own | {"target block": max(least["target block"], of_block - ON_CHIP["target block"])}
    return own if sum(own.values()) > ON_CHIP.get(stage, ON_CHIP["other"]) else least


def _selection(counts: _Counts, moments: int) -> Arrays:
    """Return what is in memory from the start of the selection to the end; ``moments`` in bytes an entry."""
    s = counts
    return {
        "C": FLOAT * s.m * s.local,
        "moments of C": moments * s.m * s.local,
        "P and its moments": (FLOAT + moments) * s.m * s.local_k,
        "rows of the dictionary": FLOAT * s.m * s.d,
        "centroids, scales, masks": FLOAT * (s.local_k * (s.q + 1) + MAX_INPUTS * s.wide + s.m + s.local)
        + 2 * s.n,
    }


def _temporary(counts: _Counts, config: DualConfig, network: _Network, platform: str) -> dict[str, Arrays]:
    """Return what each stage needs in addition."""
    s, block = counts, FLOAT * counts.block * counts.m
    n_blocks = BLOCKS[platform]
    features = FLOAT * FEATURES * s.q * (s.local + s.m)
    rows = FLOAT * s.local * (s.d + s.wide)
    activations: Arrays = {"activations": network.activations * s.local}
    n_arrays = n_blocks[config.objective] + n_blocks.get(config.moments_dtype, 0.0)
    if config.objective == "simplex" and s.block == s.local:
        n_arrays += n_blocks.get("only", n_blocks["simplex"]) - n_blocks["simplex"]
    centred = (s.n if s.local == s.n else 2 * s.n) - s.m  # rows, in the place of those of the dictionary
    scores = min(CPU_SCORES if platform == "cpu" else SCORES, RESTARTS * s.k * s.local)
    rank: Arrays = {"features": FLOAT * RANKED * s.q * s.n + rows, "read-out": FLOAT * TILE * s.n}
    if config.readout == "norms":
        rank = {"features": features, "target block": n_blocks["normed"] * block}
    return {
        "start": {
            "features": FLOAT * (s.n * (s.d + s.q) + centred * s.wide),
            "k-means": FLOAT * (2 * s.local * s.q + scores),
            "target block": n_blocks["drawn"] * block if config.objective == "free" else 0.0,
        },
        "train": activations | {"features": features, "target block": n_arrays * block},
        "rank": rank,
    }


def outside(platform: str) -> dict[str, int]:
    """Return the assumed operations outside of matrix products on a kind of device."""
    return OUTSIDE["cpu" if platform == "cpu" else "tpu"]


def _costs(
    pool: _Counts,
    targets: _Counts,
    batch: int,
    config: DualConfig,
    network: _Network,
    moments: int,
    platform: str,
) -> dict[str, Cost]:
    """Return what a step of each stage takes on a device."""
    s, gradients = targets, 2 * FLOAT * network.n_parameters
    moved, others = TRAFFIC[platform][config.objective], outside(platform)
    pretrain = Cost(2 * network.activations * batch, gradients, 6 * network.n_parameters * batch)
    of_network = Cost(2 * network.activations * s.local, gradients, 6 * network.n_parameters * s.local)
    is_twice = s.block < s.local  # several blocks are rebuilt once more before they are updated
    products = 6 * s.p if config.objective == "free" else (8 if is_twice else 6) * s.q + 12 * s.p
    an_entry, n_entries = products + VECTOR * others[config.objective], s.m * (s.local + s.local_k)
    train = Cost(
        of_network.traffic + (moved + 2 * (moments - ADAM)) * n_entries,
        gradients + FLOAT * (2 * s.n * s.p + 4 * s.m),
        of_network.operations + an_entry * n_entries + 2 * MAX_INPUTS * s.wide * (s.local + s.m),
    )

    differences = VECTOR * 3 * s.q
    seeds = differences * s.local * s.k * (TRIALS + math.log(s.k))
    lloyd = 2 * s.q * s.local * s.k * ITERATIONS
    drawn = VECTOR * others["drawn"] * s.m * s.local if config.objective == "free" else 0.0
    start = Cost(
        FLOAT * (RESTARTS * ITERATIONS * s.local * s.q + 3 * s.m * s.local),
        FLOAT * (s.n * (s.d + s.p + s.q) + RESTARTS * ITERATIONS * s.k * (s.q + 1)),
        differences * s.n * min(s.n, SCALE_SAMPLE) + RESTARTS * (seeds + lloyd) + drawn,
    )
    rank = _cost_of_ranking(pool, config, moved, others["distance"])
    return {"pretrain": pretrain, "start": start, "train": train, "rank": rank}


def _cost_of_ranking(counts: _Counts, config: DualConfig, moved: int, per_distance: int) -> Cost:
    s = counts
    if config.readout == "norms":
        n_entries = s.m * s.local
        return Cost(moved / 2 * n_entries, FLOAT * 2 * s.m, 2 * s.q * n_entries)
    n_picks = min(s.n, config.n_exact)
    atoms, targets = s.n, s.n
    if s.n > MAX_EXACT:
        atoms, targets = max(PER_PICK * n_picks, MIN_SHORTLIST), N_TARGETS
    distances = s.local * (atoms * (1 + math.log(n_picks)) + targets)
    if config.readout in ("refine", "chain"):  # the largest number of sweeps, which devices do not share
        counted = number_of_targets(s.n, n_picks)
        final = 0 if counted == s.n else min(atoms, max(MIN_FINAL, FINAL_PER_PICK * n_picks))
        halves = 2 * n_picks if config.readout == "chain" else 0  # members of all smaller sets
        distances += MAX_SWEEPS * (atoms * counted + (final + halves) * s.n)
    exact = s.n * n_picks * (1 + LEADERS)
    return Cost(
        FLOAT * (2 * distances + s.q * exact),
        FLOAT * (s.n * (s.p + s.q) + n_picks * atoms),
        distances * (2 * s.q + VECTOR * per_distance) + VECTOR * 3 * s.q * exact,
    )
