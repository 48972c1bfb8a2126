"""Swaps beside FasterPAM from the same start: ``python -m bench.swaps --out bench/results/swaps.json``.

Needs the library ``kmedoids``, which is no dependency. The objective is the sum of the root of the distance
of every row to its nearest pick, in float64 from the picked rows alone.
"""

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import kmedoids
import numpy as np
from scipy.spatial.distance import cdist

from bench.kmeans import mixture
from bench.record import write
from dual_jax.data.datasets import load, waveform_generator
from dual_jax.numerics.scaling import apply, fit_scaler
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import greedy
from dual_jax.selection.swaps import refine

COST = power_cost(0.5)
N_PICKS = (5, 20, 100)


def pools() -> dict[str, np.ndarray]:
    found = {"digits": load("digits").x, "waveform": waveform_generator(0, 2000).x}
    scaled = {name: np.asarray(apply(fit_scaler(x, "standard"), x)) for name, x in found.items()}
    return {**scaled, "mixture": mixture(2000, 16, 30)}


def measure(name: str, x: np.ndarray, n_picks: int) -> list[dict[str, Any]]:
    """Return both objectives from the greedy's picks and from random ones."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    args = parser.parse_args()
    records = [r for name, x in pools().items() for n_picks in N_PICKS for r in measure(name, x, n_picks)]
    write(args.out, records, kmedoids=version("kmedoids"))


if __name__ == "__main__":
    main()
