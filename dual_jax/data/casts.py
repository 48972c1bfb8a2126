"""One column of pyarrow as numbers, as text, or as vectors, whatever type it is stored in."""

import re
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from dual_jax.data.cells import CODE, MISSING, NUMBER
from dual_jax.data.ids import text_of_id

DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}")
TURN = ("content", "value", "text")  # names of what is said in one turn of a conversation
N_PROBED = 1000  # cells of text that are looked at before all are


def plain(column: Any) -> Any:
    """Return a column without a dictionary or the wrapping of an extension."""
    import pyarrow as pa

    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column


def is_textual(kind: Any) -> bool:
    """Return whether a type of pyarrow's is of text."""
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def spelt_out(column: Any) -> Any:
    """Return tokens, tags or a conversation in each cell as one text each; any other column as `plain` does.

    A conversation is a list of objects: of each its ``content``, ``value`` or ``text``, else all texts in it.

    Examples
    --------
    >>> import pyarrow
    >>> turns = [{"role": "user", "content": "Where is it?"}, {"role": "shop", "content": "Sent today."}]
    >>> spelt_out(pyarrow.chunked_array([[turns, None]])).to_pylist()
    ['Where is it? Sent today.', None]
    """
    import pyarrow as pa

    column = plain(column)
    kind = column.type
    if not _is_list(kind):
        return column
    inner = kind.value_type
    names = [field.name for field in inner if is_textual(field.type)] if pa.types.is_struct(inner) else []
    names = [name for name in TURN if name in names][:1] or names
    if not (names or is_textual(inner)):
        return column
    cells = []
    for parts in column.to_pylist():
        texts = [part[name] for part in parts or () if part for name in names] if names else parts or ()
        cells.append(None if parts is None else " ".join(filter(None, texts)))
    return pa.chunked_array([pa.array(cells, pa.large_string())])


def decoded(column: Any) -> Any:
    """Return bytes as text, or as they are where they are none."""
    import pyarrow as pa

    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return column


def text_as_numbers(column: Any, decimal: str, with_codes: bool = False) -> tuple[Any, str]:
    """Return a column of text as float64 where every cell is a number or missing, else the reason."""
    import pyarrow as pa
    from pyarrow import compute as pc

    if len(column) > N_PROBED:
        numbers, reason = text_as_numbers(column[:N_PROBED], decimal)
        if numbers is None and not reason.startswith("codes"):
            return None, reason
    cells = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    cells = pc.replace_substring_regex(cells, '^"(.*)"$', r"\1")
    low = pc.utf8_lower(cells)
    is_missing = pc.fill_null(pc.is_in(low, value_set=pa.array(sorted(MISSING), pa.large_string())), True)
    cells = pc.if_else(is_missing, pa.scalar(None, pa.large_string()), cells)
    if pc.all(pc.is_in(low, value_set=pa.array(["true", "false", *MISSING], pa.large_string()))).as_py():
        is_true = pc.if_else(pc.equal(low, "true"), 1.0, 0.0)
        return pc.if_else(is_missing, pa.scalar(None, pa.float64()), is_true), ""
    cells = pc.replace_substring(cells, "\u2212", "-")
    if decimal == ",":
        cells = pc.if_else(pc.match_substring(cells, "."), "text", pc.replace_substring(cells, ",", "."))
    is_number = pc.match_substring_regex(cells, f"^(?:{NUMBER})$")
    if not pc.all(is_number).as_py():  # of no cell: true
        row = pc.index(is_number, False).as_py()
        shown = str(column[row].as_py()).strip()
        shown = shown if len(shown) <= 24 else shown[:24] + "..."
        return None, f"{'dates' if DATE.match(shown) else 'text'}, not numbers: {shown!r} in row {row}"
    is_code = pc.match_substring_regex(cells, f"^{CODE}$")
    is_whole = pc.match_substring_regex(cells, "^[0-9]+$")
    if not with_codes and pc.any(is_code).as_py() and pc.all(is_whole).as_py():
        row = pc.index(is_code, True).as_py()
        return None, f"codes with leading zeros, not numbers: {cells[row].as_py()!r} in row {row}"
    return cells.cast(pa.float64()), ""


def vector_width(column: Any) -> int:
    """Return how many numbers every cell of a list column holds, 0 where it is no column of vectors."""
    import pyarrow as pa
    from pyarrow import compute as pc

    kind = column.type
    if not _is_list(kind):
        return 0
    inner = kind.value_type
    if not (pa.types.is_integer(inner) or pa.types.is_floating(inner)):
        return 0
    widths = pc.unique(pc.drop_null(pc.list_value_length(column))).to_pylist()
    return int(widths[0]) if len(widths) == 1 else 0


def texts_of(column: Any) -> Shaped[np.ndarray, " n"]:
    """Return the cells of a column as text without surrounding blanks, missing ones as ''."""
    import pyarrow as pa
    from pyarrow import compute as pc

    column = spelt_out(column)
    if is_textual(column.type):
        cells = pc.utf8_trim_whitespace(column).to_pylist()
    elif pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        cells = column.cast(pa.string()).to_pylist()
    else:
        cells = [text_of_id(value) for value in column.to_pylist()]
    return np.array(["" if cell is None else cell for cell in cells], str)


def vectors_of(column: Any, width: int) -> Float[np.ndarray, "n width"]:
    """Return the rows of a list column, NaN where one or a number of it is missing."""
    column = plain(column)
    parts = []
    for chunk in column.chunks:
        valid = chunk.drop_null()
        values = valid.flatten().to_numpy(zero_copy_only=False)
        values = values.astype(np.promote_types(values.dtype, np.float32), copy=False)
        rows = np.full((len(chunk), width), np.nan, values.dtype)
        rows[chunk.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, width)
        parts.append(rows)
    return np.concatenate(parts)
