"""A column of paths as a view: the code of its pictures or recordings, learnt without labels."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jaxtyping import Float

from dual_jax.data.casts import is_textual, texts_of
from dual_jax.data.errors import InputError
from dual_jax.data.filepools import Files, read_files
from dual_jax.views.columns import FILES, without_missing
from dual_jax.views.encoder import Encoder, encode, learn
from dual_jax.views.keeping import as_arrays, from_arrays


class CodedFiles(NamedTuple):
    """A column of paths, the kind of its files, and what turns them into codes.

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
            When the column holds no paths, no file can be read, or nothing can be learnt from them.
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


def read_column_files(
    table: Any, column: str, kind: str, folder: str, *, shape: tuple[int, ...] = (), rate: int = 0
) -> Files:
    """Return what the files of a column of paths hold.

    Raises
    ------
    InputError
        When the column holds no text, or no file can be read.
    """
    return read_files(paths_of(table, column), folder, FILES[kind], shape=shape, rate=rate)


def paths_of(table: Any, column: str) -> list[str]:
    """Return the cells of a column of paths, '' where missing."""
    cells = without_missing(table[column])
    if not is_textual(cells.type):
        raise InputError(f"column {column!r} holds {cells.type}, not paths of files")
    return texts_of(cells).tolist()


def embed_paths(embed: Callable[[list[str]], Any], folder: str, names: Sequence[str]) -> Any:
    """Return what a function of paths gives for names of files below a folder."""
    return embed([os.path.join(folder, name) for name in names])


def _rows(encoder: Encoder, files: Files) -> Float[np.ndarray, "n p"]:
    """Return a row for each file that was asked for; 0, the mean of the codes, for one that was not read."""
    codes = np.asarray(encode(encoder, files.values))
    rows = np.zeros((len(files.is_read), codes.shape[1]), np.float32)
    rows[files.is_read] = codes
    return rows
