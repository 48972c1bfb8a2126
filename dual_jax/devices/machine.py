"""This machine as it runs: the memory left to a process, the rates of its devices."""

import gc
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

from dual_jax.devices.hardware import Device

COPIED, SIDE, REPEATS = 1 << 26, 2048, 5  # numbers of a copy, rows of a product, runs of each
# On an accelerator: times as many numbers and rows, of the device's memory at most, and calls in a run.
MORE_COPIED, MORE_ROWS, SHARE, AT_ONCE = 16, 2, 0.25, 20
MAX_MAPPINGS = 20_000  # of memory, some dozens a compiled program; Linux gives a process 65,530
V1 = ("memory", "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("", "sys/fs/cgroup", "memory.max", "memory.current")


def forget_programs_if_many() -> None:
    """Free all compiled programs when they take many memory mappings: without more XLA ends the process.

    For loops that compile hundreds of programs, such as every method on every data set. Does nothing where
    the number of mappings is not known, as on macOS, which has no such limit.
    """
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAX_MAPPINGS:
        jax.clear_caches()
        gc.collect()


def calibrated(device: Device, n_devices: int = 1) -> Device:
    """Return a device of this machine with measured rates: of a copy that no cache holds, and of a product.

    The copy takes the place of what it reads, as C and its moments do in a step; into fresh memory it would
    time the system, which hands out pages. An accelerator copies up to 4 GiB a call, and gets its calls one
    after the other without waiting for any but the last. So starting a call, some 10 us to 100 us, costs next
    to nothing of the 3 ms that the call takes on the quickest. A loop within one call does not do: XLA asks
    the processor at each turn whether to go on, which on an H100 halved the rate, 1.3 TB/s for 3.0.

    Parameters
    ----------
    device
        Of JAX's default platform.
    n_devices
        Devices at work; those of a CPU share what is measured.

    Examples
    --------
    >>> from dual_jax.devices.hardware import host
    >>> calibrated(host()).bandwidth > 0
    True
    """
    is_cpu = device.platform == "cpu"
    copied, side, n = COPIED, SIDE, 1
    if not is_cpu:
        copied = int(min(MORE_COPIED * COPIED, SHARE * device.memory / 4))
        side, n = MORE_ROWS * SIDE, AT_ONCE
    bandwidth = n * 8 * copied / _least_seconds(_copy, jnp.ones(copied), n)
    square = jnp.eye(side)
    rate = n * 2 * side**3 / _least_seconds(partial(_multiply, by=square), square + 0.0, n)
    n_sharing = n_devices if is_cpu else 1
    return device._replace(bandwidth=bandwidth / n_sharing, rate=rate / n_sharing)


@partial(jax.jit, donate_argnums=0)
def _copy(x: jax.Array) -> jax.Array:
    """Read and write every number, in place."""
    return x + 1.0


@partial(jax.jit, donate_argnums=0)
def _multiply(x: jax.Array, by: jax.Array) -> jax.Array:
    """Multiply from the right."""
    return jnp.matmul(x, by, precision=jax.lax.Precision.HIGHEST)


def _least_seconds(run: Callable[[jax.Array], jax.Array], x: jax.Array, n_calls: int) -> float:
    """Return the least time of so many calls in a row; each one's result is donated to the next."""
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        for _ in range(n_calls):
            x = run(x)
        x.block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times[1:])  # the first one compiles


def free_memory(root: Path = Path("/")) -> float:
    """Return the bytes that this process may still take; infinite where the system does not say.

    What is free on the machine, and what each control group around the process leaves.

    Parameters
    ----------
    root
        Folder that holds ``proc`` and ``sys``.

    Examples
    --------
    >>> free_memory() > 0
    True
    """
    free = 1024 * _number(root / "proc/meminfo", "MemAvailable:")
    return max(0.0, min([free, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[float]:
    groups = root / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        for controller, mount, limit, usage in (V1, V2):
            if controller not in controllers.split(","):
                continue
            inner = root / mount / path.strip("/")
            for group in (inner, *inner.parents):
                droppable = _number(group / "memory.stat", "inactive_file", 0.0)  # files read, kept in memory
                yield _number(group / limit) - _number(group / usage, default=0.0) + droppable


def _number(path: Path, name: str = "", default: float = math.inf) -> float:
    """Return the number in a file, or the one behind a name in it; the default where there is none."""
    try:
        words = path.read_text().split()
    except OSError:
        return default
    place = words.index(name) + 1 if name in words else 0
    found = words[place] if words and (place or not name) else ""
    return float(found) if found.isdecimal() else default
