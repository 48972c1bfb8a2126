"""A file's bytes to arrays or columns, by what its name says it is.

The first bytes must agree with the name, whatever a parser raises becomes one sentence, and nothing is ever
unpickled.
"""

import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dual_jax.data.delimited import Columns, check_column, header, parse, unique_names
from dual_jax.data.errors import InputError, MissingPackageError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
KEYS = ("x", "X", "embeddings", "features", "data")
CONTENT = {".npy": ".npy", ".npz": "zip (.npz, .xlsx)", ".parquet": "Parquet", ".csv": "text", ".tsv": "text"}
SIGNATURES = {
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": "zip (.npz, .xlsx)",
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"\x89HDF": "HDF5",
    b"%PDF": "PDF",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
}


def read_contents(path: str | PathLike[str]) -> tuple[str, str, bytes]:
    """Return what to call a file in errors, its suffix and its bytes, after checking that they agree."""
    where, suffix = str(path), Path(path).suffix.lower()
    if suffix not in CONTENT:
        raise InputError(
            f"{where} has a name that ends in none of {', '.join(CONTENT)}: convert or rename it"
        )
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise InputError(f"{where} is empty")
    check_kind(where, suffix, data)
    return where, suffix, data


def check_kind(where: str, suffix: str, data: bytes) -> None:
    """Refuse a file whose first bytes are not those of its name."""
    kind = _kind(data)
    if kind != CONTENT[suffix]:
        raise InputError(
            f"{where} is not what its name says: its first bytes are those of {kind}; convert or rename it"
        )


def _kind(data: bytes) -> str:
    """Return what the first bytes say that a file is."""
    for signature, kind in SIGNATURES.items():
        if data.startswith(signature):
            return kind
    return "HTML" if data[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")) else "text"


@contextmanager
def parsing(where: str, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on a broken file into one sentence."""
    try:
        yield
    except Exception as error:
        if "allow_pickle" in str(error):
            what = "holds Python objects, which are never unpickled: save it as an array of numbers"
        else:
            what = f"is broken or truncated, it cannot be read as {kind}: {_first_line(error)}"
        raise InputError(f"{where} {what}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def parse_npy(where: str, data: bytes) -> Shaped[np.ndarray, "..."]:
    """Return the array in a .npy file."""
    with parsing(where, ".npy"):
        return np.load(io.BytesIO(data), allow_pickle=False)


def parse_npz(
    where: str, data: bytes, id_column: str | None, exclude: Collection[str]
) -> tuple[Shaped[np.ndarray, "n ..."], Shaped[np.ndarray, " n"] | None, dict[str, str]]:
    """Return the one table of an archive, its ids, and why the other arrays were left out."""
    ids_key = () if id_column is None else (id_column,)
    with parsing(where, ".npz"):
        archive = np.load(io.BytesIO(data), allow_pickle=False)
    for key in (*ids_key, *exclude):
        check_column(where, key, archive.files)
    left = [key for key in archive.files if key not in (*ids_key, *exclude)]
    with parsing(where, ".npz"):
        tables = [key for key in left if key in KEYS] or [key for key in left if np.ndim(archive[key]) >= 2]
        arrays = {key: _decoded(archive[key]) for key in (*tables, *ids_key)}
    if len(tables) != 1:
        found = f"several tables ({', '.join(tables)})" if tables else f"no table ({', '.join(left)})"
        raise InputError(
            f"{where} holds {found}: store the pool alone under one of the keys {', '.join(KEYS)}"
        )
    x, ids = arrays[tables[0]], arrays.get(id_column or "")
    if ids is not None and ids.shape != x.shape[:1]:
        raise InputError(f"{where}: the ids {id_column!r} have shape {ids.shape}, the pool has {x.shape}")
    return x, ids, {key: "another array of the archive" for key in archive.files if key not in arrays}


def parse_key(where: str, data: bytes, key: str) -> Shaped[np.ndarray, "..."]:
    """Return one array of a .npz file."""
    with parsing(where, ".npz"):
        archive = np.load(io.BytesIO(data), allow_pickle=False)
    check_column(where, key, archive.files)
    with parsing(where, ".npz"):
        return _decoded(archive[key])


def _decoded(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return bytes as the text that they are."""
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array


def parse_columns(where: str, suffix: str, data: bytes, as_text: Sequence[str]) -> Columns:
    """Return the columns of a delimited or Parquet file."""
    if suffix in DELIMITERS:
        return parse(where, data, DELIMITERS[suffix], as_text)
    if suffix == ".parquet":
        file = open_parquet(where, io.BytesIO(data))
        with parsing(where, ".parquet"):
            table = file.read()
        return parquet_columns(where, table, as_text)
    raise InputError(f"{where} has no named columns: use .csv, .tsv or .parquet")


def column_names(where: str, suffix: str, data: bytes) -> tuple[str, ...]:
    """Return the names of the columns of a delimited or Parquet file that has a header."""
    if suffix in DELIMITERS:
        return header(where, data, DELIMITERS[suffix])
    if suffix == ".parquet":
        return unique_names(open_parquet(where, io.BytesIO(data)).schema_arrow.names)
    raise InputError(f"{where} has no named columns: use .csv, .tsv or .parquet")


def open_parquet(where: str, source: Any) -> Any:
    """Return a Parquet file, from its path or its bytes, as pyarrow reads it."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPackageError(f'reading {where} needs pyarrow: pip install "dual-jax[data]"') from error
    with parsing(where, ".parquet"):
        return parquet.ParquetFile(source)


def parquet_columns(where: str, table: Any, as_text: Sequence[str]) -> Columns:
    """Return the columns of a table of pyarrow; those of ``as_text`` keep their type, missing ones as ''."""
    import pyarrow as pa

    names = unique_names(table.column_names)
    for name in as_text:
        check_column(where, name, names, table.column_names)
    result = Columns(names, True, table.num_rows, {}, {}, {})
    for name, column in zip(names, table.columns, strict=True):
        kind = column.type
        if name in as_text:
            result.texts[name] = np.array(["" if value is None else value for value in column.to_pylist()])
        elif pa.types.is_temporal(kind):
            result.dropped[name] = f"dates, not numbers: {kind}"
        elif not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
            result.dropped[name] = f"no numbers: {kind}"
        else:
            with parsing(where, ".parquet"):
                result.numbers[name] = column.cast(pa.float64(), safe=False).to_numpy()
    return result
