"""A pool from a file or a built-in data set: numbers, ids, and what was left out."""

import difflib
import hashlib
import os
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from dual_jax.data import datasets
from dual_jax.data.checks import as_mask, as_numbers, check_ids
from dual_jax.data.delimited import Columns
from dual_jax.data.errors import InputError
from dual_jax.data.files import (
    CONTENT,
    check_kind,
    column_names,
    parse_columns,
    parse_key,
    parse_npy,
    parse_npz,
    parsing,
    read_contents,
)
from dual_jax.data.rowgroups import RowGroups
from dual_jax.data.storage import sha256_of

ROW_NUMBER_NAMES = ("column 0", "index", "unnamed: 0", "__index_level_0__", "id")


class Pool(NamedTuple):
    """A table of samples as read: missing cells are NaN, nothing is scaled.

    ``dropped`` says for each column (or array of an archive) that is no feature why; ``sha256`` is the sum of
    the file's bytes, or of the numbers of a built-in set; ``note`` is what else was done; ``sample_shape`` is
    that of an image or a series before it became a row, () where that is not known.
    """

    x: Any  # (n, d), of NumPy, or rows that stay on disk
    ids: Shaped[np.ndarray, " n"] | None
    id_name: str | None
    feature_names: tuple[str, ...] | None
    dropped: dict[str, str]
    source: str
    sha256: str
    note: str
    sample_shape: tuple[int, ...] = ()


def read_pool(
    source: str | PathLike[str],
    *,
    id_column: str | None = None,
    exclude: Collection[str] = (),
    data_dir: str | PathLike[str] | None = None,
) -> Pool:
    """Return the pool in a file or of a built-in data set.

    Parameters
    ----------
    source : path or str
        ``.npy``: one array. ``.npz``: the array under the one key of ``x``, ``X``, ``embeddings``,
        ``features`` and ``data``, or else the only array of two or more dimensions. ``.csv``, ``.tsv``
        (rules: `dual_jax.data.delimited`) and ``.parquet``: every column of numbers, but for a first column
        that only numbers the rows. Arrays of more than two dimensions are flattened to one row per sample.
        Otherwise the name of a built-in data set; a file of that name comes first.
    id_column : str, optional
        The column (in ``.npz`` the key) that holds the ids; they keep their text, so ``007`` stays ``007``.
    exclude : collection of str
        Columns that are no features, such as a label.
    data_dir : path, optional
        Where the files of built-in sets are.

    Returns
    -------
    Pool
        ``x`` in float64, or in float32 where that holds what was stored.

    Raises
    ------
    ValueError
        When there is no such file or set, the file is empty, broken, truncated, of another kind than its name
        says, or holds no table of numbers; when a named column is missing or an id is empty or repeated.
    ImportError
        For ``.parquet`` without the ``data`` extra.

    Examples
    --------
    >>> pool = read_pool("digits")
    >>> pool.x.shape, pool.source
    ((1797, 64), 'digits')
    """
    if not os.path.isfile(source):
        return _built_in(str(source), id_column, exclude, data_dir)
    where, suffix, data = read_contents(source)
    ids, features = None, None
    dropped: dict[str, str] = {}
    if suffix == ".npy":
        _refuse_names(where, id_column, exclude)
        array = parse_npy(where, data)
    elif suffix == ".npz":
        array, ids, dropped = parse_npz(where, data, id_column, exclude)
    else:
        columns = parse_columns(where, suffix, data, _named(id_column, exclude))
        dropped = _reasons(where, columns, id_column)
        names = tuple(name for name in columns.names if name not in dropped)
        array = np.column_stack([columns.numbers[name] for name in names])
        ids = None if id_column is None else columns.texts[id_column]
        features = names if columns.has_header else None
    if ids is not None:
        check_ids(ids, f"{where}: column {id_column!r}")
    x, sample_shape = _as_matrix(where, array)
    note = f"samples of shape {sample_shape} flattened to rows" if sample_shape else ""
    digest = hashlib.sha256(data).hexdigest()
    return Pool(x, ids, id_column, features, dropped, where, digest, note, sample_shape)


def map_pool(path: str | PathLike[str], id_column: str | None = None, exclude: Collection[str] = ()) -> Pool:
    """Return the pool in a ``.npy`` or ``.parquet`` file, which stays on disk: rows are read when asked for.

    Columns of ``.parquet`` are features as in `read_pool`, by the look of the first row group; ids are read
    whole.

    Raises
    ------
    ValueError
        When there is no such file, or it is broken, or holds no table of two dimensions, when a column of
        ``.npy`` is named or a named one is missing, or when an id is empty or repeated.
    ImportError
        For ``.parquet`` without the ``data`` extra.
    """
    where, suffix = str(path), Path(path).suffix.lower()
    if suffix == ".npy":
        _refuse_names(where, id_column, exclude)
    if suffix not in (".npy", ".parquet") or not os.path.isfile(path):
        raise InputError(f"{where} cannot stay on disk: give a .npy or .parquet file that is there")
    try:
        with open(path, "rb") as file:
            first_bytes = file.read(64)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}") from error
    check_kind(where, suffix, first_bytes)
    if suffix == ".parquet":
        return _map_parquet(where, id_column, exclude)
    with parsing(where, ".npy"):
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    if x.ndim != 2 or x.dtype.kind not in "fiub":
        raise InputError(
            f"{where} holds {x.dtype} of shape {x.shape}, not one row of numbers for each sample"
        )
    return Pool(x, None, None, None, {}, where, sha256_of(path), "left on disk")


def _map_parquet(where: str, id_column: str | None, exclude: Collection[str]) -> Pool:
    x = RowGroups(where)
    first = x.columns(0, _named(id_column, exclude))
    dropped = _reasons(where, first, id_column)
    x.names = tuple(name for name in first.names if name not in dropped)
    ids = None
    if id_column is not None:
        ids = x.texts(id_column)
        check_ids(ids, f"{where}: column {id_column!r}")
    return Pool(x, ids, id_column, x.names, dropped, where, sha256_of(where), "left on disk")


def read_column(path: str | PathLike[str], name: str) -> Shaped[np.ndarray, " n"]:
    """Return one column of a ``.csv`` or ``.tsv`` (text, without surrounding blanks) or ``.parquet`` file.

    Of a ``.npz`` file it is the array of that name.

    Raises
    ------
    ValueError
        When the file cannot be read or has no such column.
    """
    where, suffix, data = read_contents(path)
    if suffix == ".npz":
        return parse_key(where, data, name)
    return parse_columns(where, suffix, data, [name]).texts[name]


def read_embedding(path: str | PathLike[str], pool: Pool) -> Pool:
    """Return the table in a file that goes beside a pool, its rows in the pool's order.

    Parameters
    ----------
    path : path
        As for `read_pool`. Where it has the pool's id column its rows are matched by that, and those of other
        ids are left out; otherwise they are taken to be in the pool's order.
    pool : Pool
        What the rows are of.

    Raises
    ------
    ValueError
        When the file cannot be read as a table of numbers, or lacks an id of the pool.
    """
    if not os.path.isfile(path):
        raise InputError(f"there is no file {os.fspath(path)!r} to read an embedding from")
    found = read_pool(path)
    if pool.ids is None or pool.id_name not in (*(found.feature_names or ()), *found.dropped):
        return found
    found = read_pool(path, id_column=pool.id_name)
    places = {str(name): row for row, name in enumerate(found.ids if found.ids is not None else ())}
    missing = [name for name in map(str, pool.ids) if name not in places]
    if missing:
        raise InputError(
            f"{found.source} has no row for {len(missing)} of {len(pool.ids)} ids of the pool, such as "
            f"{missing[0]!r}: embed the whole pool"
        )
    return found._replace(x=found.x[[places[str(name)] for name in pool.ids]], ids=pool.ids)


def read_labeled(path: str | PathLike[str], id_column: str | None, pool: Pool) -> Int[np.ndarray, " k"]:
    """Return the positions in ``pool`` of the rows that a file names as labelled, each once, ascending.

    Parameters
    ----------
    path : path
        ``.csv``, ``.tsv`` or ``.parquet`` with a column ``id_column``, or else ``index`` (positions from 0);
        other columns are ignored and repetitions are fine. Where the pool has ids, a former ``picks.csv``
        is read by those in its column ``id``.
    id_column : str or None
        The column that holds the pool's ids.
    pool : Pool
        As read with the same ``id_column``.

    Raises
    ------
    ValueError
        When neither column is there, or an id or a position is not in the pool.
    """
    where, suffix, data = read_contents(path)
    names = column_names(where, suffix, data)
    of_picks = "id" if {"index", "id"} <= set(names) else None
    with_ids = id_column if id_column in names else of_picks
    is_by_id = with_ids is not None and pool.ids is not None
    name = with_ids if is_by_id else "index"
    if name not in names:
        wanted = "'index'" if id_column is None else f"{id_column!r} or 'index'"
        raise InputError(f"{where} needs a column {wanted}: its columns are {', '.join(map(repr, names))}")
    cells = parse_columns(where, suffix, data, [name]).texts[name]
    rows, ids = (cells, pool.ids) if is_by_id else (_integers(where, cells), None)
    return np.flatnonzero(as_mask(rows, len(pool.x), ids=ids, name=where))


def _built_in(
    name: str, id_column: str | None, exclude: Collection[str], data_dir: str | PathLike[str] | None
) -> Pool:
    """Return a built-in data set as a pool, without its labels."""
    if name not in datasets.names():
        raise InputError(_unknown(name))
    _refuse_names(name, id_column, exclude)
    dataset = datasets.load(name, data_dir)
    digest = hashlib.sha256(dataset.x.tobytes()).hexdigest()
    shape = datasets.sample_shape(name)
    return Pool(dataset.x, None, None, dataset.feature_names, {}, name, digest, dataset.note, shape)


def _unknown(source: str) -> str:
    """Return the error for what is neither a file nor a built-in set."""
    folder = os.path.dirname(source)
    is_listable = os.path.isdir(folder or ".") and os.access(folder or ".", os.R_OK)
    beside = os.listdir(folder or ".") if is_listable else []
    files = [os.path.join(folder, file) for file in beside if Path(file).suffix in CONTENT]
    close = difflib.get_close_matches(source, [*datasets.names(), *files])
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{source!r} is neither a file nor a built-in data set ({', '.join(datasets.names())}){hint}"


def _named(id_column: str | None, exclude: Collection[str]) -> list[str]:
    return [*exclude] if id_column is None else [id_column, *exclude]


def _refuse_names(where: str, id_column: str | None, exclude: Collection[str]) -> None:
    """Refuse names of columns where columns have none."""
    if named := _named(id_column, exclude):
        raise InputError(
            f"{where} has no column {named[0]!r}, as its columns have no names: use .npz or .csv"
        )


def _reasons(where: str, columns: Columns, id_column: str | None) -> dict[str, str]:
    """Return why columns are no features, in the table's order, after checking that some are."""
    if not columns.n_rows:
        raise InputError(f"{where} has a header and no rows")
    reasons = dict(columns.dropped)
    for name in columns.texts:
        reasons[name] = "the id column" if name == id_column else "excluded"
    for name, values in columns.numbers.items():
        if np.isnan(values).all():
            reasons[name] = "every cell is missing"
        elif columns.has_header and name == columns.names[0] and _is_row_number(name, values):
            reasons[name] = "row numbers"
    if len(reasons) == len(columns.names):
        seen = "; ".join(f"{name}: {reason}" for name, reason in [*reasons.items()][:5])
        raise InputError(f"{where} has no column of numbers ({seen})")
    return {name: reasons[name] for name in columns.names if name in reasons}


def _is_row_number(name: str, values: Float[np.ndarray, " n"]) -> bool:
    """Return whether a column only numbers the rows, from 0 or 1."""
    counted = values - np.arange(len(values))
    return name.lower() in ROW_NUMBER_NAMES and counted[0] in (0, 1) and bool(np.all(counted == counted[0]))


def _as_matrix(
    where: str, array: Shaped[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "n d"], tuple[int, ...]]:
    """Return an array as one row of real numbers for each sample, and its shape where it was more."""
    try:
        x = np.asarray(as_numbers(array))
    except InputError as error:
        raise type(error)(f"{where}: {error}") from error
    if x.ndim < 2 or 0 in x.shape:
        raise InputError(
            f"{where} holds an array of shape {x.shape}, not one row of features for each sample"
        )
    return x.reshape(len(x), -1), () if x.ndim == 2 else x.shape[1:]


def _integers(where: str, cells: Shaped[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """Return the positions that cells hold, as text or as numbers."""
    try:
        return cells.astype(str).astype(np.int64)
    except (ValueError, OverflowError):
        raise InputError(f"{where}: column 'index' must hold positions (integers from 0)") from None
