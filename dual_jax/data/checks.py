"""Checks at the edge, before any work: the pool, the number of picks, the rows that the caller names."""

import operator
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from dual_jax.data.errors import InputError, InputTypeError
from dual_jax.data.foreign import as_array, as_known, column_names
from dual_jax.data.ids import is_gap, positions_of, text_of_id

FLOAT32_MAX = float(np.finfo(np.float32).max)
IMPUTATIONS = ("median",)
POOL = "the pool"

Table = np.ndarray | jax.Array


def check_pool(
    x: Any,
    *,
    impute: str | None = None,
    min_rows: int = 2,
    min_features: int = 2,
    dtype: type[np.floating] = np.float32,
    name: str = POOL,
) -> Float[Table, "n d"]:
    """Return ``x`` as a finite table of real numbers.

    Constant features and repeated rows are fine; a table whose rows are all the same is not.

    Parameters
    ----------
    x : (n, d) array-like
        A jax array is checked on its device and stays there.
    impute : {None, "median"}
        What to do with NaN and infinite cells: refuse them (default), or put the column's median.
    min_rows, min_features : int
        The smallest table that is accepted; with ``min_rows=1`` (new rows to transform) the rows may also all
        be the same.
    dtype : {np.float32, np.float64}
        Of a table on the host; float64 keeps the digits of large offsets for a scaler that removes them.
    name : str
        What the table is, for errors.

    Returns
    -------
    (n, d) array
        float32 on a device; of ``dtype`` and C-contiguous on the host.

    Raises
    ------
    TypeError
        When ``x`` is sparse or holds what is no number.
    InputError
        When ``x`` has the wrong shape, text, complex, missing, infinite or too large cells, or equal rows.

    Examples
    --------
    >>> check_pool([[0, 1], [2, float("nan")], [4, 3]], impute="median")
    array([[0., 1.],
           [2., 2.],
           [4., 3.]], dtype=float32)
    """
    if impute not in (None, *IMPUTATIONS):
        raise InputError(f"impute={impute!r} is not known: use None or 'median'")
    names = column_names(x)
    table = as_numbers(x, name)
    _check_shape(table, min_rows, min_features, name)
    if impute == "median":
        table = impute_median(table)
    _check_cells(table, name, names)
    xp = _module_of(table)
    table = table.astype(jnp.float32) if xp is jnp else np.ascontiguousarray(table, dtype)
    if min_rows > 1 and bool(xp.all(table[0] == table[-1])) and bool(xp.all(table == table[0])):
        raise InputError(f"all {len(table)} rows of {name} are the same, so there is nothing to choose")
    return table


def check_embedding(z: Any, n: int) -> Float[Table, "n q"]:
    """Return an embedding of ``n`` rows as a finite float32 table, one row for each and in their order.

    Raises
    ------
    TypeError, InputError
        As `check_pool`, and when the embedding has another number of rows.

    Examples
    --------
    >>> check_embedding([[0], [2]], 2)
    array([[0.],
           [2.]], dtype=float32)
    """
    table = check_pool(z, min_rows=min(n, 2), min_features=1, name="the embedding")
    if len(table) != n:
        raise InputError(
            f"the embedding has {len(table)} rows for {n} rows of the table: give one for each, in its order"
        )
    return table


def impute_median(x: Float[Table, "n d"]) -> Float[Table, "n d"]:
    """Return ``x`` with NaN and infinite cells replaced by the median of the finite ones in their column.

    Raises
    ------
    InputError
        When a column has no finite cell.
    """
    xp = _module_of(x)
    is_finite = xp.isfinite(x)
    is_empty = ~xp.any(is_finite, axis=0)
    if bool(xp.any(is_empty)):
        raise InputError(
            f"column {int(xp.argmax(is_empty))} has no finite value to take a median of; leave it out"
        )
    if bool(xp.all(is_finite)):
        return x
    return xp.where(is_finite, x, xp.nanmedian(xp.where(is_finite, x, xp.nan), axis=0))


def check_n_select(n_select: Any, n_open: int) -> int:
    """Return how many rows to pick, at least one of ``n_open``; half of them, rounded down, for None.

    A float between 0 and 1 is a share of them, rounded to the nearest number.

    Raises
    ------
    TypeError
        When ``n_select`` is neither an integer nor a share.
    InputError
        When no row may be picked, or ``n_select`` is not between 1 and ``n_open``.
    """
    if n_open < 1:
        raise InputError("no candidate is left: every row is labelled or not among the candidates")
    if n_select is None:
        return max(1, n_open // 2)
    if isinstance(n_select, float | np.floating) and 0 < n_select < 1:
        return max(1, int(n_select * n_open + 0.5))
    try:
        count = operator.index(n_select)
    except TypeError:
        count = None
    if count is None or isinstance(n_select, bool | np.bool_):
        raise InputTypeError(f"n_to_select must be an integer, or a share in (0, 1), got {n_select!r}")
    if not 1 <= count <= n_open:
        raise InputError(f"n_to_select={count} is not between 1 and the {n_open} candidates without a label")
    return count


def as_mask(
    rows: Any, n: int, *, ids: Iterable[Any] | None = None, name: str = "rows", default: bool = False
) -> Bool[np.ndarray, " n"]:
    """Return which of ``n`` rows are meant by ``rows``.

    Parameters
    ----------
    rows : None, (n,) bool, or a sequence of ids or positions
        None: ``default`` for every row. A boolean mask is taken as it is. Anything else is looked up in
        ``ids`` where the pool has ids, and is a position from 0 where it has none. Repetitions are fine.
    n : int
        Rows in the pool.
    ids : (n,) sequence, optional
        The pool's ids, compared by their text.
    name : str
        What the caller calls ``rows``, for errors.
    default : bool
        What None means.

    Raises
    ------
    TypeError
        When ``rows`` are neither booleans nor positions and the pool has no ids.
    InputError
        When a mask has the wrong length, a position or an id is not in the pool, or the pool repeats an id.

    Examples
    --------
    >>> as_mask(["b"], 3, ids=["a", "b", "c"])
    array([False,  True, False])
    """
    if rows is None:
        return np.full(n, default)
    given = _one_dimensional(rows, name)
    if given.dtype == bool:
        if len(given) != n:
            raise InputError(f"{name} is a mask of {len(given)} rows, but the pool has {n} rows")
        return _in_order(rows, given, ids, name)
    if len(given) == n > 2 and given.dtype.kind in "iu" and set(np.unique(given)) <= {0, 1}:
        raise InputError(f"{name} looks like a mask of 0 and 1: pass booleans, as integers are rows")
    mask = np.zeros(n, bool)
    if len(given):
        mask[_positions(given, n, name) if ids is None else positions_of(given, ids, name)] = True
    return mask


def _one_dimensional(rows: Any, name: str) -> Shaped[np.ndarray, " k"]:
    """Return the caller's rows as an array, of booleans where all are, of objects where some are tuples."""
    if not hasattr(rows, "__len__") or isinstance(rows, set | frozenset | dict):
        rows = list(rows) if isinstance(rows, Iterable) else rows
    is_object = getattr(getattr(rows, "dtype", None), "kind", "") == "O"
    values = rows.tolist() if is_object else rows
    # What NumPy would spread out or, beside numbers, take for 0 and 1.
    types = {type(value) for value in values} if isinstance(values, Sequence) else set()
    if any(issubclass(kind, tuple) for kind in types) or (bool in types and len(types) > 1):
        given = np.empty(len(values), object)
        given[:] = values
        return given
    given = np.asarray(rows)
    if given.ndim != 1:
        raise InputError(f"{name} must be one-dimensional, got shape {given.shape}")
    if given.dtype == object and len(given):
        are_missing = [is_gap(value) for value in given]
        if {type(value) for value in given} <= {bool, np.bool_}:
            return given.astype(bool)
        if any(are_missing):
            raise InputError(f"{name} has a missing value at place {are_missing.index(True)}: fill it")
    return given


def _in_order(
    rows: Any, mask: Bool[np.ndarray, " n"], ids: Iterable[Any] | None, name: str
) -> Bool[np.ndarray, " n"]:
    """Return a mask in the pool's order: one with an index of its own is aligned by that."""
    own = getattr(rows, "index", None)
    if own is None or callable(own) or ids is None:  # a list has a method of that name
        return mask.copy()
    theirs, ours = [*map(text_of_id, own)], [*map(text_of_id, ids)]
    if theirs == ours:
        return mask.copy()
    if len(set(ours)) < len(ours) or sorted(theirs) != sorted(ours):
        raise InputError(
            f"{name} is a mask whose index is not the pool's ({theirs[0]!r} where the pool begins with "
            f"{ours[0]!r}): give it the pool's index, or pass its values alone"
        )
    aligned = np.empty(len(mask), bool)
    aligned[positions_of(theirs, ours, name)] = mask
    return aligned


def _positions(given: Shaped[np.ndarray, " k"], n: int, name: str) -> Int[np.ndarray, " k"]:
    """Return integers as positions, after checking that they are."""
    if given.dtype.kind not in "iu":
        raise InputTypeError(
            f"{name} must be positions (integers) or a boolean mask, as the pool has no ids; "
            f"got {given.tolist()[0]!r}"
        )
    outside = (given < 0) | (given >= n)
    if outside.any():
        raise InputError(f"{name}: position {given[outside][0]} is not in the pool (0 to {n - 1})")
    return given.astype(np.intp)


def _module_of(x: Table) -> ModuleType:
    return jnp if isinstance(x, jax.Array) else np


def as_numbers(x: Any, name: str = POOL) -> Shaped[Table, "..."]:
    """Return ``x`` as an array of real numbers."""
    if hasattr(x, "toarray") and hasattr(x, "nnz"):
        raise InputTypeError("sparse tables are not supported: pass x.toarray() if it fits in memory")
    x = as_known(x)
    table = x if isinstance(x, jax.Array) else _from_objects(as_array(x), name)
    if jnp.issubdtype(table.dtype, jnp.complexfloating):
        raise InputError(f"Complex data not supported ({table.dtype}): pass real numbers")
    is_real = jnp.issubdtype(table.dtype, jnp.number) or table.dtype == bool
    if not is_real:
        raise InputError(f"{name} holds {table.dtype} instead of numbers: encode text columns or drop them")
    promote = jnp.promote_types if isinstance(table, jax.Array) else np.promote_types
    return table.astype(promote(table.dtype, np.float32), copy=False)


def _from_objects(table: Shaped[np.ndarray, "..."], name: str) -> Shaped[np.ndarray, "..."]:
    """Return an array of Python objects as float64, missing ones as NaN; any other array as it is."""
    if table.dtype != object:
        return table
    try:
        is_missing = np.frompyfunc(is_gap, 1, 1)(table).astype(bool)
        return np.where(is_missing, np.nan, table).astype(np.float64)
    except (TypeError, ValueError) as error:
        raised = InputTypeError if isinstance(error, TypeError) else InputError
        raise raised(f"{name} holds a cell that is no number, encode or drop its column: {error}") from error


def _check_shape(x: Shaped[Table, "..."], min_rows: int, min_features: int, name: str) -> None:
    """Refuse what is no table of at least ``min_rows`` x ``min_features``; words as in scikit-learn."""
    if x.ndim != 2:
        raise InputError(
            f"expected a 2D table (samples, features), got {x.ndim}D of shape {x.shape}: "
            "Reshape your data to one row per sample"
        )
    for size, least, what in zip(x.shape, (min_rows, min_features), ("sample", "feature"), strict=True):
        if size < least:
            raise InputError(
                f"{name} has {size} {what}(s) (shape={x.shape}) while a minimum of {least} is required."
            )


def _check_cells(x: Shaped[Table, "n d"], name: str, names: Sequence[str] | None) -> None:
    """Refuse missing, infinite and too large cells, naming the first."""
    xp = _module_of(x)
    is_fine = xp.abs(x) <= FLOAT32_MAX
    if bool(xp.all(is_fine)):
        return
    row = int(xp.argmin(xp.all(is_fine, axis=1)))
    column = int(xp.argmin(is_fine[row]))
    value = float(x[row, column])
    where = f"at row {row}, column {column} (both from 0)"
    if names is not None:
        where = f"at row {row} (from 0), column {names[column]!r}"
    if np.isfinite(value):
        raise InputError(
            f"{value:g} {where} does not fit float32 (up to {FLOAT32_MAX:.1e}): rescale the column"
        )
    what = str(value)
    if np.isnan(value):
        what = "NaN" if names is None else "a missing cell, NaN"
    how = ' by --impute median (impute="median")' if name == POOL else ""
    raise InputError(f"{name} has {what} {where}: fill such cells{how} or leave them out")
