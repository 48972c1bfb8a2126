"""What a file is: by its name, which the first bytes must bear out; and errors of parsers as one sentence."""

import gzip
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from dual_jax.data.errors import InputError
from dual_jax.data.storage import sha256_of

DELIMITERS = {".csv": ",", ".tsv": "\t"}
ARROW = "Arrow"
CONTENT = {
    ".npy": ".npy",
    ".npz": "zip (.npz, .xlsx)",
    ".parquet": "Parquet",
    ".arrow": ARROW,
    ".feather": ARROW,
    ".csv": "text",
    ".tsv": "text",
    ".jsonl": "text",
    ".ndjson": "text",
    ".json": "text",
}
PACKED = ".gz"  # behind the name of a file of text
SIGNATURES = {
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": "zip (.npz, .xlsx)",
    b"PAR1": "Parquet",
    b"ARROW1": ARROW,
    b"FEA1": ARROW,
    b"\xff\xff\xff\xff": ARROW,
    b"\x1f\x8b": "gzip",
    b"\x89HDF": "HDF5",
    b"%PDF": "PDF",
    b"\x80\x04": "pickle",
    b"\x80\x05": "pickle",
}
STDIN = "-"


class Source(NamedTuple):
    """A file that was found: what to call it in errors, its kind, its sum, and its unpacked bytes."""

    where: str
    suffix: str
    sha256: str
    open: Callable[[], Any]


def find_source(path: str | PathLike[str]) -> Source:
    """Return a file's kind and contents, after checking that its first bytes are those of its name.

    ``-`` is standard input, of comma-separated text or of JSON.

    Raises
    ------
    InputError
        When the name says no kind that is known, the file cannot be read, is empty, or is of another kind.
    """
    if str(path) == STDIN:
        return _from_stdin()
    where, suffix, is_packed = str(path), suffix_of(path), is_packed_text(path)
    if suffix not in CONTENT:
        raise InputError(
            f"{where} has a name that ends in none of {', '.join(CONTENT)}: convert or rename it"
        )
    try:
        with open(path, "rb") as file:
            head = file.read(64)
        if is_packed:
            check_kind(where, "gzip", head)
            with parsing(where, "gzip"), gzip.open(path) as file:
                head = file.read(64)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{where} is empty")
    check_kind(where, CONTENT[suffix], head)
    return Source(where, suffix, sha256_of(path), _opener(where, path, is_packed))


def read_contents(path: str | PathLike[str]) -> tuple[str, str, bytes]:
    """Return what to call a file in errors, its suffix and its bytes, after checking that they agree."""
    source = find_source(path)
    with source.open() as file:
        return source.where, source.suffix, bytes(file.read())


def suffix_of(path: str | PathLike[str]) -> str:
    """Return the end of a file's name that says what it is, without that of gzip.

    Examples
    --------
    >>> suffix_of("pool.CSV.gz")
    '.csv'
    """
    name = Path(path)
    return Path(name.stem).suffix.lower() if name.suffix.lower() == PACKED else name.suffix.lower()


def is_packed_text(path: str | PathLike[str]) -> bool:
    """Return whether a name is of text that gzip has packed."""
    return Path(path).suffix.lower() == PACKED and CONTENT.get(suffix_of(path)) == "text"


def check_kind(where: str, wanted: str, head: bytes) -> None:
    """Refuse a file whose first bytes are not of the wanted kind."""
    if (kind := _kind(head)) != wanted:
        raise InputError(
            f"{where} is not what its name says: its first bytes are those of {kind}; convert or rename it"
        )


def _kind(head: bytes) -> str:
    """Return what the first bytes say that a file is."""
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature):
            return kind
    return "HTML" if head[:64].lstrip().lower().startswith((b"<!doctype html", b"<html")) else "text"


def _opener(where: str, path: str | PathLike[str], is_packed: bool) -> Callable[[], Any]:
    def open_file() -> Any:
        import pyarrow as pa

        with parsing(where, "gzip" if is_packed else "a file"):
            return pa.input_stream(os.fspath(path), compression="gzip" if is_packed else None)

    return open_file


def _from_stdin() -> Source:
    data = sys.stdin.buffer.read()
    where = "standard input"
    if not data:
        raise InputError(f"{where} is empty")
    check_kind(where, "text", data[:64])
    suffix = {b"{": ".jsonl", b"[": ".json"}.get(data.lstrip()[:1], ".csv")

    def open_file() -> Any:
        import pyarrow as pa

        return pa.BufferReader(data)

    return Source(where, suffix, hashlib.sha256(data).hexdigest(), open_file)


@contextmanager
def parsing(where: str, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises on a broken file into one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if "allow_pickle" in str(error):
            what = "holds Python objects, which are never unpickled: save it as an array of numbers"
        else:
            what = f"is broken or truncated, it cannot be read as {kind}: {_first_line(error)}"
        raise InputError(f"{where} {what}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
