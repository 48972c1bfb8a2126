"""The plan of a fit beside what the compiler and the clock say on this machine: bytes and seconds by stage.

    python -m bench.plan --out bench/results/plan.json
    python -m bench.plan --out bench/results/plan_gpu.json  # where JAX finds a GPU
    python -m bench.plan --fitted bench/results/plan.json  # the constants that would have met the clock

The rates of the plan are measured before and after, in the same run, for others may use the machine too. A
measured step is the least of a few chunks of steps; the start and the ranking run twice, and the first run,
which compiles, does not count.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import dual_jax as dj
from bench.record import write
from dual_jax.devices.hardware import kind_of
from dual_jax.devices.machine import calibrated
from dual_jax.dual.ahead import devices_for, lower, memory_of
from dual_jax.dual.costs import VECTOR, outside
from dual_jax.dual.stages import Rows, advance, begin_selection

ON_CPU = (
    (2000, 40, dj.DualConfig()),
    (2000, 40, dj.DualConfig.paper()),
    (4000, 40, dj.DualConfig()),
    (4000, 40, dj.DualConfig.paper()),
    (4000, 768, dj.DualConfig()),
    (10_000, 64, dj.DualConfig()),
)
ON_GPU = (
    (4000, 40, dj.DualConfig()),
    (20_000, 64, dj.DualConfig(dictionary_size=20_000)),
    (20_000, 64, dj.DualConfig.paper(dictionary_size=20_000)),
)
SMALL = ((300, 8, dj.DualConfig()), (300, 8, dj.DualConfig.paper()))
REPEATS = {"pretrain": (4, 10), "train": (4, 3), "start": (1, 1), "rank": (1, 1)}  # runs, steps of each


def measured(n: int, d: int, config: dj.DualConfig) -> dict[str, float]:
    """Return the seconds of a step of each stage."""
    x, sizes = jax.random.normal(jax.random.key(0), (n, d)), config.sizes(n)
    key, no_row = jax.random.key(1), jnp.zeros(n, bool)
    rows, state = Rows(x, ~no_row), dj.init(key, x, config)

    def steps(stage: str) -> None:
        nonlocal state
        n_steps = REPEATS[stage][1]
        state = jax.block_until_ready(
            advance(state, math.inf, n_steps, rows, config, stage, None, None)
        ).state

    def start() -> dj.TrainState:
        begun = begin_selection(key, state, rows, config, no_row, ~no_row, sizes, None)
        return jax.block_until_ready(begun)

    seconds = {"pretrain": least(lambda: steps("pretrain"), "pretrain"), "start": least(start, "start")}
    state = start()
    seconds["train"] = least(lambda: steps("train"), "train")
    seconds["rank"] = least(lambda: jax.block_until_ready(dj.rank(state, x, config)), "rank")
    return seconds


def least(run: Callable[[], Any], stage: str) -> float:
    """Return the least seconds of a step, after one run that compiles."""
    times = []
    for _ in range(1 + REPEATS[stage][0]):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:]) / REPEATS[stage][1]


def compare(n: int, d: int, config: dj.DualConfig, devices: str = "cpu:1") -> dict[str, Any]:
    """Return the plan's bytes and seconds over those of the compiler and the clock."""
    expected = dj.plan(n, d, config, devices)
    programs = lower((n, d), config, devices_for(devices))
    found = {name: memory_of(program) for name, program in programs.items()}
    before, seconds, after = calibrated(expected.device), measured(n, d, config), calibrated(expected.device)
    expected = expected.on(jax.tree.map(lambda a, b: a if a == b else (a + b) / 2, before, after))
    stages = {
        name: {
            "plan_bytes": stage.n_bytes,
            "bytes_ratio": stage.n_bytes / found[name].total,
            "plan_s": stage.seconds,
            "seconds_ratio": stage.seconds / seconds[name],
        }
        for name, stage in expected.stages.items()
    }
    of_fit = sum(stage.n_steps * seconds[name] for name, stage in expected.stages.items())
    sizes = {"n": n, "d": d, "m": expected.sizes.n_places, "objective": config.objective}
    sizes |= {"k": expected.sizes.n_clusters, "outside": outside(expected.device.platform)}
    rates = {"bytes_per_s": expected.device.bandwidth, "operations_per_s": expected.device.rate}
    return {**sizes, **rates, "fit_seconds_ratio": expected.seconds / of_fit, "stages": stages}


def fitted(records: list[dict[str, Any]]) -> list[str]:
    """Return the numbers of `dual_jax.dual.costs.OUTSIDE` with which the plan of a record meets the clock."""
    lines = []
    for r in records:
        n, m, picks = r["n"], r["m"], min(r["n"], dj.DualConfig().n_exact)
        counts = {"train": (r["objective"], m * (n + r["k"]))}
        if r["objective"] == "free":
            counts["start"] = "drawn", m * n
        else:
            counts["rank"] = "distance", n * n * (2 + math.log(picks))
        for stage, (name, count) in counts.items():
            planned = r["stages"][stage]["plan_s"]
            missing = (planned / r["stages"][stage]["seconds_ratio"] - planned) * r["operations_per_s"]
            lines.append(f"{name}, {n} x {r['d']}: {r['outside'][name] + missing / (VECTOR * count):.0f}")
    return lines


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument(
        "--devices", default=f"{kind_of(jax.devices()[0].device_kind)}:1", help="default: %(default)s"
    )
    parser.add_argument("--small", action="store_true", help="a handful of rows, to see that it works")
    parser.add_argument("--fitted", type=Path, help="measure nothing: say what suits the records of a file")
    args = parser.parse_args(argv)
    records = json.loads(args.fitted.read_text())["records"] if args.fitted else []
    cases = SMALL if args.small else ON_CPU if args.devices.startswith("cpu") else ON_GPU
    for case in () if args.fitted else cases:
        records.append(compare(*case, args.devices))
        write(args.out, records)
    print("\n".join(fitted(records)))


if __name__ == "__main__":
    main()
