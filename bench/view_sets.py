"""Images and series on which `bench.views` measures: published ones, ones that wheels carry, and drawn ones.

``pip install --no-deps aeon animal-mnist`` brings two wheels of which only the data files are read.
"""

import csv
import gzip
import importlib.util
import io
import os
import tarfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_jax.data import datasets

N_POOL, N_TEST, N_UNLABELLED = 500, 1000, 5000
MAX_SHIFT = 6  # pixels, planted
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Views(NamedTuple):
    """Samples with their classes, how `dual_jax.views.encoder.learn` is called, and how many are the pool."""

    x: np.ndarray
    y: np.ndarray
    kind: str
    knobs: dict[str, Any]
    n_pool: int = N_POOL
    n_unlabelled: int = N_UNLABELLED

    def rows(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what to learn from, the pool, which is a part of it, and the test set of a split."""
        order = np.random.default_rng([0, number]).permutation(len(self.x))
        n_test = min(N_TEST, len(order) // 3)
        test, rest = order[:n_test], order[n_test:]
        return rest[: max(self.n_unlabelled, self.n_pool)], rest[: self.n_pool], test


@cache
def mnist() -> tuple[np.ndarray, np.ndarray]:
    data = datasets.load("mnist_test", os.environ["DUAL_JAX_DATA"])
    return data.x.reshape(-1, 28, 28), data.y


def shifted() -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's test images, each moved by up to 6 pixels either way over a black ground."""
    x, y = mnist()
    by = np.random.default_rng(0).integers(0, 2 * MAX_SHIFT + 1, (len(x), 2))
    padded = np.pad(x, ((0, 0), (MAX_SHIFT,) * 2, (MAX_SHIFT,) * 2))
    return np.stack([im[i : i + 28, j : j + 28] for im, (i, j) in zip(padded, by, strict=True)]), y


def digits() -> tuple[np.ndarray, np.ndarray]:
    data = datasets.load("digits")
    return data.x.reshape(-1, 8, 8), data.y


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"pip install --no-deps {package.replace('_', '-')}")
    return Path(found.submodule_search_locations[0])


def animals() -> tuple[np.ndarray, np.ndarray]:
    """Return 10,000 silhouettes of ten animals; two arrays inside pickles, read by their place."""
    folder = _folder("animal_mnist") / "data" / "Animal_MNIST"
    x = gzip.decompress((folder / "animal_data_version_3.gz").read_bytes())
    y = gzip.decompress((folder / "animal_label_version_3.gz").read_bytes())
    return np.frombuffer(x, np.uint8, 7_840_000, 150).reshape(-1, 28, 28), np.frombuffer(
        y, np.int64, 10_000, 146
    )


@cache
def cifar(*, is_grey: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return 9,000 photographs of ten kinds of thing."""
    from PIL import Image

    folder = Path(os.environ["DUAL_JAX_DATA"]) / "cifar10"
    x, y = [], []
    for part in ("train", "test"):
        labels = {row["file"]: row["label"] for row in csv.DictReader((folder / f"{part}.csv").open())}
        with tarfile.open(folder / f"{part}.tar") as tar:
            for member in tar.getmembers():
                name = next((n for n in (member.name, Path(member.name).name) if n in labels), None)
                if name is None:
                    continue
                with Image.open(io.BytesIO(tar.extractfile(member).read())) as image:  # type: ignore[union-attr]
                    x.append(np.asarray(image.convert("L" if is_grey else "RGB")))
                y.append(labels[name])
    return np.stack(x), np.unique(y, return_inverse=True)[1]


def mfeat() -> tuple[np.ndarray, np.ndarray]:
    """Return 2,000 handwritten digits of 16 x 15 pixels."""
    path = Path(os.environ["DUAL_JAX_DATA"]) / "tables" / "mfeat-pixel.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[:-1] for row in rows], np.float32).reshape(-1, 16, 15), np.array(
        [row[-1] for row in rows], object
    ).astype(str)


@cache
def glyphs(*, is_style: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return 5,000 drawn letters, the class being the letter or the style of its type."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    styles = (
        "DejaVuSans",
        "DejaVuSans-Bold",
        "DejaVuSans-Oblique",
        "DejaVuSerif",
        "DejaVuSerif-Italic",
        "DejaVuSansMono",
    )
    fonts = [[ImageFont.truetype(str(folder / f"{s}.ttf"), size) for size in range(16, 26)] for s in styles]
    rng = np.random.default_rng(0)
    x, y = [], []
    for _ in range(5000):
        letter, style = rng.integers(len(LETTERS)), rng.integers(len(styles))
        image = Image.new("L", (32, 32), 0)
        place = (16 + rng.uniform(-3, 3), 16 + rng.uniform(-3, 3))
        font = fonts[style][rng.integers(10)]
        ImageDraw.Draw(image).text(place, LETTERS[letter], 255, font, anchor="mm")
        turned = image.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
        x.append(np.asarray(turned) * rng.uniform(0.5, 1) + rng.normal(0, 12, (32, 32)))
        y.append(style if is_style else letter)
    return np.stack(x).astype(np.float32), np.array(y)


def textures() -> tuple[np.ndarray, np.ndarray]:
    """Return 4,000 grey patches of ten textures: stripes, dots and noise of several lengths, at any place."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    x, y = [], rng.integers(0, 10, 4000)
    for label in y:
        angle, length = (
            (label % 5) * np.pi / 5 + rng.normal(0, 0.12),
            (4.5, 8.0)[label // 5] * rng.uniform(0.9, 1.1),
        )
        along = np.cos(angle) * rows + np.sin(angle) * columns
        wave = np.sin(2 * np.pi * (along / length + rng.uniform()))
        if label % 5 == 4:
            across = np.cos(angle) * columns - np.sin(angle) * rows
            wave = wave * np.sin(2 * np.pi * (across / length + rng.uniform()))
        x.append(wave * rng.uniform(0.4, 1) + rng.normal(0, 0.6, (32, 32)) + rng.uniform(-1, 1))
    return np.stack(x).astype(np.float32), y


def shapes() -> tuple[np.ndarray, np.ndarray]:
    """Return 4,000 coloured outlines and filled shapes of eight kinds on a light ground, anywhere."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(0)
    x, y = [], rng.integers(0, 8, 4000)
    for label in y:
        image = Image.new("RGB", (40, 40), tuple(int(v) for v in rng.integers(200, 256, 3)))
        draw, colour = ImageDraw.Draw(image), tuple(int(v) for v in rng.integers(0, 150, 3))
        centre, radius = rng.uniform(16, 24, 2), rng.uniform(8, 14)
        if label < 6:
            n_corners, turn = (3, 4, 5, 6, 8, 30)[label], rng.uniform(0, 2 * np.pi)
            angles = turn + 2 * np.pi * np.arange(n_corners) / n_corners
            reach = radius
        else:
            n_corners, turn = 2 * (4, 5)[label - 6], rng.uniform(0, 2 * np.pi)
            angles = turn + 2 * np.pi * np.arange(n_corners) / n_corners
            reach = np.where(np.arange(n_corners) % 2, 0.45, 1.0) * radius
        corners = np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], axis=1)
        is_filled = rng.uniform() < 0.5
        draw.polygon([tuple(c) for c in corners], fill=colour if is_filled else None, outline=colour, width=2)
        x.append(np.asarray(image))
    return np.stack(x), y


def semg() -> tuple[np.ndarray, np.ndarray]:
    data = datasets.load("semg", os.environ["DUAL_JAX_DATA"])
    return data.x.astype(np.float32), data.y


def aeon(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and test series of a set of the aeon wheel: (n, channels, times)."""
    x, y = [], []
    for part in ("TRAIN", "TEST"):
        folder = _folder("aeon") / "datasets" / "data" / name.removesuffix("_eq")
        lines = (folder / f"{name}_{part}.ts").read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.lower().startswith("@data"))
        for line in lines[start + 1 :]:
            *channels, label = line.split(":")
            x.append(np.array([channel.split(",") for channel in channels], np.float32))
            y.append(label.strip())
    return np.stack(x), np.unique(y, return_inverse=True)[1]


SETS: dict[str, tuple[Callable[[], tuple[np.ndarray, np.ndarray]], dict[str, Any]]] = {
    "mnist": (mnist, {"n_unlabelled": 9000}),
    "mnist_500": (mnist, {"n_unlabelled": 500}),
    "mnist_5000": (mnist, {"n_pool": 5000}),
    "shifted": (shifted, {}),
    "centred": (shifted, {"centre": True}),
    "digits": (digits, {}),
    "mfeat": (mfeat, {}),
    "animals": (animals, {"flip": True}),
    "animals_5000": (animals, {"flip": True, "n_pool": 5000}),
    "animals_no_flip": (animals, {}),
    "cifar": (cifar, {"flip": True}),
    "cifar_5000": (cifar, {"flip": True, "n_pool": 5000}),
    "cifar_grey": (partial(cifar, is_grey=True), {"flip": True}),
    "letters": (glyphs, {}),
    "styles": (partial(glyphs, is_style=True), {}),
    "textures": (textures, {}),
    "shapes": (shapes, {"flip": True}),
    "semg": (semg, {"n_pool": 1200, "kind": "series"}),
    "leaves": (partial(aeon, "OSULeaf"), {"n_pool": 295, "kind": "series"}),
    "vowels": (partial(aeon, "JapaneseVowels_eq"), {"n_pool": 427, "kind": "series"}),
    "motions": (partial(aeon, "BasicMotions"), {"n_pool": 54, "kind": "series"}),
    "gun": (partial(aeon, "GunPoint"), {"n_pool": 134, "kind": "series"}),
    "power": (partial(aeon, "ItalyPowerDemand"), {"kind": "series"}),
    "arrows": (partial(aeon, "ArrowHead"), {"n_pool": 141, "kind": "series"}),
    "gestures": (partial(aeon, "PickupGestureWiimoteZ_eq"), {"n_pool": 67, "kind": "series"}),
    "appliances": (partial(aeon, "ACSF1"), {"n_pool": 134, "kind": "series"}),
}


@cache
def load(name: str) -> Views:
    """Return a set by its name in `SETS`."""
    make, options = SETS[name]
    x, y = make()
    fields = {key: options[key] for key in ("n_pool", "n_unlabelled") if key in options}
    knobs = {key: options[key] for key in ("flip", "centre") if key in options}
    return Views(x, np.unique(y, return_inverse=True)[1], options.get("kind", "images"), knobs, **fields)
