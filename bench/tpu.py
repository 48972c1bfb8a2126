"""Largest pool per TPU topology, by the compiler's own memory figures; no TPU is needed, libtpu's wheel is.

    pip install -e ".[tpu]"
    python -m bench.tpu --out bench/results/tpu.json  # most of an hour; --topologies and --objectives do less

C is full (m = n), and a device's targets lie in 8 blocks: more blocks take less memory and longer to compile.
The joint step is what is compiled, for no stage holds more. The search starts from the size that the plan
gives, and follows the compiler's figures, which grow with n^2, to within 5 %.
"""

import argparse
import json
import math
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dual_jax as dj
from dual_jax.data.storage import write_atomically
from dual_jax.devices.hardware import ACCELERATORS, parse_devices
from dual_jax.dual.ahead import devices_for, lower, memory_of

TOPOLOGIES = ("v5e:1x1", "v5e:2x4", "v4:2x2x1", "v6e:1x1")
CONFIGURATIONS = {"free": dj.DualConfig.paper, "simplex": dj.DualConfig}
D, N_BLOCKS = 64, 8
STEP = 500  # rows: sizes are multiples of it


def settings(objective: str, topology: str, n: int) -> dj.DualConfig:
    """Return the configuration with a full C in 8 blocks on each device."""
    local = -(-n // math.prod(parse_devices(topology)[1]))
    return CONFIGURATIONS[objective](dictionary_size=n, block_rows=-(-local // N_BLOCKS))


def compiled(objective: str, topology: str, n: int) -> dict[str, Any] | None:
    """Return what the compiler says of a joint step on n rows; None when it does not fit."""
    config, start = settings(objective, topology, n), time.perf_counter()
    found = memory_of(lower((n, D), config, devices_for(topology))["train"])
    if found is None:
        return None
    seconds = time.perf_counter() - start
    return {"bytes": found.total, "temporary_bytes": found.temporaries, "compile_s": seconds}


def largest(objective: str, topology: str) -> dict[str, Any]:
    """Return the largest size that the compiler takes, to 5 %, and what it says of it."""
    memory = ACCELERATORS[parse_devices(topology)[0]].memory
    n, refused = by_plan(objective, topology), math.inf
    best: dict[str, Any] = {"n": 0}
    while n > 1.05 * best["n"]:
        record = compiled(objective, topology, n)
        print(topology, objective, n, record, flush=True)
        if record is None:
            refused, n = n, in_steps(0.97 * n)
            continue
        best = {"n": n, "memory_bytes": memory, **record}
        n = min(in_steps(n * math.sqrt(memory / record["bytes"])), refused - STEP)
    return {"topology": topology, "objective": objective, "d": D, "n_blocks": N_BLOCKS, **best}


def by_plan(objective: str, topology: str) -> int:
    """Return the largest size that fits by the plan."""
    low, high = STEP, STEP << 12
    while low + STEP < high:
        middle = in_steps((low + high) / 2)
        fits = dj.plan(middle, D, settings(objective, topology, middle), topology).fits
        low, high = (middle, high) if fits else (low, middle)
    return low


def in_steps(n: float) -> int:
    return int(n) // STEP * STEP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON; what it holds of other runs is kept")
    parser.add_argument("--topologies", nargs="*", default=TOPOLOGIES)
    parser.add_argument("--objectives", nargs="*", default=tuple(CONFIGURATIONS))
    args = parser.parse_args()
    known = json.loads(args.out.read_text())["records"] if args.out.exists() else []
    records = {(r["topology"], r["objective"]): r for r in known}
    versions = {name: version(name) for name in ("jax", "jaxlib", "libtpu")}
    for topology in args.topologies:
        for objective in args.objectives:
            records[topology, objective] = largest(objective, topology)
            result = {"versions": versions, "records": list(records.values())}
            args.out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
