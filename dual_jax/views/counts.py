"""Columns of counts, such as how often each word is in a text, as one view: latent semantic analysis.

Tf-idf weights, rows at length 1, the first 100 directions of their singular value decomposition, rows at
length 1 again, as for text. Standardised, each rare word would have the weight of a common one.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, Shaped

from dual_jax.data.errors import InputError
from dual_jax.views.columns import Column
from dual_jax.views.numbers import number_cells
from dual_jax.views.text import WIDTH

MIN_COLUMNS = 50  # from which columns of counts can be told
MIN_ZEROS = 0.8  # share of cells
MIN_ONES = 0.5  # share of the cells above 0: of pixels it is near 0
MIN_OTHER_ZEROS, MAX_TYPICAL = 0.2, 3.0  # a column seldom 0 and this many times the mean count is no count
MIN_LARGEST = 2  # 0/1 columns may be categories


class Counts(NamedTuple):
    """Columns with the inverse document frequency of each, and the directions that are kept."""

    columns: tuple[str, ...]
    idf: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "q d"]

    @classmethod
    def fit(cls, table: Any, columns: Sequence[str], seed: int = 0) -> Self:
        """Return the view of these columns of a table.

        Raises
        ------
        InputError
            When a column holds something else than numbers of at least 0.
        """
        return cls.fit_rows(_rows(table, columns), columns, seed)

    @classmethod
    def fit_rows(cls, rows: Shaped[np.ndarray, "n d"], columns: Sequence[str] = (), seed: int = 0) -> Self:
        """Return the view of columns that are given as an array.

        Examples
        --------
        >>> rows = np.array([[2, 0, 1], [0, 3, 0], [4, 0, 2]])
        >>> Counts.fit_rows(rows).transform_rows(rows).round(3) + 0.0
        array([[1., 0.],
               [0., 1.],
               [1., 0.]], dtype=float32)
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfTransformer

        if not np.isfinite(rows).all() or rows.min() < 0:
            raise InputError("columns of counts hold finite numbers of at least 0: take these as numbers")
        tfidf = TfidfTransformer()
        weights = tfidf.fit_transform(_sparse(rows))
        svd = TruncatedSVD(min(WIDTH, *weights.shape), random_state=seed).fit(weights)
        is_used = svd.singular_values_ > 1e-6 * max(float(svd.singular_values_[0]), 1e-12)
        return cls(tuple(columns), tfidf.idf_, svd.components_[is_used | (np.arange(len(is_used)) == 0)])

    def transform(self, table: Any) -> Float[np.ndarray, "m q"]:
        """Return rows of a table in the kept directions, at length 1; rows of zeros stay 0."""
        return self.transform_rows(_rows(table, self.columns))

    def transform_rows(self, rows: Shaped[np.ndarray, "m d"]) -> Float[np.ndarray, "m q"]:
        """Return rows that are given as an array likewise."""
        from sklearn.preprocessing import normalize

        weights = normalize(_sparse(rows).multiply(self.idf).tocsr())
        return normalize(weights @ self.directions.T).astype(np.float32)

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [f"counts_lsa{place}" for place in range(len(self.directions))]

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `restored` needs, as JSON and as arrays."""
        return {"columns": self.columns}, {"idf": self.idf, "directions": self.directions}

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the view from its `state`."""
        return cls(tuple(about["columns"]), arrays["idf"], arrays["directions"])


def with_counts(table: Any, columns: Sequence[Column], asked: Collection[str] = ()) -> tuple[Column, ...]:
    """Return what columns are, numbers that are clearly counts of words or the like as counts.

    Columns in ``asked`` stay what they were said to be. See `are_counts`.
    """
    names = [column.name for column in columns if column.kind == "number" and column.name not in asked]
    if len(names) < MIN_COLUMNS:
        return tuple(columns)
    rows = np.stack([number_cells(name, table[name]) for name in names], axis=1)
    is_other = _are_measures(rows)
    if not are_counts(rows[:, ~is_other]):
        return tuple(columns)
    reason = about_counts(rows[:, ~is_other])
    found = {name for name, other in zip(names, is_other, strict=True) if not other}
    return tuple(
        column._replace(kind="counts", reason=reason) if column.name in found else column
        for column in columns
    )


def _are_measures(rows: Shaped[np.ndarray, "n d"]) -> Bool[np.ndarray, " d"]:
    """Return which columns, among counts, are something else, such as an age: seldom 0, and large."""
    typical = rows[rows != 0].mean() if rows.any() else 0.0
    return (np.mean(rows == 0, axis=0) < MIN_OTHER_ZEROS) & (rows.mean(axis=0) > MAX_TYPICAL * typical)


def about_counts(rows: Shaped[np.ndarray, "n d"]) -> str:
    """Return why columns are taken for counts, in a few words."""
    return f"whole numbers up to {int(rows.max()):,}, {100 * float(np.mean(rows == 0)):.0f} % of the cells 0"


def are_counts(rows: Shaped[np.ndarray, "n d"]) -> bool:
    """Return whether columns are clearly counts of words or the like.

    That is: 50 columns or more of integers of at least 0; at least 80 % of the cells 0; of the others at
    least half 1 and some more. Ours.

    Examples
    --------
    >>> are_counts(np.eye(60, dtype=int) + np.eye(60, 60, 1, dtype=int) * 2), are_counts(np.eye(60))
    (True, False)
    """
    if rows.shape[1] < MIN_COLUMNS:
        return False
    n_zeros, n_ones, largest = 0, 0, 0.0
    for start in range(0, len(rows), 1024):
        part = rows[start : start + 1024]
        if not _are_whole(part).all():
            return False
        n_zeros += int((part == 0).sum())
        n_ones += int((part == 1).sum())
        largest = max(largest, float(part.max()))
    n_above = rows.size - n_zeros
    return n_zeros >= MIN_ZEROS * rows.size and n_ones >= MIN_ONES * n_above and largest >= MIN_LARGEST


def _are_whole(rows: Shaped[np.ndarray, "n d"]) -> Bool[np.ndarray, "n d"]:
    return (rows >= 0) & np.isfinite(rows) & (rows == np.floor(rows))


def _rows(table: Any, columns: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Return columns of a table as numbers, a missing cell as 0."""
    return np.nan_to_num(np.stack([number_cells(name, table[name]) for name in columns], axis=1))


def _sparse(rows: Shaped[np.ndarray, "n d"]) -> Any:
    from scipy.sparse import csr_array

    return csr_array(np.asarray(rows, np.float64))
