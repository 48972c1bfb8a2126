"""Compile time, run time and peak memory of every entry of METHODS.

    python -m bench.method_cost --out bench/results/method_cost.json

Every entry runs in a process of its own, whose peak memory counts from the imports on and holds what the
compiler needs; the program's own share stands beside it. The pool of 2,500 x 40 is half of a Waveform set,
drawn again and standardised, that of 20,000 x 32 a mixture of 20 Gaussians.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bench.kmeans import mixture
from bench.methods import as_words
from bench.record import apart, as_size, peak_mib, write
from dual_jax.data.datasets import waveform_generator
from dual_jax.methods import METHODS

REPEATS = 5
SMALL, LARGE = (2_500, 40, 250), (20_000, 32, 100)
ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in METHODS} | {
    "ted_rbf": ("ted", {"kernel": "rbf"}),
    "maed_rbf": ("maed", {"kernel": "rbf"}),
}
LARGE_ENTRIES = ("facility", "kcenter", "ted", "typiclust", "dcs", "kmeans")
LIMIT_S = dict.fromkeys(ENTRIES, 60.0) | {
    name: float("inf") for name, method in METHODS.items() if method.facts.family == "deep"
}
LIMIT_S |= dict.fromkeys((*LARGE_ENTRIES, "ted_rbf", "rrqr"), 5.0)
LIMIT_MIB = 1000e6 / 2**20  # of the large pool


def pool(n: int, d: int) -> np.ndarray:
    """Return Waveform's law for its 40 features, and a mixture otherwise."""
    x = waveform_generator(0, n).x if d == SMALL[1] else mixture(n, d, 20)
    return np.asarray((x - x.mean(0)) / x.std(0), np.float32)


def measure(entry: str, size: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Return the record of one entry, in this process."""
    (name, knobs), (n, d, n_select) = ENTRIES[entry], size
    key, x = jax.random.key(0), jax.device_put(pool(n, d))
    select = jax.jit(lambda key, x: METHODS[name](key, x, n_select, **knobs))
    before, start = peak_mib(), time.perf_counter()
    program = select.lower(key, x).compile()
    compiled, times = time.perf_counter(), []
    for _ in range(1 + (1 if entry.startswith("dual") else repeats)):  # those take minutes
        begun = time.perf_counter()
        picks = jax.block_until_ready(program(key, x))
        times.append(time.perf_counter() - begun)
    record = {
        "compile_s": compiled - start,
        "first_run_s": times[0],
        "run_s": float(np.median(times[1:])),
        "fastest_run_s": min(times[1:]),
        "peak_mib": peak_mib() - before,
        "program_mib": program.memory_analysis().temp_size_in_bytes / 2**20,
        "n_distinct": len(set(picks.indices.tolist())),
        "load": os.getloadavg()[0],
    }
    return record | {"is_within_bars": is_within_bars(entry, size, record)}


def is_within_bars(entry: str, size: tuple[int, int, int], record: dict[str, Any]) -> bool:
    """Return whether an entry keeps its limit of time on the small pool, and of memory on the large one."""
    if size[0] < LARGE[0]:
        return record["run_s"] < LIMIT_S[entry]
    return record["peak_mib"] < LIMIT_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--entries", nargs="+", choices=ENTRIES, help="only these")
    parser.add_argument(
        "--sizes", type=as_size, nargs="+", default=(SMALL, LARGE), help="pools, as ROWSxFEATURESxPICKS"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds for one entry")
    parser.add_argument("--one", choices=ENTRIES, help="measure one entry in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.sizes[0], args.repeats)))
        return
    records = [
        {"entry": entry, "n": size[0], "d": size[1], "n_select": size[2]}
        | apart("bench.method_cost", ["--one", entry, *as_words(size, args.repeats)], args.limit)
        for size in args.sizes
        for entry in args.entries or (ENTRIES if size[0] < LARGE[0] else LARGE_ENTRIES)
    ]
    write(args.out, records)


if __name__ == "__main__":
    main()
