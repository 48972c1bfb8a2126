"""Time, peak memory and objective of our methods beside other libraries on the same pool and budget.

The other libraries are no dependencies. Run it in an environment to throw away:

    python -m venv .venv-bench
    .venv-bench/bin/pip install -e . apricot-select submodlib-py skmatter scikit-activeml kmedoids
    .venv-bench/bin/python -m bench.methods --out bench/results/methods.json

Every entry runs in a process of its own, whose peak memory counts from the imports on; a library that is not
installed is recorded as absent. Objectives are computed here, from the picked rows alone.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.kmeans import mixture
from bench.record import apart, as_size, peak_mib, write

REPEATS = 3
SIZES = ((2_500, 40, 250), (20_000, 32, 100))
Prepared = Callable[[np.ndarray], Any]  # picks from a pool


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.maximum(squared, 0, out=squared)


def width(x: np.ndarray) -> float:
    """Return the median distance of 1,000 rows, given to every library alike."""
    rows = x[:: max(len(x) // 1000, 1)]
    return float(np.sqrt(np.median(squared_distances(rows, rows))))


def similarities(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-squared_distances(x, y) / (2 * width(x) ** 2))


def ours(name: str, n_select: int, **knobs: Any) -> Prepared:
    import jax

    from dual_jax.methods import METHODS

    select = METHODS[name]
    return lambda x: np.asarray(select(jax.random.key(0), jax.device_put(x), n_select, **knobs).indices)


def our_facility(n_select: int) -> Prepared:
    return lambda x: ours("facility", n_select, width=width(x))(x)


def our_medoids(n_select: int) -> Prepared:
    from dual_jax.selection.cover import build_cover, power_cost
    from dual_jax.selection.coverage import greedy
    from dual_jax.selection.swaps import refine

    def pick(x: Any) -> np.ndarray:
        cover = build_cover(x, power_cost(1.0))
        return np.asarray(refine(cover, greedy(cover, n_select).indices).indices)

    return pick


def apricot(n_select: int) -> Prepared:
    from apricot import FacilityLocationSelection

    selector = FacilityLocationSelection(n_select, metric="precomputed", optimizer="lazy")
    return lambda x: selector.fit(similarities(x, x)).ranking


def submodlib(n_select: int) -> Prepared:
    from submodlib import FacilityLocationFunction

    def select(x: np.ndarray) -> list[int]:
        function = FacilityLocationFunction(len(x), "dense", separate_rep=False, sijs=similarities(x, x))
        picks = function.maximize(n_select, "LazyGreedy", stopIfZeroGain=False, show_progress=False)
        return [row for row, _ in picks]

    return select


def skmatter(n_select: int) -> Prepared:
    from skmatter.sample_selection import FPS

    def select(x: np.ndarray) -> np.ndarray:
        first = int(((x - x.mean(0)) ** 2).sum(1).argmin())
        return FPS(n_to_select=n_select, initialize=first).fit(x).selected_idx_

    return select


def skactiveml(strategy: str) -> Callable[[int], Prepared]:
    def prepare(n_select: int) -> Prepared:
        import skactiveml.pool

        make = getattr(skactiveml.pool, strategy)  # a new one each time: ProbCover keeps its radius
        return lambda x: make(random_state=0).query(x, np.full(len(x), np.nan), batch_size=n_select)

    return prepare


def fasterpam(n_select: int) -> Prepared:
    import kmedoids

    return lambda x: kmedoids.fasterpam(np.sqrt(squared_distances(x, x)), n_select, random_state=0).medoids


ENTRIES: dict[str, dict[str, tuple[str, Callable[[int], Prepared]]]] = {
    "facility": {
        "dual_jax": ("dual-jax", our_facility),
        "apricot": ("apricot-select", apricot),
        "submodlib": ("submodlib-py", submodlib),
    },
    "kcenter": {
        "dual_jax": ("dual-jax", lambda n_select: ours("kcenter", n_select)),
        "scikit-matter": ("skmatter", skmatter),
        "scikit-activeml": ("scikit-activeml", skactiveml("CoreSet")),
    },
    "typiclust": {
        "dual_jax": ("dual-jax", lambda n_select: ours("typiclust", n_select)),
        "scikit-activeml": ("scikit-activeml", skactiveml("TypiClust")),
    },
    "probcover": {
        "dual_jax": ("dual-jax", lambda n_select: ours("probcover", n_select)),
        "scikit-activeml": ("scikit-activeml", skactiveml("ProbCover")),
    },
    "kmedoids": {
        "dual_jax": ("dual-jax", our_medoids),
        "kmedoids": ("kmedoids", fasterpam),
    },
}


def objectives(x: np.ndarray, indices: np.ndarray) -> dict[str, float]:
    """Return what the methods strive for: higher similarity, lower radius, lower mean distance."""
    squared = np.concatenate([squared_distances(rows, x[indices]).min(1) for rows in np.array_split(x, 50)])
    return {
        "similarity": float(np.exp(-squared / (2 * width(x) ** 2)).sum()),
        "radius": float(np.sqrt(squared.max())),
        "mean_distance": float(np.sqrt(squared).mean()),
    }


def measure(method: str, library: str, size: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Return the record of one entry, in this process."""
    n, d, n_select = size
    package, prepare = ENTRIES[method][library]
    try:
        select = prepare(n_select)
    except ImportError as error:
        return {"absent": f"{error}; pip install {package}"}
    x = mixture(n, d, 20)
    before, times = peak_mib(), []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        indices = np.asarray(select(x))
        times.append(time.perf_counter() - start)
    return {
        "version": version(package),
        "first_call_s": times[0],
        "seconds": float(np.median(times[1:])),
        "peak_mib": peak_mib() - before,
        "n_distinct": len(set(indices.tolist())),
        "load": os.getloadavg()[0],
        **objectives(x, indices),
    }


def as_words(size: tuple[int, int, int], repeats: int) -> list[str]:
    return ["--sizes", "x".join(map(str, size)), "--repeats", str(repeats)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument(
        "--sizes", type=as_size, nargs="+", default=SIZES, help="pools, as ROWSxFEATURESxPICKS"
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for one entry")
    parser.add_argument(
        "--one", nargs=2, metavar=("METHOD", "LIBRARY"), help="measure one entry in this process"
    )
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one, args.sizes[0], args.repeats)))
        return
    records = [
        {"method": method, "library": library, "n": size[0], "d": size[1], "n_select": size[2]}
        | apart("bench.methods", ["--one", method, library, *as_words(size, args.repeats)], args.limit)
        for size in args.sizes
        for method, libraries in ENTRIES.items()
        for library in libraries
    ]
    write(args.out, records)


if __name__ == "__main__":
    main()
