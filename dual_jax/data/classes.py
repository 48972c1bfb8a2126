"""The class of each labelled row of a pool, from labelling tools' exports, tables or its own column."""

from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dual_jax.data.annotations import Rows, find_rows, reading_of
from dual_jax.data.errors import InputError
from dual_jax.data.labelfiles import LABELLED, Entry, read_entries
from dual_jax.data.labelvalues import classes_in
from dual_jax.data.owncolumns import PoolFile, column_names, read_columns
from dual_jax.data.receipt import is_receipt

NONE = -1  # the class of a row without a label


class Found(NamedTuple):
    """How many rows a file gives a class, how many several, and how many of its entries are of no row."""

    file: str
    one: int
    several: int
    unknown: int


class Classes(NamedTuple):
    """The names of the classes, the number of that of each row (-1: none), and what each file gave.

    ``n_changed`` rows have different classes in two entries; the last one counts.
    """

    names: tuple[str, ...]
    of_row: Int[np.ndarray, " n"]
    found: tuple[Found, ...]
    n_changed: int


def read_classes(
    paths: Sequence[str | PathLike[str]],
    file: PoolFile,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
) -> Classes:
    """Return the class of each labelled row of a pool.

    Parameters
    ----------
    paths : sequence of paths
        Exports of labelling tools and tables, as `dual_jax.data.annotations.read_labels` reads them. A later
        file overrules an earlier one. Receipts are passed over.
    file : PoolFile
        The pool.
    id_column : str, optional
        What the files call the pool's ids; the pool's own name by default.
    label_column : str, optional
        The column of classes in the pool or in tables; in an export the tool's control or question. By
        default the column named ``label``, ``labels``, ``class`` or ``target``, or the only other one.

    Raises
    ------
    InputError
        When a file cannot be read or is of another pool, its column of classes is not clear, or fewer than
        two classes are found.
    """
    how = reading_of(file, id_column, label_column, needs_classes=True)
    names: dict[int, str] = {}
    found, n_changed = [], 0
    if label_column is not None and label_column in column_names(file.pool):
        cells = read_columns(file, [label_column])[label_column].to_pylist()
        own: Given = [(classes_in(cell), (row,)) for row, cell in enumerate(cells)]
        n_changed += _take(own, names)
        found.append(_found(f"{file.pool.source}, column {label_column!r}", own))
    for path in paths:
        if not is_receipt(path):
            entries = read_entries(path, how)
            given = _given(entries, find_rows(str(path), entries, file))
            n_changed += _take(given, names)
            found.append(_found(str(path), given))
    known = tuple(sorted(set(names.values())))
    _check(known, found)
    of_row = np.full(len(file.pool.x), NONE, np.int32)
    of_row[list(names)] = [known.index(name) for name in names.values()]
    return Classes(known, of_row, tuple(found), n_changed)


Given = Sequence[tuple[tuple[str, ...], Rows]]


def _given(entries: Sequence[Entry], rows: Sequence[Rows]) -> Given:
    """Return classes and rows of the entries that are labelled."""
    return [
        (entry.classes, where) for entry, where in zip(entries, rows, strict=True) if entry.state == LABELLED
    ]


def _take(given: Given, names: dict[int, str]) -> int:
    """Put the rows that have one class into ``names``; return how many had another one before."""
    n_changed = 0
    for classes, rows in given:
        for row in rows if len(classes) == 1 else ():
            n_changed += names.get(row, classes[0]) != classes[0]
            names[row] = classes[0]
    return n_changed


def _found(file: str, given: Given) -> Found:
    one = sum(len(rows) for classes, rows in given if len(classes) == 1)
    several = sum(len(rows) for classes, rows in given if len(classes) > 1)
    return Found(file, one, several, sum(bool(classes) and not rows for classes, rows in given))


def _check(known: Sequence[str], found: Sequence[Found]) -> None:
    """Refuse labels from which nothing can be guessed."""
    if len(known) >= 2:
        return
    n_several = sum(one.several for one in found)
    seen = f"only the class {known[0]!r}" if known else "no row with a class"
    more = f" ({n_several} rows have several classes each)" if n_several else ""
    files = ", ".join(one.file for one in found) or "no file"
    raise InputError(f"{files}: {seen}{more}; spreading needs labels of two classes or more")
