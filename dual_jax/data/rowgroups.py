"""A table in a Parquet file that stays on disk: rows are read by groups when they are asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from dual_jax.data.delimited import Columns
from dual_jax.data.errors import InputError
from dual_jax.data.files import open_parquet, parquet_columns, parsing


class RowGroups:
    """Numbers of a Parquet file by slices and by rows, as of an array; the last group that was read is kept.

    Attributes
    ----------
    names
        Columns that are read, to be set before the first row is.
    """

    def __init__(self, where: str):
        self._where, self._file = where, open_parquet(where, where)
        about = self._file.metadata
        sizes = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
        self._starts, self._kept = np.cumsum([0, *sizes]), (-1, np.empty((0, 0)))
        self.names: tuple[str, ...] = ()
        if not len(self):
            raise InputError(f"{where} has a header and no rows")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self.names)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: Any) -> Float[np.ndarray, "m d"]:
        places = np.arange(len(self))[rows]
        result = np.empty((len(places), len(self.names)))
        groups = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(groups):
            is_inside = groups == number
            result[is_inside] = self._group(number)[places[is_inside] - self._starts[number]]
        return result

    def _group(self, number: int) -> Float[np.ndarray, "g d"]:
        if self._kept[0] != number:
            numbers = self.columns(number).numbers
            self._kept = number, np.column_stack([numbers[name] for name in self.names])
        return self._kept[1]

    def columns(self, number: int, as_text: Sequence[str] = ()) -> Columns:
        """Return the columns of a group; those of ``as_text`` keep their type."""
        with parsing(self._where, ".parquet"):
            table = self._file.read_row_group(number)
        return parquet_columns(self._where, table, as_text)

    def texts(self, name: str) -> Shaped[np.ndarray, " n"]:
        """Return the whole of one column; its cells keep their type."""
        with parsing(self._where, ".parquet"):
            table = self._file.read(columns=[name])
        return parquet_columns(self._where, table, [name]).texts[name]
