"""A frame of any columns becomes rows in which each kind of column has a vote."""

import datetime
import pathlib
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from drawn import draw_pictures, record
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import dual_jax as dj
from dual_jax.data.errors import InputError
from dual_jax.data.media import SkippedFilesWarning
from dual_jax.views import encoder, files

N = 120
WORDS = ["red", "blue", "cat", "dog", "runs", "sits", "tree", "house"]


def columns():
    """Return a pool of every kind of column, as a dictionary."""
    rng = np.random.default_rng(0)
    first = datetime.datetime(2024, 1, 1)
    return {
        "uid": [f"u{i}" for i in range(N)],
        "age": [float(i % 17) for i in range(N)],
        "flag": [i % 3 == 0 for i in range(N)],
        "when": [first + datetime.timedelta(days=5 * i) for i in range(N)],
        "city": [["Rome", "Oslo", "Paris", None][i % 4] for i in range(N)],
        "steel": [["A", "B"][i % 2] for i in range(N)],
        "notes": [" ".join(rng.choice(WORDS, 6)) for _ in range(N)],
        "vector": [[float(i), 1.0 / (i + 1)] for i in range(N)],
    }


def as_they_are(view):
    """Return a view in the unit in which each has one vote."""
    centred = view - view.mean(axis=0)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())


@pytest.mark.parametrize(("estimator", "check"), list(estimator_checks_generator(dj.PoolEncoder())))
def test_scikit_learn_finds_nothing_to_complain_about(estimator, check):
    check(estimator)


def test_rows_are_those_of_scikit_learns_own_steps_with_a_vote_for_each():
    pool = {name: columns()[name] for name in ("age", "steel", "notes")}
    lsa = make_pipeline(TfidfVectorizer(), TruncatedSVD(len(WORDS), random_state=0), Normalizer())

    rows = dj.PoolEncoder().fit_transform(pool)

    numbers = StandardScaler().fit_transform(np.array(pool["age"])[:, None])
    categories = OneHotEncoder(sparse_output=False).fit_transform(np.array(pool["steel"])[:, None])
    by_hand = [numbers, categories, lsa.fit_transform(pool["notes"])]
    expected = np.hstack([as_they_are(view) for view in by_hand]) * np.sqrt((1 + 2 + len(WORDS)) / 3)
    np.testing.assert_allclose(rows, expected, atol=1e-5)  # float32 of numbers near 1


def test_each_view_has_the_same_share_of_the_squared_distances():
    encoder = dj.PoolEncoder()
    rows = encoder.fit_transform(columns())
    ends = np.cumsum([len(view.names) for view in encoder.views_])

    shares = [np.sum(np.var(part, axis=0)) for part in np.split(rows, ends[:-1], axis=1)]

    assert len(shares) == 4  # numbers, categories, text, vectors
    np.testing.assert_allclose(shares, rows.shape[1] / 4, rtol=1e-4)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_frames_of_any_library_give_the_rows_of_a_dictionary(make):
    expected = dj.PoolEncoder().fit_transform(columns())
    encoder = dj.PoolEncoder()

    np.testing.assert_array_equal(encoder.fit_transform(make(columns())), expected)
    assert encoder.feature_names_in_.tolist() == [*columns()]


def test_an_array_of_numbers_is_its_standardised_columns():
    x = np.random.default_rng(0).normal(size=(30, 4)) * [1, 10, 100, 1000]
    np.testing.assert_allclose(
        dj.PoolEncoder().fit_transform(x), StandardScaler().fit_transform(x), atol=1e-5
    )


def test_the_order_of_the_columns_does_not_change_distances():
    forward, backward = columns(), dict(reversed(columns().items()))
    rows = [dj.PoolEncoder().fit_transform(pool) for pool in (forward, backward)]
    products = [(own @ own.T) for own in rows]
    np.testing.assert_allclose(*products, atol=1e-3)  # sums of 20 float32 products near 10


def test_new_rows_may_have_levels_words_and_gaps_that_the_pool_had_not():
    encoder = dj.PoolEncoder({"uid": "exclude"}).fit(columns())
    new = {name: values[:2] for name, values in columns().items()}
    strange = new | {"city": ["Lima", "Rome"], "notes": ["never seen", None], "age": [None, 1.0]}

    rows = encoder.transform(strange)

    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(encoder.transform(new), encoder.transform(columns())[:2])


def test_a_round_trip_through_a_file_gives_the_same_rows(tmp_path):
    encoder = dj.PoolEncoder({"steel": "string"}).fit(columns())
    encoder.save(tmp_path / "encoder.npz")

    again = dj.load(tmp_path / "encoder.npz")

    np.testing.assert_array_equal(again.transform(columns()), encoder.transform(columns()))
    assert again.describe() == encoder.describe()
    assert again.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()


def test_it_is_the_first_step_of_a_pipeline():
    picks = make_pipeline(dj.PoolEncoder(), dj.Selector("medoids", 5, scale="none")).fit(columns())
    assert len(set(picks[-1].sample_indices_.tolist())) == 5


def test_an_embedder_of_the_callers_takes_the_place_of_lsa_and_is_in_no_file(tmp_path):
    def lengths(texts):
        return np.array([[len(text), text.count("a")] for text in texts])

    encoder = dj.PoolEncoder(text=lengths).fit(columns())

    assert "notes[1]" in encoder.get_feature_names_out()
    with pytest.raises(InputError, match="cannot be written"):
        encoder.save(tmp_path / "encoder.npz")


@pytest.mark.parametrize(
    ("made", "pool", "words"),
    [
        ({"columns": {"town": "category"}}, {"age": [1, 2]}, "no column 'town'"),
        ({"columns": {"age": "colour"}}, {"age": [1, 2]}, "cannot be 'colour'"),
        ({"columns": ["age"]}, {"age": [1, 2]}, "neither"),
        ({"text": "bert"}, {"age": [1, 2]}, "neither"),
        ({"columns": {"city": "number"}}, {"city": ["a", "b"]}, "taken for numbers"),
        ({"columns": {"city": "vector"}}, {"city": ["a", "b"]}, "no vectors"),
        ({}, {"k": [3, 3]}, "no column of the pool is a feature"),
        ({}, {"a": [1, 2], "b": [1]}, "same number of rows"),
    ],
)
def test_what_cannot_be_encoded_is_refused_with_a_reason(made, pool, words):
    with pytest.raises(InputError, match=words):
        dj.PoolEncoder(**made).fit(pool)


def test_short_text_shares_the_vote_of_the_categories():
    pool = {name: columns()[name] for name in ("age", "steel", "notes")}
    rows = dj.PoolEncoder({"notes": "string"}).fit_transform(pool)
    np.testing.assert_allclose(np.var(rows[:, 0]), np.sum(np.var(rows[:, 1:], axis=0)), rtol=1e-4)


@pytest.fixture
def quick_codes(monkeypatch):
    """Learn codes in two steps, from two views of each sample."""
    monkeypatch.setattr(files, "learn", partial(encoder.learn, steps=2, n_views=2))


@pytest.mark.slow
def test_columns_of_paths_have_a_vote_each_and_are_found_by_their_files(tmp_path, quick_codes):
    names = draw_pictures(tmp_path / "photos", 24)
    pool = {"photo": [f"photos/{name}" for name in names], "sound": record(tmp_path, 24)}
    pool["age"] = [float(i % 7) for i in range(24)]

    fitted = dj.PoolEncoder(folder=str(tmp_path)).fit(pool)

    assert [column.kind for column in fitted.columns_] == ["image", "series", "number"]
    assert "photo: image (paths of pictures, such as photos/000.png)" in fitted.describe()
    rows = fitted.transform(pool)
    ends = np.cumsum([len(view.names) for view in fitted.views_])
    shares = [np.sum(np.var(part, axis=0)) for part in np.split(rows, ends[:-1], axis=1)]
    np.testing.assert_allclose(shares, shares[0], rtol=1e-3)
    codes = rows[:, ends[0] : ends[1]]
    codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    nearest = np.argmax(codes @ codes.T - 9 * np.eye(24), axis=1)
    assert np.mean(nearest % 2 == np.arange(24) % 2) > 0.8  # stripes across are like stripes across


def test_without_the_files_a_column_of_paths_is_text(tmp_path):
    fitted = dj.PoolEncoder().fit({"photo": [f"no such/{i}.png" for i in range(9)], "age": [*range(9)]})
    assert fitted.columns_[0].kind != "image"


@pytest.mark.slow
def test_an_encoder_of_files_is_the_same_after_saving(tmp_path, quick_codes):
    pool = {"photo": draw_pictures(tmp_path, 12), "age": [*range(12)]}
    fitted = dj.PoolEncoder({"photo": "image"}, folder=str(tmp_path))
    rows = fitted.fit_transform(pool)
    fitted.save(tmp_path / "encoder.npz")
    again = dj.load(tmp_path / "encoder.npz")
    np.testing.assert_allclose(again.transform(pool), rows, atol=1e-5)
    assert again.get_feature_names_out()[-1] == "photo_view7"


@pytest.mark.slow
def test_new_pictures_of_another_size_fit_in_and_a_broken_one_is_the_mean(tmp_path, quick_codes):
    fitted = dj.PoolEncoder({"photo": "image"}, folder=str(tmp_path))
    rows = fitted.fit_transform({"photo": draw_pictures(tmp_path, 12)})
    draw_pictures(tmp_path / "new", 2, side=48)
    (tmp_path / "new" / "broken.png").write_bytes(b"no picture")

    with pytest.warns(SkippedFilesWarning, match=r"1 files cannot be read, such as 'new/broken\.png'"):
        new = fitted.transform({"photo": ["new/000.png", "new/broken.png"]})

    assert new.shape == (2, rows.shape[1])
    np.testing.assert_allclose(new[1], rows.mean(axis=0), atol=1e-5)


def test_files_of_the_pool_that_cannot_be_read_are_named(tmp_path, quick_codes):
    names = draw_pictures(tmp_path, 12)
    (tmp_path / names[3]).write_bytes(b"no picture")
    fitted = dj.PoolEncoder({"photo": "image"}, folder=str(tmp_path))
    with pytest.warns(SkippedFilesWarning, match=names[3]):
        fitted.fit({"photo": [*names, None]})
    assert fitted.skipped_.keys() == {names[3], ""}
    assert np.flatnonzero(fitted.unread_).tolist() == [3, 12]


def test_a_function_of_paths_can_embed_pictures(tmp_path):
    names = draw_pictures(tmp_path, 6)

    def embed(paths):
        return [[len(path), float(pathlib.Path(path).stat().st_size)] for path in paths]

    rows = dj.PoolEncoder(images=embed, folder=str(tmp_path)).fit_transform({"photo": names})
    assert rows.shape == (6, 2)


def test_numbers_are_no_paths(tmp_path):
    with pytest.raises(InputError, match="holds int64, neither paths"):
        dj.PoolEncoder({"age": "image"}).fit({"age": [1, 2, 3]})


def test_counts_of_words_have_a_vote_of_their_own_and_survive_a_file(tmp_path):
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.2 / np.arange(1, 61) ** 0.9, (N, 60))
    pool = {"age": columns()["age"], **{f"w{i}": column.tolist() for i, column in enumerate(counts.T)}}

    encoder = dj.PoolEncoder()
    rows = encoder.fit_transform(pool)

    from dual_jax.views.counts import Counts

    directions = Counts.fit_rows(counts).transform_rows(counts)
    age = StandardScaler().fit_transform(np.array(pool["age"])[:, None])
    expected = np.hstack([as_they_are(age), as_they_are(directions)]) * np.sqrt((1 + directions.shape[1]) / 2)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert {column.kind for column in encoder.columns_} == {"number", "counts"}
    encoder.save(tmp_path / "encoder.npz")
    np.testing.assert_array_equal(dj.load(tmp_path / "encoder.npz").transform(pool), rows)
    asked = dj.PoolEncoder({f"w{i}": "number" for i in range(60)}).fit(pool)
    assert {column.kind for column in asked.columns_} == {"number"}


def test_an_embedder_can_be_named():
    pool = {"notes": columns()["notes"]}
    by_name = dj.PoolEncoder(text="dual_jax.testing_embedder:none")
    with pytest.raises(InputError, match="No module named"):
        by_name.fit(pool)
    with pytest.raises(InputError, match="neither"):
        dj.PoolEncoder(text="lsi").fit(pool)
    rows = dj.PoolEncoder(text="numpy:char.str_len").fit  # one number for each text is no row
    with pytest.raises(InputError, match="one row for each"):
        rows(pool)


def test_pictures_in_cells_give_the_rows_of_their_files_and_broken_ones_are_named(tmp_path, quick_codes):
    names = draw_pictures(tmp_path, 12)
    by_path = dj.PoolEncoder({"photo": "image"}, folder=str(tmp_path)).fit_transform({"photo": names})
    cells = [{"bytes": (tmp_path / name).read_bytes(), "path": name} for name in names]
    fitted = dj.PoolEncoder()

    np.testing.assert_array_equal(fitted.fit_transform({"photo": cells}), by_path)

    assert fitted.describe() == "photo: image (pictures in the cells)"
    with pytest.warns(SkippedFilesWarning, match=r"'row 1 \(b\.png\)', which is no picture"):
        new = fitted.transform({"photo": [cells[0], {"bytes": b"no picture", "path": "b.png"}]})
    np.testing.assert_allclose(new, [by_path[0], by_path.mean(axis=0)], atol=1e-5)


@pytest.mark.slow
def test_recordings_in_cells_give_the_rows_of_their_files(tmp_path, quick_codes):
    names = record(tmp_path, 12)
    by_path = dj.PoolEncoder({"sound": "series"}, folder=str(tmp_path)).fit_transform({"sound": names})
    fitted = dj.PoolEncoder()
    held = {"sound": [(tmp_path / name).read_bytes() for name in names]}
    np.testing.assert_array_equal(fitted.fit_transform(held), by_path)
    assert fitted.describe() == "sound: series (recordings in the cells)"


def test_an_embedder_gets_copies_of_pictures_in_cells_and_a_broken_one_has_the_mean(tmp_path):
    names = draw_pictures(tmp_path, 6)
    cells = [{"bytes": (tmp_path / name).read_bytes(), "path": None} for name in names]
    seen = []

    def embed(paths):
        seen.extend(paths)
        return [[float(pathlib.Path(path).stat().st_size), 1.0] for path in paths]

    encoder = dj.PoolEncoder({"photo": "image"}, images=embed)
    with pytest.warns(SkippedFilesWarning, match="row 6"):
        rows = encoder.fit_transform({"photo": [*cells, None]})

    assert [pathlib.Path(path).suffix for path in seen] == [".png"] * 6
    assert not any(pathlib.Path(path).exists() for path in seen)
    np.testing.assert_allclose(rows[6], rows[:6].mean(axis=0), atol=1e-5)
    assert encoder.unread_.tolist() == [False] * 6 + [True]
