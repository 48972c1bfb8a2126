"""The built-in sets: shapes, class sizes and values as published, and errors for what is not."""

import gzip
import os
import shutil

import jax
import numpy as np
import pytest

from dual_jax.data.datasets import describe, load, names, sample_shape, waveform_generator
from dual_jax.data.published import find_file

BUNDLED = ("digits", "wine", "breast_cancer", "iris")
FILES = tuple(name for name in names() if name not in BUNDLED)
needs_files = pytest.mark.skipif("DUAL_JAX_DATA" not in os.environ, reason="DUAL_JAX_DATA is not set")

SIZES = {
    "urban": {"grass": 29, "building": 25, "car": 15, "soil": 14},
    "waveform": {"0": 1692, "1": 1653, "2": 1655},
    "semg": {"cyl": 300, "tip": 300},
    "plant_shape": {"Acer Campestre": 16},
    "plant_margin": {"Acer Campestre": 16},
    "plant_texture": {"Acer Campestre": 15, "Acer Capillipes": 16},
    "gesture": {"Stroke": 2950, "Rest": 2741, "Preparation": 2097, "Retraction": 1087, "Hold": 998},
    "mammographic": {"benign": 516, "malignant": 445},
    "mnist": {"0": 5923, "9": 5949},
    "mnist_test": {"0": 980, "9": 1009},
    "digits": {"0": 178},
    "wine": {"class_1": 71},
    "breast_cancer": {"malignant": 212},
    "iris": {"virginica": 50},
}


@pytest.mark.parametrize("name", [*BUNDLED, *(pytest.param(name, marks=needs_files) for name in FILES)])
def test_a_set_has_its_published_classes_and_complete_float32_features(name):
    data = load(name)

    sizes = dict(zip(data.class_names, np.bincount(data.y).tolist(), strict=True))
    assert SIZES[name].items() <= sizes.items()
    assert (data.name, data.x.dtype, data.y.dtype, data.x.ndim) == (name, np.float32, np.int32, 2)
    assert np.isfinite(data.x).all()
    assert data.feature_names is None or len(set(data.feature_names)) == data.x.shape[1]


@needs_files
def test_urban_has_stripped_labels_and_no_label_among_its_features():
    data = load("urban")

    assert data.x.shape == (168, 147)
    assert data.feature_names[0] == "BrdIndx"
    assert all(name == name.strip() for name in data.class_names)
    assert (data.x.min(), data.x.max()) == (np.float32(-0.36), 33625)


@needs_files
def test_waveform_starts_with_the_published_row():
    data = load("waveform")

    assert data.x.shape == (5000, 40)
    np.testing.assert_array_equal(data.x[0, :3], np.float32([-0.23, -1.21, 1.20]))


@needs_files
def test_semg_has_each_channel_as_its_own_row():
    from scipy.io import loadmat

    data = load("semg")
    first = loadmat(find_file("semg/female_1.mat"))

    assert data.x.shape == (1800, 3000)
    np.testing.assert_array_equal(data.x[30:60], first["cyl_ch2"].astype(np.float32))
    np.testing.assert_array_equal(data.x[60:90], first["hook_ch1"].astype(np.float32))
    assert [data.class_names[label] for label in data.y[[0, 59, 60, 359, 360]]] == [
        "cyl", "cyl", "hook", "tip", "cyl",
    ]  # fmt: skip


@needs_files
def test_a_leaf_keeps_its_species():
    data = load("plant_shape")

    assert data.class_names[data.y[0]] == "Acer Capillipes"
    assert data.x[0, 0] == np.float32(0.00057884)


@needs_files
def test_gesture_joins_each_processed_row_to_the_raw_row_four_later():
    data = load("gesture")
    raw = find_file("gesture_phase/a1_raw.csv").read_text().splitlines()

    assert data.x.shape == (9873, 50)
    np.testing.assert_array_equal(data.x[0, :18], np.float32(raw[5].split(",")[:18]))
    assert data.x[0, 18] == np.float32(-0.00500942)
    assert data.class_names[data.y[0]] == "Rest"


@needs_files
def test_mammographic_fills_162_cells_and_never_holds_the_severity():
    data = load("mammographic")

    assert data.x.shape == (961, 5)
    assert "162" in data.note
    np.testing.assert_array_equal(data.x[1], [4, 43, 1, 1, 3])
    assert not any(np.array_equal(column, data.y) for column in data.x.T)


@needs_files
def test_mnist_holds_pixels_of_0_to_255():
    data = load("mnist_test")

    assert data.x.shape == (10_000, 784)
    assert (data.x.min(), data.x.max(), data.y[0]) == (0, 255, 7)


def test_a_description_says_where_a_set_comes_from(tmp_path, monkeypatch):
    monkeypatch.delenv("DUAL_JAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "dual_jax/data/urban_land_cover/training.csv"

    assert describe("urban") == (168, 147, 9, None)
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert describe("urban").place == f"cache {tmp_path}/dual_jax/data"
    assert describe("iris").place == "scikit-learn"


def test_a_set_in_several_folders_names_them_and_one_file_less_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("DUAL_JAX_DATA", str(tmp_path / "b"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    for file in ("a/mnist/t10k-images-idx3-ubyte.gz", "b/mnist/t10k-labels-idx1-ubyte.gz"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()

    assert describe("mnist_test", tmp_path / "a").place == f"folder {tmp_path}/a and folder {tmp_path}/b"
    (tmp_path / "b/mnist/t10k-labels-idx1-ubyte.gz").unlink()
    assert describe("mnist_test", tmp_path / "a").place is None


@pytest.mark.parametrize("use", [load, describe])
def test_an_unknown_name_gets_the_closest_and_all(use):
    with pytest.raises(ValueError, match=r"'digit'; did you mean 'digits'\? known: urban, "):
        use("digit")


@needs_files
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_one_line_of_value_error(name, tmp_path, monkeypatch):
    folder = "plant_leaves" if name.startswith("plant") else name.replace("_test", "")
    folder = {
        "urban": "urban_land_cover",
        "gesture": "gesture_phase",
        "mammographic": "mammographic_mass",
    }.get(folder, folder)
    shutil.copytree(os.path.join(os.environ["DUAL_JAX_DATA"], folder), tmp_path / folder)
    for path in (tmp_path / folder).iterdir():
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    with pytest.raises(ValueError, match=r"truncated|published") as error:
        load(name, tmp_path)

    assert "\n" not in str(error.value)


CUT_IDX = gzip.compress(b"\0\0\x08\x03" + bytes(9), mtime=0)


@pytest.mark.parametrize("content", [b"", b"\0\0", CUT_IDX, b"<html>"])
def test_a_file_that_is_none_of_mnists_is_refused(content, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/t10k-images-idx3-ubyte.gz").write_bytes(content)

    with pytest.raises(ValueError, match="broken or truncated"):
        load("mnist_test", tmp_path)


@pytest.mark.parametrize("content", [b"", b"class,a\n", b"car ,x\ncar ,y\n", b"\xff\xfe", b"a,b\n1\n"])
def test_a_file_that_is_not_urbans_is_refused(content, tmp_path):
    (tmp_path / "urban_land_cover").mkdir()
    (tmp_path / "urban_land_cover/training.csv").write_bytes(content)

    with pytest.raises(ValueError, match=r"broken or truncated|not the published"):
        load("urban", tmp_path)


def test_generated_waves_have_the_class_means_of_breiman():
    data = waveform_generator(0, 6000)
    i = np.arange(1, 22)
    h1, h2, h3 = (np.maximum(6 - abs(i - peak), 0) for peak in (11, 15, 7))

    for label, pair in enumerate([(h2, h3), (h1, h3), (h1, h2)]):
        mean = data.x[data.y == label].mean(axis=0)
        # sd at most 2 (wave 6 / sqrt(12), noise 1) over 2,000 rows is 0.045; 4.5 of them over 120 means
        np.testing.assert_allclose(mean, np.pad((pair[0] + pair[1]) / 2, (0, 19)), atol=0.2)


def test_generated_waves_have_unit_noise_two_decimals_and_even_classes():
    data = waveform_generator(0, 6000)

    np.testing.assert_allclose(data.x[:, 21:].std(axis=0), 1, atol=0.05)  # sd of it 0.009
    np.testing.assert_array_equal(data.x, np.round(data.x.astype(np.float64), 2).astype(np.float32))
    np.testing.assert_allclose(np.bincount(data.y), 2000, atol=150)  # sd 37


def test_a_seed_and_its_key_give_the_same_waves():
    by_seed, by_key = waveform_generator(3, 6000), waveform_generator(jax.random.key(3), 6000)

    np.testing.assert_array_equal(by_seed.x, by_key.x)
    assert not np.array_equal(by_seed.x, waveform_generator(4, 6000).x)


def test_waves_need_a_row():
    with pytest.raises(ValueError, match="n=0 rows"):
        waveform_generator(0, 0)


def test_the_shape_of_an_image_or_a_series_fills_its_row():
    shapes = {name: sample_shape(name) for name in names()}

    assert shapes["mnist"] == shapes["mnist_test"] == (28, 28)
    assert all(np.prod(shape) == describe(name).n_features for name, shape in shapes.items() if shape)
