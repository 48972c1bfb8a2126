"""The tournament: which methods pick best, on real and generated data, by three classifiers.

    python -m bench.quality --out bench/results/quality                 # run what is missing, then draw
    python -m bench.quality --out bench/results/quality --data iris     # in pieces
    python -m bench.quality --out bench/results/quality --draw-only
    python -m bench.quality --out bench/results/quality/ladder --ladder    # what choices were made among

Every method has one setting for all data. A data set is half pool and half test set, drawn again for each
split. Pools hold at most 1,000 rows, except those named ``*_full``. These are reported apart and, to save
time, without the released recipe (`dual_jax.evaluation.paper` has it there), linear TED, DUAL's swaps and the
small network. Budgets run from the number of classes to half of the pool. The expected time comes first, and
what has a record is not run again.

The ladder has the settings of DUAL and of its read-out that a choice was made among, on other splits
(`DEV_SEED`) of `LADDER_SETS`. As splits of a data set share rows, the tournament is reported apart for data
sets that neither the ladder nor the study before it (`STUDIED`) has looked at.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.datasets import make_blobs, make_classification, make_moons

from dual_jax.cli.options import do_jobs
from dual_jax.data.checks import check_pool
from dual_jax.data.datasets import Dataset, load
from dual_jax.data.storage import write_atomically
from dual_jax.evaluation.experiment import PERCEPTRON, Entry, finished
from dual_jax.evaluation.figures import gain_map, learning_curves, rank_diagram, shown
from dual_jax.evaluation.paper.jobs import jobs
from dual_jax.evaluation.paper.protocols import Protocol
from dual_jax.evaluation.paper.study import open_study
from dual_jax.evaluation.records import Record, read_folder
from dual_jax.evaluation.standings import (
    RANDOM,
    Standings,
    by_data,
    complete,
    critical_difference,
    friedman,
    gains,
    mean_ranks,
    standings,
)
from dual_jax.plots.maps import write
from dual_jax.plots.page import markdown

MOST_ROWS = 2_000  # of which half are the pool
STRIDE = 6  # every sixth sample of sEMG, 500 for each of 1,800 rows, as in the study before this
METHODS = (
    *("random", "kmeans", "kcenter", "facility", "typiclust", "probcover", "ted"),
    *("medoids", "dual", "dual_paper"),
)
VARIANTS = (
    Entry("ted", {"kernel": "rbf"}),
    Entry("medoids", {"readout": "refine"}),
    Entry("dual", {"readout": "refine"}),
)
N_RANDOM_IN_FULL = 5  # orders a split, for time
DEV_SEED = 1
LADDER = (
    *(Entry("dual", {"power": power}) for power in (1.0, 2.0)),
    Entry("medoids", {"pair_first": False}),
    Entry("medoids", {"readout": "refine"}),
    Entry("dual", {"steps": 0}),  # the network alone: no joint stage
    Entry("dual", {"steps": 1000}),
    Entry("dual", {"alpha": 10.0, "beta": 10.0}),
    Entry("dual", {"temperature": 2.0}),
    Entry("dual", {"beta": 0.0}),
    Entry("dual", {"readout": "norms"}),
)
LADDER_SETS = ("wine", "urban", "breast_cancer", "mammographic")
STUDIED = {  # the ten of the study that the default is from
    *LADDER_SETS,
    *("digits", "gesture", "plant_margin", "plant_shape", "semg", "waveform"),
}
ALL_METHODS_ON = ("iris", "wine", "urban")
OTHERS = (
    *("activeft", "alfs", "alnr", "alsr", "arss", "cted", "dcs", "dcted", "dpp", "dual_wo", "herding"),
    *("llr", "maed", "rrqr", "rrss", "smrs", "usl"),
)
JUDGES = {"svm": "linear SVM", "nearest": "nearest neighbour", PERCEPTRON: "small network"}


class Tournament(Protocol):
    """The budgets of the study that this continues: classes, twice and four times that, 1/8, 1/4, 1/2."""

    def budgets(self, n_classes: int, n_pool: int) -> tuple[int, ...]:
        """Return the numbers of picks on a data set."""
        of_pool, of_classes = (
            (n_pool // 8, n_pool // 4, n_pool // 2),
            (n_classes, 2 * n_classes, 4 * n_classes),
        )
        return tuple(sorted({budget for budget in (*of_classes, *of_pool) if 2 <= budget <= n_pool // 2}))


def generated(name: str, x: np.ndarray, y: np.ndarray, note: str) -> Dataset:
    classes = tuple(map(str, np.unique(y)))
    return Dataset(name, np.asarray(x, np.float32), np.asarray(y, np.int32), classes, None, note)


def shapes() -> Dataset:
    x, y = make_moons(1_000, noise=0.15, random_state=0)
    ring, of_ring = make_moons(500, noise=0.15, random_state=1)
    x = np.concatenate([x, ring + np.array([4.0, 0.0])])
    return generated("shapes", x, np.concatenate([y, of_ring + 2]), "two pairs of half-moons, noise 0.15")


def anisotropic() -> Dataset:
    x, y = make_blobs(1_500, 10, centers=6, cluster_std=2.0, random_state=0)
    stretch = np.random.default_rng(0).normal(size=(10, 10))
    return generated("anisotropic", x @ stretch, y, "six blobs in ten features, sheared")


def imbalanced() -> Dataset:
    shares = [0.6, 0.25, 0.1, 0.04, 0.01]
    x, y = make_classification(
        2_000, 12, n_informative=8, n_classes=5, n_clusters_per_class=1, weights=shares, random_state=0
    )
    return generated("imbalanced", x, y, "five classes with shares .60 .25 .10 .04 .01")


def irrelevant() -> Dataset:
    x, y = make_classification(
        1_500, 60, n_informative=6, n_redundant=4, n_classes=4, n_clusters_per_class=1, random_state=0
    )
    return generated("irrelevant", x, y, "four classes in ten features, beside fifty of noise")


def rare() -> Dataset:
    """Return the paper's own example: 99 rows of a kind to one of the other."""
    draw = np.random.default_rng(0)
    common, few = draw.normal(size=(1_980, 8)), draw.normal(3.0, 0.5, size=(20, 8))
    return generated("rare", np.concatenate([common, few]), np.repeat([0, 1], [1_980, 20]), "99 to 1")


GENERATED: dict[str, Callable[[], Dataset]] = {
    "shapes": shapes,
    "anisotropic": anisotropic,
    "imbalanced": imbalanced,
    "irrelevant": irrelevant,
    "rare": rare,
}
REAL = (
    *("iris", "wine", "urban", "breast_cancer", "mammographic", "digits", "plant_margin", "plant_shape"),
    *("plant_texture", "waveform", "gesture", "mnist", "semg", "waveform_full", "gesture_full"),
)
IN_SCIKIT_LEARN = ("iris", "wine", "breast_cancer", "digits")
SETS = (*REAL[:8], *GENERATED, *REAL[8:])


def is_full(name: str) -> bool:
    """Whether a data set is one at full size, which shares rows with the capped one."""
    return name.endswith("_full")


def capped(name: str, data_dir: Path | None) -> Dataset:
    """Return a data set of at most `MOST_ROWS` rows, drawn once for all splits."""
    if name in GENERATED:
        return GENERATED[name]()
    base = name.removesuffix("_full")
    data = load("mnist_test" if base == "mnist" else base, data_dir)
    if name == "semg":
        data = data._replace(x=data.x[:, ::STRIDE], note=f"every {STRIDE}th sample")
    if name == base and len(data.x) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(data.x), MOST_ROWS, replace=False))
        data = data._replace(x=data.x[rows], y=data.y[rows])
    return data._replace(name=name, x=np.asarray(check_pool(data.x)))


def ladder(name: str, splits: int) -> Tournament:
    """Return how the settings that a choice was made among are compared on a data set."""
    return tournament(name, splits)._replace(
        name="ladder", methods=("random", "medoids", "dual"), variants=LADDER
    )


def tournament(name: str, splits: int) -> Tournament:
    """Return how a data set is played: all methods on a few sets, the dozen of the study on the others."""
    others = OTHERS if name in ALL_METHODS_ON else ()
    whole = Tournament(
        "quality",
        SETS,
        (*METHODS, *others),
        variants=VARIANTS,
        judges=tuple(JUDGES),
        n_splits=splits,
        in_both_views=(),
        scale="global" if name == "mnist" else "standard",
    )
    if not is_full(name):
        return whole
    quick = tuple(method for method in METHODS if method not in ("ted", "dual_paper"))
    return whole._replace(
        methods=quick, variants=VARIANTS[:-1], judges=("svm", "nearest"), n_random=N_RANDOM_IN_FULL
    )


def _table(table: Standings) -> str:
    """Return a table of methods: gain, rank, wins and losses, cells below random, worst cell, by data set."""
    above = 100.0 * gains(table)
    ranks, of_data = mean_ranks(by_data(table, table.values)), by_data(table, above)
    head = ("method", "gain", "mean rank", "wins-losses", "below random", "worst", *table.data)
    rows = []
    for i in np.argsort(-of_data.mean(axis=1)):
        below = (above[i] < 0).mean()
        counts = f"{(above[i] > 0).sum()}-{(above[i] < 0).sum()}"
        shown = (
            f"{of_data[i].mean():+.2f}",
            f"{ranks[i]:.2f}",
            counts,
            f"{below:.0%}",
            f"{above[i].min():+.1f}",
        )
        rows.append((table.methods[i], *shown, *(f"{gain:+.1f}" for gain in of_data[i])))
    return markdown(head, rows)


SHOWN = (("svm", "accuracy"), ("svm", "recall"), ("nearest", "accuracy"), (PERCEPTRON, "accuracy"))


def overview(records: list[Record]) -> str:
    """Return the short table: points over random by every judge, then rank and safety by the linear SVM.

    Methods that lack a block for the linear SVM are left out.
    """
    tables = {
        f"{JUDGES[judge]}, {metric}": whole
        for judge, metric in SHOWN
        if RANDOM in (whole := complete(standings(records, metric, judge=judge))).methods
    }
    if not tables:
        return "Random has not been through all of it yet."
    first = next(iter(tables.values()))
    above, of_data = 100.0 * gains(first), by_data(first, first.values)
    ranks = dict(zip(first.methods, mean_ranks(of_data), strict=True))
    means = {
        title: dict(zip(table.methods, 100.0 * by_data(table, gains(table)).mean(axis=1), strict=True))
        for title, table in tables.items()
    }
    rows = []
    for i in np.argsort([-means[next(iter(means))][method] for method in first.methods]):
        method = first.methods[i]
        points = (f"{of[method]:+.2f}" if method in of else "-" for of in means.values())
        below, worst = f"{(above[i] < 0).mean():.0%}", f"{above[i].min():+.1f}"
        rows.append((shown(method), *points, f"{ranks[method]:.2f}", below, worst))
    return markdown(("method", *means, "mean rank", "cells below random", "worst cell"), rows)


def differences(records: list[Record], to: str = "dual") -> str:
    """Return points over random, and those over one method with their standard error over data sets."""
    tables = {
        JUDGES[judge]: complete(standings(records, "accuracy", judge=judge)) for judge in ("svm", "nearest")
    }
    head, rows = ["setting"], {}
    for title, table in tables.items():
        head += [f"{title}, over random", f"over {shown(to)}"]
        over = {name: 100.0 * by_data(table, gains(table, name)) for name in (RANDOM, to)}
        for i, method in enumerate(table.methods):
            apart = over[to][i]
            error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else np.nan
            beside = "" if method == to else f"{apart.mean():+.2f} ± {error:.2f}"
            rows.setdefault(method, []).extend([f"{over[RANDOM][i].mean():+.2f}", beside])
    whole = {method: row for method, row in rows.items() if len(row) == 2 * len(tables)}
    ranked = sorted(whole, key=lambda method: -float(whole[method][0]))
    return markdown(head, [(shown(method), *whole[method]) for method in ranked])


def _section(records: list[Record], metric: str, judge: str, where: str = "") -> list[str]:
    table = complete(standings(records, metric, judge=judge))
    if RANDOM not in table.methods or len(table.methods) < 3:
        return []
    of_data = by_data(table, table.values)
    counted = (
        f"Mean ranks are over data sets ({len(table.data)}), the other counts over {len(table.blocks)} cells."
    )
    if len(table.data) > 1:
        counted += (
            f" Friedman p = {friedman(of_data):.1g}; mean ranks differ beyond chance (Nemenyi, 5 %) from "
            f"{critical_difference(*of_data.shape):.1f} on."
        )
    return [f"## {JUDGES[judge]}, {metric}: points over random{where}", "", _table(table), "", counted, ""]


def of_capped(records: list[Record]) -> list[Record]:
    """Return the records of the pools that share no row with another's."""
    return [record for record in records if not is_full(record["data"])]


PARTS: dict[str, Callable[[Record], bool]] = {
    "In short": lambda r: not is_full(r["data"]),
    "On data sets that no choice has looked at": lambda r: (
        r["data"] not in STUDIED and not is_full(r["data"])
    ),
    "On data sets that scikit-learn holds or draws": lambda r: r["data"] in (*GENERATED, *IN_SCIKIT_LEARN),
    "With two to eight picks": lambda r: r["budget"] <= 8 and not is_full(r["data"]),
    "Pools at full size": lambda r: is_full(r["data"]),
}


def in_order(out: Path) -> list[Record]:
    """Return the records of the cells, each once, data sets in the order of `SETS`."""
    records = list(finished(read_folder(out / "records")).values())
    order = {name: place for place, name in enumerate(SETS)}
    return sorted(records, key=lambda record: order[record["data"]])


def draw(out: Path) -> None:
    """Write the tables and the pictures from the records alone."""
    records = in_order(out)
    capped_alone = of_capped(records)
    sections = [
        _section(capped_alone, metric, judge) for judge in JUDGES for metric in ("accuracy", "recall")
    ]
    if any(record["method"] in OTHERS for record in records):
        few = [record for record in records if record["data"] in ALL_METHODS_ON]
        sections.append(_section(few, "accuracy", "svm", f", all methods on {', '.join(ALL_METHODS_ON)}"))
    short = []
    for title, is_shown in PARTS.items():
        if part := [record for record in records if is_shown(record)]:
            names = ", ".join(dict.fromkeys(record["data"] for record in part))
            short += [f"## {title}", "", names, "", overview(part), ""]
    text = ["# Who picks best", "", *short, *(line for section in sections for line in section)]
    write_atomically(out / "summary.md", "\n".join(text))
    for judge in JUDGES:
        table = complete(standings(capped_alone, "accuracy", judge=judge))
        if RANDOM in table.methods and len(table.methods) > 2:
            write(rank_diagram(table, "accuracy"), out / f"ranks-{judge}.png")
            write(gain_map(table, "accuracy"), out / f"gains-{judge}.png")
    table = complete(standings(capped_alone, "accuracy"))
    if RANDOM in table.methods:
        write(learning_curves(table, "accuracy"), out / "curves-svm.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of records, tables and pictures")
    parser.add_argument("--ladder", action="store_true", help="what choices were made among")
    parser.add_argument("--data", help="names with commas; all by default")
    parser.add_argument("--methods", help="only these")
    parser.add_argument("--splits", type=int, default=5, help="each draws other halves")
    parser.add_argument("--seed", type=int, help=f"other splits; default: 0, {DEV_SEED} for the ladder")
    parser.add_argument("--data-dir", type=Path, help="the folder that holds the files")
    parser.add_argument("--draw-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    if args.draw_only:
        draw(args.out)
        return 0
    (args.out / "records").mkdir(parents=True, exist_ok=True)
    is_asked = partial(_is_among, args.methods.split(",")) if args.methods else _is_any
    play, names, seed = (ladder, LADDER_SETS, DEV_SEED) if args.ladder else (tournament, SETS, 0)
    work = []
    for name in args.data.split(",") if args.data else names:
        data, chosen = capped(name, args.data_dir), seed if args.seed is None else args.seed
        study = open_study(play(name, args.splits), data, args.out / "records", chosen)
        work += jobs(study, {"2"}, is_asked, limit=float("inf"))
    total = sum(job.seconds for job in work)
    print(f"{len(work)} pieces, about {total / 60:.0f} minutes on two cores", flush=True)
    do_jobs(work)
    draw(args.out)
    return 0


def _is_among(names: list[str], method: str) -> bool:
    return method in names


def _is_any(method: str) -> bool:
    return True


if __name__ == "__main__":
    sys.exit(main())
