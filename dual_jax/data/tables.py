"""A pool from a file or a built-in data set: numbers, ids, what was guessed and what was left out."""

import difflib
import hashlib
import os
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from dual_jax.data import datasets
from dual_jax.data.arrays import parse_key, parse_npy, parse_npz
from dual_jax.data.arrow import is_saved_set
from dual_jax.data.casts import texts_of
from dual_jax.data.checks import as_numbers
from dual_jax.data.columns import Columns, Wishes, feature_names, matrix_of, sort_columns
from dual_jax.data.errors import InputError
from dual_jax.data.filepools import TEXT_COLUMNS, is_list, is_text_folder, read_file_pool
from dual_jax.data.files import CONTENT, STDIN, check_kind, find_source, parsing, suffix_of
from dual_jax.data.ids import check_ids
from dual_jax.data.media import NOUNS
from dual_jax.data.rawtable import RawTable, read_table
from dual_jax.data.rowgroups import RowGroups
from dual_jax.data.storage import sha256_of

IDS = "ids"  # what an archive of an embedding may call the ids of its rows


class Pool(NamedTuple):
    """A table of samples as read: missing cells are NaN, nothing is scaled.

    ``dropped`` says for each column (or array of an archive) that is no feature why; ``sha256`` is the sum of
    the file's bytes, or of the numbers of a built-in set; ``note`` is what else was done; ``sample_shape`` is
    that of an image or a series before it became a row, () where that is not known. ``guesses`` are sentences
    on what the file left open and was decided here; ``vectors`` is the list column that the samples are, if
    any. ``table`` are all columns as read, where they were asked for. Of a pool of files, ``media`` is
    "images" or "series", the ids are paths relative to the folder or to the list, and ``skipped`` has the
    reason for each file that could not be read. ``unread`` marks rows of a table whose file could not be.
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
    guesses: tuple[str, ...] = ()
    vectors: str | None = None
    table: Any = None
    media: str | None = None
    skipped: dict[str, str] = {}  # noqa: RUF012
    unread: Any = None


def read_pool(
    source: str | PathLike[str],
    *,
    id_column: str | None = None,
    exclude: Collection[str] = (),
    use: Collection[str] = (),
    header: bool | None = None,
    decimal: str | None = None,
    data_dir: str | PathLike[str] | None = None,
    any_columns: bool = False,
) -> Pool:
    """Return the pool in a file or of a built-in data set.

    Parameters
    ----------
    source : path or str
        ``.npy``: one array. ``.npz``: the array under the one key of ``x``, ``X``, ``embeddings``,
        ``features``, ``data`` and ``code``, or else the only array of two or more dimensions, or a matrix
        that SciPy's ``save_npz`` wrote. Tables as in `read_table`: every column of numbers, or the one column
        of vectors; not a saved index or row ids, which become the ids (rules: `dual_jax.data.columns`).
        Arrays of more than two dimensions are flattened to one row per sample. A folder of pictures, of
        ``.wav`` files or of texts, or a ``.txt`` file with a path on each line: see
        `dual_jax.data.filepools`. Otherwise
        the name of a built-in data set; a file of that name comes first.
    id_column : str, optional
        The column (in ``.npz`` the key) that holds the ids; they keep their text, so ``007`` stays ``007``.
    exclude : collection of str
        Columns that are no features, such as a label.
    use : collection of str
        Columns of numbers that are features although they look like an index or ids.
    header, decimal : optional
        Of delimited text: whether the first line is a header, and "." or ",". Found out where None.
    data_dir : path, optional
        Where the files of built-in sets are.
    any_columns : bool
        Keep the columns of a table as read, and accept one that has none of numbers.

    Returns
    -------
    Pool
        ``x`` in float64, or in float32 where that holds what was stored; of pictures in uint8.

    Raises
    ------
    InputError
        When there is no such file or set, the file is empty, broken, truncated, of another kind than its name
        says, can be read in two ways, or holds no table of numbers; when a named column is missing or an id
        is empty or repeated.

    Examples
    --------
    >>> pool = read_pool("digits")
    >>> pool.x.shape, pool.source
    ((1797, 64), 'digits')
    """
    is_there = str(source) == STDIN or os.path.isfile(source) or os.path.isdir(source)
    if not is_there or (os.path.isdir(source) and str(source) in datasets.names()):
        return _built_in(str(source), id_column, exclude, data_dir)
    wishes = Wishes(id_column, tuple(exclude), tuple(use))
    if os.path.isfile(source) and suffix_of(source) in (".npy", ".npz"):
        return _from_array(source, wishes)
    if is_text_folder(source):
        wishes = wishes._replace(id_column=id_column or TEXT_COLUMNS[0])
    elif is_list(source) or (os.path.isdir(source) and not is_saved_set(source)):
        return _from_files(source, wishes)
    raw = read_table(source, named=wishes.named, header=header, decimal=decimal)
    return _from_table(raw, wishes, any_columns)


def _from_table(raw: RawTable, wishes: Wishes, any_columns: bool) -> Pool:
    """Return the pool in a table; with ``any_columns`` as in `read_pool`."""
    found = _sorted(raw, wishes, needs_numbers=not any_columns)
    has_features = bool(found.numbers) or len(found.vectors) == 1
    matrix = matrix_of(found) if has_features else np.empty((found.table.num_rows, 0))
    x, sample_shape = _as_matrix(raw.where, matrix) if has_features else (matrix, ())
    return Pool(
        x,
        found.ids,
        found.id_name,
        feature_names(found) if raw.has_names else None,
        found.dropped,
        raw.where,
        raw.sha256,
        "",
        sample_shape,
        (*raw.guesses, *found.guesses),
        next(iter(found.vectors), None),
        found.table if any_columns else None,
        skipped=raw.skipped,
    )


def _sorted(raw: RawTable, wishes: Wishes, *, needs_numbers: bool = True) -> Columns:
    return sort_columns(
        raw.where,
        raw.table,
        wishes,
        index=raw.index_names,
        labels=raw.labels,
        has_names=raw.has_names,
        decimal=raw.decimal,
        needs_numbers=needs_numbers,
    )


def _from_array(source: str | PathLike[str], wishes: Wishes) -> Pool:
    """Return the pool in a .npy or .npz file."""
    found, ids = find_source(source), None
    dropped: dict[str, str] = {}
    with found.open() as file:
        data = bytes(file.read())
    if found.suffix == ".npy":
        _refuse_names(found.where, wishes)
        array = parse_npy(found.where, data)
    else:
        array, ids, dropped = parse_npz(found.where, data, wishes.id_column, wishes.exclude)
    if ids is not None:
        check_ids(ids, f"{found.where}: column {wishes.id_column!r}")
    x, shape = _as_matrix(found.where, array)
    note = f"samples of shape {shape} flattened to rows" if shape else ""
    return Pool(x, ids, wishes.id_column, None, dropped, found.where, found.sha256, note, shape)


def _from_files(source: str | PathLike[str], wishes: Wishes) -> Pool:
    """Return the pool of a folder or a list of files."""
    if wishes.named:
        raise InputError(f"{source} is a pool of files, and has no column {wishes.named[0]!r}")
    found = read_file_pool(source)
    files, other = found.files, f"no {NOUNS[found.files.kind]}"
    return Pool(
        files.values.reshape(len(files.values), -1),
        found.names,
        None,
        None,
        {f"{n:,} {suffix}": other for suffix, n in found.others.items()},
        str(source),
        files.sha256,
        "",
        files.values.shape[1:],
        (files.note,),
        media=files.kind,
        skipped=files.skipped,
    )


def map_pool(
    path: str | PathLike[str],
    id_column: str | None = None,
    exclude: Collection[str] = (),
    use: Collection[str] = (),
) -> Pool:
    """Return the pool in a ``.npy`` or ``.parquet`` file, which stays on disk: rows are read when asked for.

    Columns of ``.parquet`` are features as in `read_pool`, by the look of the first row group; ids are read
    whole.

    Raises
    ------
    InputError
        When there is no such file, or it is broken, or holds no table of two dimensions, when a column of
        ``.npy`` is named or a named one is missing, or when an id is empty or repeated.
    """
    where, suffix = str(path), Path(path).suffix.lower()
    wishes = Wishes(id_column, tuple(exclude), tuple(use))
    if suffix == ".npy":
        _refuse_names(where, wishes)
    if suffix not in (".npy", ".parquet") or not os.path.isfile(path):
        raise InputError(f"{where} cannot stay on disk: give a .npy or .parquet file that is there")
    with open(path, "rb") as file:
        check_kind(where, CONTENT[suffix], file.read(64))
    if suffix == ".parquet":
        return _map_parquet(where, wishes)
    with parsing(where, ".npy"):
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    if x.ndim != 2 or x.dtype.kind not in "fiub":
        raise InputError(
            f"{where} holds {x.dtype} of shape {x.shape}, not one row of numbers for each sample"
        )
    return Pool(x, None, None, None, {}, where, sha256_of(path), "left on disk")


def _map_parquet(where: str, wishes: Wishes) -> Pool:
    x = RowGroups(where, wishes)
    first = x.first
    if x.ids is not None:
        check_ids(x.ids, f"{where}: column {first.id_name!r}")
    return Pool(
        x,
        x.ids,
        first.id_name,
        feature_names(first),
        first.dropped,
        where,
        sha256_of(where),
        "left on disk",
        guesses=tuple(first.guesses),
        vectors=next(iter(first.vectors), None),
    )


def read_column(path: str | PathLike[str], name: str) -> Shaped[np.ndarray, " n"]:
    """Return one column of a table's file as text, without surrounding blanks, missing cells as ''.

    Of a ``.npz`` file it is the array of that name.

    Raises
    ------
    InputError
        When the file cannot be read or has no such column.
    """
    if suffix_of(path) == ".npz" and os.path.isfile(path):
        found = find_source(path)
        with found.open() as file:
            return parse_key(found.where, bytes(file.read()), name)
    return texts_of(read_table(path, named=[name], decimal=".").table[name])


def read_embedding(path: str | PathLike[str], pool: Pool) -> Pool:
    """Return the table in a file that goes beside a pool, its rows in the pool's order.

    Parameters
    ----------
    path : path
        As for `read_pool`. Where it has the pool's id column, or one called ``ids``, its rows are matched by
        that, and those of other ids are left out; otherwise they are taken to be in the pool's order.
    pool : Pool
        What the rows are of.

    Raises
    ------
    InputError
        When the file cannot be read as a table of numbers, or lacks an id of the pool.
    """
    if not os.path.isfile(path):
        raise InputError(f"there is no file {os.fspath(path)!r} to read an embedding from")
    found = read_pool(path)
    names = (*(found.feature_names or ()), *found.dropped)
    of_ids = next((name for name in (pool.id_name, IDS) if name in names), None)
    if pool.ids is None or of_ids is None:
        return found
    found = read_pool(path, id_column=of_ids)
    places = {str(name): row for row, name in enumerate(found.ids if found.ids is not None else ())}
    missing = [name for name in map(str, pool.ids) if name not in places]
    if missing:
        raise InputError(
            f"{found.source} has no row for {len(missing)} of {len(pool.ids)} ids of the pool, such as "
            f"{missing[0]!r}: embed the whole pool"
        )
    return found._replace(x=found.x[[places[str(name)] for name in pool.ids]], ids=pool.ids)


def _built_in(
    name: str, id_column: str | None, exclude: Collection[str], data_dir: str | PathLike[str] | None
) -> Pool:
    """Return a built-in data set as a pool, without its labels."""
    if name not in datasets.names():
        raise InputError(_unknown(name))
    _refuse_names(name, Wishes(id_column, tuple(exclude)))
    dataset = datasets.load(name, data_dir)
    digest = hashlib.sha256(dataset.x.tobytes()).hexdigest()
    shape = datasets.sample_shape(name)
    return Pool(dataset.x, None, None, dataset.feature_names, {}, name, digest, dataset.note, shape)


def _unknown(source: str) -> str:
    """Return the error for what is neither a file nor a built-in set."""
    folder = os.path.dirname(source)
    is_listable = os.path.isdir(folder or ".") and os.access(folder or ".", os.R_OK)
    beside = os.listdir(folder or ".") if is_listable else []
    files = [os.path.join(folder, file) for file in beside if suffix_of(file) in CONTENT]
    close = difflib.get_close_matches(source, [*datasets.names(), *files])
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{source!r} is neither a file nor a built-in data set ({', '.join(datasets.names())}){hint}"


def _refuse_names(where: str, wishes: Wishes) -> None:
    """Refuse names of columns where columns have none."""
    if wishes.named:
        raise InputError(
            f"{where} has no column {wishes.named[0]!r}, as its columns have no names: use .npz or .csv"
        )


def _as_matrix(
    where: str, array: Shaped[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "n d"], tuple[int, ...]]:
    """Return an array as one row of real numbers for each sample, and its shape where it was more."""
    try:
        x = np.asarray(as_numbers(array))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    if x.ndim < 2 or 0 in x.shape:
        raise InputError(
            f"{where} holds an array of shape {x.shape}, not one row of features for each sample"
        )
    return x.reshape(len(x), -1), () if x.ndim == 2 else x.shape[1:]
