"""The columns of a table's file, whatever they hold, as a table of pyarrow."""

import os
from collections.abc import Collection
from os import PathLike
from typing import Any, NamedTuple

from dual_jax.data.arrow import (
    is_saved_set,
    read_arrow,
    read_json,
    read_json_lines,
    read_parquet,
    read_saved_set,
    remarks_of,
    with_range,
)
from dual_jax.data.delimited import check_column, read_delimited, unique_names
from dual_jax.data.errors import InputError
from dual_jax.data.filepools import is_text_folder, read_text_folder
from dual_jax.data.files import DELIMITERS, find_source


class RawTable(NamedTuple):
    """A table as its file holds it, a pyarrow table with distinct names of columns, and what was read of it.

    ``index_names`` and ``labels`` are columns that the file's own notes call the index of a frame and class
    labels; ``decimal`` is the decimal mark in columns of text; ``skipped`` has the reason for each file of a
    folder that could not be read.
    """

    table: Any
    where: str
    sha256: str
    has_names: bool
    decimal: str
    index_names: tuple[str, ...]
    labels: tuple[str, ...]
    guesses: tuple[str, ...]
    skipped: dict[str, str] = {}  # noqa: RUF012


def read_table(
    source: str | PathLike[str],
    *,
    named: Collection[str] = (),
    header: bool | None = None,
    decimal: str | None = None,
) -> RawTable:
    """Return the columns of a file, whatever they hold.

    Parameters
    ----------
    source : path or str
        ``.csv`` and ``.tsv`` (rules: `dual_jax.data.delimited`), JSON lines (``.jsonl``, ``.ndjson``) and a
        list of objects in ``.json``, all perhaps behind ``.gz``; ``.parquet``, ``.arrow``, ``.feather``; a
        folder that Hugging Face ``datasets`` saved, or one of texts; ``-`` for standard input,
        comma-separated or JSON.
    named : collection of str
        Columns whose text is kept as it is written.
    header, decimal : optional
        Of delimited text: whether the first line is a header, and "." or ",". Found out where None.

    Raises
    ------
    InputError
        When the file cannot be read, lacks a named column, or can be read in two ways.
    """
    if is_text_folder(source):
        table, digest, skipped = read_text_folder(source)
        return _raw(table, str(source), digest, named)._replace(skipped=skipped)
    if os.path.isdir(source):
        if not is_saved_set(source):
            raise InputError(f"{source} is a folder, and none that Hugging Face datasets saved: give a file")
        table, digest = read_saved_set(source)
        return _raw(table, str(source), digest, named)
    found = find_source(source)
    if found.suffix in DELIMITERS:
        table, layout = read_delimited(
            found.where, found.open, DELIMITERS[found.suffix], named=named, header=header, decimal=decimal
        )
        return RawTable(
            table, found.where, found.sha256, layout.has_header, layout.decimal, (), (), layout.guesses
        )
    if found.suffix == ".parquet":
        table = read_parquet(found)
    elif found.suffix in (".arrow", ".feather"):
        table = read_arrow(found)
    elif found.suffix in (".jsonl", ".ndjson"):
        table = read_json_lines(found, named)
    elif found.suffix == ".json":
        table = read_json(found)
    else:
        raise InputError(f"{found.where} has no named columns: use .csv, .tsv, .jsonl, .arrow or .parquet")
    return _raw(table, found.where, found.sha256, named)


def _raw(table: Any, where: str, digest: str, named: Collection[str]) -> RawTable:
    """Return a table whose file names its columns."""
    names = unique_names(table.column_names)
    for name in named:
        check_column(where, name, names, table.column_names)
    remarks, table = remarks_of(table.schema), table.rename_columns(list(names))
    table, index = with_range(table, remarks, table.num_rows)
    return RawTable(table, where, digest, True, ".", index, remarks.labels, ())
