"""Delimited text to columns: numbers where every cell is one, and the reason where not.

The rules, for .csv and .tsv alike:

- UTF-8, with or without a byte order mark; any line end; cells may be quoted; blank lines are skipped; every
  line has as many cells as the first.
- An empty cell and `MISSING` (any case) are missing: NaN in a column of numbers.
- The first line is a header when it holds no number, or has text above a number, or when its numbers count up
  from 0 or 1 above a line with decimals (as pandas names unnamed columns). Where the caller names a column it
  always is one.
- A column with any other text is no column of numbers. ``1_000`` is text, whatever Python thinks.
"""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from dual_jax.data.errors import InputError

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
BLOCK = 4096  # lines turned into numbers at a time, so that a big file is never held as Python strings
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}")


class Columns(NamedTuple):
    """A table by columns; every column is in ``numbers``, ``texts`` or ``dropped`` (with the reason)."""

    names: tuple[str, ...]
    has_header: bool
    n_rows: int
    numbers: dict[str, Float[np.ndarray, " n"]]
    texts: dict[str, Shaped[np.ndarray, " n"]]
    dropped: dict[str, str]


def parse(where: str, data: bytes, delimiter: str, as_text: Collection[str] = ()) -> Columns:
    """Return the columns of delimited text.

    Parameters
    ----------
    where : str
        What to call the file in errors.
    data : bytes
        The file.
    delimiter : str
        One character.
    as_text : collection of str
        Columns to return as they are written, without surrounding blanks.

    Raises
    ------
    ValueError
        When the text is not UTF-8, empty, a header only, broken in a line, or lacks a column of ``as_text``.
    """
    records = _records(where, _decoded(where, data), delimiter)
    head = list(islice(records, 2))
    if not head:
        raise InputError(f"{where} is empty: it needs a line for each sample")
    first = [cell.strip() for cell in head[0][1]]
    _check_delimiter(where, first, delimiter)
    has_header = bool(as_text) or _is_header(first, head[1][1] if len(head) > 1 else [])
    names = unique_names(first if has_header else [""] * len(first))
    for name in as_text:
        check_column(where, name, names if has_header else (), first)
    return _columns(names, has_header, chain(head[has_header:], records), as_text)


def header(where: str, data: bytes, delimiter: str) -> tuple[str, ...]:
    """Return the names in the first line of delimited text, which is taken to be a header."""
    first = next((cells for _, cells in _records(where, _decoded(where, data), delimiter)), None)
    if first is None:
        raise InputError(f"{where} is empty: it needs a line for each sample")
    names = [cell.strip() for cell in first]
    _check_delimiter(where, names, delimiter)
    return unique_names(names)


def check_column(where: str, name: str, names: Sequence[str], header: Sequence[str] = ()) -> None:
    """Refuse a column name that the table lacks or has twice."""
    if name not in names:
        shown = ", ".join(repr(known) for known in names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"{where} has no column {name!r}: its columns are {shown}")
    if list(header).count(name) > 1:
        raise InputError(f"{where} has more than one column {name!r}: rename all but one")


def unique_names(header: Sequence[str]) -> tuple[str, ...]:
    """Return a distinct name for each column: blanks by position, repetitions with a number behind them."""
    given: dict[str, None] = {}
    headings = set(header)
    for position, cell in enumerate(header):
        heading = name = cell or f"column {position}"
        copies = 0
        while name in given or (copies and name in headings):
            copies += 1
            name = f"{heading}.{copies}"
        given[name] = None
    return tuple(given)


def _decoded(where: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8 text (byte {data[error.start]:#04x} at {error.start}): save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{where} is not text: byte {text.index(chr(0))} is NUL; is it a binary file?")
    return text


def _records(where: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line where each record starts, and its cells."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    width, line = 0, 1
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                width = width or len(cells)
                if len(cells) != width:
                    raise InputError(
                        f"{where}: line {line} has {len(cells)} cells, the first line has {width}; repair it"
                    )
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{where}: line {line} is broken ({error}); repair its quotes") from None


def _check_delimiter(where: str, first: Sequence[str], delimiter: str) -> None:
    """Refuse a file that is one column because it is separated by something else."""
    for other in {",", ";", "\t", "|"} - {delimiter}:
        if len(first) == 1 and other in first[0]:
            raise InputError(f"{where} is separated by {other!r}, not {delimiter!r}: save it as .csv or .tsv")


def _is_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether the first line names the columns (the rule is in the module's docstring)."""
    numbers = [cell for cell in first if _is_number(cell)]
    below = [cell for cell in second if _is_number(cell)]
    is_text_above_number = any(
        _is_text(above) and _is_number(cell) for above, cell in zip(first, second, strict=False)
    )
    is_counting = numbers in ([str(i + start) for i in range(len(numbers))] for start in (0, 1))
    has_decimals = any(not cell.strip().lstrip("+-").isdigit() for cell in below)
    return not numbers or is_text_above_number or (is_counting and has_decimals)


def _columns(
    names: Sequence[str], has_header: bool, records: Iterable[tuple[int, list[str]]], as_text: Collection[str]
) -> Columns:
    """Return the records by columns, a block of lines at a time."""
    records = iter(records)
    texts: dict[str, list[str]] = {name: [] for name in as_text}
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in names if name not in texts}
    dropped: dict[str, str] = {}
    n_rows = 0
    while block := list(islice(records, BLOCK)):
        n_rows += len(block)
        columns = zip(*(cells for _, cells in block), strict=True)
        for name, cells in zip(names, columns, strict=True):
            if name in texts:
                texts[name] += [cell.strip() for cell in cells]
            elif name in blocks:
                try:
                    blocks[name].append(_floats(cells))
                except ValueError:
                    del blocks[name]
                    dropped[name] = _reason([line for line, _ in block], cells)
    numbers = {name: np.concatenate(parts) for name, parts in blocks.items() if parts}
    as_arrays = {name: np.array(cells, str) for name, cells in texts.items()}
    return Columns(tuple(names), has_header, n_rows, numbers, as_arrays, dropped)


def _floats(cells: Sequence[str]) -> Float[np.ndarray, " n"]:
    """Return cells as numbers, NaN where missing; ValueError on text."""
    if "_" in "".join(cells):
        raise ValueError("an underscore is text")
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        values = (np.nan if is_missing(cell) else float(cell) for cell in cells)
        return np.fromiter(values, np.float64, len(cells))


def _reason(lines: Sequence[int], cells: Sequence[str]) -> str:
    """Return why these cells are no numbers, by the first that is none."""
    line, cell = next((line, cell) for line, cell in zip(lines, cells, strict=True) if _is_text(cell))
    shown = cell.strip() if len(cell) <= 24 else cell.strip()[:24] + "..."
    kind = "dates" if DATE.match(shown) else "text"
    return f"{kind}, not numbers: {shown!r} in line {line}"


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or one of `MISSING`."""
    return cell.strip().lower() in MISSING


def _is_number(cell: str) -> bool:
    try:
        return not np.isnan(float(cell)) and "_" not in cell
    except ValueError:
        return False


def _is_text(cell: str) -> bool:
    return not (is_missing(cell) or _is_number(cell))
