"""Columns of counts as one view."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from dual_jax.data.errors import InputError
from dual_jax.views.counts import Counts, are_counts


def word_counts(n=80, d=120):
    """Return counts of words whose frequencies fall off as those of a language do."""
    rng = np.random.default_rng(0)
    return rng.poisson(1.5 / np.arange(1, d + 1) ** 0.9, (n, d))


def test_rows_are_those_of_scikit_learns_own_steps_and_new_ones_alike():
    rows = word_counts()
    theirs = make_pipeline(TfidfTransformer(), TruncatedSVD(80, random_state=0), Normalizer())
    expected = theirs.fit_transform(rows)
    view = Counts.fit_rows(rows)
    np.testing.assert_allclose(view.transform_rows(rows), expected[:, : len(view.directions)], atol=1e-5)
    np.testing.assert_allclose(view.transform_rows(rows[:3]), view.transform_rows(rows)[:3], atol=1e-6)


def test_columns_of_a_table_are_kept_and_read_back():
    rows = word_counts(d=60)
    names = [f"w{i}" for i in range(60)]
    table = pa.table(dict(zip(names, rows.T, strict=True)))
    view = Counts.fit(table, names)
    about, arrays = view.state()
    np.testing.assert_array_equal(Counts.restored(about, arrays).transform(table), view.transform(table))
    assert view.names[0] == "counts_lsa0"


def test_counts_of_words_are_told_from_pixels_numbers_indicators_and_few_columns():
    rows = word_counts()
    pixels = np.where(rows > 0, 250, 0)
    assert are_counts(rows)
    assert are_counts(rows.astype(np.float32))
    assert not are_counts(pixels)
    assert not are_counts(rows + 0.5)
    assert not are_counts(-rows)
    assert not are_counts(np.minimum(rows, 1))
    assert not are_counts(rows[:, :40])
    assert not are_counts(np.where(rows == 0, np.nan, rows))


def test_counts_of_real_sentences_are_counts():
    sentences = [
        f"the {a} and a {b} of the {c}" for a in ["red", "blue", "old"] for b in WORDS for c in WORDS
    ]
    rows = CountVectorizer(token_pattern=r"\w+").fit_transform(sentences).toarray()
    assert are_counts(rows)


WORDS = [f"word{i}" for i in range(50)]


def test_numbers_below_zero_are_refused():
    with pytest.raises(InputError, match="at least 0"):
        Counts.fit_rows(np.array([[1, -1], [0, 2]]))
