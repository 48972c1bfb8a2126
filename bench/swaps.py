"""Swaps beside FasterPAM from the same start: ``python -m bench.swaps --out bench/results/swaps.json``.

Needs the library ``kmedoids``, which is no dependency. The objective is the sum of the root of the distance
of every row to its nearest pick, in float64 from the picked rows alone.

``--large`` compares swaps that count a subsample of the rows with those that count all, in a pool of 50,000
rows, without that library: CPU seconds, user and system, after everything is compiled, with the order of the
picks in them, and objectives (``bench/results/swaps_large.json``). There the subsample takes 4.8 % of the CPU
seconds for 20 picks and 8.0 % for 100, for an objective that is .002 % and .04 % higher.
"""

import argparse
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import cdist

from bench.kmeans import mixture
from bench.record import write
from dual_jax.data.datasets import load, waveform_generator
from dual_jax.numerics.scaling import apply, fit_scaler
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import coverage, greedy
from dual_jax.selection.swaps import refine
from dual_jax.selection.targets import number_of_targets

COST = power_cost(0.5)
N_PICKS = (5, 20, 100)
LARGE = (50_000, 16, 30)  # rows, features, groups
N_PICKS_OF_LARGE = (20, 100)


def pools() -> dict[str, np.ndarray]:
    found = {"digits": load("digits").x, "waveform": waveform_generator(0, 2000).x}
    scaled = {name: np.asarray(apply(fit_scaler(x, "standard"), x)) for name, x in found.items()}
    return {**scaled, "mixture": mixture(2000, 16, 30)}


def measure(name: str, x: np.ndarray, n_picks: int) -> list[dict[str, Any]]:
    """Return both objectives from the greedy's picks and from random ones."""
    import kmedoids

    distances, cover = np.sqrt(cdist(x, x)), build_cover(jnp.asarray(x), COST)
    starts = {
        "greedy": np.asarray(greedy(cover, n_picks).indices),
        "random": np.random.default_rng(0).choice(len(x), n_picks, replace=False),
    }

    def objective(picks: np.ndarray) -> float:
        return float(distances[:, picks].min(axis=1).sum())

    records = []
    for start, picks in starts.items():
        ours = objective(np.asarray(refine(cover, jnp.asarray(picks)).indices))
        theirs = objective(kmedoids.fasterpam(distances, picks.astype(np.uint64)).medoids.astype(np.int64))
        record = {"pool": name, "n": len(x), "n_picks": n_picks, "start": start, "before": objective(picks)}
        records.append({**record, "ours": ours, "fasterpam": theirs, "ratio": ours / theirs})
    return records


def measure_large(n_picks: int) -> dict[str, Any]:
    """Return CPU seconds and objectives of swaps that count all rows of a large pool, or a subsample."""
    x = mixture(*LARGE)
    cover = build_cover(jnp.asarray(x), COST)
    first = greedy(cover, n_picks).indices
    record = {"pool": "mixture", "n": len(x), "n_picks": n_picks, "before": float(coverage(cover, first)[-1])}
    for name, size in (("few", number_of_targets(len(x), n_picks)), ("all", len(x))):
        swap = partial(refine, cover, first, n_targets=size)
        jax.block_until_ready(swap(max_sweeps=0))  # compiles
        start = time.process_time()
        picks = jax.block_until_ready(swap().indices)
        seconds = round(time.process_time() - start, 2)
        value = float(coverage(cover, picks)[-1])
        record[name] = {"n_targets": size, "cpu_seconds": seconds, "objective": value}
    few, whole = record["few"], record["all"]
    ratios = {name: few[name] / whole[name] for name in ("cpu_seconds", "objective")}
    return record | {"ratio": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--large", action="store_true", help="a subsample of a large pool, and all of it")
    args = parser.parse_args()
    if args.large:
        write(args.out, [measure_large(n_picks) for n_picks in N_PICKS_OF_LARGE])
        return
    records = [r for name, x in pools().items() for n_picks in N_PICKS for r in measure(name, x, n_picks)]
    write(args.out, records, kmedoids=version("kmedoids"))


if __name__ == "__main__":
    main()
