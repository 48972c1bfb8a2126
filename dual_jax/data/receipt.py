"""What a run was made of, in JSON: versions, settings, input, devices, time and memory."""

import functools
import json
import os
import sys
from typing import Any

import jax
import jax.monitoring

COMPILE_EVENTS = "/jax/core/compile/"  # tracing, lowering and the backend's compilation


PARTS = {"command", "input", "picks", "versions"}  # among what every receipt holds
COLUMNS = ["rank", "index", "id", "score"]  # the first columns of a file of picks


def is_receipt(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a receipt that dual_jax wrote, so that a new one may replace it.

    Examples
    --------
    >>> is_receipt("there is no such file")
    False
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) >= PARTS and "dual-jax" in str(found["command"])


def is_picks(path: str | os.PathLike[str]) -> bool:
    """Return whether a file of delimited text has the columns of picks, and no other column.

    Examples
    --------
    >>> is_picks("there is no such file")
    False
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline().rstrip("\n").split(",") == COLUMNS
    except (OSError, ValueError):
        return False


def receipts_beside(path: str | os.PathLike[str]) -> list[str]:
    """Return the receipts that belong to a file of picks by their names; one that is itself given is its own.

    Examples
    --------
    >>> receipts_beside("there is no such file.csv")
    []
    """
    stem = os.path.splitext(path)[0]
    names = dict.fromkeys((os.fspath(path), f"{stem}.json", f"{stem}.receipt.json"))
    return [name for name in names if name.endswith(".json") and is_receipt(name)]


def batch_of(path: str | os.PathLike[str]) -> int:
    """Return the number of the batch that a receipt is of; 1 where it does not say."""
    with open(path, encoding="utf-8") as file:
        batch = json.load(file).get("batch", 1)
    return batch if isinstance(batch, int) else 1


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


def _peak_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
