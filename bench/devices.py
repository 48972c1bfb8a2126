"""Time the joint step on 1, 2, 4 and 8 devices of this CPU: ``python -m bench.devices --out devices.json``.

Strong scaling keeps the pool and gives each device a smaller share; weak scaling keeps the share and gives
more devices a larger pool, with the same dictionary. Devices of a CPU share its cores: beyond their number no
step gets faster, and what is seen is what dealing out costs. Each number of devices runs in a process of its
own. The exchanged bytes are read from the compiled program: in and out of a device, in a step.
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import dual_jax as dj
from bench.record import lines_of, write
from bench.step import CONFIGURATIONS, P, pool, rows_and_places
from dual_jax.devices.mesh import shard_rows
from dual_jax.dual.ahead import exchanges
from dual_jax.dual.stages import Rows, advance, begin_selection

DEVICES = (1, 2, 4, 8)
STRONG, WEAK = (4000, 4000), (4000, 1000)  # rows and dictionary: of the pool, of each device
STEPS, REPEATS = 5, 3


def measure(n_devices: int, size: tuple[int, int], objective: str) -> dict[str, Any]:
    """Return what is measured on some of this process's devices."""
    n, m = size
    mesh = dj.make_mesh(jax.devices()[:n_devices]) if n_devices > 1 else None
    config = dataclasses.replace(CONFIGURATIONS[objective], dictionary_size=m, n_targets=n, n_clusters=8)
    sizes = config.sizes(n, n_devices=n_devices)
    no_row, every_row = (shard_rows(np.full(n, value), mesh, sizes.n_tiles) for value in (False, True))
    rows = Rows(shard_rows(pool(n), mesh, sizes.n_tiles), every_row)
    state = dj.init(jax.random.key(1), rows.x, config)
    state = begin_selection(jax.random.key(2), state, rows, config, no_row, every_row, sizes, mesh)
    program = advance.lower(state, math.inf, STEPS, rows, config, "train", mesh, sizes).compile()
    times = []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        state = jax.block_until_ready(program(state, math.inf, STEPS, rows, config)).state
        times.append((time.perf_counter() - start) / STEPS)
    moved, memory = [exchange.n_bytes for exchange in exchanges(program.as_text())], program.memory_analysis()
    return {
        "median_s": float(np.median(times[1:])),
        "least_s": min(times[1:]),
        "memory_bytes": memory.argument_size_in_bytes + memory.temp_size_in_bytes,
        "exchanged_bytes": sum(moved),
        "largest_exchange_bytes": max(moved, default=0),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--devices", type=int, nargs="+", default=DEVICES)
    parser.add_argument("--strong", type=rows_and_places, default=STRONG, help="the pool, ROWSxDICTIONARY")
    parser.add_argument(
        "--weak", type=rows_and_places, default=WEAK, help="a device's share, ROWSxDICTIONARY"
    )
    parser.add_argument("--objective", choices=CONFIGURATIONS, default="free")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one number of devices")
    parser.add_argument("--here", type=rows_and_places, nargs="+", help="measure pools in this process")
    args = parser.parse_args(argv)
    if args.here:
        jax.config.update("jax_num_cpu_devices", args.devices[0])
        for size in args.here:
            print(json.dumps(measure(args.devices[0], size, args.objective)), flush=True)
        return
    records = []
    for n_devices in args.devices:
        sizes = {"strong": args.strong, "weak": (n_devices * args.weak[0], args.weak[1])}
        words = ["--devices", str(n_devices), "--objective", args.objective, "--here"]
        found = lines_of("bench.devices", [*words, *(f"{n}x{m}" for n, m in sizes.values())], args.limit)
        for scaling, (n, m) in sizes.items():
            about = {"scaling": scaling, "objective": args.objective, "devices": n_devices}
            records.append(about | {"n": n, "m": m, "p": P} | next(found, {"failed": "not reached"}))
            write(args.out, records)


if __name__ == "__main__":
    main()
