"""Columns of categories as one view: one 0/1 feature for each level, not standardised.

Standardising would give rare levels enormous weight. Levels of few rows share one feature, a missing cell is
a level of its own, and a level that the pool did not have is as those of few rows, or else 0 everywhere.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from dual_jax.data.casts import texts_of
from dual_jax.views.columns import without_missing

MIN_ROWS, MIN_SHARE = 2, 0.01  # of a level that has its own feature, whichever is more


class Categories(NamedTuple):
    """The levels of each column with a feature of their own, and whether a last feature has the others."""

    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    has_others: tuple[bool, ...]

    @classmethod
    def fit(cls, table: Any, columns: Sequence[str]) -> Self:
        """Return the view of these columns."""
        few = max(MIN_ROWS, MIN_SHARE * table.num_rows)
        counts = [Counter(_cells(table[name]).tolist()) for name in columns]
        levels = tuple(tuple(sorted(level for level, n in count.items() if n >= few)) for count in counts)
        has_others = tuple(len(own) < len(count) for own, count in zip(levels, counts, strict=True))
        return cls(tuple(columns), levels, has_others)

    def transform(self, table: Any) -> Float[np.ndarray, "m d"]:
        """Return rows of a table as 0/1 features."""
        parts = []
        for name, levels, others in zip(self.columns, self.levels, self.has_others, strict=True):
            places = {level: place for place, level in enumerate(levels)}
            found = np.array([places.get(cell, len(levels)) for cell in _cells(table[name]).tolist()], int)
            parts.append(np.eye(len(levels) + 1, len(levels) + others, dtype=np.float32)[found])
        return np.concatenate(parts, axis=1)

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [
            f"{name}={level or '(missing)'}"
            for name, levels, others in zip(self.columns, self.levels, self.has_others, strict=True)
            for level in (*levels, *(["(others)"] if others else []))
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `restored` needs, as JSON and as arrays."""
        return self._asdict(), {}

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the view from its `state`."""
        levels = tuple(map(tuple, about["levels"]))
        return cls(tuple(about["columns"]), levels, tuple(about["has_others"]))


def _cells(column: Any) -> np.ndarray:
    """Return the cells as text; of a level's number in any type the same."""
    return texts_of(without_missing(column))
