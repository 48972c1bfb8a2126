"""Devices by name: their memory and their rates."""

import math
import os
import re
from typing import Any, NamedTuple

GIB = 1 << 30
SUSTAINED = 0.8  # of the rates in a data sheet
CORE_BANDWIDTH, CORE_RATE = 10e9, 5e10  # of one core of a server's processor, typical


class Device(NamedTuple):
    """One device: its memory and its rates.

    ``memory`` is what a program can use, ``preset`` what JAX takes of it unless it is told otherwise;
    ``rate`` is that of float32 matrix products at full precision; ``link`` goes to the other devices.
    """

    platform: str  # "cpu", "gpu" or "tpu"
    memory: float  # bytes
    preset: float  # bytes
    bandwidth: float  # bytes a second
    rate: float  # operations a second
    link: float  # bytes a second


def _gpu(gib: float, bandwidth: float, rate: float, link: float) -> Device:
    memory = gib * GIB
    rates = (SUSTAINED * bandwidth, SUSTAINED * rate, SUSTAINED * link)
    return Device("gpu", 0.95 * memory, 0.75 * memory, *rates)


def _tpu(gib: float, bandwidth: float, bfloat16_rate: float, link: float) -> Device:
    """Return a TPU's chip: a float32 product at full precision takes six passes in bfloat16."""
    rates = (SUSTAINED * bandwidth, SUSTAINED * bfloat16_rate / 6, SUSTAINED * link)
    return Device("tpu", gib * GIB, gib * GIB, *rates)


# From data sheets. GPUs: float32 outside of tensor cores; NVLink or, for l4 and t4, PCI Express, one way.
# TPUs: the links between chips; memory as their compiler has it.
ACCELERATORS = {
    "h200": _gpu(139.8, 4.8e12, 67e12, 450e9),
    "h100": _gpu(79.2, 3.35e12, 67e12, 450e9),
    "a100": _gpu(79.2, 2.04e12, 19.5e12, 300e9),
    "l4": _gpu(22.0, 300e9, 30.3e12, 32e9),
    "t4": _gpu(14.6, 320e9, 8.1e12, 16e9),
    "v5e": _tpu(15.75, 819e9, 197e12, 200e9),
    "v4": _tpu(30.75, 1228e9, 275e12, 300e9),
    "v6e": _tpu(31.25, 1640e9, 918e12, 448e9),
}

LITE = {"TPU v5 lite": "v5e", "TPU v6 lite": "v6e"}  # JAX's names that hold no kind of the table


def kind_of(name: str) -> str:
    """Return the kind of a device from JAX's ``device_kind``; "cpu" for one that the table does not have.

    Examples
    --------
    >>> kind_of("NVIDIA A100-SXM4-40GB"), kind_of("Tesla T4"), kind_of("TPU v5 lite"), kind_of("cpu")
    ('a100', 't4', 'v5e', 'cpu')
    """
    words = re.split(r"\W", LITE.get(name, name).lower())
    return next((kind for kind in ACCELERATORS if kind in words), "cpu")


def platform_name(device: Any) -> str:
    """Return the platform of one of JAX's devices, "cpu", "gpu" or "tpu"; "cpu" for any that it may add."""
    names = {"tpu": "tpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu"}
    return names.get(device.platform, "cpu")


def at_hand(device: Any, n_devices: int = 1) -> Device:
    """Return one of JAX's devices: the rates of its kind, and the memory that JAX takes of this very one.

    One of a kind that the table does not have gets the rates of a processor that ``n_devices`` share.

    Examples
    --------
    >>> import jax
    >>> at_hand(jax.devices("cpu")[0]).platform
    'cpu'
    """
    known = ACCELERATORS.get(kind_of(device.device_kind), host(n_devices))
    room = (device.memory_stats() or {}).get("bytes_limit", known.memory)
    return known._replace(platform=platform_name(device), memory=room, preset=room)


def host(n_devices: int = 1) -> Device:
    """Return this machine's processor as one of ``n_devices`` that share it."""
    n_cores, memory = (os.cpu_count() or 1) / n_devices, _host_memory() / n_devices
    bandwidth = n_cores * CORE_BANDWIDTH
    return Device("cpu", memory, memory, bandwidth, n_cores * CORE_RATE, bandwidth)


def _host_memory() -> float:
    """Return the bytes of this machine's memory, infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf


def parse_devices(devices: str) -> tuple[str, tuple[int, ...]]:
    """Return the kind of device in ``"v5e:8"`` or ``"v5e:2x4"``, and their number or how they stand."""
    kind, _, number = devices.partition(":")
    kinds = ["cpu", *ACCELERATORS]
    if kind not in kinds:
        raise ValueError(f"devices={devices!r}: there is no kind {kind!r}; use one of {', '.join(kinds)}")
    sizes = (number or "1").split("x")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"devices={devices!r}: give a number, as in {kind}:8")
    return kind, tuple(map(int, sizes))
