"""A list column as a view: each cell is a vector, such as an embedding made elsewhere, used as it is."""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from dual_jax.data.casts import plain, vector_width, vectors_of
from dual_jax.data.errors import InputError
from dual_jax.views.numbers import column_medians


class Vectors(NamedTuple):
    """A column of vectors and the medians that stand in for missing numbers."""

    columns: tuple[str, ...]
    medians: Float[np.ndarray, " q"]

    @classmethod
    def fit(cls, table: Any, column: str) -> Self:
        """Return the view of a column.

        Raises
        ------
        InputError
            When its cells are no vectors of one length.
        """
        width = vector_width(plain(table[column]))
        if not width:
            raise InputError(f"column {column!r} holds no vectors of one length: {table[column].type}")
        rows = _rows(table[column], width)
        return cls((column,), column_medians(rows).astype(np.float32))

    def transform(self, table: Any) -> Float[np.ndarray, "m q"]:
        """Return the vectors of a table."""
        (column,), width = self.columns, len(self.medians)
        found = vector_width(plain(table[column]))
        if found != width:
            raise InputError(f"column {column!r} holds no vectors of {width} numbers, as it did in the pool")
        rows = _rows(table[column], width)
        return np.where(np.isnan(rows), self.medians, rows).astype(np.float32)

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [f"{self.columns[0]}[{place}]" for place in range(len(self.medians))]

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `restored` needs, as JSON and as arrays."""
        return {"columns": self.columns}, {"medians": self.medians}

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the view from its `state`."""
        return cls(tuple(about["columns"]), arrays["medians"])


def _rows(column: Any, width: int) -> Float[np.ndarray, "n q"]:
    """Return the vectors, NaN where a number is missing or infinite."""
    import pyarrow as pa

    chunked = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    rows = vectors_of(chunked, width)
    return np.where(np.isfinite(rows), rows, np.nan)
