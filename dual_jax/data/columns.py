"""The columns of a table of pyarrow: which are numbers, vectors or ids, and why the others are not.

The same rules for every format: text that holds only numbers, ``True`` and ``False``, or missing cells is
numbers; codes with leading zeros are not. A column that only says which row it is (a saved index, or distinct
integers or texts under a name such as ``customer_id``) is no feature, and can serve as ids. One that counts a
hundred rows or more from 0 or 1, in their order, is no feature whatever its name.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from dual_jax.data.casts import (
    decoded,
    is_textual,
    plain,
    text_as_numbers,
    texts_of,
    vector_width,
    vectors_of,
)
from dual_jax.data.delimited import check_column, unique_names
from dual_jax.data.errors import InputError
from dual_jax.data.filecells import kind_held
from dual_jax.data.files import parsing
from dual_jax.data.ids import check_ids
from dual_jax.data.media import NOUNS

ROW_NUMBER_NAMES = ("column 0", "index", "unnamed: 0", "__index_level_0__", "id")
ID_NAME = re.compile(
    r"(?:^|.*[\s_.:-])(?:id|uid|uuid|guid|index|idx|key)|.*[a-z](?:Id|ID)|unnamed: \d+|__index_level_\d+__",
)
INDEX_SEPARATOR = "/"
MANY_COUNTED = 100  # rows: fewer may rise one by one by themselves


class Columns(NamedTuple):
    """A table by columns; each is in ``numbers``, ``vectors`` or ``dropped`` (with the reason).

    ``numbers`` are columns of pyarrow, ``vectors`` maps a list column to its width; ``ids`` are those
    of ``id_columns``, asked for or found.
    """

    table: Any
    names: tuple[str, ...]
    numbers: dict[str, Any]
    vectors: dict[str, int]
    dropped: dict[str, str]
    ids: Shaped[np.ndarray, " n"] | None
    id_columns: tuple[str, ...]
    guesses: list[str]

    @property
    def id_name(self) -> str | None:
        """What the ids are called; of several columns all names."""
        return INDEX_SEPARATOR.join(self.id_columns) if self.id_columns else None


class Wishes(NamedTuple):
    """What the caller says of columns: which holds the ids, which are no features, which surely are."""

    id_column: str | None = None
    exclude: Collection[str] = ()
    use: Collection[str] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """Columns that must be there, and whose text is kept."""
        return (*(() if self.id_column is None else (self.id_column,)), *self.exclude)


def sort_columns(
    where: str,
    table: Any,
    wishes: Wishes,
    *,
    index: Sequence[str] = (),
    labels: Sequence[str] = (),
    has_names: bool = True,
    decimal: str = ".",
    needs_numbers: bool = True,
) -> Columns:
    """Return what each column of a table is.

    Parameters
    ----------
    where : str
        What to call the table in errors.
    table : pyarrow.Table
        As read.
    wishes : Wishes
        What the caller says of columns.
    index, labels : sequences of str
        Columns that the file's own notes call the index of a frame, and class labels.
    has_names : bool
        Whether the columns' names were in the file.
    decimal : str
        The decimal mark in text.
    needs_numbers : bool
        Whether a table without a column of numbers, or with several of vectors, is refused.

    Raises
    ------
    InputError
        When a named column is missing or twice, there are no rows or no column of numbers, or several list
        columns.
    """
    header = table.column_names
    table = table.rename_columns(list(unique_names(header)))
    names = tuple(table.column_names)
    for name in (*wishes.named, *wishes.use):
        check_column(where, name, names, header)
    if not table.num_rows:
        raise InputError(f"{where} has a header and no rows")
    found = Columns(table, names, {}, {}, {}, None, (), [])
    unnamed = _unnamed(names) if has_names else []
    for name in names:
        is_noted = name in (*labels, *index) and name not in wishes.use
        if name in wishes.named or is_noted:
            found.dropped[name] = _asked_reason(name, wishes, labels)
        else:
            _sort(where, found, name, decimal)
    levels = [name for name in (*index, *unnamed) if name not in (*wishes.named, *wishes.use)]
    _check_unnamed(where, found, [name for name in unnamed if name in levels])
    if wishes.id_column is not None:
        ids = texts_of(found.table[wishes.id_column])
        check_ids(ids, f"{where}: column {wishes.id_column!r}")
        found = found._replace(ids=ids, id_columns=(wishes.id_column,))
    if has_names:
        found = _without_ids(found, wishes, levels)
    if not found.numbers and not found.vectors:
        _take_codes(found, decimal)
    if needs_numbers or len(found.vectors) == 1:
        _check_features(where, found)
    order = {name: found.dropped[name] for name in names if name in found.dropped}
    return found._replace(dropped=order)


def _take_codes(found: Columns, decimal: str) -> None:
    """Let codes be numbers of a fixed width, as they are where a table has nothing else."""
    for name in [name for name, reason in found.dropped.items() if reason.startswith("codes")]:
        found.numbers[name] = text_as_numbers(plain(found.table[name]), decimal, with_codes=True)[0]
        del found.dropped[name]


def _asked_reason(name: str, wishes: Wishes, labels: Sequence[str]) -> str:
    if name == wishes.id_column:
        return "the id column"
    if name in wishes.exclude:
        return "excluded"
    return "class labels" if name in labels else "the saved index"


def _sort(where: str, found: Columns, name: str, decimal: str) -> None:
    """Put a column where it belongs."""
    import pyarrow as pa
    from pyarrow import compute as pc

    column, types = plain(found.table[name]), pa.types
    kind = column.type
    if media := kind_held(column):
        found.dropped[name] = f"{NOUNS[media]}, not numbers"
        return
    if types.is_binary(kind) or types.is_large_binary(kind):
        column = decoded(column)
        kind = column.type
    if column.null_count == len(column):
        found.dropped[name] = "every cell is missing"
    elif is_textual(kind):
        numbers, reason = text_as_numbers(column, decimal)
        if numbers is None:
            found.dropped[name] = reason
        else:
            found.numbers[name] = numbers
            if numbers.null_count == len(numbers):
                del found.numbers[name]
                found.dropped[name] = "every cell is missing"
    elif types.is_temporal(kind):
        found.dropped[name] = f"dates or times, not numbers: {kind}"
    elif types.is_boolean(kind) or types.is_decimal(kind):
        with parsing(where, "numbers"):
            found.numbers[name] = column.cast(pa.uint8() if types.is_boolean(kind) else pa.float64())
    elif types.is_integer(kind) or types.is_floating(kind):
        if pc.all(pc.is_null(column, nan_is_null=True)).as_py():
            found.dropped[name] = "every cell is missing"
        else:
            found.numbers[name] = column
    elif width := vector_width(column):
        found.vectors[name] = width
    else:
        found.dropped[name] = f"no numbers: {kind}"


def _unnamed(names: Sequence[str]) -> list[str]:
    """Return the leading columns without a name, where others have one."""
    made_up = [name == f"column {place}" for place, name in enumerate(names)]
    n = made_up.index(False) if False in made_up else 0
    return [*names[:n]]


def _check_unnamed(where: str, found: Columns, names: Sequence[str]) -> None:
    """Refuse a first column without a name whose numbers may be features."""
    for name in names:
        column = found.numbers.get(name)
        if column is None or (_are_integers(column) and (len(names) > 1 or _are_distinct(column))):
            continue
        raise InputError(
            f"{where}: the first column has no name, and its numbers are not distinct integers: it may be an "
            f"index or a feature; decide by --exclude {name!r} (exclude=) or --use {name!r} (use=)"
        )


def _without_ids(found: Columns, wishes: Wishes, levels: Sequence[str]) -> Columns:
    """Return the columns without those that only say which row it is; the first of these serve as ids."""
    dropped, numbers, guesses = dict(found.dropped), dict(found.numbers), [*found.guesses]
    ids, id_columns = found.ids, found.id_columns
    groups = [[*levels]] if levels else []
    others = [name for name in found.names if name not in levels and name not in (*wishes.named, *wishes.use)]
    for name in [name for name in others if _is_count(found, name) and not _is_id(found, name)]:
        dropped[name] = "row numbers"
        del numbers[name]
        guesses.append(f"row numbers: {name!r} counts the rows, no feature (--use makes it a feature)")
    groups += [[name] for name in others if _is_id(found, name)]
    for group in groups:
        reason = "the saved index" if group == [*levels] else "row ids"
        for name in group:
            is_count = name.lower() in ROW_NUMBER_NAMES and counts_rows(numbers.get(name))
            dropped[name] = "row numbers" if is_count else reason
            numbers.pop(name, None)
        if "row numbers" in [dropped[name] for name in group] or ids is not None:
            continue
        texts = _joined([texts_of(found.table[name]) for name in group])
        if len(set(texts)) == len(texts) and "" not in texts:
            ids, id_columns = texts, tuple(group)
            what = "the ids of its samples"
        else:
            what = "no feature, nor ids, as it has repetitions"
        guesses.append(f"{reason}: {', '.join(map(repr, group))}, {what} (--use makes it a feature)")
    return found._replace(dropped=dropped, numbers=numbers, ids=ids, id_columns=id_columns, guesses=guesses)


def _joined(levels: Sequence[Shaped[np.ndarray, " n"]]) -> Shaped[np.ndarray, " n"]:
    if len(levels) == 1:
        return levels[0]
    return np.array([INDEX_SEPARATOR.join(parts) for parts in zip(*levels, strict=True)], str)


def ids_of(table: Any, like: Columns) -> Shaped[np.ndarray, " n"]:
    """Return the ids of another part of the table, as text."""
    return _joined([texts_of(table[name]) for name in like.id_columns])


def _is_count(found: Columns, name: str) -> bool:
    """Return whether a column counts many rows, and there are other features."""
    has_others = len(found.numbers) + len(found.vectors) > 1
    return has_others and found.table.num_rows >= MANY_COUNTED and counts_rows(found.numbers.get(name))


def _is_id(found: Columns, name: str) -> bool:
    """Return whether a column is named as an id and holds distinct integers or texts."""
    if not (ID_NAME.fullmatch(name) or ID_NAME.fullmatch(name.lower())):
        return False
    column = found.numbers.get(name)
    if column is not None:
        return _are_integers(column) and _are_distinct(column)
    return found.dropped.get(name, "").startswith(("text", "codes")) and _are_distinct(found.table[name])


def _are_integers(column: Any) -> bool:
    import pyarrow as pa
    from pyarrow import compute as pc

    if pa.types.is_floating(column.type):
        return bool(column.null_count == 0 and pc.all(pc.equal(column, pc.trunc(column))).as_py())
    return pa.types.is_integer(column.type) and not column.null_count


def _are_distinct(column: Any) -> bool:
    from pyarrow import compute as pc

    return bool(pc.count_distinct(column).as_py() == len(column) > 1)


def counts_rows(column: Any) -> bool:
    """Return whether numbers of pyarrow only count the rows, from 0 or 1."""
    if column is None or column.null_count:
        return False
    values = column.to_numpy()
    counted = values - np.arange(len(values))
    return counted[0] in (0, 1) and bool(np.all(counted == counted[0]))


def _check_features(where: str, found: Columns) -> None:
    """Refuse a table without features, or with several columns of vectors."""
    if len(found.vectors) > 1:
        names = ", ".join(map(repr, found.vectors))
        raise InputError(
            f"{where} has several columns of vectors ({names}): leave all but one out by --exclude (exclude=)"
        )
    if not found.numbers and not found.vectors:
        seen = "; ".join(f"{name}: {reason}" for name, reason in [*found.dropped.items()][:5])
        raise InputError(f"{where} has no column of numbers ({seen})")
    for name in found.vectors:
        for other in found.numbers:
            found.dropped[other] = f"numbers beside the vectors of {name!r}"
        beside = ", ".join(map(repr, [*found.numbers][:4])) + (", ..." if len(found.numbers) > 4 else "")
        left_out = f"; the numbers of {beside} are left out" if found.numbers else ""
        found.guesses.append(f"column {name!r} holds vectors, which are the samples{left_out}")
        found.numbers.clear()


def matrix_of(found: Columns) -> Float[np.ndarray, "n d"]:
    """Return the features as rows: the vectors where there are some, else the columns of numbers."""
    if found.vectors:
        (name, width), *_ = found.vectors.items()
        return vectors_of(found.table[name], width)
    import pyarrow as pa

    numbers = pa.table(found.numbers)
    result = np.empty((numbers.num_rows, numbers.num_columns))
    start = 0
    for batch in numbers.to_batches(max_chunksize=1 << 13):
        stop = start + batch.num_rows
        for place, column in enumerate(batch.columns):
            result[start:stop, place] = column.to_numpy(zero_copy_only=False)
        start = stop
    return result


def matrix_as_in(where: str, like: Columns, table: Any) -> Float[np.ndarray, "n d"]:
    """Return the features of another part of the table as rows, each column read as in the first part.

    Raises
    ------
    InputError
        When a column is not of the same kind there.
    """
    import pyarrow as pa

    found = Columns(table, tuple(table.column_names), {}, {}, {}, None, (), [])
    for name in (*like.vectors, *like.numbers):
        _sort(where, found, name, ".")
        is_as_before = name in found.numbers or (name, found.vectors.get(name)) in like.vectors.items()
        if found.dropped.get(name) == "every cell is missing" and name in like.numbers:
            found.numbers[name] = pa.chunked_array([pa.nulls(table.num_rows, pa.float64())])
        elif not is_as_before:
            reason = found.dropped.get(name, "not of the kind before")
            raise InputError(f"{where}: column {name!r} is not as in the first ({reason})")
    return matrix_of(found)


def feature_names(found: Columns) -> tuple[str, ...]:
    """Return the names of the columns of `matrix_of`."""
    if found.vectors:
        (name, width), *_ = found.vectors.items()
        return tuple(f"{name}[{place}]" for place in range(width))
    return tuple(found.numbers)
