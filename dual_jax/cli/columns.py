"""Pools with columns that are no numbers: what each column is taken for, and the rows that come of it."""

import argparse
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.data.errors import InputError
from dual_jax.data.media import SkippedFilesWarning

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool
    from dual_jax.views.columns import Column

OF_NUMBERS = ("number", "exclude", "id")  # columns that `dual_jax.data.columns` knows what to do with
NOT_FEATURES = ("the id column", "excluded", "class labels", "the saved index", "row ids", "row numbers")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    text = (
        "what columns are: number, date, category, string (short text), text, vector, image or series (paths "
        "of pictures or of .wav files, from the table's folder), id or exclude"
    )
    parser.add_argument("--as", metavar="NAME=KIND,...", type=_kinds, default={}, dest="kinds", help=text)


def _kinds(text: str) -> dict[str, str]:
    """Return kinds by name; argparse turns the error into its own."""
    pairs = [pair.rpartition("=") for pair in text.split(",") if pair]
    if not all(name and kind for name, _, kind in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=KIND,... such as city=category,notes=text")
    return {name: kind for name, _, kind in pairs}


def use_ids(args: argparse.Namespace) -> None:
    """Take a column that is an id by ``--as`` for the id column."""
    names = [name for name, kind in args.kinds.items() if kind == "id"]
    if len(names) > 1 or (names and args.id_column not in (None, names[0])):
        raise InputError(
            f"one column holds the ids, and {', '.join([*names, args.id_column or ''])} are several"
        )
    args.id_column = names[0] if names else args.id_column


def encode(args: argparse.Namespace, pool: "Pool") -> tuple["Pool", dict[str, str]]:
    """Return the pool with all its columns as features, and what each was taken for and why.

    A pool of numbers alone, or of vectors, stays as it is, and then nothing is returned of its columns; so
    does one whose rows an embedding is computed from. Where that is learnt from a column of paths, the rows
    become the pictures or recordings.
    """
    if args.kinds and pool.table is None:
        raise InputError(f"--as is for tables with names of columns, and {pool.source} has none")
    if pool.table is None:
        return pool, {}
    from dual_jax.data.casts import is_textual, plain
    from dual_jax.views.columns import FILES, sort

    known = {name for name, reason in pool.dropped.items() if reason in NOT_FEATURES}
    table = pool.table.drop_columns([name for name in known if name not in args.kinds])
    kinds = {name: kind for name, kind in args.kinds.items() if name != pool.id_name}
    if args.use:
        kinds = {name: "number" for name in args.use.split(",") if name} | kinds
    if args.embedding in ("views", "spectral"):
        texts = [name for name in table.column_names if name in kinds or is_textual(plain(table[name]).type)]
        paths = [c for c in sort(table.select(texts), kinds, _folder(pool)) if c.kind in FILES]
        return (_of_files(pool, table, paths) if paths and not args.sample_shape else pool), {}
    features = {pool.vectors, *(pool.feature_names or ())}
    columns = sort(table, kinds, _folder(pool))
    found = [column.kind in OF_NUMBERS or column.name in features for column in columns]
    if not args.kinds and (pool.vectors or all(found)):
        if not pool.x.shape[1]:
            lines = "; ".join(f"{name}: {reason}" for name, reason in [*pool.dropped.items()][:5])
            raise InputError(f"{pool.source} has no column that is a feature ({lines})")
        return pool, {}
    return _encoded(args, pool, table, kinds)


def _encoded(
    args: argparse.Namespace, pool: "Pool", table: Any, kinds: dict[str, str]
) -> tuple["Pool", dict[str, str]]:
    from dual_jax.estimators.pool_encoder import PoolEncoder
    from dual_jax.views.columns import USED

    encoder = PoolEncoder(kinds, folder=_folder(pool), scale=args.scale, random_state=args.seed)
    with warnings.catch_warnings(action="ignore", category=SkippedFilesWarning):  # the summary names them
        rows = encoder.fit_transform(table)
    dropped = {name: reason for name, reason in pool.dropped.items() if name not in table.column_names}
    dropped |= {name: reason for name, kind, reason in encoder.columns_ if kind not in USED}
    names = tuple(map(str, encoder.get_feature_names_out()))
    columns = {name: f"{kind} ({reason})" for name, kind, reason in encoder.columns_}
    encoded = pool._replace(
        x=np.asarray(rows),
        feature_names=names,
        dropped=dropped,
        vectors=None,
        sample_shape=(),
        skipped=encoder.skipped_,
        unread=encoder.unread_,
    )
    return encoded, columns


def _of_files(pool: "Pool", table: Any, paths: "list[Column]") -> "Pool":
    """Return the pool with what the files of its one column of paths hold as rows.

    A row whose file cannot be read has the mean of the others, and is never picked.
    """
    from dual_jax.views.files import read_column_files

    if len(paths) > 1:
        names = ", ".join(repr(column.name) for column in paths)
        raise InputError(
            f"{pool.source} has several columns of paths, {names}, and an embedding is of one: leave all but "
            "one out by --exclude"
        )
    (column,) = paths
    files = read_column_files(table, column.name, column.kind, _folder(pool))
    rows = np.empty((len(files.is_read), *files.values.shape[1:]), files.values.dtype)
    rows[files.is_read], rows[~files.is_read] = files.values, files.values.mean(axis=0)
    unused = dict.fromkeys(pool.feature_names or (), f"beside the files of {column.name!r}")
    dropped = {name: reason for name, reason in pool.dropped.items() if name != column.name}
    return pool._replace(
        x=rows.reshape(len(rows), -1),
        feature_names=None,
        vectors=None,
        dropped=dropped | unused,
        sample_shape=rows.shape[1:],
        guesses=(*pool.guesses, f"column {column}; {files.note}"),
        media=files.kind,
        skipped=files.skipped,
        unread=~files.is_read,
    )


def _folder(pool: "Pool") -> str:
    """Return where the relative paths of a table begin."""
    return os.path.dirname(pool.source) or "."
