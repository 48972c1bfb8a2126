"""Largest pool per TPU topology, by the compiler's own memory figures; no TPU is needed, libtpu's wheel is.

    pip install -e ".[tpu]"
    python -m bench.tpu --out bench/results/tpu.json  # an hour or two; --topologies and --objectives do less
    python -m bench.tpu --out bench/results/tpu.json --table bench/README.md  # only writes the table

C is full (m = n). A device's targets lie in 8 blocks: more blocks take less memory and longer to compile. The
search starts from the size that the plan gives and follows the compiler's figures, which grow with n^2.
"""

import argparse
import json
import math
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dual_jax as dj
from dual_jax.ahead import devices_for, lower, memory_of
from dual_jax.hardware import ACCELERATORS, parse_devices

TOPOLOGIES = ("v5e:1x1", "v5e:2x4", "v4:2x2x1", "v6e:1x1")
CONFIGURATIONS = {"free": dj.DualConfig.paper, "simplex": dj.DualConfig}
D, N_BLOCKS = 64, 8
STEP = 500  # rows: sizes are multiples of it
START, END = "<!-- largest pools per TPU topology -->\n", "<!-- end -->\n"


def settings(objective: str, topology: str, n: int) -> dj.DualConfig:
    """Return the configuration with a full C in 8 blocks on each device."""
    local = -(-n // math.prod(parse_devices(topology)[1]))
    return CONFIGURATIONS[objective](dictionary_size=n, block_rows=-(-local // N_BLOCKS))


def compiled(objective: str, topology: str, n: int) -> dict[str, Any] | None:
    """Return what the compiler and the plan say of a pool of n rows; None when it does not fit."""
    config, start = settings(objective, topology, n), time.perf_counter()
    programs = lower((n, D), config, devices_for(topology))
    found = {name: memory_of(programs[name]) for name in ("train", "start", "rank")}
    if None in found.values():
        return None
    expected = dj.plan(n, D, config, topology)
    return {
        "compiler_bytes": {name: memory.total for name, memory in found.items()},
        "plan_bytes": {name: expected.stages[name].n_bytes for name in found},
        "temporaries_of_4mn": found["train"].temporaries / expected.stages["train"].arrays["C"],
        "compile_s": time.perf_counter() - start,
    }


def largest(objective: str, topology: str) -> dict[str, Any]:
    """Return the largest size that the compiler takes, to `STEP` rows, and what it says of it."""
    memory = ACCELERATORS[parse_devices(topology)[0]].memory
    n, refused = by_plan(objective, topology), math.inf
    best: dict[str, Any] = {}
    while n > best.get("n", 0):
        record = compiled(objective, topology, n)
        print(topology, objective, n, record, flush=True)
        if record is None:
            refused, n = n, min(n - STEP, int(0.98 * n) // STEP * STEP)
            continue
        best = {"n": n, "memory_bytes": memory, **record}
        growth = math.sqrt(memory / max(record["compiler_bytes"].values()))
        n = min(int(growth * n) // STEP * STEP, refused - STEP)
    return {"topology": topology, "objective": objective, "d": D, "n_blocks": N_BLOCKS, **best}


def by_plan(objective: str, topology: str) -> int:
    """Return the largest size that fits by the plan."""
    low, high = 1, 1 << 12
    while low + 1 < high:
        middle = (low + high) // 2
        n = middle * STEP
        fits = dj.plan(n, D, settings(objective, topology, n), topology).fits
        low, high = (middle, high) if fits else (low, middle)
    return low * STEP


def table(records: list[dict[str, Any]]) -> str:
    """Return the records as a table in Markdown."""
    lines = [
        "| topology | objective | largest n | GB a chip | of memory | temporaries of 4mn | plan / compiler |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in records:
        most = max(r["compiler_bytes"].values())
        lines.append(
            f"| {r['topology']} | {r['objective']} | {r['n']:,} | {most / 1e9:.1f} "
            f"| {most / r['memory_bytes']:.0%} | {r['temporaries_of_4mn']:.0%} "
            f"| {max(r['plan_bytes'].values()) / most:.2f} |"
        )
    return "\n".join(lines) + "\n"


def write_table(page: Path, records: list[dict[str, Any]]) -> None:
    """Put the table between its two marks on a page."""
    before, rest = page.read_text().split(START)
    page.write_text(before + START + table(records) + END + rest.split(END, 1)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON; what it holds of other runs is kept")
    parser.add_argument("--topologies", nargs="*", default=TOPOLOGIES)
    parser.add_argument("--objectives", nargs="*", default=tuple(CONFIGURATIONS))
    parser.add_argument("--table", type=Path, help="only write the table into this page")
    args = parser.parse_args()
    known = json.loads(args.out.read_text())["records"] if args.out.exists() else []
    records = {(r["topology"], r["objective"]): r for r in known}
    if args.table:
        write_table(args.table, list(records.values()))
        return
    versions = {name: version(name) for name in ("jax", "jaxlib", "libtpu")}
    for topology in args.topologies:
        for objective in args.objectives:
            records[topology, objective] = largest(objective, topology)
            result = {"versions": versions, "records": list(records.values())}
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
