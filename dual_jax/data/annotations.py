"""Which rows of a pool are labelled or skipped, by what labelling tools give back.

Rows have three states: labelled; skipped, which is not labelled and never offered again; and open. Several
files may speak of a row: it is labelled where one of them says so.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from dual_jax.data.errors import InputError
from dual_jax.data.labelfiles import (
    FILE,
    INDEX,
    LABELLED,
    SKIPPED,
    STEM,
    TEXT,
    Entry,
    Key,
    Reading,
    has_label,
    read_entries,
)
from dual_jax.data.owncolumns import PoolFile, column_names, list_ids, read_columns, text_columns
from dual_jax.data.receipt import batch_of, is_receipt, receipts_beside

Rows = tuple[int, ...]


class Count(NamedTuple):
    """How many rows of the pool a file calls labelled, skipped or open; how many entries are of no row."""

    file: str
    labelled: int = 0
    skipped: int = 0
    open: int = 0
    unknown: int = 0


class Labels(NamedTuple):
    """The rows with a label, those that were skipped, the last batch before, and a count for each file."""

    is_labelled: Bool[np.ndarray, " n"]
    is_skipped: Bool[np.ndarray, " n"]
    n_batches: int
    counts: tuple[Count, ...]


class Lookup(NamedTuple):
    """Rows by the whole of an id or text, and by the name and the stem of a path that no other row has."""

    n: int
    ids: dict[str, Rows]
    whole: dict[str, Rows]
    names: dict[str, Rows]
    stems: dict[str, Rows]


def read_labels(
    paths: Sequence[str | PathLike[str]],
    file: PoolFile,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    is_empty_labelled: bool = False,
) -> Labels:
    """Return which rows of a pool are labelled and which skipped.

    Parameters
    ----------
    paths : sequence of paths
        Exports of labelling tools (forms: `dual_jax.data.labelfiles`), tables and lists of ids of the user's
        own, former picks, and receipts, of which the number of the batch is taken. A receipt beside a file is
        found.
    file : PoolFile
        The pool.
    id_column : str, optional
        What the files call the pool's ids; the pool's own name by default.
    label_column : str, optional
        In the pool, in the tables, or in both: rows with a value there are labelled. Where the pool has it,
        tables without it count every row.
    is_empty_labelled : bool
        Whether an image that COCO lists without an annotation is labelled.

    Raises
    ------
    InputError
        When a file cannot be read, none of its rows is in the pool, or a table lacks the column of
        labels, and the pool too.
    """
    how = reading_of(file, id_column, label_column, is_empty_labelled)
    n = len(file.pool.x)
    is_labelled, is_skipped = np.zeros(n, bool), np.zeros(n, bool)
    counts, batches = [], [0]
    if label_column is not None and label_column in column_names(file.pool):
        cells = read_columns(file, [label_column])[label_column].to_pylist()
        is_labelled[:] = [has_label(cell) for cell in cells]
        counts.append(Count(f"{file.pool.source}, column {label_column!r}", int(is_labelled.sum())))
    for path in paths:
        batches += [batch_of(receipt) for receipt in receipts_beside(path)]
        if is_receipt(path):
            counts.append(Count(str(path)))
            continue
        entries = read_entries(path, how)
        batches += [entry.batch for entry in entries]
        found = find_rows(str(path), entries, file)
        masks = [_mask(n, entries, found, state) for state in (LABELLED, SKIPPED)]
        counts.append(_count(str(path), found, *masks))
        is_labelled |= masks[0]
        is_skipped |= masks[1]
    return Labels(is_labelled, is_skipped & ~is_labelled, max(batches), tuple(counts))


def read_rows(
    paths: Sequence[str | PathLike[str]], file: PoolFile, id_column: str | None = None
) -> Bool[np.ndarray, " n"]:
    """Return which rows of a pool files name, whatever they say of them.

    Raises
    ------
    InputError
        When a file cannot be read, or none of its rows is in the pool.
    """
    is_named = np.zeros(len(file.pool.x), bool)
    for path in paths:
        entries = read_entries(path, reading_of(file, id_column))
        is_named[[row for rows in find_rows(str(path), entries, file) for row in rows]] = True
    return is_named


def reading_of(
    file: PoolFile,
    id_column: str | None,
    label_column: str | None = None,
    is_empty_labelled: bool = False,
    needs_classes: bool = False,
) -> Reading:
    """Return how files that speak of the rows of a pool are read."""
    has_ids = file.pool.ids is not None
    names = dict.fromkeys(name for name in (id_column, file.pool.id_name) if name is not None and has_ids)
    is_in_pool = label_column in column_names(file.pool)
    return Reading(has_ids, tuple(names), label_column, is_empty_labelled, is_in_pool, needs_classes)


def _mask(n: int, entries: Sequence[Entry], found: Sequence[Rows], state: str) -> Bool[np.ndarray, " n"]:
    """Return the rows of the entries in a state."""
    mask = np.zeros(n, bool)
    mask[
        [row for entry, rows in zip(entries, found, strict=True) if entry.state == state for row in rows]
    ] = 1
    return mask


def _count(
    path: str, found: Sequence[Rows], is_labelled: Bool[np.ndarray, " n"], is_skipped: Bool[np.ndarray, " n"]
) -> Count:
    rows, n_labelled = {row for rows in found for row in rows}, int(is_labelled.sum())
    n_skipped = int((is_skipped & ~is_labelled).sum())
    n_unknown = sum(not rows for rows in found)
    return Count(path, n_labelled, n_skipped, len(rows) - n_labelled - n_skipped, n_unknown)


def find_rows(where: str, entries: Sequence[Entry], file: PoolFile) -> list[Rows]:
    """Return the rows of each entry: by the pool's ids, else by its columns of text.

    Raises
    ------
    InputError
        When there are entries and none is of the pool, with one of its ids and one of the pool's.
    """
    ids = list_ids(file.pool)
    lookup = _lookup(ids)
    found = [_rows_of(entry.keys, lookup) for entry in entries]
    others = [
        any(key.kind in (FILE, STEM, TEXT) for key in entry.keys) and not rows
        for entry, rows in zip(entries, found, strict=True)
    ]
    if any(others) and (columns := text_columns(file)):
        lookup = _lookup(ids, *columns.values())
        found = [rows or _rows_of(entry.keys, lookup) for entry, rows in zip(entries, found, strict=True)]
    if entries and not any(found):
        seen = next((repr(key.value) for entry in entries for key in entry.keys), "nothing that names a row")
        raise InputError(
            f"{where}: none of its {len(entries)} rows is in the pool; it has {seen}, and ids of the pool "
            f"look like {ids[0]!r}: give the file of this pool, or the column of ids by --id-column"
        )
    return found


def _lookup(ids: Sequence[str], *texts: Sequence[str]) -> Lookup:
    columns = (ids, *texts)
    paths = [[PurePosixPath(text) for text in column] for column in columns]
    whole: dict[str, list[int]] = defaultdict(list)
    for column in columns:
        for row, text in enumerate(column):
            whole[text.strip()].append(row)
    return Lookup(
        len(ids),
        {text: (row,) for row, text in enumerate(ids)},
        {text: tuple(rows) for text, rows in whole.items() if text},
        _only(paths, lambda path: path.name),
        _only(paths, lambda path: path.stem),
    )


def _only(
    columns: Sequence[Sequence[PurePosixPath]], part: Callable[[PurePosixPath], str]
) -> dict[str, Rows]:
    """Return rows by a part of their path; a part that two rows of a column share names neither."""
    rows: dict[str, Rows] = {}
    for column in columns:
        parts = [part(path) for path in column]
        counts = Counter(parts)
        for row, text in enumerate(parts):
            if text and counts[text] == 1:
                rows.setdefault(text, (row,))
    return rows


def _rows_of(keys: Iterable[Key], lookup: Lookup) -> Rows:
    """Return the rows that the first key with a match names."""
    return next((rows for key in keys if (rows := _find(key, lookup))), ())


def _find(key: Key, lookup: Lookup) -> Rows:
    if key.kind == INDEX:
        is_position = key.value.isdecimal() and int(key.value) < lookup.n
        return (int(key.value),) if is_position else ()
    if key.kind == FILE:
        parts = PurePosixPath(key.value).parts
        endings = ("/".join(parts[start:]) for start in range(len(parts)))
        whole = next((rows for path in (key.value, *endings) if (rows := lookup.whole.get(path))), ())
        return whole or lookup.names.get(PurePosixPath(key.value).name, ())
    by = {STEM: lookup.stems, TEXT: lookup.whole}.get(key.kind, lookup.ids)
    return by.get(key.value.strip(), ())
