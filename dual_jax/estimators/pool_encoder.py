"""From a frame of any columns to rows in which every kind of column has a vote."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import scipy.sparse
from jaxtyping import Float
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from dual_jax.data.errors import InputError
from dual_jax.data.filepools import Files
from dual_jax.data.frames import as_table
from dual_jax.data.media import SkippedFilesWarning
from dual_jax.data.storage import write_arrays
from dual_jax.dual.config import DualConfig
from dual_jax.estimators.picker import ARCHIVE
from dual_jax.numerics.scaling import Scaler, fit_parts, join
from dual_jax.views.categories import Categories
from dual_jax.views.columns import FILES, USED, Column, sort
from dual_jax.views.counts import Counts, with_counts
from dual_jax.views.embedders import Embedder, find_embedder, is_embedder
from dual_jax.views.files import CodedFiles, EmbeddedFiles
from dual_jax.views.numbers import Numbers
from dual_jax.views.text import Embedded, Text
from dual_jax.views.vectors import Vectors

# Those that a file can keep.
VIEWS = {kind.__name__: kind for kind in (Numbers, Counts, Categories, Text, Vectors, CodedFiles)}
LSA, LEARNT = "lsa", "views"
KEPT_PARAMETERS = ("columns", "folder", "scale", "random_state")


class PoolEncoder(TransformerMixin, BaseEstimator):
    """Turn a frame of numbers, dates, categories, text, vectors and files into float32 rows for a selector.

    Numbers and dates have one vote together, counts of words (50 columns or more that clearly are) another,
    categories (0/1) and short text (rows of length 1) another, and every column of text, of vectors, and of
    pictures or recordings (paths, or bytes) one. A vote is a share of the mean squared distance between rows
    (`dual_jax.beside`). The rows are scaled already, so a selector takes them with ``scale="none"``.

    Parameters
    ----------
    columns : "auto" or dict
        What columns are, by name, where it is not to be found out: "number", "counts" (of words or the like),
        "date", "category" (one 0/1 feature for each level), "string" (short text, by character n-grams),
        "text" (by words), "vector", "image" (pictures), "series" (``.wav``), "id" or "exclude". Pictures and
        recordings are paths, bytes, or a struct of bytes and path as Hugging Face ``datasets`` stores them.
        Columns that are not named are as found; see `describe`.
    text : "lsa", callable or str
        Of columns of text: latent semantic analysis in 100 dimensions, or a function from a list of str to
        one row of numbers for each, or the name of one: ``"module:function"``, ``"model2vec:FOLDER"`` and
        others (`dual_jax.views.embedders`).
    images, series : "views", callable or str
        Of columns of files: a code learnt from them without labels (`dual_jax.views.encoder`), or a
        function from a list of paths to one row of numbers for each, or the name of one.
    folder : str
        Where relative paths begin.
    scale : {"standard", "global", "l2", "none"}
        Of the numbers among themselves.
    random_state : int
        Of the singular value decomposition of text, and of learnt codes.

    Attributes
    ----------
    columns_ : tuple of Column
        For each column of the pool ``name``, ``kind`` and ``reason``.
    skipped_ : dict of str to str
        The reason for each file of the pool that cannot be read; a warning names the first.
    unread_ : (n,) bool array
        Rows of the pool with such a file. They have the mean of the codes.
    views_ : tuple
        The fitted views, in the order of their features.
    n_features_in_ : int
        Number of columns of the pool.
    feature_names_in_ : (n_features_in_,) array
        Names of the columns, where the pool has names.

    Examples
    --------
    >>> encoder = PoolEncoder({"steel": "category"})
    >>> encoder.fit_transform({"carbon": [0, 8, 8, 4], "steel": ["A", "R", "R", "A"]}).shape
    (4, 3)
    >>> print(encoder.describe())
    carbon: number (0 to 8)
    steel: category (as asked)
    """

    def __init__(
        self,
        columns: Any = "auto",
        text: Any = LSA,
        *,
        images: Any = LEARNT,
        series: Any = LEARNT,
        folder: str = ".",
        scale: str = "standard",
        random_state: int = 0,
    ) -> None:
        self.columns = columns
        self.text = text
        self.images = images
        self.series = series
        self.folder = folder
        self.scale = scale
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find out what the columns of a pool are, and how its rows become features.

        Parameters
        ----------
        X : frame, dict of columns or (n, d) array
            Of pandas, polars, pyarrow or another library with Arrow's C stream. Missing cells are fine.
        y
            Ignored.

        Raises
        ------
        InputError
            When a parameter or a column cannot be used, or no column is a feature.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None, **_: Any) -> Float[np.ndarray, "n q"]:
        """Return the pool's rows after `fit`."""
        return self._fit(X)

    def transform(self, X: Any) -> Float[np.ndarray, "m q"]:
        """Return rows of a frame with the pool's columns as the pool's are.

        Levels of a category and words that the pool did not have are as the rare ones of it, or 0. A file
        that cannot be read has the mean of the codes, and a warning names it.

        Raises
        ------
        InputError
            When a column is missing or is not of the pool's kind, or none of its files can be read.
        """
        check_is_fitted(self)
        table = self._table(X, reset=False)
        rows = []
        for view in self.views_:
            if isinstance(view, CodedFiles | EmbeddedFiles):
                codes, files = view.transform(table, self.folder)
                _warn(files.skipped)
                rows.append(codes)
            else:
                rows.append(view.transform(table))
        return np.asarray(join(self._parts, *_by_vote(self.views_, rows)))

    def describe(self) -> str:
        """Return a line for each column: what it is taken for and why."""
        check_is_fitted(self)
        return "\n".join(map(str, self.columns_))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features: the column's, and the level or direction within it."""
        check_is_fitted(self)
        return np.array([name for view in self.views_ for name in view.names], dtype=object)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoder to a file that `dual_jax.load` reads: arrays and JSON, nothing that runs.

        Raises
        ------
        InputError
            When it has an embedder of the caller's, which no file holds, or the file cannot be written.
        """
        check_is_fitted(self)
        if any(isinstance(view, Embedded | EmbeddedFiles) for view in self.views_):
            raise InputError("an embedding function cannot be written to a file: fit again after loading")
        states = [view.state() for view in self.views_]
        about = {
            "class": type(self).__name__,
            "params": {name: getattr(self, name) for name in KEPT_PARAMETERS},
            "columns": self.columns_,
            "views": [type(view).__name__ for view in self.views_],
            "states": [state for state, _ in states],
            "n_votes": len(self._parts),
            "n_features": self.n_features_in_,
            "feature_names": [*map(str, getattr(self, "feature_names_in_", ()))],
        }
        tree = {"views": [arrays for _, arrays in states], "parts": [part[1:] for part in self._parts]}
        write_arrays(path, ARCHIVE, about, tree)

    @classmethod
    def _restored(
        cls, about: dict[str, Any], arrays: dict[str, np.ndarray], config: DualConfig | None
    ) -> Self:
        """Return the encoder that `save` wrote; ``config`` is for other estimators."""
        encoder = cls(**about["params"])
        encoder.columns_ = tuple(Column(*column) for column in about["columns"])
        encoder.n_features_in_ = about["n_features"]
        if about["feature_names"]:
            encoder.feature_names_in_ = np.array(about["feature_names"], dtype=object)

        def within(place: str) -> dict[str, np.ndarray]:
            return {name.removeprefix(place): a for name, a in arrays.items() if name.startswith(place)}

        encoder.views_ = tuple(
            VIEWS[name].restored(state, within(f"views/{i}/"))
            for i, (name, state) in enumerate(zip(about["views"], about["states"], strict=True))
        )
        encoder._parts = tuple(
            Scaler("spread", *(arrays[f"parts/{i}/{j}"] for j in range(3))) for i in range(about["n_votes"])
        )
        return encoder

    def _fit(self, X: Any) -> Float[np.ndarray, "n q"]:
        self._check()
        table = self._table(X, reset=True)
        asked = {} if self.columns == "auto" else self.columns
        self.columns_ = with_counts(table, sort(table, asked, self.folder), asked)
        if not any(column.kind in USED for column in self.columns_):
            raise InputError("no column of the pool is a feature: " + "; ".join(map(str, self.columns_[:5])))
        self.skipped_: dict[str, str] = {}
        self.unread_ = np.zeros(table.num_rows, bool)
        fitted = [*self._fitted_views(table), *self._fitted_files(table)]
        self.views_ = tuple(view for view, _ in fitted)
        _warn(self.skipped_)
        votes = _by_vote(self.views_, [rows for _, rows in fitted])
        self._parts = fit_parts(*votes)
        return np.asarray(join(self._parts, *votes))

    def _check(self) -> None:
        """Refuse settings that are none of those that there are."""
        for name, own in (("text", LSA), ("images", LEARNT), ("series", LEARNT)):
            value = getattr(self, name)
            if not (callable(value) or (isinstance(value, str) and value == own) or is_embedder(value)):
                what = "texts" if name == "text" else "paths"
                raise InputError(
                    f'{name}={value!r} is neither "{own}" nor a function of a list of {what}, nor the name '
                    "of one"
                )
        if not (self.columns == "auto" or isinstance(self.columns, Mapping)):
            raise InputError(f'columns={self.columns!r} is neither "auto" nor a dictionary of kinds by name')

    def _embedder(self, setting: str, own: str) -> Embedder | None:
        """Return the function that a setting is or names; None for what this class does itself."""
        value = getattr(self, setting)
        return value if callable(value) else None if value == own else find_embedder(value)

    def _named(self, kind: str) -> list[str]:
        return [column.name for column in self.columns_ if column.kind == kind]

    def _fitted_views(self, table: Any) -> Iterator[tuple[Any, Float[np.ndarray, "n _"]]]:
        """Give each view with its rows: numbers with dates, categories, each column of text or vectors."""
        views: list[Any] = []
        if numbers := [c.name for c in self.columns_ if c.kind in ("number", "date")]:
            forms = {column.name: column.form for column in self.columns_}
            views.append(Numbers.fit(table, numbers, self._named("date"), self.scale, forms))
        if counts := self._named("counts"):
            views.append(Counts.fit(table, counts, self.random_state))
        if categories := self._named("category"):
            views.append(Categories.fit(table, categories))
        for name in self._named("string"):
            views.append(Text.fit(table, name, by_words=False, seed=self.random_state))
        embedder = self._embedder("text", LSA) if self._named("text") else None
        for name in self._named("text"):
            if embedder is not None:
                views.append(Embedded.fit(table, name, embedder))
            else:
                views.append(Text.fit(table, name, by_words=True, seed=self.random_state))
        views += [Vectors.fit(table, name) for name in self._named("vector")]
        for view in views:
            yield view, view.transform(table)

    def _fitted_files(self, table: Any) -> Iterator[tuple[Any, Float[np.ndarray, "n _"]]]:
        """Give the view of each column of files with its rows, and note what cannot be read."""
        for name, kind in [(name, own) for own in FILES for name in self._named(own)]:
            view: Any
            embedder = self._embedder("images" if kind == "image" else "series", LEARNT)
            if embedder is not None:
                view, rows, files = EmbeddedFiles.fit(table, name, kind, self.folder, embedder)
            else:
                view, rows, files = CodedFiles.fit(table, name, kind, self.folder, self.random_state)
            self._note(files)
            yield view, rows

    def _note(self, files: Files) -> None:
        self.skipped_ |= files.skipped
        self.unread_ |= ~files.is_read

    def _table(self, X: Any, *, reset: bool) -> Any:
        """Return the checked pool as a table of pyarrow, and note or compare the names of its columns."""
        if scipy.sparse.issparse(X):
            check_array(X)  # for scikit-learn's words: sparse input is refused
        is_frame = isinstance(X, Mapping) or hasattr(X, "columns") or hasattr(X, "column_names")
        if not is_frame:
            X = validate_data(
                self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=1 + reset
            )
        table = as_table(X)
        if is_frame:
            validate_data(self, table, reset=reset, skip_check_array=True)
        if table.num_rows < 1 + reset or not table.num_columns:
            raise InputError(
                f"the pool has {table.num_rows} rows and {table.num_columns} columns, wanted at least "
                f"{1 + reset} and 1"
            )
        return table

    def __sklearn_tags__(self) -> Tags:
        """Say that cells may be missing, text and categories, and that rows come out in float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _by_vote(
    views: Sequence[Any], rows: Sequence[Float[np.ndarray, "n _"]]
) -> list[Float[np.ndarray, "n _"]]:
    """Return the rows of views, those of categories and of short text, which share a vote, side by side."""
    votes: dict[Any, list[Float[np.ndarray, "n _"]]] = {}
    for view, own in zip(views, rows, strict=True):
        is_short = isinstance(view, Categories) or (isinstance(view, Text) and not view.by_words)
        votes.setdefault("short" if is_short else view.columns, []).append(own)
    return [np.concatenate(parts, axis=1) for parts in votes.values()]


def _warn(skipped: Mapping[str, str]) -> None:
    """Warn of files that cannot be read."""
    if skipped:
        name, reason = next(iter(skipped.items()))
        warnings.warn(
            f"{len(skipped):,} files cannot be read, such as {name!r}, which {reason}; their rows have the "
            "mean of the codes",
            SkippedFilesWarning,
            stacklevel=4,
        )
