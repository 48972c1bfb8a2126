"""A column of files as a view: the code of its pictures or recordings, learnt without labels.

The cells are paths, or the files themselves.
"""

import os
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jaxtyping import Bool, Float

from dual_jax.data.casts import is_textual, texts_of
from dual_jax.data.errors import InputError
from dual_jax.data.filecells import can_hold_files, cells_as_files, kind_held
from dual_jax.data.filepools import Files, read_files
from dual_jax.data.media import Held
from dual_jax.views.columns import FILES, without_missing
from dual_jax.views.embedders import Embedder, embed
from dual_jax.views.encoder import Encoder, encode, learn
from dual_jax.views.keeping import as_arrays, from_arrays


class CodedFiles(NamedTuple):
    """A column of files, their kind, and what turns them into codes.

    ``shape`` and ``rate`` are those to which new files are brought.
    """

    columns: tuple[str, ...]
    kind: str
    shape: tuple[int, ...]
    rate: int
    encoder: Encoder

    @classmethod
    def fit(
        cls, table: Any, column: str, kind: str, folder: str, seed: int
    ) -> tuple[Self, Float[np.ndarray, "n p"], Files]:
        """Return the view of a column, its rows, and what was read.

        Raises
        ------
        InputError
            When the column holds neither paths nor files, no file can be read, or nothing can be learnt.
        """
        files = read_column_files(table, column, kind, folder)
        encoder = learn(jax.random.key(seed), files.values, kind=files.kind)
        view = cls((column,), kind, files.values.shape[1:], files.rate, encoder)
        return view, _rows(encoder, files), files

    def transform(self, table: Any, folder: str) -> tuple[Float[np.ndarray, "m p"], Files]:
        """Return the codes of the files of a table and what was read; of a file that cannot be, the mean."""
        (column,) = self.columns
        files = read_column_files(table, column, self.kind, folder, shape=self.shape, rate=self.rate)
        return _rows(self.encoder, files), files

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [f"{self.columns[0]}_view{place}" for place in range(self.encoder.code.directions.shape[1])]

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `restored` needs, as JSON and as arrays."""
        about, arrays = as_arrays(self.encoder)
        own = {"columns": self.columns, "kind": self.kind, "shape": self.shape, "rate": self.rate}
        return {**own, "encoder": about}, arrays

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the view from its `state`."""
        encoder = from_arrays(about["encoder"], arrays)
        return cls(tuple(about["columns"]), about["kind"], tuple(about["shape"]), about["rate"], encoder)


class EmbeddedFiles(NamedTuple):
    """A column of files that a function of the caller embeds from their paths."""

    columns: tuple[str, ...]
    kind: str
    embedder: Embedder
    width: int

    @classmethod
    def fit(
        cls, table: Any, column: str, kind: str, folder: str, embedder: Embedder
    ) -> tuple[Self, Float[np.ndarray, "n p"], Files]:
        """Return the view of a column, its rows, and what was read."""
        rows, files = _embedded(table, column, kind, folder, embedder)
        return cls((column,), kind, embedder, rows.shape[1]), rows, files

    def transform(self, table: Any, folder: str) -> tuple[Float[np.ndarray, "m p"], Files]:
        """Return the embedding of the files of a table and what was read; of one that cannot be, the mean."""
        return _embedded(table, self.columns[0], self.kind, folder, self.embedder)

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [f"{self.columns[0]}[{place}]" for place in range(self.width)]


def _embedded(
    table: Any, column: str, kind: str, folder: str, embedder: Embedder
) -> tuple[Float[np.ndarray, "n p"], Files]:
    """Return the embedding of the files of a column that can be read, their mean for the others."""
    files = read_column_files(table, column, kind, folder)
    return embed_files(embedder, folder, files_of(table, column), files.is_read), files


def read_column_files(
    table: Any, column: str, kind: str, folder: str, *, shape: tuple[int, ...] = (), rate: int = 0
) -> Files:
    """Return what the files of a column hold.

    Raises
    ------
    InputError
        When the column holds neither text nor files, or no file can be read.
    """
    return read_files(files_of(table, column), folder, FILES[kind], shape=shape, rate=rate)


def files_of(table: Any, column: str) -> list[str | Held]:
    """Return the cells of a column as paths, '' where missing, or as the files that they hold.

    Raises
    ------
    InputError
        When the column holds neither text nor bytes.
    """
    if kind_held(table[column]):
        return cells_as_files(table[column])
    cells = without_missing(table[column])
    if is_textual(cells.type):
        return texts_of(cells).tolist()
    if not can_hold_files(cells.type):
        raise InputError(f"column {column!r} holds {cells.type}, neither paths of files nor their bytes")
    return cells_as_files(cells)


def embed_files(
    embedder: Embedder, folder: str, files: Sequence[str | Held], is_read: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "n p"]:
    """Return what an embedder gives for files below a folder; the mean for those that cannot be read.

    It gets paths: the files that a table holds are written to a temporary folder first.
    """
    with tempfile.TemporaryDirectory() as copies:
        paths = [_path(file, folder, copies, row) for row, file in enumerate(files) if is_read[row]]
        known = embed(embedder, paths, "files")
    rows = np.empty((len(files), known.shape[1]), np.float32)
    rows[is_read], rows[~is_read] = known, known.mean(axis=0)
    return rows


def _path(file: str | Held, folder: str, copies: str, row: int) -> str:
    """Return the path of a file, after writing it where a table holds it."""
    if not isinstance(file, Held):
        return os.path.join(folder, file)
    path = os.path.join(copies, f"{row}_{file.file_name}")
    with open(path, "wb") as copy:
        copy.write(file.contents())
    return path


def _rows(encoder: Encoder, files: Files) -> Float[np.ndarray, "n p"]:
    """Return a row for each file that was asked for; 0, the mean of the codes, for one that was not read."""
    codes = np.asarray(encode(encoder, files.values))
    rows = np.zeros((len(files.is_read), codes.shape[1]), np.float32)
    rows[files.is_read] = codes
    return rows
