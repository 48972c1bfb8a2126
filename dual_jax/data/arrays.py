"""Arrays from .npy and .npz files, the latter also as SciPy saves sparse matrices."""

import io
from collections.abc import Collection

import numpy as np
from jaxtyping import Shaped

from dual_jax.data.delimited import check_column
from dual_jax.data.errors import InputError
from dual_jax.data.files import parsing

KEYS = ("x", "X", "embeddings", "features", "data", "code")
OF_SPARSE = {"format", "shape", "data"}  # what scipy.sparse.save_npz always writes
MAX_DENSE = 1 << 28  # cells of a sparse matrix that is made dense: 2 GiB in float64


def parse_npy(where: str, data: bytes) -> Shaped[np.ndarray, "..."]:
    """Return the array in a .npy file."""
    with parsing(where, ".npy"):
        return np.load(io.BytesIO(data), allow_pickle=False)


def parse_npz(
    where: str, data: bytes, id_column: str | None, exclude: Collection[str]
) -> tuple[Shaped[np.ndarray, "n ..."], Shaped[np.ndarray, " n"] | None, dict[str, str]]:
    """Return the one table of an archive, its ids, and why the other arrays were left out."""
    ids_key = () if id_column is None else (id_column,)
    archive = _archive(where, data)
    for key in (*ids_key, *exclude):
        check_column(where, key, archive.files)
    if set(archive.files) >= OF_SPARSE:
        return _sparse(where, data), None, {}
    left = [key for key in archive.files if key not in (*ids_key, *exclude)]
    with parsing(where, ".npz"):
        tables = [key for key in left if key in KEYS] or [key for key in left if np.ndim(archive[key]) >= 2]
        arrays = {key: _decoded(archive[key]) for key in (*tables, *ids_key)}
    if len(tables) != 1:
        found = f"several tables ({', '.join(tables)})" if tables else f"no table ({', '.join(left)})"
        raise InputError(
            f"{where} holds {found}: store the pool alone under one of the keys {', '.join(KEYS)}"
        )
    x, ids = arrays[tables[0]], arrays.get(id_column or "")
    if ids is not None and ids.shape != x.shape[:1]:
        raise InputError(f"{where}: the ids {id_column!r} have shape {ids.shape}, the pool has {x.shape}")
    return x, ids, {key: "another array of the archive" for key in archive.files if key not in arrays}


def parse_key(where: str, data: bytes, key: str) -> Shaped[np.ndarray, "..."]:
    """Return one array of a .npz file."""
    archive = _archive(where, data)
    check_column(where, key, archive.files)
    with parsing(where, ".npz"):
        return _decoded(archive[key])


def _archive(where: str, data: bytes) -> np.lib.npyio.NpzFile:
    with parsing(where, ".npz"):
        return np.load(io.BytesIO(data), allow_pickle=False)


def _sparse(where: str, data: bytes) -> Shaped[np.ndarray, "n d"]:
    """Return a sparse matrix of any of SciPy's formats as a dense one."""
    from scipy.sparse import load_npz

    with parsing(where, "SciPy's .npz"):
        matrix = load_npz(io.BytesIO(data))
    if np.prod(matrix.shape, dtype=float) > MAX_DENSE:
        raise InputError(
            f"{where} holds a sparse matrix of shape {matrix.shape}, and at most {MAX_DENSE} cells are made "
            "dense: reduce its columns first, for instance with TruncatedSVD"
        )
    with parsing(where, "SciPy's .npz"):
        return matrix.toarray()


def _decoded(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return bytes as the text that they are."""
    return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
