"""Pools with columns that are no numbers: what each column is taken for, and the rows that come of it."""

import argparse
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.cli.options import AUTO, COUNTS
from dual_jax.data.errors import InputError
from dual_jax.data.media import SkippedFilesWarning

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool
    from dual_jax.views.columns import Column

NO_FEATURES = ("exclude", "id")
OTHERWISE = "tf-idf and 100 directions of its singular value decomposition; --scale standard takes numbers"
NOT_FEATURES = ("the id column", "excluded", "class labels", "the saved index", "row ids", "row numbers")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    text = (
        "what columns are: number, counts (of words), date, category, string (short text), text, vector, "
        "image or series (pictures or .wav files: bytes, or paths from the table's folder), id or exclude; "
        "number:comma, number:point and date:%%d/%%m/%%Y say how text is read as well"
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


def with_ids(args: argparse.Namespace, pool: "Pool") -> "Pool":
    """Return the pool of a table with the first column that looks like ids as its ids, if it has none."""
    from dual_jax.data.casts import texts_of
    from dual_jax.views.columns import column_of_ids

    if pool.table is None or pool.ids is not None:
        return pool
    left_out = {*args.kinds, *(name for name, reason in pool.dropped.items() if reason in NOT_FEATURES)}
    table = pool.table.drop_columns([*left_out & {*pool.table.column_names}])
    name = column_of_ids(table, folder_of(pool))
    if name is None:
        return pool
    guess = f"row ids: {name!r}, the ids of its samples (--as {name}=string makes it a feature)"
    return pool._replace(
        ids=texts_of(pool.table[name]),
        id_name=name,
        dropped=pool.dropped | {name: "row ids"},
        guesses=(*pool.guesses, guess),
    )


def encode(args: argparse.Namespace, pool: "Pool") -> tuple["Pool", dict[str, str]]:
    """Return the pool with all its columns as features, and what each was taken for and why.

    A pool of numbers alone, or of vectors, stays as it is, and then nothing is returned of its columns; so
    does one whose rows an embedding is computed from. Where that is learnt from a column of files, or no
    other column is a feature, the rows become the pictures or recordings; a column that an embedder reads is
    left out. Counts become directions of their tf-idf weights.
    """
    if args.kinds and pool.table is None:
        raise InputError(f"--as is for tables with names of columns, and {pool.source} has none")
    asked, args.scale = args.scale, "standard" if args.scale in (AUTO, COUNTS) else args.scale
    if pool.table is None:
        return _of_counts(args, asked, pool)
    table, kinds = features_of(args, pool)
    if args.embedding in ("views", "spectral"):
        return _of_media(args, pool, table, kinds), {}
    return _of_columns(args, asked, pool, table, kinds)


def _of_columns(
    args: argparse.Namespace, asked: str, pool: "Pool", table: Any, kinds: dict[str, str]
) -> tuple["Pool", dict[str, str]]:
    """Return the pool with the columns of a table as features; ``asked`` is the scale that was asked for."""
    from dual_jax.views.columns import FILES, USED, Column, sort
    from dual_jax.views.counts import with_counts
    from dual_jax.views.embedders import is_embedder
    from dual_jax.views.files import read_column_files

    columns = sort(table, kinds, folder_of(pool))
    used = [column for column in columns if column.kind in USED]
    if args.embedding is None and len(used) == 1 and used[0].kind in FILES:
        return _of_files(pool, table, used), {}
    numbers = [c.name for c in columns if c.kind == "number" and (asked == COUNTS or c.name not in kinds)]
    if asked == AUTO and not pool.vectors:
        columns = with_counts(table, columns, kinds)
    elif asked == COUNTS:
        columns = tuple(c._replace(kind="counts") if c.name in numbers else c for c in columns)
    counts = {column.name: "counts" for column in columns if column.kind == "counts"}
    kinds = dict.fromkeys(numbers, "number") | counts | kinds
    is_embedded = is_embedder(args.embedding)
    if is_embedded and (read := column_to_embed(args.embedding, table, columns)) is not None:
        if any(column.name == read and column.kind == "image" for column in columns):
            files = read_column_files(table, read, "image", folder_of(pool))
            pool = pool._replace(skipped=files.skipped, unread=~files.is_read)
        kinds[read] = "exclude"
        embedded = Column(read, "exclude", "embedded")
        columns = tuple(embedded if column.name == read else column for column in columns)
    if is_embedded and not any(column.kind in USED for column in columns):
        args.embedding_alone = True
        return pool._replace(x=np.empty((table.num_rows, 0)), feature_names=None), {}
    features = {pool.vectors, *(pool.feature_names or ())}
    is_plain = all(c.kind in NO_FEATURES or (c.name in features and c.kind != "counts") for c in columns)
    if not args.kinds and (pool.vectors or is_plain):
        if not pool.x.shape[1]:
            lines = "; ".join(f"{name}: {reason}" for name, reason in [*pool.dropped.items()][:5])
            raise InputError(f"{pool.source} has no column that is a feature ({lines})")
        return pool, {}
    return _encoded(args, pool, table, kinds, columns)


def features_of(args: argparse.Namespace, pool: "Pool") -> tuple[Any, dict[str, str]]:
    """Return the table without ids and what else is no feature, and what was said of its columns."""
    known = {name for name, reason in pool.dropped.items() if reason in NOT_FEATURES}
    table = pool.table.drop_columns([name for name in known if name not in args.kinds])
    kinds = {name: kind for name, kind in args.kinds.items() if name != pool.id_name}
    if args.use:
        kinds = {name: "number" for name in args.use.split(",") if name} | kinds
    return table, kinds


def column_to_embed(name: str, table: Any, columns: "Sequence[Column]") -> str | None:
    """Return the column that an embedder reads: the text that a person reads, else the pictures."""
    from dual_jax.views.columns import column_to_read
    from dual_jax.views.embedders import reads_pictures

    pictures = next((column.name for column in columns if column.kind == "image"), None)
    if reads_pictures(name):
        return pictures
    return column_to_read(table, columns) or pictures


def _of_counts(args: argparse.Namespace, asked: str, pool: "Pool") -> tuple["Pool", dict[str, str]]:
    """Return the pool of an array; one of counts as directions of their tf-idf weights."""
    from dual_jax.views.counts import Counts, about_counts, are_counts

    if asked == COUNTS and args.stream:
        raise InputError(f"--scale {COUNTS} would need the whole pool in memory: leave that or --stream out")
    is_array = not (args.stream or pool.media or pool.sample_shape or args.embedding in ("views", "spectral"))
    if asked != COUNTS and not (asked == AUTO and is_array and are_counts(pool.x)):
        return pool, {}
    view = Counts.fit_rows(pool.x, seed=args.seed)
    why = "as asked" if asked == COUNTS else f"{about_counts(pool.x)}; {OTHERWISE}"
    rows = view.transform_rows(pool.x)
    encoded = pool._replace(x=rows, feature_names=tuple(view.names), sample_shape=())
    return encoded, {f"0 to {pool.x.shape[1] - 1}": f"counts ({why})"}


def _encoded(
    args: argparse.Namespace, pool: "Pool", table: Any, kinds: dict[str, str], columns: "Sequence[Column]"
) -> tuple["Pool", dict[str, str]]:
    from dual_jax.estimators.pool_encoder import PoolEncoder
    from dual_jax.views.columns import USED

    encoder = PoolEncoder(kinds, folder=folder_of(pool), scale=args.scale, random_state=args.seed)
    with warnings.catch_warnings(action="ignore", category=SkippedFilesWarning):  # the summary names them
        rows = encoder.fit_transform(table)
    dropped = {name: reason for name, reason in pool.dropped.items() if name not in table.column_names}
    dropped |= {name: reason for name, kind, reason, _ in columns if kind not in USED}
    encoded = pool._replace(
        x=np.asarray(rows),
        feature_names=tuple(map(str, encoder.get_feature_names_out())),
        dropped=dropped,
        vectors=None,
        sample_shape=(),
        skipped=pool.skipped | encoder.skipped_,
        unread=encoder.unread_ if pool.unread is None else pool.unread | encoder.unread_,
    )
    return encoded, _taken(args, columns)


def _taken(args: argparse.Namespace, columns: "Sequence[Column]") -> dict[str, str]:
    """Return what each column was taken for and why; all of counts in one entry."""
    counts = [column for column in columns if column.kind == "counts"]
    taken = {name: f"{kind} ({reason})" for name, kind, reason, _ in columns if kind != "counts"}
    if counts:
        name = f"{counts[0].name} to {counts[-1].name} ({len(counts):,} columns)"
        taken[name] = f"counts ({counts[0].reason}; {OTHERWISE})"
    return taken


def _of_media(args: argparse.Namespace, pool: "Pool", table: Any, kinds: dict[str, str]) -> "Pool":
    """Return the pool with the files of a column of pictures or recordings as rows, where there is one."""
    from dual_jax.data.casts import is_textual, plain
    from dual_jax.data.filecells import can_hold_files
    from dual_jax.views.columns import FILES, sort

    def may_be_files(name: str) -> bool:
        kind = plain(table[name]).type
        return name in kinds or is_textual(kind) or can_hold_files(kind)

    names = [name for name in table.column_names if may_be_files(name)]
    media = [c for c in sort(table.select(names), kinds, folder_of(pool)) if c.kind in FILES]
    return _of_files(pool, table, media) if media and not args.sample_shape else pool


def _of_files(pool: "Pool", table: Any, media: "list[Column]") -> "Pool":
    """Return the pool with what the files of its one column of them hold as rows.

    A row whose file cannot be read has the mean of the others, and is never picked.
    """
    from dual_jax.views.files import read_column_files

    if len(media) > 1:
        names = ", ".join(repr(column.name) for column in media)
        raise InputError(
            f"{pool.source} has several columns of pictures or recordings, {names}, and an embedding is of "
            "one: leave all but one out by --exclude"
        )
    (column,) = media
    files = read_column_files(table, column.name, column.kind, folder_of(pool))
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


def folder_of(pool: "Pool") -> str:
    """Return where the relative paths of a table begin; of a saved data set, where its folder is."""
    return os.path.dirname(pool.source) or "."
