"""What the default configuration is worth: ``python -m bench.default --data-dir DATA --out default.jsonl``.

Shorter training is compared with the default that was there before, 1,000 steps of stage 1 and 300 of stage 3
(`BEFORE`), on the same pools, keys and networks: a fit with fewer steps of a stage is the first part of one
with more, so it is continued and not run again (`Prefixes`). Controls are random orders and ``medoids``, the
read-out without a network.

Pools, test sets and the linear SVM with C = 1, which converges, are those of `bench.chain`, cut to 100 or 200
rows and 500 rows, on splits that neither the tournament nor any choice has used. Columns of zeros make all
pools `WIDTH` wide, so that they share compiled programs; wider ones are left out. Budgets are the
tournament's: the number of classes c, 2c, 4c, and an eighth, a quarter and a half of the pool. Sets are run
in the order of `SETS`, with all their splits; where time ends, the first ones decide, if they are 12 or more.

The rule, set down before the first run:

- Candidates are `SHORTER`. A smaller dictionary and a looser tolerance are tried only if all of them fail:
  both shorten stage 3, and the first also leaves out rows that may rebuild others.
- The measure is accuracy by the linear SVM, mean over budgets and 20 splits, less that of `BEFORE`: one
  number for each data set. m is its mean over the data sets and e its standard error.
- A candidate passes where it is not below by more than noise, m + 2 e >= 0; where a loss of more than .3
  points is excluded, m - 2 e >= -.3 (`MARGIN`: the least that 40 sets of 10 splits can show between
  near-equal variants, by the study before this project); and where macro recall by the SVM, and accuracy and
  recall by the nearest neighbour, are not below by more than noise either.
- Of those that pass the one that takes the fewest CPU seconds becomes the default. (bench/README.md has where
  we depart from this.)

``--batches N+0`` compares stage 1 in parts of 1,024 rows with stage 1 on all rows, with the N steps of the
new default and no stage 3, on pools of thousands of rows (`LARGE`). The parts become the default where they
take at most two thirds of the CPU seconds at 4,000 rows, and m over all splits of all sets, by the SVM's
accuracy, is not below 0 by more than noise, with m - 2 e >= -.5 (fewer splits show less).

``--cost`` measures CPU seconds of one process, after everything is compiled, for pools of `COSTS` and a tenth
of the rows as picks; ``--batch-cost`` those of a step of stage 1 for `LARGE_COSTS`. The tables are made from
the records alone: ``python -m bench.default --out FILE``.
"""

import argparse
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bench.chain import Half, scores, tables
from bench.kmeans import mixture
from bench.quality import capped, tournament
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import on_devices, train
from dual_jax.dual.loop import CHUNK, Progress
from dual_jax.dual.ranking import rank
from dual_jax.dual.stages import advance
from dual_jax.dual.steps import init
from dual_jax.evaluation.judges import halve, quiet
from dual_jax.evaluation.records import Record, append, read
from dual_jax.methods import METHODS
from dual_jax.plots.page import markdown

BEFORE = (1000, 300)  # steps of stage 1 and of stage 3
SHORTER = ((1000, 150), (1000, 50), (1000, 0), (300, 50), (300, 0), (100, 0))
CONTROLS = ("random", "medoids")
BATCHES = (1 << 14, 1 << 10)  # rows in a step of stage 1 at most
LARGE = ("waveform_full", "gesture_full")
FIRST_SPLIT, N_SPLITS, N_SPLITS_LARGE, N_RANDOM = 100, 20, 5, 3
N_POOL, N_TEST, WIDTH = 200, 500, 64
MARGIN, MARGIN_LARGE, SAVING = -0.3, -0.5, 2 / 3
JUDGES, METRICS = ("svm", "nearest"), ("accuracy", "recall")
HEAD = [f"{judge}, {metric}" for judge, metric in itertools.product(JUDGES, METRICS)]
SETS = (
    *("ecoli", "heart-c", "credit-a", "vote", "cmc", "digits", "breast_cancer", "waveform", "gesture"),
    *("mammographic", "kdd_JapaneseVowels_train", "balance-scale", "monks-problems-2_test", "credit-g"),
    *("primary-tumor", "sonar", "shapes", "imbalanced", "eucalyptus", "breast-cancer", "anisotropic"),
    "spectf_test",
)
KINDS = {
    "numbers alone": (
        *("ecoli", "breast_cancer", "waveform", "gesture", "mammographic", "kdd_JapaneseVowels_train"),
        *("balance-scale", "sonar", "spectf_test", "digits"),
    ),
    "with categories": (
        *("heart-c", "credit-a", "vote", "cmc", "monks-problems-2_test", "credit-g", "primary-tumor"),
        *("eucalyptus", "breast-cancer"),
    ),
    "generated": ("shapes", "imbalanced", "anisotropic"),
}
COSTS = ((200, 16), (1000, 32))
LARGE_COSTS = ((4000, 64), (10_000, 64))


class Prefixes:
    """Keeps the progress of fits of one pool, and starts another from the longest that is a part of it.

    It is a `dual_jax.dual.fitting.Checkpointer` in memory.
    """

    def __init__(self) -> None:
        self._pretrained: list[Progress] = []
        self._trained: dict[int, list[Progress]] = {}
        self._pretrain_steps = 0

    def open(self, inputs: Any, shapes: Any) -> Progress | None:
        """Return the progress from which the fit that begins can go on."""
        config = inputs[2]
        self._pretrain_steps = config.pretrain_steps
        kept = [p for p in self._pretrained if p.step <= config.pretrain_steps]
        if config.steps:
            own = self._trained.get(config.pretrain_steps, [])
            kept = [p for p in own if p.step <= config.steps] or kept
        found = max(kept, key=lambda progress: progress.step, default=None)
        return None if found is None else found._replace(state=jax.tree.map(np.array, found.state))

    def save(self, progress: Callable[[], Progress], *, at_once: bool = False) -> None:
        """Keep the progress after the numbers of steps that are compared."""
        now = progress()
        wanted, kept = {steps for steps, _ in (BEFORE, *SHORTER)}, self._pretrained
        if now.stage == "train":
            wanted = {steps for _, steps in (BEFORE, *SHORTER) if steps}
            kept = self._trained.setdefault(self._pretrain_steps, [])
        if now.step in wanted or now.is_over:
            kept.append(now._replace(state=jax.tree.map(np.array, now.state)))


def title(steps: tuple[int, int]) -> str:
    """Return a setting as records name it.

    Examples
    --------
    >>> title((1000, 50))
    '1000+50'
    """
    return f"{steps[0]}+{steps[1]}"


def config_of(name: str, **changes: Any) -> DualConfig:
    """Return the configuration that a record names."""
    pretrain_steps, steps = map(int, name.split("+"))
    return DualConfig(pretrain_steps=pretrain_steps, steps=steps, tolerance=1e-4, **changes)


def picked(key: Any, x: np.ndarray, config: DualConfig, n_picks: int, kept: Any = None) -> np.ndarray:
    """Return DUAL's picks, best first, as ``METHODS["dual"]`` makes them."""
    state, _ = train(key, x, config, checkpointer=kept)
    return np.asarray(rank(state, x, dataclasses.replace(config, n_exact=n_picks), n_picks).indices)


def orders(x: np.ndarray, number: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Give the orders of each setting: several of random."""
    n_picks, key, kept = len(x) // 2, jax.random.key(number), Prefixes()
    yield "random", [np.random.default_rng([1, number, i]).permutation(len(x)) for i in range(N_RANDOM)]
    yield "medoids", [np.asarray(METHODS["medoids"](key, x, n_picks).indices)]
    for name in map(title, (BEFORE, *SHORTER)):
        yield name, [picked(key, x, config_of(name), n_picks, kept)]


def batch_orders(x: np.ndarray, number: int, name: str) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Give the orders with stage 1 on all rows and in parts, for a setting."""
    for rows in BATCHES:
        config = config_of(name, batch_rows=rows)
        yield f"batches of {rows}", [picked(jax.random.key(number), x, config, len(x) // 2)]


def cut(half: Half) -> Half | None:
    """Return a split with fewer rows, as wide as all others; None where it is wider."""
    d = half.pool.shape[1]
    if d > WIDTH:
        return None
    pool, test = (np.pad(x, ((0, 0), (0, WIDTH - d))) for x in (half.pool[:N_POOL], half.test[:N_TEST]))
    return Half(pool, half.y[:N_POOL], test, half.truth[:N_TEST])


def measure(name: str, half: Half, number: int, each: Callable[..., Any]) -> Iterator[Record]:
    """Give a record for each setting on a split: scores by judge, for each budget, means over its orders."""
    n_classes = len(np.unique(np.concatenate([half.y, half.truth])))
    budgets = tournament(name, 1).budgets(n_classes, len(half.pool))
    for setting, of_setting in each(half.pool, number):
        about = {"data": name, "split": number, "n": len(half.pool), "setting": setting, "budgets": budgets}
        for judge in JUDGES:
            found = [[scores(half, order[:k], judge) for order in of_setting] for k in budgets]
            about[judge] = {
                metric: [round(float(np.mean([s[metric] for s in of])), 3) for of in found]
                for metric in METRICS
            }
        yield about


def large(data_dir: Path) -> dict[str, Callable[[int], Half | None]]:
    """Return what draws a split of the sets with thousands of rows, by name."""
    load = cache(partial(capped, data_dir=data_dir))

    def draw(name: str, number: int) -> Half:
        split = halve(load(name), number)
        test = split.test
        return Half(split.pool.x, split.pool.y, test.x[:N_TEST], test.y[:N_TEST])

    return {name: partial(draw, name) for name in LARGE}


def run(sources: Any, each: Callable[..., Any], names: list[str], n_splits: int, out: Path) -> None:
    """Add the records that are not there yet, of whole splits."""
    done = {(record.get("data"), record.get("split")) for record in read(out)}
    for name in names:
        for number in range(FIRST_SPLIT, FIRST_SPLIT + n_splits):
            if (name, number) in done:
                continue
            half = sources[name](number)
            if half is None:
                print(name, "is left out")
                break
            with quiet():
                records = [*measure(name, half, number, each)]
            for record in records:
                append(out, record)
        print(name, round(time.process_time()), flush=True)


def small(data_dir: Path) -> dict[str, Callable[[int], Half | None]]:
    """Return what draws a split of the sets of small pools, by name."""

    def draw(source: Callable[[int], Half | None], number: int) -> Half | None:
        half = source(number)
        return None if half is None else cut(half)

    return {name: partial(draw, source) for name, source in tables(data_dir).items()}


def gains(records: list[Record], setting: str, to: str, judge: str, metric: str) -> dict[str, np.ndarray]:
    """Return for each data set the points of a setting over another on each split, means over budgets."""
    of = {
        (r["data"], r["split"], r["setting"]): np.mean(r[judge][metric])
        for r in records
        if "data" in r and r["setting"] in (setting, to)
    }
    pairs: dict[str, list[float]] = {}
    for (data, split, own), value in of.items():
        if own == setting and (data, split, to) in of:
            pairs.setdefault(data, []).append(float(value - of[data, split, to]))
    return {data: np.array(values) for data, values in sorted(pairs.items())}


def mean_and_error(values: Any) -> tuple[float, float]:
    """Return the mean and its standard error."""
    values = np.asarray(values)
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


def compared(records: list[Record], setting: str, to: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return m and e of each judge and metric: over data sets, of means over splits."""
    return {
        (judge, metric): mean_and_error(
            [of.mean() for of in gains(records, setting, to, judge, metric).values()]
        )
        for judge in JUDGES
        for metric in METRICS
    }


def passes(found: dict[tuple[str, str], tuple[float, float]], margin: float = MARGIN) -> bool:
    """Return whether a candidate passes the rule.

    Examples
    --------
    >>> level = {(judge, metric): (0.0, 0.1) for judge in JUDGES for metric in METRICS}
    >>> passes(level), passes(level | {("svm", "accuracy"): (0.0, 0.2)})
    (True, False)
    """
    mean, error = found["svm", "accuracy"]
    return mean - 2 * error >= margin and all(m + 2 * e >= 0 for m, e in found.values())


def cpu_seconds(function: Callable[[], Any]) -> float:
    """Return the CPU seconds that a function takes the second time."""
    function()
    start = time.process_time()
    function()
    return round(time.process_time() - start, 3)


def costs(out: Path) -> None:
    """Add CPU seconds of whole fits and of the picks."""
    for n, d in COSTS:
        x, key = mixture(n, d, 10), jax.random.key(0)
        for name in map(title, (BEFORE, *SHORTER)):
            took = cpu_seconds(partial(picked, key, x, config_of(name), n // 10))
            append(out, {"kind": "cost", "n": n, "features": d, "setting": name, "cpu_s": took})


def batch_costs(out: Path) -> None:
    """Add CPU seconds of a step of stage 1 on all rows and in parts, by the compiled chunk of a fit."""
    for n, d in LARGE_COSTS:
        x = mixture(n, d, 10)
        for rows in BATCHES:
            took = cpu_seconds(partial(chunk, x, DualConfig(batch_rows=rows))) / CHUNK
            record = {"kind": "batches", "n": n, "features": d, "rows": rows, "cpu_s": round(took, 5)}
            append(out, record | {"load": round(os.getloadavg()[0], 1)})


def chunk(x: np.ndarray, config: DualConfig) -> None:
    """Run a chunk of steps of stage 1."""
    settings, sizes = config.of_programs(), config.sizes(len(x))
    state, rows = init(jax.random.key(0), x, settings), on_devices(x, None, sizes.n_tiles)
    jax.block_until_ready(advance(state, np.inf, CHUNK, rows, settings, "pretrain", None, sizes))


def losses(found: dict[tuple[str, str], tuple[float, float]]) -> list[str]:
    """Return m and e as cells of a table."""
    return [f"{mean:+.2f} ± {error:.2f}" for mean, error in found.values()]


def table(records: list[Record]) -> str:
    """Return what each setting costs, gains over random and over that before, and whether it passes."""
    rows = []
    for name in (title(BEFORE), *map(title, SHORTER), "medoids"):
        cpu = [f"{r['cpu_s']:.2f}" for r in records if r.get("kind") == "cost" and r["setting"] == name]
        over = compared(records, name, "random")["svm", "accuracy"][0]
        line = [name, ", ".join(cpu), f"{over:+.2f}"]
        if name == title(BEFORE):
            rows.append([*line, *[""] * (1 + len(HEAD))])
            continue
        found = compared(records, name, title(BEFORE))
        verdict = "control" if name == "medoids" else "passes" if passes(found) else "fails"
        rows.append([*line, *losses(found), verdict])
    return markdown(("steps of stages 1 and 3", "CPU seconds", "over random", *HEAD, "rule"), rows)


def by_kind(records: list[Record]) -> str:
    """Return points of accuracy by the SVM and kind of data: medoids over random, others over medoids."""
    rows = []
    for kind, of in KINDS.items():
        own = [r for r in records if r.get("data") in of]
        n_sets = len({r["data"] for r in own})
        if n_sets < 2:
            continue
        line = [kind, str(n_sets)]
        for name in ("medoids", *map(title, (BEFORE, *SHORTER))):
            mean, error = compared(own, name, "random" if name == "medoids" else "medoids")["svm", "accuracy"]
            line.append(f"{mean:+.2f} ± {error:.2f}")
        rows.append(line)
    head = ("kind", "sets", "medoids over random", *(f"{title(s)} over medoids" for s in (BEFORE, *SHORTER)))
    return markdown(head, rows)


def batch_table(records: list[Record]) -> str:
    """Return what a step of stage 1 costs on all rows and in parts."""
    of = {(r["n"], r["features"], r["rows"]): r for r in records if r.get("kind") == "batches"}
    rows = []
    for n, d in LARGE_COSTS:
        whole, parts = (of[n, d, size]["cpu_s"] for size in BATCHES)
        rows.append(
            (f"{n:,} x {d}", f"{1e3 * whole:.1f} ms", f"{1e3 * parts:.1f} ms", f"{whole / parts:.1f}")
        )
    return markdown(("pool", "all rows", f"parts of {BATCHES[1]:,}", "ratio"), rows)


def batch_losses(records: list[Record]) -> str:
    """Return points with stage 1 in parts over those with all rows, with the error over splits."""
    whole, parts = (f"batches of {size}" for size in BATCHES)
    rows = []
    for name in LARGE:
        own = [r for r in records if r.get("data") == name]
        found = {
            (judge, metric): mean_and_error(gains(own, parts, whole, judge, metric)[name])
            for judge, metric in (itertools.product(JUDGES, METRICS) if own else ())
        }
        if found:
            rows.append((f"{name}, {len({r['split'] for r in own})} splits", *losses(found)))
    return markdown(("parts over all rows", *HEAD), rows)


def of_records(table: Callable[[list[Record]], str]) -> str:
    """Return a table of the records that are kept."""
    return table(read(Path(__file__).parent / "results" / "default.jsonl.gz"))


TABLES = {
    name: partial(of_records, make)
    for name, make in (
        ("default", table),
        ("default_kinds", by_kind),
        ("batches", batch_table),
        ("batch_losses", batch_losses),
    )
}


def main(argv: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the records, .jsonl; added to")
    parser.add_argument("--data-dir", type=Path, help="the folder of the data sets, with tables/")
    parser.add_argument("--data", default="", help="names, comma-separated; default: all")
    parser.add_argument("--splits", type=int, help="how many; default: as in the rule")
    parser.add_argument("--batches", metavar="N+0", help="stage 1 in parts, on large pools, with N steps")
    parser.add_argument("--cost", action="store_true", help="measure CPU seconds of fits")
    parser.add_argument("--batch-cost", action="store_true", help="measure CPU seconds of a step of stage 1")
    args = parser.parse_args(argv)
    names = [name for name in args.data.split(",") if name]
    if args.cost:
        costs(args.out)
    if args.batch_cost:
        batch_costs(args.out)
    if args.data_dir and args.batches:
        each = partial(batch_orders, name=args.batches)
        run(large(args.data_dir), each, names or [*LARGE], args.splits or N_SPLITS_LARGE, args.out)
    elif args.data_dir:
        run(small(args.data_dir), orders, names or [*SETS], args.splits or N_SPLITS, args.out)
    records = read(args.out)
    if any(r.get("setting") == title(BEFORE) for r in records):
        print(table(records), by_kind(records), sep="\n\n")
    if any(r.get("data") in LARGE for r in records):
        print(batch_losses(records))
    if any(r.get("kind") == "batches" for r in records):
        print(batch_table(records))


if __name__ == "__main__":
    main()
