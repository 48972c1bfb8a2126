"""What an embedding beside the inputs gives: ``python -m bench.embedding --out embedding.jsonl``.

Methods pick from a pool of images or series in three spaces: the inputs, their embedding, and both side by
side (`dual_jax.beside`). Classifiers that learn from the picks judge them in two: the inputs and the
embedding. It is learnt by `dual_jax.views.encoder` from all samples outside the test set. What is in the
records is not done again; the table at the end is over all of them.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dual_jax.data import datasets
from dual_jax.evaluation import experiment
from dual_jax.evaluation.experiment import Entry, View
from dual_jax.evaluation.judges import Split, Table, budgets
from dual_jax.evaluation.records import Record, read
from dual_jax.evaluation.standings import name_of
from dual_jax.numerics.scaling import apply, beside, fit_scaler
from dual_jax.plots.page import markdown
from dual_jax.views import encoder

N_POOL, N_TEST, N_BUDGETS = 500, 1000, 5
MAX_SHIFT = 6  # pixels, planted
JUDGES = ("svm", "nearest")
METHODS = {
    "facility": Entry("facility"),
    "medoids": Entry("medoids"),
    "dual": Entry("dual"),
    "dual_apart": Entry("dual", {"steps": 0}),  # without the joint stage
    "random": Entry("random", n_orders=5),
}


class Source(NamedTuple):
    """A data set as it is used: its rows and classes, and how it is scaled and embedded."""

    data: Callable[[str | None], datasets.Dataset]
    scale: str
    embed: Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows, those to learn from -> codes


class Spaces(NamedTuple):
    """A split whose rows are seen as inputs, as their embedding, and as both."""

    split: Split
    pools: dict[str, np.ndarray]
    views: dict[str, Callable[[], View]]


def shifted(data_dir: str | None) -> datasets.Dataset:
    """Return MNIST's test images, each moved by up to 6 pixels either way over a black ground."""
    data = datasets.load("mnist_test", data_dir)
    by = np.random.default_rng(0).integers(0, 2 * MAX_SHIFT + 1, (len(data.x), 2))
    padded = np.pad(data.x.reshape(-1, 28, 28), ((0, 0), (MAX_SHIFT,) * 2, (MAX_SHIFT,) * 2))
    moved = [image[i : i + 28, j : j + 28].ravel() for image, (i, j) in zip(padded, by, strict=True)]
    return data._replace(name="mnist_shifted", x=np.stack(moved))


def by_views(
    x: np.ndarray, unlabelled: np.ndarray, *, kind: str = "images", centre: bool = False
) -> np.ndarray:
    """Return codes of square images of one colour or of series, learnt from some of them."""
    side = round(x.shape[1] ** 0.5)
    samples = x.reshape(-1, side, side) if kind == "images" else x
    learnt = encoder.learn(jax.random.key(1), samples[unlabelled], kind=kind, centre=centre)
    return np.asarray(encoder.encode(learnt, samples))


SOURCES = {
    "mnist_test": Source(partial(datasets.load, "mnist_test"), "global", by_views),
    "mnist_shifted": Source(shifted, "global", partial(by_views, centre=True)),
    "digits": Source(partial(datasets.load, "digits"), "global", by_views),
    "semg": Source(partial(datasets.load, "semg"), "standard", partial(by_views, kind="series")),
}


def spaces(source: Source, data: datasets.Dataset, number: int) -> Spaces:
    """Return the split of that number; the embedding learns from all rows but those of the test set."""
    order = np.random.default_rng([0, number]).permutation(len(data.x))
    n_test = min(N_TEST, len(order) // 2)
    test, rest = order[:n_test], order[n_test:]
    pool = rest[:N_POOL]
    codes = source.embed(data.x, rest)

    def view(x: np.ndarray, scale: str) -> View:
        scaler = fit_scaler(x[pool], scale)
        seen = [Table(np.asarray(apply(scaler, x[rows])), data.y[rows]) for rows in (pool, test)]
        return seen[0], seen[1]

    inputs, code = view(data.x, source.scale), view(codes, "standard")
    in_code = np.asarray(apply(fit_scaler(codes[pool], "global"), codes[pool]))
    pools = {"inputs": inputs[0].x, "code": in_code, "both": np.asarray(beside(inputs[0].x, codes[pool]))}
    split = Split(data.name, number, *inputs, len(data.class_names))
    return Spaces(split, pools, {"raw": lambda: inputs, "code": lambda: code})


def measure(name: str, number: int, args: argparse.Namespace) -> None:
    """Add the records of one split of a data set that are not there yet."""
    done = experiment.finished(read(args.out))
    source = SOURCES[name]
    data = source.data(args.data_dir)
    made = cache(partial(spaces, source, data, number))
    n_pool = min(N_POOL, len(data.x) - min(N_TEST, len(data.x) // 2))
    numbers = budgets(len(data.class_names), n_pool // 2, N_BUDGETS)
    shape = Split(data.name, number, Table(data.x, data.y), Table(data.x, data.y), len(data.class_names))
    for method in args.methods.split(","):
        for space in ("inputs",) if method == "random" else ("inputs", "code", "both"):
            entry = METHODS[method]._replace(views=("raw", "code"))
            protocol = f"embedding:{space}"
            cells = experiment.cells(protocol, shape, entry, numbers, JUDGES)
            wanted = [cell for cell in cells if cell not in done]
            if wanted:
                split, pools, views = made()
                split = split._replace(pool=split.pool._replace(x=pools[space]))
                experiment.run(entry, wanted, split, views, jax.random.key(0), args.out)


def table(records: list[Record]) -> str:
    """Return accuracy over splits and budgets in per cent, a line a method and space, a column a judge.

    Behind it, for what is not picked in the inputs, the difference to that and its standard error.
    """
    cells: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        row = record["data"], name_of(record), record["protocol"].removeprefix("embedding:")
        judge = f"{record['judge']} in {'inputs' if record['view'] == 'raw' else 'code'}"
        cells[(*row, judge)][record["split"]].append(100 * record["accuracy"])
    judges = sorted({key[-1] for key in cells}, reverse=True)
    rows = []
    for data, method, space in dict.fromkeys(key[:-1] for key in cells):
        shown = [
            _beside(cells[data, method, space, judge], cells.get((data, method, "inputs", judge), {}), space)
            for judge in judges
        ]
        rows.append((f"{data}, {method}", space, *shown))
    return markdown(("data, method", "picked in", *judges), rows)


def _beside(own: dict[int, list[float]], inputs: dict[int, list[float]], space: str) -> str:
    means = {split: np.mean(values) for split, values in own.items()}
    text = f"{np.mean(list(means.values())):.1f}"
    gaps = [means[split] - np.mean(inputs[split]) for split in means if split in inputs]
    if space == "inputs" or len(gaps) < 2:
        return text
    return f"{text} ({np.mean(gaps):+.1f} ± {np.std(gaps, ddof=1) / len(gaps) ** 0.5:.1f})"


def main(argv: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the records, .jsonl; added to")
    parser.add_argument("--data", default=",".join(SOURCES), help="default: %(default)s")
    parser.add_argument("--data-dir", help="files of built-in sets; default: $DUAL_JAX_DATA")
    parser.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    parser.add_argument(
        "--splits", type=int, nargs="+", default=range(10), help="their numbers; default: 0 to 9"
    )
    args = parser.parse_args(argv)
    for name in args.data.split(","):
        for number in args.splits:
            measure(name, number, args)
    print(table(read(args.out)))


if __name__ == "__main__":
    main()
