"""Delimited text to a table of pyarrow: what pyarrow does not decide is decided here.

- Encoding: UTF-8, with or without a byte order mark; UTF-16 with one; else Windows-1252.
- Separator: the one of comma, semicolon, tab and bar that splits the lines evenly, most of them into numbers.
- Decimal comma: where cells are numbers by it, and none has a decimal point.
- Header: `dual_jax.data.headers`. A line ``sep=;`` before it is Excel's and is skipped.
- Cells may be quoted; blank lines are skipped; every line has as many cells as the first, but for a header
  without a name for the column of row names, as R writes it.
- Columns with leading zeros, or ``0x``, stay text.
"""

import codecs
import csv
import io
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from dual_jax.data.cells import CODE, COMMA, SPELLINGS, are_values
from dual_jax.data.errors import InputError
from dual_jax.data.headers import aligned, first_line_is_header, is_quoted_above

HEAD = 1 << 20  # bytes that are looked at before the whole is read
N_SAMPLED = 1000  # lines of them
SEPARATORS = (",", ";", "\t", "|")
POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?", re.ASCII)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+", re.ASCII)
TEXT_CODE = re.compile(rf"\s*(?:{CODE}|0[xX][\da-fA-F]+)\s*", re.ASCII)
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Opener = Callable[[], Any]  # of a binary stream at the file's first byte


class Layout(NamedTuple):
    """How a delimited file is written; ``n_before`` is the number of records before the first sample."""

    encoding: str
    separator: str
    decimal: str
    has_header: bool
    n_before: int
    names: tuple[str, ...]
    as_text: frozenset[str]
    has_quotes: bool
    is_large: bool
    guesses: tuple[str, ...]


class _Bytes(NamedTuple):
    """What a look at every byte shows."""

    encoding: str
    has_quotes: bool


def read_delimited(
    where: str,
    open_file: Opener,
    separator: str,
    *,
    named: Collection[str] = (),
    header: bool | None = None,
    decimal: str | None = None,
) -> tuple[Any, Layout]:
    """Return delimited text as a table of pyarrow, and how it is written.

    Parameters
    ----------
    where : str
        What to call the file in errors.
    open_file : function
        Opens the file's bytes, unpacked.
    separator : str
        The one that the file's name suggests.
    named : collection of str
        Columns to return as they are written; where they are given the first line is a header.
    header, decimal : optional
        Whether the first line is a header, and "." or ",": found out where None.

    Raises
    ------
    InputError
        When the text is empty, broken in a line, lacks a named column, or can be read in two ways.
    """
    seen = _look(where, open_file)
    sample = _sample(where, open_file, seen, separator, decimal)
    layout = _layout(where, sample, seen, named, header)
    return _read(where, open_file, layout), layout


def _look(where: str, open_file: Opener) -> _Bytes:
    """Return the encoding and whether there are quotes, from all bytes."""
    with open_file() as file:
        first = bytes(file.read(HEAD))
        mark = next((mark for mark in MARKS if first.startswith(mark)), b"")
        encoding = MARKS.get(mark, "utf-8")
        decode = codecs.getincrementaldecoder("utf-8")().decode
        has_quotes, has_text, place, chunk = False, False, 0, first[len(mark) :]
        while chunk:
            has_quotes = has_quotes or b'"' in chunk
            has_text = has_text or bool(chunk.strip(b"\0 \t\r\n"))
            if encoding != "utf-16" and b"\0" in chunk:
                raise InputError(
                    f"{where} is not text: byte {place + chunk.index(0)} is NUL; is it a binary file?"
                )
            if encoding == "utf-8":
                try:
                    decode(chunk)
                except UnicodeDecodeError:
                    encoding = "cp1252"
            place += len(chunk)
            chunk = bytes(file.read(HEAD))
    if encoding == "utf-8" and has_text:
        encoding = _ended(decode)
    if not has_text:
        raise InputError(f"{where} is empty: it needs a line for each sample")
    return _Bytes(encoding, has_quotes)


def _ended(decode: Callable[..., str]) -> str:
    try:
        decode(b"", True)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _text(where: str, open_file: Opener, encoding: str) -> Any:
    """Return the file as text, line ends as they are."""
    codec = "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(io.BufferedReader(_Raw(open_file())), codec, newline="")


class _Raw(io.RawIOBase):
    """A stream of pyarrow's, for Python's own readers."""

    def __init__(self, stream: Any):
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class _Sample(NamedTuple):
    """The first rows of a file as cells, and how they are written."""

    text: str
    is_whole: bool
    n_before: int
    separator: str
    decimal: str
    rows: list[list[str]]
    guesses: list[str]


def _sample(where: str, open_file: Opener, seen: _Bytes, separator: str, decimal: str | None) -> _Sample:
    """Return the first rows, split by the separator and with the decimal mark that suit them."""
    with _decoding(where, seen.encoding), _text(where, open_file, seen.encoding) as file:
        head = file.read(HEAD)
        is_whole = len(head) < HEAD
    guesses = []
    if seen.encoding == "cp1252":
        guesses.append("the text is not UTF-8: it is read as Windows-1252")
    records, suggested = _sampled(head, is_whole, separator), separator
    n_before = 0
    if records and (found := re.fullmatch(r"sep=(.)", separator.join(records[0]).strip())):
        n_before, suggested = 1, found[1]
    best = suggested if n_before else _separator(head, is_whole, separator)
    if best != separator:
        guesses.append(f"columns are separated by {best!r}")
        records = _sampled(head, is_whole, best)
    while n_before < len(records) and not "".join(records[n_before]).strip():
        n_before += 1
    rows = [row for row in records[n_before:] if len(row) > 1 or "".join(row).strip()]
    if not rows:
        raise InputError(f"{where} is empty: it needs a line for each sample")
    decimal = decimal or _decimal(where, rows, best)
    if decimal == ",":
        guesses.append("numbers have a decimal comma")
        rows = [[cell.replace(",", ".") if COMMA.fullmatch(cell) else cell for cell in row] for row in rows]
    return _Sample(head, is_whole, n_before, best, decimal, rows, guesses)


def _layout(where: str, sample: _Sample, seen: _Bytes, named: Collection[str], header: bool | None) -> Layout:
    """Return how the file is written, with what its columns are called and which are text."""
    guesses = list(sample.guesses)
    first, below = aligned(sample.rows)
    if len(first) != len(sample.rows[0]) and not first[0]:
        guesses.append("the header has a name less than there are columns: the first holds row names")
    has_header, guess = _has_header(where, first, below, named, header, is_quoted_above(sample.text))
    guesses += [guess] if guess else []
    names = unique_names(first if has_header else [""] * len(first))
    for name in named:
        check_column(where, name, names, first if has_header else ())
    as_text = {name for place, name in enumerate(names) if _is_code([row[place] for row in below])}
    layout = Layout(
        seen.encoding,
        sample.separator,
        sample.decimal,
        has_header,
        sample.n_before + has_header,
        names,
        frozenset(as_text) | frozenset(named),
        seen.has_quotes,
        not sample.is_whole,
        tuple(guesses),
    )
    if sample.is_whole and seen.has_quotes:  # pyarrow reads stray quotes in some way
        deque(_records(where, io.StringIO(sample.text, newline=""), layout), maxlen=0)
    return layout


class _decoding:
    """Turn bytes that are not of the encoding into one sentence."""

    def __init__(self, where: str, encoding: str):
        self._where, self._encoding = where, encoding

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, UnicodeError):
            kind = self._encoding.upper()
            raise InputError(f"{self._where} is not {kind} text: save it as UTF-8") from None


def _sampled(head: str, is_whole: bool, separator: str) -> list[list[str]]:
    """Return the first records, stripped; the last is left out where the head may cut it."""
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator, skipinitialspace=True)
    records: list[list[str]] = []
    with suppress(csv.Error):  # such as a cell beyond csv's limit, which pyarrow reads
        records.extend([cell.strip() for cell in row] for row in islice(reader, N_SAMPLED + 1))
    return records if is_whole or len(records) < 2 else records[:-1]


def _separator(head: str, is_whole: bool, suggested: str) -> str:
    """Return what splits the first lines evenly, into many numbers and cells without another separator."""
    best, most = suggested, (0.0, -1.0)
    for separator in sorted(SEPARATORS, key=lambda separator: separator != suggested):
        rows = [row for row in _sampled(head, is_whole, separator) if "".join(row).strip()]
        widths = Counter(map(len, rows))
        width, n_even = widths.most_common(1)[0] if widths else (1, 0)
        if width < 2 or n_even < 0.5 * len(rows):
            continue
        cells = [cell for row in rows for cell in row if len(row) == width]
        values = are_values(cells)
        n_whole = sum(
            is_value or not any(mark in cell for mark in SEPARATORS)
            for cell, is_value in zip(cells, values, strict=True)
        )
        score = float(n_even == len(rows)), (sum(values) + n_whole) / len(cells)
        if score > most:
            best, most = separator, score
    return best


def _decimal(where: str, rows: Sequence[Sequence[str]], separator: str) -> str:
    """Return the decimal mark, or refuse where a comma may be one or group thousands."""
    cells = [cell for row in rows for cell in row]
    with_comma = [cell for cell in cells if COMMA.fullmatch(cell)]
    with_point = [cell for cell in cells if POINT.fullmatch(cell)]
    if not with_comma or (with_point and separator == ","):
        return "."
    option = 'say which by --decimal "," or "." (decimal=)'
    if with_point:
        raise InputError(
            f"{where} has numbers with a comma ({with_comma[0]!r}) and with a point ({with_point[0]!r}): "
            f"either may be the decimal mark; {option}"
        )
    is_short = all(len(cell.lstrip("+-")) <= 3 for cell in cells if cell.lstrip("+-").isdigit())
    if is_short and all(THOUSANDS.fullmatch(cell) for cell in with_comma):
        raise InputError(
            f"{where}: the comma of {with_comma[0]!r} may be a decimal mark or group thousands; {option}"
        )
    return ","


def _has_header(
    where: str,
    first: Sequence[str],
    below: Sequence[Sequence[str]],
    named: Collection[str],
    header: bool | None,
    is_quoted: bool,
) -> tuple[bool, str | None]:
    made_up = {f"column {place}" for place in range(len(first))}
    if header is not None:
        return header, None
    if named and not set(named) <= made_up:
        return True, None
    return first_line_is_header(where, first, below, is_quoted)


def _is_code(cells: Sequence[str]) -> bool:
    return any(TEXT_CODE.fullmatch(cell) for cell in cells)


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


def _read(where: str, open_file: Opener, layout: Layout) -> Any:
    """Return the table by pyarrow, or, where a line puzzles it, by Python's own reader."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    read = arrow_csv.ReadOptions(
        column_names=layout.names,
        skip_rows_after_names=layout.n_before,
        encoding=layout.encoding,
        use_threads=layout.is_large,
    )
    parse = arrow_csv.ParseOptions(
        delimiter=layout.separator,
        newlines_in_values=layout.has_quotes,
    )
    convert = arrow_csv.ConvertOptions(
        null_values=SPELLINGS,
        decimal_point=layout.decimal,
        column_types={name: pa.string() for name in layout.as_text},
    )
    try:
        with open_file() as file:
            return arrow_csv.read_csv(file, read, parse, convert)
    except pa.ArrowInvalid:
        return _read_slowly(where, open_file, layout)


def _read_slowly(where: str, open_file: Opener, layout: Layout) -> Any:
    """Return the table as text by Python's reader, or say which line is broken."""
    import pyarrow as pa

    schema, blocks = pa.schema([(name, pa.string()) for name in layout.names]), []
    with _decoding(where, layout.encoding), _text(where, open_file, layout.encoding) as file:
        records = _records(where, file, layout)
        while block := list(islice(records, N_SAMPLED)):
            columns = [pa.array(cells, pa.string()) for cells in zip(*block, strict=True)]
            blocks.append(pa.record_batch(columns, schema=schema))
    return pa.Table.from_batches(blocks, schema)


def _records(where: str, file: Any, layout: Layout) -> Iterator[list[str]]:
    """Yield the records from the first sample on, each with a cell for every column."""
    reader = csv.reader(file, delimiter=layout.separator, strict=True, skipinitialspace=True)
    width, line = len(layout.names), 1
    try:
        for number, cells in enumerate(reader):
            if number >= layout.n_before and (len(cells) > 1 or (cells and cells[0].strip())):
                if len(cells) != width:
                    raise InputError(
                        f"{where}: line {line} has {len(cells)} cells, the first line has {width}; repair it"
                    )
                yield cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{where}: line {line} is broken ({error}); repair its quotes") from None
