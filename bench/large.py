"""Pools that a full C does not hold, and what is quick on them: ``python -m bench.large --out FILE``.

Each piece is a process of its own, so that its memory is its own. ``select`` runs the command on a ``.npy``
file of a Gaussian mixture, from the file to ``picks.csv``, and ``stream`` leaves the pool on disk; the greedy
and k-means run on such a mixture after compiling; MNIST's 60,000 images are judged by a linear SVM and a
nearest neighbour on its test set.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dual_jax as dj
from bench.kmeans import mixture
from bench.record import apart, kept, peak_mib, write
from dual_jax.data.datasets import load
from dual_jax.evaluation.judges import JUDGES, Table, quiet
from dual_jax.numerics.scaling import apply, fit_scaler
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import greedy

N_SELECT, FEATURES, GROUPS = 1000, 64, 50
BUDGETS = (50, 100, 200, 500, 1000)
N_RANDOM = 5


def compiled(function: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of a first and a second call, and the process's memory before and after."""
    before, seconds = peak_mib(), []
    for _ in range(2):
        start = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - start)
    return {"first_call_s": seconds[0], "seconds": seconds[1], "imports_mib": before, "peak_mib": peak_mib()}


def cover(n: int) -> dict[str, Any]:
    """Return the cost of ordering `N_SELECT` rows by the exact greedy read-out."""
    u = jnp.asarray(mixture(n, FEATURES, GROUPS))
    run = jax.jit(lambda u: greedy(build_cover(u, power_cost(0.5)), N_SELECT).indices)
    return compiled(lambda: run(u))


def cluster(n: int) -> dict[str, Any]:
    """Return the cost of 20 iterations of k-means with 100 clusters."""
    x = jnp.asarray(mixture(n, FEATURES, GROUPS))
    return compiled(lambda: dj.kmeans(jax.random.key(0), x, 100, init=x[:100], max_iter=20, tol=0.0))


def select(n: int, *more: str) -> dict[str, Any]:
    """Return the cost of the command, from the file of the pool to that of the picks."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/pool.npy", mixture(n, FEATURES, GROUPS))
        command = [sys.executable, "-m", "dual_jax", "select", "pool.npy", "-n", str(N_SELECT), *more]
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        receipt = json.loads(Path(folder, "picks.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mib": peak, "receipt": receipt}


def stream(n: int) -> dict[str, Any]:
    """Return the cost of the command when the pool stays on disk and passes by in pieces."""
    return select(n, "--stream")


def images(_: int) -> dict[str, Any]:
    """Return the accuracy on MNIST's test set with picks of the default, and with random ones."""
    pool, test = load("mnist"), load("mnist_test")
    scaler = fit_scaler(pool.x, "global")
    x, seen = (np.asarray(apply(scaler, data.x)) for data in (pool, test))
    start = time.perf_counter()
    fitted = dj.fit(jax.random.key(0), jnp.asarray(x), dj.DualConfig())
    orders = {"dual": [np.asarray(fitted.ranking.indices)[:N_SELECT]]}
    seconds = time.perf_counter() - start
    draws = [np.random.default_rng(i).permutation(len(x))[:N_SELECT] for i in range(N_RANDOM)]
    orders["random"] = draws
    peak, rows, judged = peak_mib(), Table(x, pool.y), Table(seen, test.y)
    accuracy = [
        {
            "method": name,
            "judge": judge,
            "budget": budget,
            "accuracy": _accuracies(found, budget, judge, rows, judged),
        }
        for name, found in orders.items()
        for judge in JUDGES
        for budget in BUDGETS
    ]
    return {"seconds": seconds, "peak_mib": peak, "accuracy": accuracy}


def _accuracies(orders: list[np.ndarray], budget: int, judge: str, pool: Table, test: Table) -> list[float]:
    with quiet():
        picked = [Table(pool.x[order[:budget]], pool.y[order[:budget]]) for order in orders]
        return [JUDGES[judge](table, test, len(np.unique(pool.y))).accuracy for table in picked]


PIECES: dict[str, tuple[Callable[[int], dict[str, Any]], int, float]] = {  # what, rows, seconds at most
    "greedy_5000": (cover, 5_000, 60.0),
    "greedy_100000": (cover, 100_000, 1_200.0),
    "kmeans_1000000": (cluster, 1_000_000, 300.0),
    "select_100000": (select, 100_000, 1_200.0),
    "mnist_60000": (images, 60_000, 3_600.0),
    "select_1000000": (select, 1_000_000, 4_500.0),
    "stream_1000000": (stream, 1_000_000, 4_500.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the JSON; pieces that it has from before are kept")
    parser.add_argument("--only", default=",".join(PIECES), help="default: %(default)s")
    parser.add_argument("--one", choices=PIECES, help="measure one piece in this process")
    args = parser.parse_args()
    if args.one:
        what, n, _ = PIECES[args.one]
        print(json.dumps({"piece": args.one, "n": n, **what(n)}))
        return
    found = kept(args.out, "piece")
    for name in args.only.split(","):
        found[(name,)] = {"piece": name} | apart("bench.large", ["--one", name], PIECES[name][2])
        write(args.out, list(found.values()))


if __name__ == "__main__":
    main()
