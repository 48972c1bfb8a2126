"""Columns of text that hold amounts or dates: in which ways they can be read, and what they hold.

An amount is a number that may have thousands in groups and one unit, the same in every cell: ``1,234.50``,
``€ 3``, ``12 %``. A date may have its day or its month first, and a time behind it.
"""

from typing import Any

from dual_jax.data.casts import text_as_numbers

MARKS = {"point": ".", "comma": ","}  # names of the decimal marks
_GROUPS = {".": r"[,' \x{a0}\x{202f}\x{2019}]", ",": r"[.' \x{a0}\x{202f}\x{2019}]"}
_CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|JPY|CNY|INR)?"
_UNIT = r"(?:%|[$€£¥₹]|°?\pL{1,4}[²³]?)?"
_SIGN = r"[-+\x{2212}]?"
_SPACE = r"[\s\x{a0}\x{202f}]*"
_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", ", %H:%M", " %I:%M %p")
ISO, ISO_UTC = "ISO 8601", "ISO 8601 with a time zone"
DATE_FORMS = (*(day + time for day in _DAYS for time in _TIMES), ISO, ISO_UTC)
N_PROBED = 100  # cells that a form of dates is tried on before all
PARTS = ("sign", "before", "inner", "number", "after")
OLDEST = -30_000_000_000  # seconds from 1970, in the year 1019: a year of two digits read as one of four


def amounts(column: Any, mark: str) -> Any:
    """Return a column of text as float64 where every cell is an amount or missing, else None.

    Parameters
    ----------
    column : pyarrow column of text
        Missing cells are null.
    mark : str
        The decimal mark, "." or ",".
    """
    import pyarrow as pa
    from pyarrow import compute as pc

    numbers, _ = text_as_numbers(column, mark)
    if numbers is not None:
        return numbers
    body = rf"(?:[1-9]\d{{0,2}}(?:{_GROUPS[mark]}\d{{3}})+|\d+)(?:\{mark}\d+)?"
    number = f"{_SPACE}(?P<inner>{_SIGN}){_SPACE}(?P<number>{body}){_SPACE}"
    form = f"^(?P<sign>{_SIGN})(?P<before>{_CURRENCY}){number}(?P<after>{_UNIT})$"
    cells = pc.drop_null(column.cast(pa.large_string()))
    parts = pc.extract_regex(cells, form)
    if parts.null_count or not len(cells):
        return None
    parts = {name: pc.struct_field(parts, name) for name in PARTS}
    if any(pc.count_distinct(parts[name]).as_py() > 1 for name in ("before", "after")):
        return None
    bare = pc.replace_substring_regex(parts["number"], _GROUPS[mark], "")
    joined = pc.binary_join_element_wise(
        parts["sign"], parts["inner"], bare, pa.scalar("", pa.large_string())
    )
    read, _ = text_as_numbers(joined, mark)
    return None if read is None else _in_place(read, column)


def _in_place(values: Any, column: Any) -> Any:
    """Return values, one for each cell of a column that is there, with nulls where one is missing."""
    from pyarrow import compute as pc

    is_there = pc.cast(pc.is_valid(column), "int64")
    place = pc.if_else(pc.is_valid(column), pc.subtract(pc.cumulative_sum(is_there), 1), None)
    return values.take(place)


def marks_of(column: Any) -> dict[str, Any]:
    """Return the amounts of a column by the name of each decimal mark that it can be read with.

    Numbers without groups and units are read in one way; of two ways that give the same one is returned.
    """
    numbers, _ = text_as_numbers(column, ".")
    if numbers is not None:
        return {"point": numbers}
    found = {name: amounts(column, mark) for name, mark in MARKS.items()}
    return _distinct({name: values for name, values in found.items() if values is not None})


def dates(column: Any, form: str) -> Any:
    """Return a column of text as timestamps where every cell is a date of this form, else None."""
    import pyarrow as pa
    from pyarrow import compute as pc

    try:
        if form == ISO:
            return column.cast(pa.timestamp("us"))
        if form == ISO_UTC:
            return column.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
        read = pc.strptime(column.cast(pa.string()), format=form, unit="us")
    except pa.ArrowInvalid:
        return None
    earliest = pc.min(read.cast(pa.int64())).as_py()
    return None if earliest is not None and earliest < OLDEST * 1_000_000 else read


def dates_of(column: Any) -> dict[str, Any]:
    """Return the dates of a column by each form that it can be read in and that gives others."""
    head = column.drop_null()[:N_PROBED]
    forms = [form for form in DATE_FORMS if dates(head, form) is not None]
    found = {form: values for form in forms if (values := dates(column, form)) is not None}
    return _distinct(found)


def _distinct(readings: dict[str, Any]) -> dict[str, Any]:
    """Return readings without those that give what a former one gave."""
    distinct: dict[str, Any] = {}
    for name, values in readings.items():
        if not any(values.equals(other) for other in distinct.values()):
            distinct[name] = values
    return distinct
