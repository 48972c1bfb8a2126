"""The data sets of the paper and a few more, by name: features, classes, and what was done to them.

`dual_jax.data.published` looks for the files and `dual_jax.data.fetch` downloads them, with the published
checksums. What is loaded is checked against the published shape and class sizes, so a truncated file is an
error and not a slightly other result.
"""

import difflib
import gzip
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray, Shaped, UInt8

from dual_jax.data.checks import impute_median
from dual_jax.data.errors import InputError
from dual_jax.data.files import parsing
from dual_jax.data.published import DataDir, cache_dir, find_file, find_folder, paths_of


class Dataset(NamedTuple):
    """Features as published (unscaled, complete) and the class of each row."""

    name: str
    x: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] | None
    note: str


class Description(NamedTuple):
    """The size of a data set and where it comes from: None when a file of it is missing."""

    n_rows: int
    n_features: int
    n_classes: int
    place: str | None


class _Source(NamedTuple):
    """Where a set comes from and what it must look like: (n, d) and its class sizes, largest first.

    ``sample_shape`` is that of a row which is more than a list of features: (height, width) of an image,
    (channels, length) of a series.
    """

    read: Callable[[DataDir], Dataset]
    shape: tuple[int, int]
    class_sizes: tuple[int, ...]
    sample_shape: tuple[int, ...] = ()


def names() -> tuple[str, ...]:
    """Return the names that `load` accepts."""
    return tuple(SOURCES)


def load(name: str, data_dir: DataDir = None) -> Dataset:
    """Return a built-in data set.

    Parameters
    ----------
    name : str
        One of `names`. ``digits``, ``wine``, ``breast_cancer`` and ``iris`` come with scikit-learn, the
        others are files.
    data_dir : path, optional
        The folder that holds the files; then ``$DUAL_JAX_DATA`` is looked at, and last the cache that
        ``dual-jax data fetch`` fills.

    Returns
    -------
    Dataset
        ``x`` (n, d) float32, ``y`` (n,) int32 into ``class_names``.

    Raises
    ------
    ValueError
        When there is no such set, a file is not found or cannot be read, or it is not the published one.

    Examples
    --------
    >>> iris = load("iris")
    >>> iris.x.shape, iris.class_names
    ((150, 4), ('setosa', 'versicolor', 'virginica'))
    """
    source = _source(name)
    dataset = source.read(data_dir)
    class_sizes = np.unique(dataset.y, return_counts=True)[1].tolist()
    seen = dataset.x.shape, tuple(sorted(class_sizes, reverse=True))
    if seen != (source.shape, source.class_sizes):
        raise InputError(
            f"{name} is not the published file: {seen[0]} instead of {source.shape} (rows, features), or "
            "other class sizes; it may be truncated or edited, get it again"
        )
    return dataset


def describe(name: str, data_dir: DataDir = None) -> Description:
    """Return what a data set is and where it comes from, without loading it.

    Raises
    ------
    ValueError
        When there is no such set.

    Examples
    --------
    >>> describe("iris")
    Description(n_rows=150, n_features=4, n_classes=3, place='scikit-learn')
    """
    source = _source(name)
    homes = dict.fromkeys(find_folder(path, data_dir) for path in paths_of(name))
    kinds: dict[Path | None, str] = {cache_dir(): "cache"}
    places = [f"{kinds.get(home, 'folder')} {home}" for home in homes] or ["scikit-learn"]
    place = None if None in homes else " and ".join(places)
    return Description(*source.shape, len(source.class_sizes), place)


def sample_shape(name: str) -> tuple[int, ...]:
    """Return (height, width) of a set of images, (channels, length) of one of series, else ().

    Examples
    --------
    >>> sample_shape("digits"), sample_shape("iris")
    ((8, 8), ())
    """
    return _source(name).sample_shape


def _source(name: str) -> _Source:
    """Return the source of that name, or raise naming the closest one and all."""
    if name not in SOURCES:
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(f"no built-in data set {name!r}; {hint}known: {', '.join(names())}")
    return SOURCES[name]


def waveform_generator(key: PRNGKeyArray | int, n: int) -> Dataset:
    """Return ``n`` new rows of the 40-feature waveform problem; Bayes accuracy is about 86 %.

    With u uniform on (0, 1) and e standard normal, ``x_i = u a(i) + (1 - u) b(i) + e_i`` for i = 1..21, where
    a and b are two of the waves ``h1(i) = max(6 - |i - 11|, 0)``, ``h2(i) = h1(i - 4)``,
    ``h3(i) = h1(i + 4)``; class 0 is (h2, h3), 1 is (h1, h3), 2 is (h1, h2), as in UCI's file. x_22..x_40 are
    noise. Rounded to two decimals.
    Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, pp. 49-55.

    Parameters
    ----------
    key : jax random key or int
        The same key gives the same rows.
    n : int
        Rows.

    Raises
    ------
    ValueError
        When ``n`` is below 1.

    Examples
    --------
    >>> waveform_generator(0, 1000).x.shape
    (1000, 40)
    """
    if n < 1:
        raise InputError(f"n={n} rows: ask for at least 1")
    key_class, key_mix, key_noise = jax.random.split(jax.random.key(key) if isinstance(key, int) else key, 3)
    label = jax.random.randint(key_class, (n,), 0, 3)
    mix = jax.random.uniform(key_mix, (n, 1))
    h1, h2, h3 = (jnp.maximum(6.0 - jnp.abs(jnp.arange(1.0, 22.0) - peak), 0.0) for peak in (11, 15, 7))
    a, b = jnp.stack([h2, h1, h1])[label], jnp.stack([h3, h3, h2])[label]
    x = jax.random.normal(key_noise, (n, 40)).at[:, :21].add(mix * a + (1.0 - mix) * b)
    rounded = np.round(np.asarray(x, np.float64), 2)
    note = "generated, not UCI's file"
    return _dataset("waveform_generator", rounded, np.asarray(label), "012", _numbered("x", 40), note)


def _dataset(
    name: str,
    x: Shaped[np.ndarray, "n d"],
    y: Shaped[np.ndarray, " n"],
    class_names: Iterable[object],
    feature_names: tuple[str, ...] | None,
    note: str = "",
) -> Dataset:
    """Return a data set in the promised types."""
    classes = tuple(str(label) for label in class_names)
    return Dataset(
        name, np.ascontiguousarray(x, np.float32), y.astype(np.int32), classes, feature_names, note
    )


def _numbered(stem: str, n: int) -> tuple[str, ...]:
    return tuple(f"{stem}{i}" for i in range(1, n + 1))


def _cells(path: Path, header: int = 0) -> Shaped[np.ndarray, "n d"]:
    """Return the cells of a comma-separated file as text."""
    with parsing(str(path), "the published file"):
        return np.loadtxt(path, str, delimiter=",", skiprows=header, encoding="utf-8", comments=None, ndmin=2)


def _numbers(path: Path, cells: Shaped[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    with parsing(str(path), "the published file"):
        return cells.astype(np.float32)


def _urban(data_dir: DataDir) -> Dataset:
    path = find_file("urban_land_cover/training.csv", data_dir)
    cells = _cells(path)
    classes, y = np.unique(np.char.strip(cells[1:, 0]), return_inverse=True)
    x = _numbers(path, cells[1:, 1:])
    return _dataset(
        "urban",
        x,
        y,
        classes,
        tuple(cells[0, 1:].tolist()),
        "training part; the paper's 148 counts the label",
    )


def _waveform(data_dir: DataDir) -> Dataset:
    path = find_file("waveform/waveform-+noise.data", data_dir)
    table = _numbers(path, _cells(path))
    return _dataset("waveform", table[:, :-1], table[:, -1], ("0", "1", "2"), _numbered("x", 40))


def _semg(data_dir: DataDir) -> Dataset:
    """Stack the trials by subject, movement and channel, in that order."""
    from scipy.io import loadmat

    subjects = ("female_1", "female_2", "female_3", "male_1", "male_2")
    movements = ("cyl", "hook", "lat", "palm", "spher", "tip")
    blocks = []
    for subject in subjects:
        path = find_file(f"semg/{subject}.mat", data_dir)
        with parsing(str(path), "the published file"):
            matrices = loadmat(path)
            blocks += [
                matrices[f"{movement}_{channel}"] for movement in movements for channel in ("ch1", "ch2")
            ]
    y = np.tile(np.repeat(np.arange(6), [2 * 30] * 6), len(subjects))
    note = "database 1; rows by subject (female 1-3, male 1-2), movement, channel (each its own row), trial"
    return _dataset("semg", np.concatenate(blocks), y, movements, _numbered("t", 3000), note)


def _plant(view: str, file: str, data_dir: DataDir) -> Dataset:
    path = find_file(f"plant_leaves/{file}", data_dir)
    cells = _cells(path)
    classes, y = np.unique(cells[:, 0], return_inverse=True)
    note = "" if view == "shape" else "rows are in another order than in plant_shape"
    return _dataset(f"plant_{view}", _numbers(path, cells[:, 1:]), y, classes, _numbered(view, 64), note)


def _gesture(data_dir: DataDir) -> Dataset:
    """Join the 18 raw positions and the 32 processed features; a video's first 4 raw rows have none."""
    tables, letters = [], []
    for video in ("a1", "a2", "a3", "b1", "b3", "c1", "c3"):
        raw, processed = (find_file(f"gesture_phase/{video}_{part}.csv", data_dir) for part in ("raw", "va3"))
        positions, motion = _cells(raw), _cells(processed, header=1)
        if len(positions) - 5 != len(motion):
            raise InputError(f"{raw} and {processed} do not have the published rows; get them again")
        tables.append(np.hstack([_numbers(raw, positions[5:, :18]), _numbers(processed, motion[:, :32])]))
        letters.append(motion[:, -1])
    phases = {"D": "Rest", "P": "Preparation", "S": "Stroke", "H": "Hold", "R": "Retraction"}
    with parsing(str(processed), "the published file"):
        y = np.array([[*phases].index(letter) for letter in np.concatenate(letters)])
    features = (*positions[0, :18].tolist(), *_numbered("va", 32))
    note = "raw positions joined to the va3 features 4 rows later; videos a1 a2 a3 b1 b3 c1 c3; label of va3"
    return _dataset("gesture", np.concatenate(tables), y, phases.values(), features, note)


def _mammographic(data_dir: DataDir) -> Dataset:
    path = find_file("mammographic_mass/mammographic_masses.data", data_dir)
    cells = _cells(path)
    table = _numbers(path, np.where(cells == "?", "nan", cells))
    x = np.asarray(impute_median(table[:, :-1]))
    features = ("bi_rads", "age", "shape", "margin", "density")
    note = (
        f"{np.isnan(table).sum()} missing cells filled with the column's median; severity is only the label"
    )
    return _dataset("mammographic", x, table[:, -1], ("benign", "malignant"), features, note)


def _mnist(name: str, stem: str, data_dir: DataDir) -> Dataset:
    images, labels = (
        _idx(find_file(f"mnist/{stem}-{part}-ubyte.gz", data_dir)) for part in ("images-idx3", "labels-idx1")
    )
    x = images.reshape(len(images), -1)
    return _dataset(name, x, labels, map(str, range(10)), None, "28 x 28 pixels of 0 to 255, row by row")


def _idx(path: Path) -> UInt8[np.ndarray, "..."]:
    """Return the array in a gzipped idx file: two zeros, type 8, dimensions, sizes, bytes."""
    with parsing(str(path), "the published file"):
        data = gzip.decompress(path.read_bytes())
        n_dims = data[3]
        shape = np.frombuffer(data, ">i4", n_dims, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def _from_sklearn(name: str, data_dir: DataDir) -> Dataset:
    """Return a set that scikit-learn ships; there is no file to look for."""
    from sklearn import datasets as bundled

    bunch = getattr(bundled, f"load_{name}")()
    return _dataset(name, bunch.data, bunch.target, bunch.target_names, tuple(map(str, bunch.feature_names)))


_MNIST_SIZES = (6742, 6265, 6131, 5958, 5949, 5923, 5918, 5851, 5842, 5421)
_MNIST_TEST_SIZES = (1135, 1032, 1028, 1010, 1009, 982, 980, 974, 958, 892)
_DIGITS_SIZES = (183, 182, 182, 181, 181, 180, 179, 178, 177, 174)
SOURCES = {
    "urban": _Source(_urban, (168, 147), (29, 25, 23, 17, 16, 15, 15, 14, 14)),
    "waveform": _Source(_waveform, (5000, 40), (1692, 1655, 1653)),
    "semg": _Source(_semg, (1800, 3000), (300,) * 6, (1, 3000)),
    "plant_shape": _Source(partial(_plant, "shape", "data_Sha_64.txt"), (1600, 64), (16,) * 100),
    "plant_margin": _Source(partial(_plant, "margin", "data_Mar_64.txt"), (1600, 64), (16,) * 100),
    "plant_texture": _Source(partial(_plant, "texture", "data_Tex_64.txt"), (1599, 64), (16,) * 99 + (15,)),
    "gesture": _Source(_gesture, (9873, 50), (2950, 2741, 2097, 1087, 998)),
    "mammographic": _Source(_mammographic, (961, 5), (516, 445)),
    "mnist": _Source(partial(_mnist, "mnist", "train"), (60_000, 784), _MNIST_SIZES, (28, 28)),
    "mnist_test": _Source(partial(_mnist, "mnist_test", "t10k"), (10_000, 784), _MNIST_TEST_SIZES, (28, 28)),
    "digits": _Source(partial(_from_sklearn, "digits"), (1797, 64), _DIGITS_SIZES, (8, 8)),
    "wine": _Source(partial(_from_sklearn, "wine"), (178, 13), (71, 59, 48)),
    "breast_cancer": _Source(partial(_from_sklearn, "breast_cancer"), (569, 30), (357, 212)),
    "iris": _Source(partial(_from_sklearn, "iris"), (150, 4), (50, 50, 50)),
}
