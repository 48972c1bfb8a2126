"""A column of text as a view: latent semantic analysis, or whatever an embedder gives.

Tf-idf weights of words (of character n-grams for short text such as names), rows at length 1, the first 100
directions of their singular value decomposition, rows at length 1 again. Source: Deerwester et al., 1990.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from dual_jax.data.casts import texts_of
from dual_jax.data.errors import InputError
from dual_jax.views.columns import without_missing
from dual_jax.views.embedders import Embedder, embed

WIDTH = 100  # directions that are kept
MAX_TERMS = 100_000  # the most frequent words or n-grams
WORDS = {"analyzer": "word"}
LETTERS = {"analyzer": "char_wb", "ngram_range": (2, 4)}


class Text(NamedTuple):
    """Latent semantic analysis of one column, as fitted on the pool."""

    columns: tuple[str, ...]
    by_words: bool
    vocabulary: tuple[str, ...]
    idf: Float[np.ndarray, " v"]
    directions: Float[np.ndarray, "q v"]

    @classmethod
    def fit(cls, table: Any, column: str, *, by_words: bool, seed: int = 0) -> Self:
        """Return the view of a column, by words or by character n-grams.

        Raises
        ------
        InputError
            When no cell has a word.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        tfidf = TfidfVectorizer(max_features=MAX_TERMS, **(WORDS if by_words else LETTERS))
        try:
            weights = tfidf.fit_transform(texts(table[column]))
        except ValueError as error:
            raise InputError(f"column {column!r} cannot be used as text: {error}") from None
        vocabulary = tuple(map(str, tfidf.get_feature_names_out()))
        svd = TruncatedSVD(min(WIDTH, *weights.shape), random_state=seed).fit(weights)
        return cls((column,), by_words, vocabulary, tfidf.idf_, svd.components_)

    def transform(self, table: Any) -> Float[np.ndarray, "m q"]:
        """Return the texts of a table in the kept directions, rows at length 1; without a known word 0."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        settings = WORDS if self.by_words else LETTERS
        tfidf = TfidfVectorizer(vocabulary={term: i for i, term in enumerate(self.vocabulary)}, **settings)
        tfidf.idf_ = self.idf
        weights = tfidf.transform(texts(table[self.columns[0]]))
        return normalize(weights @ self.directions.T).astype(np.float32)

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [f"{self.columns[0]}_lsa{place}" for place in range(len(self.directions))]

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `restored` needs, as JSON and as arrays."""
        about = {"columns": self.columns, "by_words": self.by_words, "vocabulary": self.vocabulary}
        return about, {"idf": self.idf, "directions": self.directions}

    @classmethod
    def restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        """Return the view from its `state`."""
        terms = tuple(about["vocabulary"])
        return cls(tuple(about["columns"]), about["by_words"], terms, arrays["idf"], arrays["directions"])


class Embedded(NamedTuple):
    """A column of text that a function of the caller embeds."""

    columns: tuple[str, ...]
    embedder: Embedder
    width: int

    @classmethod
    def fit(cls, table: Any, column: str, embedder: Embedder) -> Self:
        """Return the view of a column; the embedder has learnt elsewhere, and is asked for one row."""
        return cls((column,), embedder, embed(embedder, texts(table[column])[:1]).shape[1])

    def transform(self, table: Any) -> Float[np.ndarray, "m q"]:
        """Return the embedding of the texts of a table."""
        return embed(self.embedder, texts(table[self.columns[0]]))

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [f"{self.columns[0]}[{place}]" for place in range(self.width)]


def texts(column: Any) -> list[str]:
    """Return the cells of a column as text, '' where missing."""
    return texts_of(without_missing(column)).tolist()
