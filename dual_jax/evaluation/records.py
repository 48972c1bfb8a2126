"""Results as JSON lines: one record per line, written to disk before the next one is made.

A killed run leaves whole lines and perhaps one incomplete last line, ignored when read and removed before
the next record is written. A file has one writer at a time.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

from dual_jax.data.errors import InputError

Record = dict[str, Any]


def read(path: str | os.PathLike[str]) -> list[Record]:
    """Return the records of a file, ``.jsonl`` or ``.jsonl.gz``; none if there is no file.

    Raises
    ------
    ValueError
        If a line other than an incomplete last one is not JSON; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "records.jsonl"
    ...     append(path, {"method": "ted", "accuracy": 0.5})
    ...     read(path)
    [{'method': 'ted', 'accuracy': 0.5}]
    """
    path = Path(path)
    if not path.exists():
        return []
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    whole, _, _ = text.rpartition("\n")
    return [_parse(line, f"{path}, line {i}") for i, line in enumerate(whole.splitlines(), 1) if line]


def read_folder(folder: str | os.PathLike[str]) -> list[Record]:
    """Return the records of all ``.jsonl`` and ``.jsonl.gz`` files in a folder, by name of file."""
    paths = [path for path in Path(folder).glob("*.jsonl*") if path.name.endswith((".jsonl", ".jsonl.gz"))]
    return [record for path in sorted(paths) for record in read(path)]


def append(path: str | os.PathLike[str], record: Record) -> None:
    """Add a record, and return when it is on disk.

    Raises
    ------
    ValueError
        If a number in it is not finite: JSON has no such numbers.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with open(path, "a+b") as file:
        _drop_torn_line(file)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _parse(line: str, where: str) -> Record:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON ({error.msg}): remove it or restore the file") from error


def _drop_torn_line(file: Any) -> None:
    """Cut a file after its last line end; a killed run leaves at most one incomplete line."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
