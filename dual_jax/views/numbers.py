"""Columns of numbers and of dates as one view: missing cells get the column's median, then one scale for all.

A date is its days since 1970 and, for each of the year, the week and the day that the pool spans, the sine
and the cosine of the time within it: the end of December is near the beginning of January.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from dual_jax.data.casts import is_textual, text_as_numbers
from dual_jax.data.errors import InputError
from dual_jax.data.written import MARKS, amounts, dates_of, marks_of
from dual_jax.data.written import dates as read_dates
from dual_jax.numerics.scaling import Scaler, apply, fit_scaler
from dual_jax.views.columns import only_reading, without_missing

CYCLES = {"year": 365.25, "week": 7.0, "day": 1.0}  # in days
DAY = 86_400e6  # in microseconds


class Numbers(NamedTuple):
    """Columns with the ``cycles`` of each (None: numbers), the medians and the scale of all features.

    ``forms`` says how text is read in each column, in new rows as in the pool; '' where it holds none.
    """

    columns: tuple[str, ...]
    forms: tuple[str, ...]
    cycles: tuple[tuple[str, ...] | None, ...]
    medians: Float[np.ndarray, " d"]
    scaler: Scaler

    @classmethod
    def fit(
        cls,
        table: Any,
        columns: Sequence[str],
        dates: Sequence[str] = (),
        scale: str = "standard",
        forms: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """Return the view of these columns, those in ``dates`` as dates; ``forms`` says how text is read."""
        read_as = tuple(forms.get(name) or _form(name, table[name], name in dates) for name in columns)
        cycles = tuple(
            _cycles(name, table[name], form) if name in dates else None
            for name, form in zip(columns, read_as, strict=True)
        )
        rows = _rows(table, columns, read_as, cycles)
        medians = column_medians(rows)
        return cls(tuple(columns), read_as, cycles, medians, fit_scaler(_filled(rows, medians), scale))

    def transform(self, table: Any) -> Float[np.ndarray, "m d"]:
        """Return rows of a table as scaled numbers without gaps."""
        rows = _rows(table, self.columns, self.forms, self.cycles)
        return np.asarray(apply(self.scaler, _filled(rows, self.medians)))

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [
            name + part
            for name, cycles in zip(self.columns, self.cycles, strict=True)
            for part in ("", *(f"_{cycle}_{of}" for cycle in cycles or () for of in ("sin", "cos")))
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `restored` needs, as JSON and as arrays."""
        about = {
            "columns": self.columns,
            "forms": self.forms,
            "cycles": self.cycles,
            "scale": self.scaler.how,
        }
        return about, {"medians": self.medians, "scaler": list(self.scaler[1:])}

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the view from its `state`."""
        cycles = tuple(None if cycle is None else tuple(cycle) for cycle in about["cycles"])
        scaler = Scaler(about["scale"], *(arrays[f"scaler/{i}"] for i in range(3)))
        return cls(tuple(about["columns"]), tuple(about["forms"]), cycles, arrays["medians"], scaler)


def _form(name: str, column: Any, is_date: bool) -> str:
    """Return how text in a column is read, '' where there is none or no way."""
    column = without_missing(column)
    if not is_textual(column.type):
        return ""
    readings = dates_of(column) if is_date else marks_of(column)
    return only_reading(name, "date" if is_date else "number", readings)


def _rows(
    table: Any, columns: Sequence[str], forms: Sequence[str], cycles: Sequence[Any]
) -> Float[np.ndarray, "n d"]:
    """Return the features of the columns, NaN where a cell is missing."""
    parts = [
        number_cells(name, table[name], form)[:, None]
        if of is None
        else _date_parts(_days(name, table[name], form), of)
        for name, form, of in zip(columns, forms, cycles, strict=True)
    ]
    return np.concatenate(parts, axis=1)


def column_medians(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Return the median of the cells of each column that are not NaN, 0 where all are."""
    cells = [column[~np.isnan(column)] for column in rows.T]
    return np.array([np.median(there) if len(there) else 0.0 for there in cells])


def _filled(rows: Float[np.ndarray, "n d"], medians: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n d"]:
    return np.where(np.isnan(rows), medians, rows)


def number_cells(name: str, column: Any, form: str = "") -> Float[np.ndarray, " n"]:
    """Return a column of numbers in float64: missing and infinite cells as NaN, durations in seconds.

    ``form`` is the name of the decimal mark of text, one of `dual_jax.data.written.MARKS`.

    Raises
    ------
    InputError
        When the column holds something else.
    """
    import pyarrow as pa

    column = without_missing(column)
    kind, per_second = column.type, 1.0
    if is_textual(kind):
        column = _amounts(name, column, form or _form(name, column, is_date=False))
    elif pa.types.is_duration(kind) or pa.types.is_time(kind):
        per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        column = column.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64())
    try:
        cells = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / per_second
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"column {name!r} is taken for numbers and holds {kind}") from None
    return np.where(np.isfinite(cells), cells, np.nan)


def _amounts(name: str, column: Any, form: str) -> Any:
    """Return a column of text as numbers; codes with leading zeros are taken for them here."""
    numbers = amounts(column, MARKS[form]) if form else None
    if numbers is None:
        numbers, reason = text_as_numbers(column, MARKS.get(form, "."), with_codes=True)
    if numbers is None:
        raise InputError(f"column {name!r} is taken for numbers and holds {reason}")
    return numbers


def _days(name: str, column: Any, form: str) -> Float[np.ndarray, " n"]:
    """Return dates as days since 1970, NaN where missing."""
    import pyarrow as pa
    from pyarrow import compute as pc

    column = without_missing(column)
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    if not is_textual(column.type):
        dates = column.cast(pa.timestamp("us"), safe=False) if pa.types.is_temporal(column.type) else None
    else:
        form = form or _form(name, column, is_date=True)
        dates = read_dates(column, form) if form else None
    if dates is None:
        written = f" written as {form}" if form else ""
        raise InputError(f"column {name!r} is taken for dates{written} and holds {column.type} that are none")
    cells = pc.cast(dates, pa.int64()).cast(pa.float64(), safe=False)
    return cells.to_numpy(zero_copy_only=False) / DAY


def _cycles(name: str, column: Any, form: str) -> tuple[str, ...]:
    """Return the cycles that the dates of a pool span, and within which they differ."""
    days = _days(name, column, form)
    days = days[~np.isnan(days)]
    if not len(days):
        return ()
    span = days.max() - days.min()
    return tuple(name for name, length in CYCLES.items() if span >= length and np.ptp(days % length) > 0)


def _date_parts(days: Float[np.ndarray, " n"], cycles: Sequence[str]) -> Float[np.ndarray, "n p"]:
    angles = [2 * np.pi * days / CYCLES[cycle] for cycle in cycles]
    return np.stack([days, *(part for angle in angles for part in (np.sin(angle), np.cos(angle)))], axis=1)
