"""Time k-means against scikit-learn's Lloyd: ``python -m bench.kmeans --out bench/results/kmeans.json``.

Both run in turn in one process; each time is the median of the repeats, each ratio that of the pairs.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.cluster import KMeans

from bench.record import write
from dual_jax.numerics.kmeans import kmeans

REPEATS = 7


def seconds(function: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Return times and inertias of both, called in turn after one warm-up each."""
    first = seconds(ours)
    inertias = float(ours().inertia), float(theirs().inertia_)
    pairs = np.array([(seconds(ours), seconds(theirs)) for _ in range(repeats)])
    return {
        "first_call_s": first,
        "ours_s": np.median(pairs[:, 0]),
        "scikit_learn_s": np.median(pairs[:, 1]),
        "time_ratio": np.median(pairs[:, 0] / pairs[:, 1]),
        "time_ratio_of_minima": pairs[:, 0].min() / pairs[:, 1].min(),
        "inertia_ratio": inertias[0] / inertias[1],
    }


def same_start(x: np.ndarray, n_clusters: int, repeats: int) -> dict[str, Any]:
    """Compare 20 Lloyd iterations from the same random rows."""
    init = x[np.random.default_rng(0).choice(len(x), n_clusters, replace=False)]
    on_device, key = jax.device_put(x), jax.random.key(0)

    def ours() -> Any:
        return jax.block_until_ready(kmeans(key, on_device, n_clusters, init=init, max_iter=20, tol=0.0))

    model = KMeans(n_clusters, init=init, n_init=1, max_iter=20, tol=0.0, algorithm="lloyd")
    return compare(ours, lambda: model.fit(x), repeats)


def own_start(x: np.ndarray, n_clusters: int, repeats: int) -> dict[str, Any]:
    """Compare four restarts of seeding and iterations until the default tolerance."""
    on_device, key = jax.device_put(x), jax.random.key(0)

    def ours() -> Any:
        return jax.block_until_ready(kmeans(key, on_device, n_clusters))

    model = KMeans(n_clusters, n_init=4, max_iter=100, random_state=0, algorithm="lloyd")
    return compare(ours, lambda: model.fit(x), repeats)


def mixture(n: int, d: int, n_groups: int) -> np.ndarray:
    """Return rows of a Gaussian mixture whose groups touch."""
    rng = np.random.default_rng(0)
    centres = 3.0 * rng.normal(size=(n_groups, d))
    return (centres[rng.integers(n_groups, size=n)] + rng.normal(size=(n, d))).astype(np.float32)


def waveform(data_dir: Path) -> np.ndarray:
    """Return the features of Waveform, standardised."""
    x = np.loadtxt(data_dir / "waveform/waveform-+noise.data", delimiter=",")[:, :-1]
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("DUAL_JAX_DATA"), help="adds Waveform"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")

    large = mixture(100_000, 64, 50)
    records = {
        "same start, 20 iterations, 100000 x 64, K = 100": same_start(large, 100, args.repeats),
        "four restarts, 10000 x 64, K = 20": own_start(large[:10_000], 20, args.repeats),
    }
    if args.data_dir:
        records["four restarts, Waveform, K = 20"] = own_start(
            waveform(Path(args.data_dir)), 20, args.repeats
        )
    write(args.out, records)


if __name__ == "__main__":
    main()
