"""What each column of a pool is: numbers, dates, categories, text, vectors, or no feature, and why.

The rules look at names and cells alone, in this order: a column of one value, row ids (a name such as
``uid`` with distinct cells), vectors, dates, numbers, pictures or recordings as bytes, their paths if the
files are there, then text (lists of texts are joined) by how often it repeats and how long it is.
Text that holds numbers is numbers, as in `dual_jax.data.columns`.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dual_jax.data.casts import decoded, is_textual, spelt_out, vector_width
from dual_jax.data.cells import MISSING
from dual_jax.data.columns import ID_NAME, MANY_COUNTED, counts_rows
from dual_jax.data.errors import InputError
from dual_jax.data.filecells import kind_held
from dual_jax.data.media import IMAGES, NOUNS, SERIES, begins_as, kind_of_file
from dual_jax.data.written import DATE_FORMS, MARKS, dates_of, marks_of

FILES = {"image": IMAGES, "series": SERIES}  # kinds of columns of files, by their paths or as bytes
# Kinds that become features.
USED = ("number", "counts", "date", "category", "string", "text", "vector", *FILES)
KINDS = (*USED, "id", "exclude")
LABEL_NAMES = ("label", "labels", "class", "target")  # no label is ever read
MAX_LEVELS = 40  # distinct texts that are categories however seldom each is; more have to repeat
REPEATS = 5  # rows per distinct text, on average, from which many distinct texts are categories
MIN_WORDS = 4  # of a cell, on average, from which text is read by words
ID_SHARE = 0.95  # of the rows have a cell of their own, in a column that looks like ids
N_PATHS, PATH_SHARE = 100, 0.9  # cells that are looked at, and the share of them that are files
FORMS = {"number": tuple(MARKS), "date": DATE_FORMS}  # how text of these kinds may be read


class Column(NamedTuple):
    """A column, what it is taken for (one of `KINDS`), and why.

    ``form`` says how text is read: the decimal mark of numbers, or the form of dates; '' where that is still
    to be found out, or the column holds no text.
    """

    name: str
    kind: str
    reason: str
    form: str = ""

    def __str__(self) -> str:
        """Return the line that tells a person."""
        return f"{self.name}: {self.kind} ({self.reason})"


def sort(table: Any, asked: Mapping[str, str], folder: str | None = None) -> tuple[Column, ...]:
    """Return what each column of a table is, in the table's order.

    Parameters
    ----------
    table : pyarrow.Table
        With distinct names.
    asked : mapping
        Kinds of columns by their names, which overrule what is found; ``number:comma``, ``number:point`` and
        ``date:%d/%m/%Y`` say how text is read as well.
    folder : str, optional
        Where relative paths begin; without it no column is taken for paths of files.

    Raises
    ------
    InputError
        When a name is not there, a kind is none of `KINDS`, or text can be read as numbers or as dates in
        two ways.

    Examples
    --------
    >>> import pyarrow
    >>> for column in sort(pyarrow.table({"age": [31, 47], "steel": ["A", "R"]}), {"steel": "category"}):
    ...     print(column)
    age: number (31 to 47)
    steel: category (as asked)
    """
    for name, kind in asked.items():
        if name not in table.column_names:
            raise InputError(
                f"there is no column {name!r}; the columns are {', '.join(map(repr, table.column_names))}"
            )
        kind, _, form = kind.partition(":")
        if kind not in KINDS:
            raise InputError(f"column {name!r} cannot be {kind!r}: use one of {', '.join(KINDS)}")
        if form and form not in FORMS.get(kind, ()) and not (kind == "date" and "%" in form):
            raise InputError(
                f"column {name!r} cannot be read as {kind}:{form}: use number:point, number:comma, or date: "
                "and a form such as %d/%m/%Y"
            )
    return tuple(
        _as_asked(name, asked[name]) if name in asked else Column(name, *_found(name, table[name], folder))
        for name in table.column_names
    )


def _as_asked(name: str, kind: str) -> Column:
    kind, _, form = kind.partition(":")
    return Column(name, kind, "as asked", form)


def column_to_read(table: Any, columns: Sequence[Column]) -> str | None:
    """Return the column that a person reads: of those taken for text the one with the longest cells.

    Where there is none, of those of short text; None where there is neither.
    """
    for kind in ("text", "string"):
        names = [column.name for column in columns if column.kind == kind]
        if names:
            return max(names, key=lambda name: mean_length(table[name]))
    return None


def mean_length(column: Any) -> float:
    """Return the characters of a cell of text on average, over the cells that are there."""
    from pyarrow import compute as pc

    return float(pc.mean(pc.utf8_length(without_missing(column))).as_py() or 0.0)


def without_missing(column: Any) -> Any:
    """Return a column in a plain type; texts without surrounding blanks, spellings of "missing" as null.

    Lists of texts are one text (`dual_jax.data.casts.spelt_out`).
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    column = spelt_out(column)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = decoded(column)
    if is_textual(column.type):
        texts = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
        is_missing = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(sorted(MISSING), pa.large_string()))
        return pc.if_else(is_missing, pa.scalar(None, pa.large_string()), texts)
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    return column


def only_reading(name: str, kind: str, readings: Mapping[str, Any]) -> str:
    """Return the form of a column's only reading, '' where there is none.

    Raises
    ------
    InputError
        When text can be read in two ways that give other values.
    """
    if len(readings) < 2:
        return next(iter(readings), "")
    first, second = [*readings][:2]
    values = " or ".join(_shown(_first_apart(readings, form)) for form in (first, second))
    raise InputError(
        f"column {name!r} can be read as {kind}s in two ways, a cell as {values}: decide by --as "
        f"{name}={kind}:{first} or {name}={kind}:{second} (columns= of PoolEncoder)"
    )


def _first_apart(readings: Mapping[str, Any], form: str) -> Any:
    """Return the cell of a reading at the first place where the first two differ."""
    from pyarrow import compute as pc

    first, second = [*readings.values()][:2]
    return readings[form][pc.index(pc.equal(first, second), False).as_py()].as_py()


def _found(name: str, column: Any, folder: str | None) -> tuple[str, ...]:
    """Return the kind of a column, the reason, and how text is read, from its name and its cells."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if name.lower() in LABEL_NAMES:
        return "exclude", "named as a label"
    if media := kind_held(column):
        kind = next(kind for kind, own in FILES.items() if own == media)
        return kind, f"{NOUNS[media]} in the cells" + _missing(column)
    column = without_missing(column)
    types, kind = pa.types, column.type
    if column.null_count == len(column):
        return "exclude", "every cell is missing"
    if types.is_nested(kind):
        width = vector_width(column)
        return ("vector", f"{width} numbers in each row") if width else ("exclude", f"holds {kind}")
    n_distinct = pc.count_distinct(column, mode="only_valid").as_py()
    if n_distinct == 1 and not column.null_count:
        return "exclude", f"the same in every row: {_shown(column[0])}"
    is_distinct = n_distinct == len(column)
    if is_distinct and _is_id_name(name) and (is_textual(kind) or types.is_integer(kind)):
        return "id", "named as an id, and distinct in every row"
    if types.is_integer(kind) and len(column) >= MANY_COUNTED and counts_rows(column):
        return "exclude", f"counts the rows; as {name}=number it is a feature"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number", _range(column)
    if types.is_boolean(kind):
        return "number", "true or false" + _missing(column)
    if types.is_duration(kind) or types.is_time(kind):
        return "number", f"{kind}, in seconds" + _missing(column)
    if types.is_timestamp(kind) or types.is_date(kind):
        return "date", f"{kind}" + _missing(column)
    if not is_textual(kind):
        return "exclude", f"holds {kind}"
    return _found_files(column, folder) or _found_in_text(name, column, n_distinct)


def _found_files(column: Any, folder: str | None) -> tuple[str, str] | None:
    """Return the kind of a column of paths and the reason; None where its cells are something else.

    At most 100 cells are looked at. Nine of ten must be names of files of one kind, whose
    first bytes say so too.
    """
    if folder is None:
        return None
    cells = column.drop_null()
    cells = cells.take([*range(0, len(cells), -(-len(cells) // N_PATHS))]).to_pylist()
    kinds = Counter(kind_of_file(cell) for cell in cells)
    kind = next((kind for kind, media in FILES.items() if kinds[media] >= PATH_SHARE * len(cells)), None)
    if kind is None:
        return None
    n_there = sum(begins_as(os.path.join(folder, cell), FILES[kind]) for cell in cells)
    if n_there < PATH_SHARE * len(cells):
        return None
    return kind, f"paths of {NOUNS[FILES[kind]]}, such as {_shown(cells[0])}" + _missing(column)


def _found_in_text(name: str, column: Any, n_distinct: int) -> tuple[str, ...]:
    """Return the kind of a column of texts, the reason, and how it is read."""
    from pyarrow import compute as pc

    gaps = _missing(column)
    if form := only_reading(name, "number", numbers := marks_of(column)):
        return "number", _range(numbers[form]) + (" with decimal commas" if form == "comma" else ""), form
    if form := only_reading(name, "date", dates_of(column)):
        return "date", f"written as {form}" + gaps, form
    n_cells = len(column) - column.null_count
    n_words = pc.mean(pc.list_value_length(pc.utf8_split_whitespace(column))).as_py()
    counted = f"{n_distinct:,} distinct in {n_cells:,} rows"
    about = f"{counted}, {n_words:.1f} words each{gaps}"
    if n_words >= MIN_WORDS and n_distinct * REPEATS > n_cells:
        return "text", about
    if _are_like_ids(column, n_distinct):
        return "id", f"like ids: {counted}, one word each"
    if n_distinct <= MAX_LEVELS or n_distinct * REPEATS <= n_cells:
        return "category", counted + gaps
    return "string", about


def column_of_ids(table: Any, folder: str | None = None) -> str | None:
    """Return the first column of a table that looks like ids, each cell there and no two the same.

    Paths of files that are there, from ``folder`` on, are none.
    """
    from pyarrow import compute as pc

    for name in table.column_names:
        column = without_missing(table[name])
        is_candidate = is_textual(column.type) and not column.null_count
        is_candidate = is_candidate and pc.count_distinct(column).as_py() == len(column)
        if is_candidate and _are_like_ids(column, len(column)) and _found(name, column, folder)[0] == "id":
            return str(name)
    return None


def _are_like_ids(column: Any, n_distinct: int) -> bool:
    """Return whether nearly all cells are there and distinct, of one word without accents."""
    from pyarrow import compute as pc

    if n_distinct < ID_SHARE * len(column) or n_distinct <= REPEATS:
        return False
    n_words = pc.mean(pc.list_value_length(pc.utf8_split_whitespace(column))).as_py()
    return bool(n_words < 1.5 and pc.all(pc.string_is_ascii(column)).as_py())


def _is_id_name(name: str) -> bool:
    return bool(ID_NAME.fullmatch(name) or ID_NAME.fullmatch(name.lower()))


def _range(column: Any) -> str:
    from pyarrow import compute as pc

    ends = pc.min_max(column).as_py()
    return f"{_shown(ends['min'])} to {_shown(ends['max'])}" + _missing(column)


def _missing(column: Any) -> str:
    n = column.null_count
    return f", {n:,} missing" if n else ""


def _shown(value: Any) -> str:
    """Return a cell in a few characters."""
    value = value.as_py() if hasattr(value, "as_py") else value
    text = f"{value:.6g}" if isinstance(value, float | np.floating) else re.sub(r"\s+", " ", str(value))
    return text if len(text) <= 24 else text[:24] + "..."
