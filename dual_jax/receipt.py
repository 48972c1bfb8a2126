"""What a run was made of, in JSON: versions, settings, input, devices, time and memory."""

import dataclasses
import functools
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.monitoring
import numpy as np

PACKAGES = ("dual-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
COMPILE_EVENTS = "/jax/core/compile/"  # tracing, lowering and the backend's compilation


def as_json(receipt: dict[str, Any]) -> str:
    """Return a receipt as indented JSON; numbers that are not finite become null, as JSON has none.

    Examples
    --------
    >>> print(as_json({"loss": np.float32(0.5), "bad": float("nan")}))
    {
      "loss": 0.5,
      "bad": null
    }
    <BLANKLINE>
    """
    return json.dumps(_plain(receipt), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that the picks depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def configuration(config: Any) -> dict[str, Any]:
    """Return every field of a settings dataclass; `as_json` gives functions by their name."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def devices() -> dict[str, Any]:
    """Return what kind of devices JAX has here, and how many."""
    found = jax.devices()
    return {"platform": found[0].platform, "kind": found[0].device_kind, "count": len(found)}


def peak_memory() -> dict[str, int | None]:
    """Return the most bytes that this process has held, and that any device has; None where unknown."""
    on_devices = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in on_devices if "peak_bytes_in_use" in stats]
    return {"host_bytes": _peak_of_process(), "device_bytes": max(peaks, default=None)}


def compile_seconds() -> float:
    """Return the seconds that JAX has spent compiling since the first call; take differences."""
    return sum(_compile_durations())


@functools.cache
def _compile_durations() -> list[float]:
    """Return the list that JAX appends to from now on; a listener cannot be taken back before JAX 0.8."""
    durations: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith(COMPILE_EVENTS):
            durations.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return durations


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a folder
        return "not installed"


def _peak_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value
