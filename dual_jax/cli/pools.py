"""How the commands read a pool: the options that say what its columns are, and the rows that come of them."""

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dual_jax.cli import budgets, columns, embeddings

if TYPE_CHECKING:
    from dual_jax.cli.embeddings import Embedding
    from dual_jax.data.tables import Pool


class Rows(NamedTuple):
    """A pool as read, and its rows as features.

    ``taken`` says what each column was taken for and why, where some are no numbers.
    """

    as_read: "Pool"
    pool: "Pool"
    taken: dict[str, str]
    n_imputed: int


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--id-column", metavar="NAME", help="the pool's column of ids")
    add("--exclude", metavar="NAME,...", help="columns that are no features, such as a label")
    add("--use", metavar="NAME,...", help="columns of numbers that are features though they look like ids")
    columns.add(parser)
    header = "whether the first line of a text file is a header; found out by default"
    add("--header", action=argparse.BooleanOptionalAction, default=None, help=header)
    add("--decimal", choices=(".", ","), help="decimal mark of a text file; found out by default")
    add("--impute", choices=("median",), help="fill missing and infinite cells")


def read(args: argparse.Namespace) -> Rows:
    """Return the pool; the columns of labels and of limits are no features.

    Raises
    ------
    InputError
        When the pool cannot be read, or an option does not go with it.
    """
    from dual_jax.data.checks import impute_median

    columns.use_ids(args)
    n_imputed = 0
    as_read = columns.with_ids(args, _read(args))
    pool, taken = columns.encode(args, as_read)
    pool = budgets.name_columns(args, pool)
    if args.impute:
        n_imputed = int(pool.x.size - np.isfinite(pool.x).sum())
        pool = pool._replace(x=np.asarray(impute_median(pool.x)))
    return Rows(as_read, pool, taken, n_imputed)


def read_whole(args: argparse.Namespace) -> Rows:
    """Return the pool as read, without its columns as features."""
    columns.use_ids(args)
    pool = columns.with_ids(args, _read(args))
    return Rows(pool, pool, {}, 0)


def _read(args: argparse.Namespace) -> "Pool":
    """Return the pool as its file has it."""
    from dual_jax.data.owncolumns import column_names
    from dual_jax.data.tables import map_pool, read_pool

    exclude, use = ([name for name in (names or "").split(",") if name] for names in (args.exclude, args.use))
    exclude += [name for name in budgets.columns_of(args) if name not in exclude]
    use += [name for name, kind in args.kinds.items() if kind not in columns.NO_FEATURES and name not in use]

    def read(exclude: list[str]) -> "Pool":
        if args.stream:
            return map_pool(args.pool, args.id_column, exclude, use)
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
    if not args.labeled:  # then it must be here
        return read([*exclude, label])
    pool = read(exclude)
    return read([*exclude, label]) if label in column_names(pool) else pool


def in_one_table(args: argparse.Namespace, rows: Rows) -> tuple[np.ndarray, str, "Embedding | None"]:
    """Return the rows with their embedding as one table, how it is still to be scaled, and the embedding."""
    from dual_jax.estimators.prepared import Deferred
    from dual_jax.numerics.scaling import apply, beside, fit_scaler

    embedding: Any = embeddings.prepare(args, rows.pool)
    scale = "none" if rows.taken else args.scale
    if embedding is None:
        return rows.pool.x, scale, None
    table = embedding.table.make() if isinstance(embedding.table, Deferred) else embedding.table
    if args.embedding_alone:
        return table, args.scale, embedding
    x = np.asarray(rows.pool.x, np.float64)
    return np.asarray(beside(apply(fit_scaler(x, scale), x), table)), "none", embedding
