"""A frame or an array of any library as a table of pyarrow, whatever its columns hold."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dual_jax.data.delimited import unique_names
from dual_jax.data.errors import InputError
from dual_jax.data.foreign import as_array, as_known


def as_table(X: Any) -> Any:
    """Return a frame, a dictionary of columns or a 2-D array as a table of pyarrow with distinct names.

    Cells of a column of several types are taken as text. Columns of an array are called ``x0``, ``x1``, ...

    Raises
    ------
    InputError
        When ``X`` is no table, or its columns have several lengths.

    Examples
    --------
    >>> as_table({"city": ["Rome", None], "age": [31, 47]}).column_names
    ['city', 'age']
    """
    import pyarrow as pa

    if isinstance(X, pa.Table):
        return X.rename_columns(list(unique_names(X.column_names)))
    if isinstance(X, Mapping):
        return _joined([str(name) for name in X], list(X.values()))
    if hasattr(X, "iloc"):  # pandas, whose columns may hold cells of several types
        return _joined([str(name) for name in X.columns], [X.iloc[:, j] for j in range(X.shape[1])])
    known = as_known(X)
    if not isinstance(known, pa.Table) and hasattr(X, "__arrow_c_stream__"):
        known = pa.table(X)
    if isinstance(known, pa.Table):
        return known.rename_columns(list(unique_names(known.column_names)))
    array = as_array(known)
    if array.ndim != 2:
        raise InputError(f"the pool must be a table of rows and columns, not an array of shape {array.shape}")
    return _joined([f"x{j}" for j in range(array.shape[1])], [*array.T])


def _joined(names: Sequence[str], columns: Sequence[Any]) -> Any:
    import pyarrow as pa

    arrays = [_column(column) for column in columns]
    lengths = {len(array): name for array, name in zip(arrays, names, strict=True)}
    if len(lengths) > 1:
        shown = ", ".join(f"{name!r} has {length}" for length, name in lengths.items())
        raise InputError(f"the columns of a table have the same number of rows, but {shown}")
    return pa.table(arrays, names=list(unique_names(names)))


def _column(cells: Any) -> Any:
    """Return one column; of several types it is text, and missing cells stay missing."""
    import pyarrow as pa

    if isinstance(cells, pa.Array | pa.ChunkedArray):
        return cells
    if isinstance(cells, np.ndarray) and cells.ndim > 1:
        cells = list(cells)
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "U":
        cells = cells.astype(object)
    try:
        return pa.array(cells, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        from dual_jax.data.ids import text_of_id

        texts = [text_of_id(cell) for cell in cells]
        return pa.array([text or None for text in texts], pa.string())
