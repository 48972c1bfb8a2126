"""The pool's own columns, read again from its file when they are wanted.

A fit needs numbers alone. What a person needs beside a pick, such as a sentence or a path, is read by name
once the picks are known, so that it takes no memory before.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from dual_jax.data.arrow import open_parquet, read_row_groups
from dual_jax.data.casts import is_textual, spelt_out
from dual_jax.data.delimited import check_column
from dual_jax.data.errors import InputError
from dual_jax.data.files import suffix_of
from dual_jax.data.ids import text_of_id
from dual_jax.data.rawtable import read_table
from dual_jax.data.tables import Pool, read_column

ARRAYS = (".npy", ".npz")


class PoolFile(NamedTuple):
    """A pool, and how the layout of its file was told; None where it was found out."""

    pool: Pool
    header: bool | None = None
    decimal: str | None = None


def column_names(pool: Pool) -> tuple[str, ...]:
    """Return the names of all columns of the pool's file, features first.

    Built-in sets and pools of files have none.
    """
    if pool.media or not os.path.exists(pool.source):
        return ()
    features = (pool.vectors,) if pool.vectors else pool.feature_names
    if features is None and suffix_of(pool.source) in ARRAYS:
        return tuple(pool.dropped)
    if features is None:  # delimited text without a header
        return tuple(f"column {place}" for place in range(pool.x.shape[1] + len(pool.dropped)))
    return (*features, *(name for name in pool.dropped if name not in features))


def check_names(pool: Pool, names: Sequence[str]) -> None:
    """Refuse names that are no columns of the pool.

    Raises
    ------
    InputError
        With the columns that there are.
    """
    known = column_names(pool)
    if names and not known:
        raise InputError(f"{pool.source} has no column {names[0]!r}: columns are read from a table's file")
    for name in names:
        check_column(pool.source, name, known)


def read_columns(file: PoolFile, names: Sequence[str], rows: Any = None) -> Any:
    """Return columns of the pool as a table of pyarrow; text is as its file has it.

    Parameters
    ----------
    file : PoolFile
        As read.
    names : sequence of str
        Which columns.
    rows : (k,) int, optional
        Which rows, in this order; all by default.

    Raises
    ------
    InputError
        When the pool has no such column.
    """
    import pyarrow as pa

    check_names(file.pool, names)
    source = file.pool.source
    if not names:
        return pa.table({})
    if suffix_of(source) == ".npz":
        table = pa.table({name: pa.array([*map(text_of_id, read_column(source, name))]) for name in names})
    elif suffix_of(source) == ".parquet":
        table = _from_parquet(source, names)
    else:
        table = read_table(source, named=names, header=file.header, decimal=file.decimal).table.select(names)
    return table if rows is None else table.take(pa.array(rows))


def _from_parquet(source: str, names: Sequence[str]) -> Any:
    """Return columns of a Parquet file without reading the others."""
    file = open_parquet(source, source)
    if all(file.schema_arrow.names.count(name) == 1 for name in names):
        return read_row_groups(file, [*names]).select(names)
    return read_table(source, named=names).table.select(names)


def text_columns(file: PoolFile) -> dict[str, list[str]]:
    """Return the pool's columns of text, by their names; missing cells as ''."""
    if not column_names(file.pool) or suffix_of(file.pool.source) in ARRAYS:
        return {}
    table = read_table(file.pool.source, header=file.header, decimal=file.decimal).table
    columns = {name: spelt_out(table[name]) for name in table.column_names}
    return {
        name: [cell or "" for cell in column.to_pylist()]
        for name, column in columns.items()
        if is_textual(column.type)
    }


def list_ids(pool: Pool) -> list[str]:
    """Return the pool's ids as text; positions where it has none."""
    return [*map(str, range(len(pool.x)))] if pool.ids is None else [*map(text_of_id, pool.ids)]
