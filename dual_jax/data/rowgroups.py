"""A table in a Parquet file that stays on disk: rows are read by groups when they are asked for."""

from typing import Any

import numpy as np
from jaxtyping import Float

from dual_jax.data.arrow import RANGE, open_parquet, remarks_of, with_range
from dual_jax.data.columns import Wishes, feature_names, ids_of, matrix_as_in, sort_columns
from dual_jax.data.errors import InputError
from dual_jax.data.files import parsing


class RowGroups:
    """Numbers of a Parquet file by slices and by rows, as of an array; the last group that was read is kept.

    Attributes
    ----------
    first
        The columns of the first group, which say what all are.
    ids
        Of all rows, as text; None where there are none.
    """

    def __init__(self, where: str, wishes: Wishes):
        self._where, self._file = where, open_parquet(where, where)
        about = self._file.metadata
        sizes = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
        self._starts, self._kept = np.cumsum([0, *sizes]), (-1, np.empty((0, 0)))
        if not len(self):
            raise InputError(f"{where} has a header and no rows")
        remarks = remarks_of(self._file.schema_arrow)
        table, index = with_range(self._table(0, None), remarks, len(self))
        self.first = sort_columns(where, table, wishes, index=index, labels=remarks.labels)
        self.ids = None
        if self.first.id_columns == (RANGE,) == index and remarks.counted is not None:
            self.ids = np.array([*map(str, remarks.counted)])
        elif self.first.id_columns:
            with parsing(where, ".parquet"):
                self.ids = ids_of(self._file.read([*self.first.id_columns], use_threads=False), self.first)
        self._names = feature_names(self.first)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), len(self._names)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: Any) -> Float[np.ndarray, "m d"]:
        places = np.arange(len(self))[rows]
        result = np.empty((len(places), len(self._names)))
        groups = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(groups):
            is_inside = groups == number
            result[is_inside] = self._group(number)[places[is_inside] - self._starts[number]]
        return result

    def _group(self, number: int) -> Float[np.ndarray, "g d"]:
        if self._kept[0] != number:
            table = self._table(number, [*self.first.vectors] or [*self.first.numbers])
            self._kept = number, matrix_as_in(f"{self._where}, row group {number}", self.first, table)
        return self._kept[1]

    def _table(self, number: int, names: list[str] | None) -> Any:
        with parsing(self._where, ".parquet"):
            return self._file.read_row_group(number, names, use_threads=False)
