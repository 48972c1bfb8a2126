"""The pool that a command works on: the options that say how it is read, and the reading."""

import argparse
from typing import TYPE_CHECKING

from dual_jax.cli import columns
from dual_jax.cli.options import SCALINGS

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("pool", metavar="POOL", help="a table, an array, or the name of a built-in data set")
    add("--id-column", metavar="NAME", help="the pool's column of ids")
    add("--exclude", metavar="NAME,...", help="columns that are no features, such as a label")
    add("--use", metavar="NAME,...", help="columns of numbers that are features though they look like ids")
    columns.add(parser)
    header = "whether the first line of a text file is a header; found out by default"
    add("--header", action=argparse.BooleanOptionalAction, default=None, help=header)
    add("--decimal", choices=(".", ","), help="decimal mark of a text file; found out by default")
    add("--scale", choices=SCALINGS, default="standard", help="of the inputs; default: %(default)s")
    add("--impute", choices=("median",), help="fill missing and infinite cells")


def read(args: argparse.Namespace, *, stream: bool = False, needs_label: bool = True) -> "Pool":
    """Return the pool; the column of labels, if there is one of that name, is no feature.

    Parameters
    ----------
    args
        With the options of `add`, ``label_column`` and ``data_dir``.
    stream
        Leave it on disk.
    needs_label
        Whether the column of labels has to be in the pool.
    """
    from dual_jax.data.owncolumns import column_names
    from dual_jax.data.tables import map_pool, read_pool

    exclude, use = ([name for name in (names or "").split(",") if name] for names in (args.exclude, args.use))

    def read(exclude: list[str]) -> "Pool":
        if stream:
            return map_pool(args.pool, args.id_column, exclude)
        return read_pool(
            args.pool,
            id_column=args.id_column,
            exclude=exclude,
            use=use,
            header=args.header,
            decimal=args.decimal,
            data_dir=args.data_dir,
            any_columns=True,
        )

    label = args.label_column
    if label is None or label in exclude:
        return read(exclude)
    if needs_label:
        return read([*exclude, label])
    pool = read(exclude)
    return read([*exclude, label]) if label in column_names(pool) else pool


def filled(args: argparse.Namespace, pool: "Pool") -> tuple["Pool", int]:
    """Return the pool with its gaps filled where that is asked for, and how many cells were."""
    if not args.impute:
        return pool, 0
    import numpy as np

    from dual_jax.data.checks import impute_median

    n_imputed = int(pool.x.size - np.isfinite(pool.x).sum())
    return pool._replace(x=np.asarray(impute_median(pool.x))), n_imputed


def about(pool: "Pool", columns: dict[str, str]) -> list[str]:
    """Return lines on what was guessed of the pool, what each column was taken for and what is left out."""
    dropped = pool.dropped.items()
    return [
        *(f"taken as: {guess}" for guess in pool.guesses),
        *(f"column {name}: {taken}" for name, taken in columns.items()),
        *(f"left out: {name} ({reason})" for name, reason in dropped if name not in columns),
    ]
