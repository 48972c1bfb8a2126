"""What benchmarks share: the machine, a process of its own for each entry, and the JSON that they write."""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from dual_jax.data.storage import write_atomically

PACKAGES = ("dual-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")


def machine() -> dict[str, Any]:
    """Return what a time depends on: processor, cores, devices, versions."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "versions": {name: version(name) for name in PACKAGES},
    }


def peak_mib() -> float:
    """Return the most memory that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def apart(module: str, words: Sequence[str], limit: float) -> Any:
    """Return the JSON that a benchmark prints last in a process of its own, or how it failed."""
    command = [sys.executable, "-m", module, *words]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit:g} s"}
    lines = (run.stdout if run.returncode == 0 else run.stderr).strip().splitlines() or ["no output"]
    return json.loads(lines[-1]) if run.returncode == 0 else {"failed": lines[-1]}


def lines_of(module: str, words: Sequence[str], limit: float) -> Iterator[Any]:
    """Give each line of JSON that a benchmark prints in a process of its own; last, how it failed."""
    command = [sys.executable, "-m", module, *words]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
    ):
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            yield from map(json.loads, process.stdout or ())
            process.wait()
        finally:
            is_late = not timer.is_alive()
            timer.cancel()
        complaints.seek(0)
        said = complaints.read().strip().splitlines() or ["no output"]
    if process.returncode:
        yield {"failed": f"not done after {limit:g} s" if is_late else said[-1]}


def as_size(text: str) -> tuple[int, ...]:
    """Return the numbers of a size on the command line, ``ROWSxFEATURES`` or such."""
    return tuple(map(int, text.split("x")))


def kept(out: Path | None, *key: str) -> dict[Any, Any]:
    """Return the records that a file has from before, by some of their values: what is not measured again.

    Each says what machine it was measured on, for the file's own line will speak of the newest.
    """
    if not (out and out.exists()):
        return {}
    found = json.loads(out.read_text())
    records = [{"machine": found["machine"], **record} for record in found["records"]]
    return {tuple(record[name] for name in key): record for record in records}


def write(out: Path | None, records: Any, **more: Any) -> None:
    """Write records and the machine that they were measured on; print them where there is no file."""
    result = {"machine": machine(), "load": os.getloadavg()[0], **more, "records": records}
    if out is None:
        print(json.dumps(result, indent=2))
    else:
        save(out, result)


def save(out: Path, result: dict[str, Any]) -> None:
    """Write a result to its file, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, json.dumps(result, indent=2) + "\n")
