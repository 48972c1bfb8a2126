"""``dual-jax compare``: learning curves of methods on a table that has labels."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.cli import embeddings, outputs, pools
from dual_jax.cli.options import (
    AUTO,
    NO_CACHE,
    SCALE,
    SCALINGS,
    add_common,
    check_results,
    do_jobs,
    keep_compiled_programs,
    listed,
    seed_number,
)
from dual_jax.data.errors import InputError
from dual_jax.data.storage import write_atomically
from dual_jax.methods.facts import FACTS

if TYPE_CHECKING:
    from dual_jax.data.datasets import Dataset
    from dual_jax.data.tables import Pool
    from dual_jax.evaluation.paper.study import Study

DEFAULT = "dual,medoids,facility,kmeans,ted,random"
METRICS = ("accuracy", "recall", "auc")
JUDGES = ("svm", "nearest", "perceptron")

_COMPARE = (
    "Let methods pick from random halves of a labelled table, train a classifier on the picks, and judge it "
    "on the other half. Labels are seen only there. Results are kept in OUT, so a stopped run goes on."
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("compare", help="compare methods on a labelled table", description=_COMPARE)
    add = parser.add_argument
    text = "a table, an array, a folder of pictures or .wav files, or the name of a built-in data set"
    add("pool", metavar="POOL", help=text)
    add("--label-column", metavar="NAME", help="the column that holds the classes")
    add("--labels", type=Path, metavar="FILE", help="the classes, one per sample (.npy)")
    add("--methods", default=DEFAULT, metavar="NAME,...", help="default: %(default)s; random always runs too")
    add("--budgets", metavar="N,...", help="numbers of picks; by default 8 up to half of a pool")
    add("--repeats", type=int, default=5, help="random halves; default: %(default)s")
    add("--judge", choices=JUDGES, default="svm", help="the classifier; default: %(default)s")
    add("--metric", choices=METRICS, default="accuracy", help="default: %(default)s")
    add("--scale", choices=SCALINGS, default=AUTO, help=SCALE)
    pools.add(parser)
    embeddings.add(parser)
    add("--out", type=Path, required=True, metavar="DIR", help="the folder of results")
    add("--seed", type=seed_number, default=0, help="default: %(default)s")
    add_common(parser)
    parser.set_defaults(run=_run, labeled=[], stream=False, features=None, quiet=True)


def _run(args: argparse.Namespace, command: str) -> None:
    """Check the whole request, then run the comparison."""
    check_results(args.out, ("summary.md", "curves.*"))
    methods = listed("--methods", args.methods, [*FACTS])
    picks = _budgets(args.budgets)
    if args.repeats < 2:
        raise InputError(f"--repeats {args.repeats}: one half cannot tell what is chance; give 2 or more")
    from dual_jax.plots.maps import check_suffix

    check_suffix("curves.png")
    if not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    from dual_jax.evaluation.paper.protocols import Protocol
    from dual_jax.evaluation.paper.study import open_study

    data, x_sha256 = _labelled(args)
    n_pool = len(data.x) // 2
    if picks and picks[-1] > n_pool:
        raise InputError(f"--budgets asks for {picks[-1]} picks, and a pool, half of the table, has {n_pool}")
    protocol = Protocol(
        "compare",
        (data.name,),
        tuple(methods),
        judges=(args.judge,),
        picks=picks,
        n_splits=args.repeats,
        scale=args.scale,
        in_both_views=(),
    )
    study = open_study(protocol, data._replace(note=x_sha256), args.out / "records", args.seed)
    _check_records(study, args.out)
    _compare(args, study)


def _budgets(text: str | None) -> tuple[int, ...]:
    """Return the numbers in a list with commas, ascending; none without a list."""
    if text is None:
        return ()
    try:
        numbers = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise InputError(f"--budgets {text!r} is no list of numbers: write 10,20,50") from None
    if numbers[0] < 1:
        raise InputError(f"--budgets {numbers[0]}: a budget is at least 1")
    return numbers


def _labelled(args: argparse.Namespace) -> tuple["Dataset", str]:
    """Return the pool with its classes and its embedding, if any, and the sum of both.

    Rows whose file cannot be read are left out. ``args.scale`` becomes what is still to be done.
    """
    import hashlib

    from dual_jax.data import datasets
    from dual_jax.data.checks import check_pool

    if args.label_column is not None and args.labels is not None:
        raise InputError("give --label-column or --labels, not both")
    rows = pools.read(args)
    pool = rows.pool
    y, class_names = _classes(_labels(args, pool), len(pool.x))
    x, args.scale, embedding = pools.in_one_table(args, rows)
    if pool.unread is not None:
        x, y = x[~pool.unread], y[~pool.unread]
    x = np.asarray(check_pool(x, impute=args.impute, dtype=np.float64))
    for line in (*outputs.taken(pool, rows.taken), *embeddings.summary(embedding)):
        print(line)
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    name = Path(args.pool).stem
    return datasets.Dataset(name, x, y, class_names, pool.feature_names, ""), f"sha256 {digest}"


def _labels(args: argparse.Namespace, pool: "Pool") -> np.ndarray:
    """Return the class of each row: of a column, a file, a built-in set, or the folders of files."""
    from dual_jax.data import datasets
    from dual_jax.data.tables import read_column

    if args.label_column is not None:
        return read_column(args.pool, args.label_column)
    if args.labels is not None:
        return _from_npy(args.labels)
    if not os.path.exists(args.pool):
        own = datasets.load(args.pool, args.data_dir)
        return np.array(own.class_names)[own.y]
    if (
        (pool.media or os.path.isdir(args.pool))
        and pool.ids is not None
        and all("/" in str(name) for name in pool.ids)
    ):
        print("classes: the folders of the files")
        return np.array([name.rpartition("/")[0] for name in pool.ids])
    raise InputError(
        f"{args.pool} needs labels to compare by: name their --label-column or give --labels FILE"
    )


def _from_npy(path: Path) -> np.ndarray:
    from dual_jax.data.arrays import parse_npy
    from dual_jax.data.files import read_contents

    where, suffix, data = read_contents(path)
    if suffix != ".npy":
        raise InputError(f"--labels {where} must be a .npy file; of a table name the --label-column")
    return np.asarray(parse_npy(where, data))


def _classes(labels: np.ndarray, n_rows: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the classes as numbers from 0, and their names."""
    from dual_jax.data.cells import is_missing

    if labels.shape != (n_rows,):
        raise InputError(
            f"the labels have shape {labels.shape}, wanted ({n_rows},): one for each row of the pool"
        )
    texts = labels.astype(str)
    if missing := [row for row, text in enumerate(texts) if is_missing(text)]:
        cell = str(texts[missing[0]])
        seen = f" ({cell!r} means a missing cell: rename it if it is a class)" if cell.strip() else ""
        raise InputError(
            f"row {missing[0]} has no label{seen}: compare needs all of them; leave such rows out"
        )
    names, y = np.unique(texts, return_inverse=True)
    if len(names) < 2:
        raise InputError(f"all labels are {names[0]!r}: comparing needs two classes or more")
    if len(names) > n_rows // 2:
        raise InputError(
            f"{len(names)} classes in {n_rows} rows: these labels look like numbers, not classes"
        )
    return y.astype(np.int32), tuple(names.tolist())


def _check_records(study: "Study", out: Path) -> None:
    """Refuse a folder that holds the results of another table or scaling."""
    from dual_jax.evaluation.records import read_folder

    for record in read_folder(out / "records"):
        if record.get("kind") == "data":
            seen = record["data"], record["note"], record["scale"]
            if seen != (study.data.name, study.data.note, study.protocol.scale):
                raise InputError(f"{out} holds results of another table or scaling: give another --out")


def _compare(args: argparse.Namespace, study: "Study") -> None:
    """Run what is missing, then write tables and pictures, and say who is better than random."""
    from dual_jax.evaluation.comparison import as_csv, as_markdown, compare, draw, verdict
    from dual_jax.evaluation.experiment import cells, finished
    from dual_jax.evaluation.paper.jobs import jobs
    from dual_jax.evaluation.records import read
    from dual_jax.evaluation.standings import RANDOM
    from dual_jax.plots.maps import write

    study.path.parent.mkdir(parents=True, exist_ok=True)
    do_jobs(jobs(study, {"2"}, lambda method: True, float("inf")))
    protocol = study.protocol
    asked = {
        cell
        for split in study.splits
        for entry in protocol.entries()
        for cell in cells(protocol.name, split, entry, study.budgets, protocol.judges)
    }
    found = finished(read(study.path))  # of former runs there may be more
    points = compare([record for cell, record in found.items() if cell in asked], args.metric)
    table, words = as_markdown(points, args.metric), "\n".join(verdict(points))
    n_tests = sum(point.method != RANDOM for point in points)
    note = (
        f"Mean over {args.repeats} random halves ± 95 % confidence; * better than random at that level, each "
        f"test for itself: of {n_tests} some {0.025 * n_tests:.0f} would be starred by chance.\n"
    )
    text = f"# Methods on {study.data.name}\n\n{table}\n{note}\n{words}\n"
    write_atomically(args.out / "summary.md", text)
    write_atomically(args.out / "curves.csv", as_csv(points, args.metric))
    for suffix in (".png", ".svg"):
        write(draw(points, args.metric, study.data.name), args.out / f"curves{suffix}")
    print(text)
