"""``dual-jax spread``: from the labels of some rows to a guess for every row of the pool."""

import argparse
import os
from collections.abc import Iterator
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
    check_writable,
    keep_compiled_programs,
    seed_number,
)
from dual_jax.data.errors import InputError
from dual_jax.data.storage import write_atomically

if TYPE_CHECKING:
    from dual_jax.data.classes import Classes
    from dual_jax.data.tables import Pool
    from dual_jax.evaluation.guesses import Guesses

METHODS = ("auto", "spreading", "linear")
COLUMNS = ("index", "id", "label", "confidence", "method", "is_labelled", "next_rank")
SUFFIXES = (".csv", ".parquet")

_SPREAD = (
    "Guess the label of every row from those of some: by label spreading over the graph of neighbours or by "
    "a linear classifier, whichever guesses more of the given labels right from the others. Give the "
    "pool and the embedding that the rows were picked in."
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "spread", help="guess all labels from those of some rows", description=_SPREAD
    )
    add = parser.add_argument
    add("pool", metavar="POOL", help="what the labelled rows are of; as for select")
    text = "rows with a label: a table, or a labelling tool's export; may be given several times"
    add("--labels", type=Path, action="append", default=[], metavar="FILE", dest="labeled", help=text)
    text = "the column of labels, in these files or in the pool; a control or question of a labelling tool"
    add("--label-column", metavar="NAME", help=text)
    pools.add(parser)
    add("--scale", choices=SCALINGS, default=AUTO, help=SCALE)
    embeddings.add(parser)
    text = "how to guess; by default what guesses more of the labels right from the others"
    add("--method", choices=METHODS, default="auto", help=text)
    text = "where the guesses go (.csv or .parquet); default: %(default)s"
    add("--out", type=Path, default=Path("guessed.csv"), metavar="FILE", help=text)
    add("--seed", type=seed_number, default=0, help="of an embedding that is learnt; default: %(default)s")
    add("--quiet", action="store_true", help="no summary and no progress")
    add_common(parser)
    parser.set_defaults(run=_run, stream=False, features=None)


def _run(args: argparse.Namespace, command: str) -> None:
    """Check the request, read pool and labels, guess, write, and print what was done."""
    from dual_jax.data.classes import read_classes
    from dual_jax.data.owncolumns import PoolFile

    _check(args)
    if not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    rows = pools.read(args)
    file = PoolFile(rows.as_read, args.header, args.decimal)
    classes = read_classes(args.labeled, file, id_column=args.id_column, label_column=args.label_column)
    table, scale, embedding = pools.in_one_table(args, rows)
    guesses = _guess(args.method, table, scale, classes)
    _write(args.out, rows.pool, classes, guesses)
    if not args.quiet:
        about = [*outputs.taken(rows.pool, rows.taken), *embeddings.summary(embedding)]
        print("\n".join(_summary(args, rows.pool, classes, guesses, about)))


def _guess(method: str, table: Any, scale: str, classes: "Classes") -> "Guesses":
    from dual_jax.data.checks import check_pool
    from dual_jax.data.errors import input_errors
    from dual_jax.evaluation.guesses import guess_classes
    from dual_jax.numerics.scaling import apply, fit_scaler

    x = np.asarray(check_pool(table, dtype=np.float64))
    asked = None if method == "auto" else method
    with input_errors():
        x = np.asarray(apply(fit_scaler(x, scale), x))
        return guess_classes(x, classes.of_row, len(classes.names), method=asked)


def _check(args: argparse.Namespace) -> None:
    """Refuse a request without labels, and an output that cannot be written or would replace an input."""
    if not args.labeled and args.label_column is None:
        raise InputError("no labels: give --labels FILE, or the pool's own --label-column NAME")
    if args.out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {args.out} must end in one of {', '.join(SUFFIXES)}")
    check_writable(args.out)
    for given in filter(None, (args.pool, *args.labeled, args.embedding)):
        if args.out.exists() and os.path.exists(given) and args.out.samefile(given):
            raise InputError(f"{args.out} would replace the input of that name: choose another --out")
    if args.out.is_file() and args.out.stat().st_size and not _is_ours(args.out):
        raise InputError(
            f"{args.out} is there and holds no guesses of dual-jax spread: move it, or give --out"
        )


def _is_ours(path: Path) -> bool:
    """Return whether a file holds guesses, so that new ones may replace it."""
    from dual_jax.data.rawtable import read_table

    try:
        return tuple(read_table(path, header=True, decimal=".").table.column_names) == COLUMNS
    except InputError:
        return False


def _write(path: Path, pool: "Pool", classes: "Classes", guesses: "Guesses") -> None:
    """Write a row for each of the pool's: the columns of `COLUMNS`; no guess where a file was not read."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    from dual_jax.data.ids import text_of_id

    n = len(pool.x)
    ids = range(n) if pool.ids is None else [*map(text_of_id, pool.ids)]
    is_labelled = classes.of_row >= 0
    is_unread = np.zeros(n, bool) if pool.unread is None else pool.unread & ~is_labelled
    methods = np.where(is_labelled, "label", np.where(guesses.is_spread, "spreading", "linear"))
    methods = np.where(is_unread, "unread", methods)
    ranks = [int(rank) or None for rank in np.where(is_unread, 0, guesses.next_rank)]
    names = np.where(is_unread, None, np.array(classes.names, object)[guesses.classes])
    confidence = np.where(is_unread, 0.0, guesses.confidence).astype(np.float32)
    values = (np.arange(n), ids, names, confidence, methods, is_labelled, ranks)
    table = pa.table({name: pa.array(column) for name, column in zip(COLUMNS, values, strict=True)})
    if path.suffix.lower() == ".parquet":
        write_atomically(path, lambda file: parquet.write_table(table, file))
    else:
        options = csv.WriteOptions(quoting_style="needed")
        write_atomically(path, lambda file: csv.write_csv(table, file, options))


def _summary(
    args: argparse.Namespace, pool: "Pool", classes: "Classes", guesses: "Guesses", about: list[str]
) -> Iterator[str]:
    """Give the lines that a person wants to know at the end; ``about`` are those on the pool."""
    n_given = int((classes.of_row >= 0).sum())
    yield f"{pool.source}: {len(pool.x):,} rows, {n_given:,} labels of {len(classes.names):,} classes"
    yield from about
    for one in classes.found:
        several = f", {one.several:,} with several classes (not used)" if one.several else ""
        yield f"{one.file}: {one.one:,} labelled{several}, {one.unknown:,} unknown"
    if classes.n_changed:
        yield f"{classes.n_changed:,} rows have two different labels; the last one counts"
    yield _verdict(args.method, guesses)
    if guesses.n_unreached:
        yield (
            f"{guesses.n_unreached:,} rows are in parts of the neighbour graph without a label: guessed by "
            "the linear classifier"
        )
    n_next = int(guesses.next_rank.max())
    yield f"guesses: {args.out}   next to label: {n_next:,} rows of which both methods are unsure (next_rank)"


def _verdict(asked: str, guesses: "Guesses") -> str:
    """Return which method guessed, and why."""
    found = guesses.left_out
    chosen = found.better if asked == "auto" else asked
    why = "as asked; " if asked != "auto" else ""
    if not found.n:
        return f"method: {chosen} ({why}no class has two labels, so that none could be left out to compare)"
    return (
        f"method: {chosen} ({why}of {found.n} labels left out in turn, spreading guessed {found.spreading} "
        f"right and the linear classifier {found.linear})"
    )
