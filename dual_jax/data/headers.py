"""Is the first line of a delimited file a header? Text usually says so; a line of numbers needs evidence.

Years, wavelengths and column numbers are headers too. A wrong answer shifts every row by one, so where both
readings are plausible the caller is asked.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dual_jax.data.cells import is_integer, is_number, is_text
from dual_jax.data.errors import InputError

OPTION = "decide by --header or --no-header (header=True or False)"
MIN_SERIES = 5  # evenly spaced numbers that hardly occur by chance
MIN_PLAUSIBLE = 3  # fewer may be chance, so the caller is asked
YEARS = (1800, 2100)
MIN_MONOTONE = 8  # numbers that only rise or only fall: 2 in 8! by chance


class Evidence(NamedTuple):
    """What the first line looks like beside the lines below it; ``values`` are its numbers."""

    values: tuple[float, ...]
    is_integer: bool  # every number of the first line is written without decimals
    has_decimals_below: bool  # some number below is written with decimals
    is_unlike_below: bool  # each column has decimals, and no line below is of integers alone
    is_partly_unlike: bool  # an integer stands above a column whose every number has decimals
    is_years: bool  # evenly spaced, as years are, unlike the lines below
    is_series: bool  # evenly spaced, unlike the lines below
    is_monotone: bool  # strictly rising or falling, unlike the lines below
    has_text_above_number: bool
    repeats_below: bool  # some text of the first line occurs below in its column


def first_line_is_header(
    where: str, first: Sequence[str], rows: Sequence[Sequence[str]], is_quoted: bool = False
) -> tuple[bool, str | None]:
    """Return whether the first line names the columns, and a sentence where that was a guess.

    Parameters
    ----------
    where : str
        What to call the file in errors.
    first : sequence of str
        The cells of the first line, numbers with a decimal point.
    rows : sequence of sequences of str
        The cells of some lines below it.
    is_quoted : bool
        Whether the first line's numbers are in quotes and those below are not.

    Raises
    ------
    InputError
        When both readings are plausible.

    Examples
    --------
    >>> first_line_is_header("p.csv", ["a", "b"], [["1", "2"]])
    (True, None)
    >>> first_line_is_header("p.csv", ["1", "2"], [["3", "4"]])
    (False, None)
    """
    shown = ", ".join(repr(cell) for cell in first[:4]) + (", ..." if len(first) > 4 else "")
    first, rows = _truths_as_numbers(first), [_truths_as_numbers(row) for row in rows]
    if not any(is_number(cell) for cell in first):
        return _is_header_of_text(where, first, rows, shown), None
    if not rows:
        return False, None
    found = _evidence(first, rows)
    if is_quoted or _is_surely_header(found):
        return True, f"the first line is a header: its cells are {shown}"
    if _is_plausible_header(found) and len(set(found.values)) == len(found.values):
        raise InputError(
            f"{where}: the first line ({shown}) may be a header of numbers or the first sample: {OPTION}"
        )
    if found.has_text_above_number:
        return False, f"the first line is a sample, not a header: its cells are {shown}"
    return False, None


def aligned(rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the first line with a cell for each column, and the lines of that width below it."""
    first, below = list(rows[0]), [list(row) for row in rows[1:]]
    if below and any(map(is_text, first)) and all(len(row) == len(first) + 1 for row in below):
        has_mark_at_end = all(row[-1] == "" for row in below)
        first = [*first, ""] if has_mark_at_end else ["", *first]
    return first, [row for row in below if len(row) == len(first)]


def is_quoted_above(head: str) -> bool:
    """Return whether the first line's numbers are in quotes and those of the second are not."""
    first, _, rest = head.lstrip().partition("\n")
    second = rest.partition("\n")[0]
    quoted = re.compile(r'"[+-]?[\d.,]+"')
    bare = re.compile(r"(?:^|[,;|\t])[ ]*[+-]?\d[\d.]*[ ]*(?:[,;|\t\r]|$)")
    return bool(quoted.search(first) and bare.search(second)) and not quoted.search(second)


def _truths_as_numbers(cells: Sequence[str]) -> list[str]:
    """Return cells with True as 1 and False as 0, as which columns of them are read."""
    return [{"true": "1", "false": "0"}.get(cell.lower(), cell) for cell in cells]


def _is_header_of_text(where: str, first: Sequence[str], rows: Sequence[Sequence[str]], shown: str) -> bool:
    """Return whether a first line without numbers is a header: not where it is like the text below."""
    texts = [place for place, cell in enumerate(first) if is_text(cell)]
    if not texts:
        return not any(first)
    has_numbers_below = any(is_number(cell) for row in rows for cell in row)
    is_above_number = any(is_number(row[place]) for row in rows for place in texts)
    if is_above_number or not has_numbers_below:
        return True
    if any(row[place] == first[place] for row in rows for place in texts):
        return False
    raise InputError(
        f"{where}: the first line ({shown}) may be a header or a sample with missing cells: {OPTION}"
    )


def _evidence(first: Sequence[str], rows: Sequence[Sequence[str]]) -> Evidence:
    places = [place for place, cell in enumerate(first) if is_number(cell)]
    values = tuple(float(first[place]) for place in places)
    below = [[row[place] for place in places] for row in rows]
    numeric = [[cell for cell in column if is_number(cell)] for column in zip(*below, strict=True)]
    complete = [cells for cells in below if all(map(is_number, cells))]
    numbers = [tuple(map(float, cells)) for cells in complete]
    return Evidence(
        values,
        all(is_integer(first[place]) for place in places),
        any(not is_integer(cell) for column in numeric for cell in column),
        all(any(not is_integer(cell) for cell in column) for column in numeric)
        and not any(all(map(is_integer, cells)) for cells in complete),
        any(
            is_integer(first[place]) and bool(column) and not any(map(is_integer, column))
            for place, column in zip(places, numeric, strict=True)
        ),
        _are_years(values) and not any(map(_are_years, numbers)),
        _is_series(values) and not any(map(_is_series, numbers)),
        _is_monotone(values) and not any(map(_is_monotone, numbers)),
        any(is_text(cell) and any(is_number(row[place]) for row in rows) for place, cell in enumerate(first)),
        any(is_text(cell) and any(row[place] == cell for row in rows) for place, cell in enumerate(first)),
    )


def _is_surely_header(found: Evidence) -> bool:
    n = len(found.values)
    if found.repeats_below:
        return False
    is_counting = found.values in (tuple(range(n)), tuple(range(1, n + 1)))
    if found.is_integer and found.has_decimals_below and is_counting:
        return True  # as pandas names columns without names
    if found.is_integer and found.is_unlike_below and n > 1 and _is_series(found.values):
        return True
    if found.has_text_above_number and len(set(found.values)) == n:
        is_year = found.is_integer and (found.is_unlike_below or n < MIN_PLAUSIBLE)
        if is_year or (found.is_series and n >= MIN_PLAUSIBLE):
            return True
    return found.is_series and n >= MIN_SERIES and (found.has_decimals_below or not found.is_integer)


def _is_plausible_header(found: Evidence) -> bool:
    n = len(found.values)
    return (
        (found.has_text_above_number and not found.repeats_below)
        or (found.is_integer and found.is_unlike_below and (n > 1 or not found.repeats_below))
        or (found.is_integer and found.is_partly_unlike and n > 1 and not found.repeats_below)
        or (found.is_years and not found.repeats_below)
        or (found.is_series and n >= MIN_PLAUSIBLE)
        or (found.is_monotone and n >= MIN_MONOTONE)
    )


def _are_years(values: Sequence[float]) -> bool:
    return _is_series(values) and all(YEARS[0] <= value <= YEARS[1] for value in values)


def _is_series(values: Sequence[float]) -> bool:
    """Return whether two or more numbers have one step that is not 0, up to the rounding of their digits."""
    steps = _steps(values)
    if not len(steps) or not np.all(np.isfinite(steps)) or not steps[0]:
        return False
    return bool(np.abs(steps - steps.mean()).max() <= 0.02 * np.abs(steps.mean()))


def _is_monotone(values: Sequence[float]) -> bool:
    steps = _steps(values)
    return bool(len(steps)) and bool(np.all(steps > 0) or np.all(steps < 0))


def _steps(values: Sequence[float]) -> Float[np.ndarray, " n"]:
    with np.errstate(over="ignore", invalid="ignore"):  # between infinite and huge numbers
        return np.diff(np.asarray(values, np.float64))
