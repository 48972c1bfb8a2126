"""Greedy, chain and swaps as an order of picks: ``python -m bench.chain --data-dir DATA --out chain.jsonl``.

The control without a network, ``medoids``, picks from the scaled rows of tables and small data sets: pools of
100, 200 or 400 rows, the rest of at most 1,000 rows is the test set. Greedy and chain are one order each, for
half of the pool, and are cut; swaps are made for each budget. Budgets are a half of the pool, a quarter, ...
(the sets that a chain swaps), and three quarters of each, where the greedy decides. Tables of word counts
need another space (see `bench.columns`) and are left out, as is what has fewer than 200 rows.

Judges are a linear SVM with C = 1, which converges where C = 100 stops at its cap, and the nearest neighbour.
Records hold accuracy, macro recall and the recall of the smallest class, in per cent, by budget.

The rule for the default, set down before the first run: noise is two standard errors over the data sets, of
differences that are means over splits and both judges. The chain replaces the greedy where its accuracy over
all budgets is not below the greedy's by more than noise, its accuracy at the sets that it swaps is above the
greedy's by more than noise, and neither recall at any of the budgets together is lower by more than noise.

So far (``bench/results/chain.jsonl.gz``: 29 sets, 10 splits; unpack it to add to it) points over the greedy,
with one standard error over the sets, are
chain, all budgets: accuracy +.17 +- .20, recall +.23 +- .16, smallest class -.06 +- .80;
chain, the sets that it swaps: +.20 +- .21, +.26 +- .17, -.07 +- .83;
swaps for each of these budgets: +.22 +- .10, +.18 +- .11, +.45 +- .42.
The chain is not above the greedy by more than noise, so the greedy stays the default. Swaps for one budget
are, which is what the largest set of a chain is; its smaller sets gain as much, with twice the noise.

``--cost`` measures CPU seconds instead, of one process, user and system, after everything is compiled: the
chain takes 1.7 to 2.7 times as many as the greedy (``bench/results/chain_cost.jsonl``, on a busy machine).
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from bench.columns import judged, sources
from bench.kmeans import mixture
from bench.quality import capped
from dual_jax.evaluation.judges import halve, quiet
from dual_jax.evaluation.records import append, read
from dual_jax.methods.coverage.medoids import POWER, squashed
from dual_jax.numerics.statistics import MAX_INPUTS
from dual_jax.plots.page import markdown
from dual_jax.selection.chain import chain
from dual_jax.selection.cover import Cover, build_cover, power_cost
from dual_jax.selection.coverage import coverage, greedy
from dual_jax.selection.swaps import refine

SIZES, N_TEST, LARGEST = (400, 200, 100), 1000, 400
OF_SCIKIT = ("breast_cancer", "digits", "shapes", "anisotropic", "imbalanced")
FILES = ("urban", "waveform", "plant_margin", "plant_shape", "gesture", "mammographic")
METRICS = ("accuracy", "recall", "smallest")
COSTS = ((1000, 16, 100), (1000, 16, 500), (5000, 64, 100), (5000, 64, 1000))


class Half(NamedTuple):
    """Rows of a pool and a test set, and their classes."""

    pool: np.ndarray
    y: np.ndarray
    test: np.ndarray
    truth: np.ndarray


def tables(data_dir: Path) -> dict[str, Callable[[int], Half | None]]:
    """Return what draws a split of each data set, by name; it returns None where rows are too few."""
    of_files = {
        name: partial(_of_table, cache(source))
        for name, source in sources(data_dir).items()
        if not name.endswith(".wc") and name not in ("sms", "trec")
    }
    load = cache(partial(capped, data_dir=data_dir))
    return of_files | {name: partial(_of_set, partial(load, name)) for name in (*OF_SCIKIT, *FILES)}


def _of_table(source: Callable[[], Any], number: int) -> Half | None:
    data = source()
    size = _size(len(data.y))
    if size is None:
        return None
    order = np.random.default_rng([0, number]).permutation(len(data.y))
    rows, others = order[:size], order[size : size + N_TEST]
    x, test = judged(data.table.take(rows), data.table.take(others))
    return Half(np.asarray(x, np.float32), data.y[rows], np.asarray(test, np.float32), data.y[others])


def _of_set(source: Callable[[], Any], number: int) -> Half | None:
    data = source()
    size = _size(len(data.y))
    if size is None:
        return None
    split = halve(data, number)
    pool, test = split.pool, split.test
    return Half(pool.x[:size], pool.y[:size], test.x[:N_TEST], test.y[:N_TEST])


def _size(n: int) -> int | None:
    return next((size for size in SIZES if n >= 2 * size - 1), None)


def budgets(n: int) -> tuple[list[int], list[int]]:
    """Return the sets that a chain of half the pool swaps, from six picks on, and the budgets between."""
    swapped = [n // 2**i for i in range(1, 7) if n // 2**i >= 6]
    return swapped[::-1], sorted(3 * size // 4 for size in swapped if 3 * size // 4 >= 6)


def orders(x: np.ndarray) -> Iterator[tuple[str, int, np.ndarray]]:
    """Give each read-out's picks with the largest budget that they serve.

    Pools are padded to one shape with rows that do not count, so that few programs are compiled.
    """
    n, u = len(x), np.asarray(squashed(jax.random.key(0), jnp.asarray(x)))
    u = np.pad(u, ((0, LARGEST - n), (0, MAX_INPUTS - u.shape[1])))
    is_row = np.arange(LARGEST) < n
    cover = build_cover(u, power_cost(POWER), candidates=is_row, weights=is_row.astype(np.float32))
    whole = greedy(cover, n // 2, pair_first=True).indices
    yield "greedy", n // 2, np.asarray(whole)
    yield "chain", n // 2, np.asarray(chain(cover, n // 2, pair_first=True).indices)
    for budget in budgets(n)[0]:
        yield "swaps", budget, np.asarray(refine(cover, whole[:budget]).indices)


def scores(half: Half, picks: np.ndarray, judge: str) -> dict[str, float]:
    """Return what a judge that learns from the picks scores on the test set, in per cent."""
    x, y = half.pool[picks], half.y[picks]
    model: Any = KNeighborsClassifier(1) if judge == "nearest" else SVC(kernel="linear", max_iter=3_000_000)
    said = model.fit(x, y).predict(half.test) if len(np.unique(y)) > 1 else np.full(len(half.truth), y[0])
    classes, counts = np.unique(half.truth, return_counts=True)
    recalls = [float(np.mean(said[half.truth == c] == c)) for c in classes]
    found = np.mean(said == half.truth), np.mean(recalls), recalls[int(np.argmin(counts))]
    return {name: round(100 * float(value), 3) for name, value in zip(METRICS, found, strict=True)}


def measure(name: str, half: Half, number: int) -> Iterator[dict[str, Any]]:
    """Give the records of a split of a data set."""
    swapped, between = budgets(len(half.pool))
    for readout, largest, picks in orders(half.pool):
        wanted = [largest] if readout == "swaps" else [*swapped, *between]
        for judge in ("svm", "nearest"):
            for budget in sorted(wanted):
                about = {"data": name, "split": number, "n": len(half.pool), "readout": readout}
                about |= {"judge": judge, "budget": budget, "is_swapped": budget in swapped}
                yield about | scores(half, picks[:budget], judge)


def run(data_dir: Path, names: list[str], n_splits: int, out: Path) -> None:
    """Add the records that are not there yet."""
    done = {(record.get("data"), record.get("split")) for record in read(out)}
    wanted = {name: draw for name, draw in tables(data_dir).items() if not names or name in names}
    for name, draw in wanted.items():
        for number in range(n_splits):
            if (name, number) in done:
                continue
            half = draw(number)
            if half is None:
                break
            with quiet():
                records = [*measure(name, half, number)]
            for record in records:
                append(out, record)
        print(name, flush=True)


def differences(records: list[Any], readout: str, metric: str, kind: str) -> np.ndarray:
    """Return for each data set the points of a read-out over the greedy: means of budgets, splits, judges.

    ``kind`` is "all" budgets, or those "swapped" or "between".
    """
    of: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for record in records:
        is_counted = kind == "all" or record["is_swapped"] == (kind == "swapped")
        if is_counted and record["readout"] in (readout, "greedy"):
            of[record["data"], record["readout"]].append(record[metric])
    names = sorted({name for name, _ in of})
    return np.array([np.mean(of[name, readout]) - np.mean(of[name, "greedy"]) for name in names])


def table(records: list[Any]) -> str:
    """Return points over the greedy with the standard error over data sets."""
    rows = []
    for readout, kind in (("chain", "all"), ("chain", "swapped"), ("chain", "between"), ("swaps", "swapped")):
        cells = []
        for metric in METRICS:
            apart = differences(records, readout, metric, kind)
            error = apart.std(ddof=1) / len(apart) ** 0.5
            cells.append(f"{apart.mean():+.2f} ± {error:.2f} ({(apart > 0).sum()} of {len(apart)})")
        rows.append((readout, kind, *cells))
    return markdown(("read-out", "budgets", *METRICS), rows)


def cpu_seconds(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns the second time, and the CPU seconds that this takes."""
    jax.block_until_ready(function())
    start = time.process_time()
    return jax.block_until_ready(function()), round(time.process_time() - start, 3)


def costs(out: Path) -> None:
    """Add CPU seconds of the read-outs on Gaussian clusters, and F at the budget as a share of swaps'."""
    for n, q, k in COSTS:
        cover: Cover = build_cover(jnp.asarray(mixture(n, q, 30)), power_cost(POWER))
        first, of_greedy = cpu_seconds(partial(greedy, cover, k, pair_first=True))
        swapped, of_swaps = cpu_seconds(partial(refine, cover, first.indices))
        whole, of_chain = cpu_seconds(partial(chain, cover, k, pair_first=True))
        values = [float(coverage(cover, picks.indices)[-1]) for picks in (first, whole, swapped)]
        record = {"kind": "cost", "n": n, "features": q, "n_picks": k, "greedy": of_greedy, "chain": of_chain}
        record |= {"greedy_and_swaps": round(of_greedy + of_swaps, 3)}
        record |= {"greedy_objective": values[0] / values[2], "chain_objective": values[1] / values[2]}
        append(out, record)
        print(record, flush=True)


def main(argv: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the records, .jsonl; added to")
    parser.add_argument("--data-dir", type=Path, help="the folder of the data sets, with tables/")
    parser.add_argument("--data", default="", help="names, comma-separated; default: all")
    parser.add_argument("--splits", type=int, default=10, help="how many; default: %(default)s")
    parser.add_argument("--cost", action="store_true", help="measure CPU seconds")
    args = parser.parse_args(argv)
    if args.cost:
        costs(args.out)
        return
    if args.data_dir:
        run(args.data_dir, [name for name in args.data.split(",") if name], args.splits, args.out)
    print(table([record for record in read(args.out) if "kind" not in record]))


if __name__ == "__main__":
    main()
