"""What one cell of text is: missing, a number, or text. The rules are the same for every format.

- Empty cells and the spellings in `MISSING`, in any case, are missing.
- Numbers have ASCII digits, perhaps a sign, a decimal point and an exponent, or are infinite. ``1_000`` and
  ``0x1F`` are text.
"""

import re
from collections.abc import Sequence
from itertools import chain

MISSING = frozenset(
    {
        *("", "?", "-", "--", ".", "\u2013", "\u2014", "na", "n/a", "#n/a", "#na", "#n/a n/a", "<na>", "nan"),
        *("-nan", "null", "none", "#div/0!", "#num!", "#null!", "#value!", "1.#ind"),
        *("-1.#ind", "1.#qnan", "-1.#qnan"),
    }
)
SPELLINGS = sorted(
    set(chain(*((word, word.upper(), word.title(), word.capitalize()) for word in MISSING))) | {"NaN"}
)
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:[+-]?inf(?:inity)?)"
CODE = r"0\d+"  # leading zeros: of a code, such as a postcode, not of a number
COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", re.ASCII)  # a number with a decimal comma
_NUMBER, _INTEGER = re.compile(NUMBER, re.ASCII), re.compile(r"[+-]?\d+", re.ASCII)


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or one of `MISSING`."""
    return cell.strip().lower() in MISSING


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, which NaN is not."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def is_integer(cell: str) -> bool:
    """Return whether a cell is a number written without decimals."""
    return _INTEGER.fullmatch(cell.strip()) is not None


def is_text(cell: str) -> bool:
    """Return whether a cell is neither missing nor a number."""
    return not (is_missing(cell) or is_number(cell))


def are_values(cells: Sequence[str]) -> list[bool]:
    """Return which cells are missing, a truth value, or a number, perhaps with a decimal comma."""
    return [
        cell.lower() in ("true", "false")
        or is_missing(cell)
        or is_number(cell)
        or COMMA.fullmatch(cell) is not None
        for cell in cells
    ]
