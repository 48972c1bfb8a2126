"""The formulas of `dual_jax.dual.plan`: bytes of each array, and traffic and operations of each step.

What stays in memory follows from the shapes. How many arrays of a target block's size a compiled step holds,
and how often it moves them, was read from the compilers' memory analysis and measured on a CPU.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dual_jax.devices.hardware import Device
from dual_jax.dual.blocks import at_rest
from dual_jax.dual.config import DualConfig
from dual_jax.dual.readout import MAX_EXACT, MIN_SHORTLIST, N_TARGETS, PER_PICK
from dual_jax.dual.sizes import PLAIN, Sizes
from dual_jax.dual.steps import init
from dual_jax.numerics import programs
from dual_jax.numerics.chunks import CPU_SCORES, SCORES
from dual_jax.numerics.statistics import MAX_INPUTS, SCALE_SAMPLE
from dual_jax.selection.cover import TILE
from dual_jax.selection.gains import LEADERS
from dual_jax.selection.swaps import FINAL_PER_PICK, MAX_SWEEPS, MIN_FINAL
from dual_jax.selection.targets import number_of_targets

FLOAT = 4  # bytes

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
# all if they are no more, of those of a plain step, and of those of a step with our kernels or another stage.
ON_CHIP = {"target block": 146e6, "plain step": 10e6, "other": 64e6}
# Bytes an entry of C and step, with those of the block's arrays; Adam's moments in float32 are among them.
# Four for each pass that `python -m bench.passes` counts in a GPU's and a TPU's programs.
TRAFFIC = {
    "cpu": {"free": 40, "simplex": 84},
    "gpu": {"free": 36, "simplex": 142},
    "tpu": {"free": 32, "simplex": 100},
}
OWN_TRAFFIC = (
    28  # the same with our own kernels (`dual_jax.dual.kernels`): seven passes, and no array of a block
)
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


class Counts(NamedTuple):
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
    is_plain: bool = True  # the step uses no kernels of our own
    n_tiles: int = 1  # of the local rows, of which one at a time is differentiated


class Network(NamedTuple):
    """The autoencoder: parameters, bytes with the optimiser's state, and bytes of activations a row."""

    n_parameters: int
    n_bytes: int
    activations: int


def count(n: int, shape: tuple[int, ...], config: DualConfig, sizes: Sizes, n_devices: int) -> Counts:
    """Return the numbers of rows and columns for ``n`` rows of the pool."""
    d, p, local = math.prod(shape[1:]), config.latent_dim, -(-n // n_devices)
    m, k = sizes.n_columns, sizes.n_clusters
    inputs = 0 if config.objective == "free" else min(d, MAX_INPUTS)
    wide = d if 0 < inputs < d else 0
    block = min(local, sizes.block_rows)
    local_k, is_plain, n_tiles = -(-k // n_devices), sizes.kernel == PLAIN, sizes.shared(n_devices).n_tiles
    n_tiles = max(1, n_tiles // n_devices)
    return Counts(local * n_devices, local, d, wide, p, p + inputs, m, k, local_k, block, is_plain, n_tiles)


@functools.lru_cache
def measure_network(
    row: tuple[int, ...], hidden: tuple[int, ...], latent_dim: int, encoder: Any, decoder: Any, optimizer: Any
) -> Network:
    """Return what the network takes; shapes alone are computed."""
    settings = row, hidden, latent_dim, encoder, decoder, optimizer
    return Network(*programs.known("network", settings, lambda: _measured(*settings)))


def _measured(
    row: tuple[int, ...], hidden: tuple[int, ...], latent_dim: int, encoder: Any, decoder: Any, optimizer: Any
) -> Network:
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
    return Network(sum(leaf.size for leaf in jax.tree.leaves(network)), _bytes(state), a_row + error)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@functools.lru_cache
def bytes_an_entry(optimizer: Any, moments_dtype: str) -> int:
    """Return the bytes that an optimiser needs for each entry of C."""
    n_entries = 1 << 10
    entries = jax.ShapeDtypeStruct((n_entries,), jnp.float32)
    step: Any = np.zeros((), np.int32)
    resting = at_rest(optimizer(1.0), moments_dtype, step)
    return _bytes(jax.eval_shape(resting.init, entries)) // n_entries


def arrays_of(
    pool: Counts,
    targets: Counts,
    batch: int,
    config: DualConfig,
    network: Network,
    moments: int,
    platform: str,
) -> dict[str, Arrays]:
    """Return the bytes of each array in each stage.

    ``batch`` rows are in a step of stage 1, ``moments`` bytes belong to an entry of C.
    """
    stages = _temporary(targets, config, network, platform)
    rows = FLOAT * batch * pool.d if batch < pool.local else 0
    stages["pretrain"] = {"rows of the batch": float(rows)} | _of_network(network, batch, targets.n_tiles)
    stages["rank"] = _temporary(pool, config, network, platform)["rank"]
    if platform == "tpu":
        plain = {"train"} if targets.is_plain else set()
        stages = {name: _off_chip(own, name in plain) for name, own in stages.items()}
    kept: Arrays = {"pool": FLOAT * pool.local * pool.d, "network and its moments": network.n_bytes}
    selection = kept | _selection(targets, moments)
    if targets.n < pool.n:
        selection["rows of the targets"] = FLOAT * targets.local * targets.d
    return {name: (kept if name == "pretrain" else selection) | own for name, own in stages.items()}


def _of_network(network: Network, n_rows: int, n_tiles: int) -> Arrays:
    """Return what a gradient of the network holds: one tile's activations, and the gradient of each tile."""
    gradients = FLOAT * network.n_parameters * n_tiles if n_tiles > 1 else 0
    return {"activations": network.activations * n_rows / n_tiles, "gradients of tiles": float(gradients)}


def _off_chip(own: Arrays, is_plain_step: bool) -> Arrays:
    """Return what a TPU's main memory holds of a stage's own arrays."""
    if is_plain_step:
        of_block = own["target block"]
        least = of_block / BLOCKS["tpu"]["simplex"]  # one of the five arrays of the simplex
        own = own | {"target block": max(least, of_block - ON_CHIP["target block"])}
    return own if sum(own.values()) > ON_CHIP["plain step" if is_plain_step else "other"] else {}


def _selection(counts: Counts, moments: int) -> Arrays:
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


def _temporary(counts: Counts, config: DualConfig, network: Network, platform: str) -> dict[str, Arrays]:
    """Return what each stage needs in addition."""
    s, block = counts, FLOAT * counts.block * counts.m
    n_blocks = BLOCKS[platform]
    features = FLOAT * FEATURES * s.q * (s.local + s.m)
    rows = FLOAT * s.local * (s.d + s.wide)
    activations = _of_network(network, s.local, s.n_tiles)
    n_arrays = n_blocks[config.objective] + n_blocks.get(config.moments_dtype, 0.0)
    if config.objective == "simplex" and s.block == s.local:
        n_arrays += n_blocks.get("only", n_blocks["simplex"]) - n_blocks["simplex"]
    if not s.is_plain:
        n_arrays = 0.0
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


def costs_of(
    pool: Counts,
    targets: Counts,
    batch: int,
    config: DualConfig,
    network: Network,
    moments: int,
    platform: str,
) -> dict[str, Cost]:
    """Return what a step of each stage takes on a device."""
    s, gradients = targets, 2 * FLOAT * network.n_parameters
    moved, others = TRAFFIC[platform][config.objective], outside(platform)
    pretrain = Cost(2 * network.activations * batch, gradients, 6 * network.n_parameters * batch)
    of_network = Cost(2 * network.activations * s.local, gradients, 6 * network.n_parameters * s.local)
    # Several blocks are rebuilt once more before they are updated; a kernel always does so.
    is_twice = s.block < s.local or not s.is_plain
    products = 6 * s.p if config.objective == "free" else (8 if is_twice else 6) * s.q + 12 * s.p
    an_entry, n_entries = products + VECTOR * others[config.objective], s.m * (s.local + s.local_k)
    train = Cost(
        of_network.traffic + ((moved if s.is_plain else OWN_TRAFFIC) + 2 * (moments - ADAM)) * n_entries,
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


def _cost_of_ranking(counts: Counts, config: DualConfig, moved: int, per_distance: int) -> Cost:
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
