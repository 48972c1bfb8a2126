"""The programs of a fit, compiled before it runs: for devices that are here, and for a TPU that is not.

libtpu's wheel holds a TPU's whole compiler. It tells the memory of a program, and needs no TPU.
"""

import importlib.util
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import NamedSharding

from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.devices.hardware import ACCELERATORS, kind_of, parse_devices
from dual_jax.devices.mesh import AXIS, EVERYWHERE, ROWS, make_mesh, platform_of
from dual_jax.dual.config import DualConfig
from dual_jax.dual.layout import specs
from dual_jax.dual.ranking import rank_on_mesh
from dual_jax.dual.stages import Rows, advance, begin_selection
from dual_jax.dual.state import TrainState
from dual_jax.dual.steps import init
from dual_jax.dual.trial import tried
from dual_jax.selection.protocol import Selection

SQUARES = ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16))  # v5e and v6e
CUBES = ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4))  # v4
OF_HOST = 4  # chips of a host as libtpu takes it; a smaller topology has to say that it is one
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Name, shape, operation and operands, with or without their shapes.
DEFINITION = re.compile(r"%([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)(?:, |$)", re.MULTILINE)
# Without a TPU, libtpu would ask the cloud for one, warn about settings that are missing, and lock out the
# compiler of another process as if both used one chip.
WITHOUT_CHIP = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
}


OLDEST_LIBTPU = (0, 0, 23)  # 0.0.21.1 ends the process that compiles with it


class Memory(NamedTuple):
    """Bytes of a program on each device."""

    arguments: int
    results: int  # without those that reuse the memory of arguments
    temporaries: int

    @property
    def total(self) -> int:
        """All that the program needs."""
        return sum(self)


class Exchange(NamedTuple):
    """A collective of a program: its name in HLO, and the larger of the bytes in and out of a device."""

    kind: str
    n_bytes: int


def memory_of(program: jax.stages.Lowered) -> Memory | None:
    """Return the bytes of a program by the compiler; None when it finds that memory is not enough."""
    try:
        found: Any = program.compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return None
        raise
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return Memory(found.argument_size_in_bytes, results, found.temp_size_in_bytes)


def memory_of_fit(shape: tuple[int, ...], config: DualConfig, devices: str) -> dict[str, Memory | None]:
    """Return the bytes of each program of a fit by the compiler; see `lower` and `devices_for`."""
    programs = lower(shape, config, devices_for(devices))
    return {name: memory_of(program) for name, program in programs.items()}


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a process of its own, which a compiler may end when it fails.

    Raises
    ------
    InputError
        The process ended without a result. Other errors are those of the function.

    Examples
    --------
    >>> in_child(math.hypot, 3.0, 4.0)
    5.0
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise InputError(
                "the compiler ended its process without a word: there may be too little memory for it, or "
                "its package (libtpu for a TPU) does not suit this version of JAX; leave --compile out to "
                "plan by formula"
            ) from error


def exchanges(text: str) -> list[Exchange]:
    """Return every collective of a compiled program; one inside a loop counts once.

    Parameters
    ----------
    text
        The program's HLO, ``lowered.compile().as_text()``.

    Examples
    --------
    >>> exchanges("%sum = f32[8,4]{1,0} all-reduce(%part), to_apply=%add")
    [Exchange(kind='all-reduce', n_bytes=128)]
    """
    definitions = [found.groups() for found in DEFINITION.finditer(text)]
    results = {name: _array_bytes(shape) for name, shape, _, _ in definitions}
    found = []
    for name, _, operation, operands in definitions:
        if operation.removesuffix("-start") in COLLECTIVES:
            sent = sum(results.get(operand, 0) for operand in re.findall(r"%([\w.-]+)", operands))
            # The first half of an asynchronous collective returns its operand and its result.
            received = results[name] - (sent if operation.endswith("-start") else 0)
            found.append(Exchange(operation.removesuffix("-start"), max(sent, received)))
    return found


def _array_bytes(shape: str) -> int:
    """Return the bytes of a shape in HLO, ``f32[8,4]{1,0}`` or a tuple of such."""
    return sum(
        math.prod(map(int, filter(None, sizes.split(",")))) * -(-int(bits or 8) // 8)
        for bits, sizes in re.findall(r"\b[a-z]+(\d*)\w*\[([\d,]*)\]", shape)
    )


def devices_for(devices: str) -> list[Any]:
    """Return the devices to compile for: this machine's, or those of a TPU's topology.

    Parameters
    ----------
    devices
        As in `dual_jax.dual.plan`: ``"cpu:1"``, ``"v5e:8"``, ``"v5e:2x4"``.

    Raises
    ------
    ValueError
        This machine has fewer such devices, or there is no such topology of TPUs.
    ImportError
        libtpu is not installed.
    """
    kind, sizes = parse_devices(devices)
    platform = "cpu" if kind == "cpu" else ACCELERATORS[kind].platform
    if platform == "tpu":
        return _chips(kind, sizes)
    n_devices, found = math.prod(sizes), _here(kind, platform)
    if len(found) < n_devices:
        more = f"; XLA_FLAGS=--xla_force_host_platform_device_count={n_devices} gives more"
        raise InputError(
            f"devices={devices!r} cannot be compiled for: this machine has {len(found)} of that kind"
            + (more if kind == "cpu" else ", and only a TPU need not be here")
        )
    return found[:n_devices]


def _here(kind: str, platform: str) -> list[Any]:
    try:
        found = jax.devices(platform)
    except RuntimeError:  # no such backend
        return []
    return [device for device in found if kind_of(device.device_kind) == kind]


def _check_libtpu(found: str) -> None:
    """Raise MissingPackageError for a version of libtpu whose compiler ends the process."""
    if tuple(map(int, re.findall(r"\d+", found)[:3])) < OLDEST_LIBTPU:
        oldest = ".".join(map(str, OLDEST_LIBTPU))
        raise MissingPackageError(
            f"compiling for a TPU needs libtpu {oldest} or newer, not {found}, whose compiler ends the "
            f'process: pip install "libtpu>={oldest}"'
        )


def _chips(kind: str, sizes: tuple[int, ...]) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise MissingPackageError('compiling for a TPU needs libtpu: pip install "dual-jax[tpu]"')
    _check_libtpu(version("libtpu"))
    known = {math.prod(shape): shape for shape in (CUBES if kind == "v4" else SQUARES)}
    shape = sizes if len(sizes) > 1 else known.get(sizes[0], ())
    for variable, value in WITHOUT_CHIP.items():
        os.environ.setdefault(variable, value)
    options: dict[str, Any] = {"chip_config_name": "megacore"} if kind == "v4" else {}
    if math.prod(shape) < OF_HOST:
        options["chips_per_host_bounds"] = (*shape, 1, 1)[:3]
    name = f"{kind}:{'x'.join(map(str, shape))}"
    try:
        return list(topologies.get_topology_desc(name, "tpu", **options).devices)
    except jax.errors.JaxRuntimeError as error:
        if shape in known.values():
            raise
        numbers = ", ".join(map(str, known))
        raise InputError(
            f"{kind} has no topology of {'x'.join(map(str, sizes))} chips: use one of {numbers} chips"
        ) from error


def lower(
    shape: tuple[int, ...], config: DualConfig, devices: Sequence[Any]
) -> dict[str, jax.stages.Lowered]:
    """Return the programs of a fit, ready to be compiled: "pretrain", "start", "train" and "rank".

    They are those that `dual_jax.fit` runs on these devices, with a chunk of steps in one program. k-means
    orders its restarts, and the rows in chunks, as it suits the machine that compiles.

    Parameters
    ----------
    shape
        Of the pool, (n, ...).
    """
    every, n = make_mesh(devices), shape[0]
    mesh, axis_name = (every, AXIS) if every.size > 1 else (None, None)
    sizes = tried(config.sizes(n, n_devices=every.size, platform=platform_of(every)), config, mesh or every)

    def placed(tree: Any) -> Any:
        def place(leaf: Any, spec: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(every, spec))

        return jax.tree.map(place, tree, specs(tree))

    def sharded(n_rows: int, row: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        n_padded = -(-n_rows // sizes.n_tiles) * sizes.n_tiles
        return jax.ShapeDtypeStruct((n_padded, *row), dtype, sharding=NamedSharding(every, ROWS))

    x, n_targets = sharded(n, shape[1:], jnp.float32), sizes.n_targets
    pool, mask = Rows(x, sharded(n, (), bool)), sharded(n_targets, (), bool)
    targets = Rows(sharded(n_targets, shape[1:], jnp.float32), mask)
    key, n_steps = jax.eval_shape(jax.random.key, 0), jax.ShapeDtypeStruct((), jnp.int32)
    fresh = placed(jax.eval_shape(init, key, x, config))
    begin = partial(begin_selection.optimized, sizes=sizes, mesh=mesh)
    begun = placed(jax.eval_shape(begin, key, fresh, targets, config, mask, mask))
    of_pool = jax.ShapeDtypeStruct(x.shape[:1], bool, sharding=NamedSharding(every, EVERYWHERE))
    trained = begun._replace(fixed=begun.fixed._replace(is_labeled=of_pool, is_candidate=of_pool))

    def ranking(state: TrainState, rows: Rows, config: DualConfig) -> Selection:
        n_exact = n if config.readout == "norms" else min(n, config.n_exact)
        return rank_on_mesh(state, rows.x, config, rows.is_row, n_exact, n, axis_name, mesh)

    def chunk(state: TrainState, rows: Rows, stage: str) -> jax.stages.Lowered:
        return advance.lower(state, mean, n_steps, rows, config, stage, mesh, sizes)

    mean = jax.ShapeDtypeStruct((), jnp.float32)
    return {
        "pretrain": chunk(fresh, pool, "pretrain"),
        "start": begin_selection.lower(key, fresh, targets, config, mask, mask, sizes, mesh),
        "train": chunk(begun, targets, "train"),
        # C and its moments are not read, but they are in memory.
        "rank": jax.jit(ranking, keep_unused=True).lower(trained, pool, config),
    }
