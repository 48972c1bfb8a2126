"""Embedders: functions from a list of texts, or of paths of pictures, to a row of numbers for each.

One is named as ``module:function``, which is code of the user's own, or by a prefix and a pretrained model
that is on disk already: small adapters, whose packages are imported when they are asked for. A name is only
taken from the caller, never from a file of data.
"""

import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dual_jax.data.errors import InputError, MissingPackageError

Embedder = Callable[[list[str]], Any]

FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
BATCH = 64  # pictures that a model gets at a time
MIDDLE = (0.5, 0.5, 0.5)  # mean and deviation of colours where a model does not say
JIMM = {  # what a model of each type is called in jax-image-models
    "vit": "VisionTransformer",
    "clip": "CLIPVisionModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip": "SigLIPVisionModel",
    "siglip_vision_model": "SigLIPVisionModel",
    "dinov2": "DINOv2Model",
    "dinov3_vit": "DINOv3Model",
}


class Adapter(NamedTuple):
    """How a package's models become embedders, what they read, and how the package is installed."""

    load: Callable[[str], Embedder]
    reads: str
    package: str
    pip: str


def is_embedder(name: Any) -> bool:
    """Return whether a word names an embedder: a prefix and a model, or ``module:function``, and no file.

    Examples
    --------
    >>> is_embedder("model2vec:models/small"), is_embedder("mine.texts:embed"), is_embedder("codes.npy")
    (True, True, False)
    """
    if not isinstance(name, str) or os.path.exists(name):
        return False
    prefix, colon, rest = name.partition(":")
    return bool((colon and rest and prefix in ADAPTERS) or FUNCTION.fullmatch(name))


def find_embedder(name: str) -> Embedder:
    """Return the embedder of that name.

    Parameters
    ----------
    name : str
        ``module:function`` (modules in the working folder are found), ``model2vec:DIR``,
        ``sentence-transformers:DIR``, ``fastembed:NAME`` for texts, or ``jimm:DIR`` for pictures.

    Raises
    ------
    InputError
        When there is no such module, function or folder, or it is no function.
    MissingPackageError
        When the package of an adapter is not installed.

    Examples
    --------
    >>> find_embedder("numpy:atleast_2d")(["a", "b"]).shape
    (1, 2)
    """
    prefix, _, rest = name.partition(":")
    if prefix not in ADAPTERS:
        return _own_function(name)
    adapter = ADAPTERS[prefix]
    try:
        return adapter.load(rest)
    except ImportError as error:
        raise MissingPackageError(
            f"{prefix}: {error}; it needs {adapter.package}: pip install {adapter.pip}"
        ) from error


def reads_pictures(name: str) -> bool:
    """Return whether an adapter's models read pictures; a function of the user's own may read anything."""
    adapter = ADAPTERS.get(name.partition(":")[0])
    return adapter is not None and adapter.reads == "pictures"


def embed(embedder: Embedder, cells: Sequence[str], what: str = "texts") -> Float[np.ndarray, "m q"]:
    """Return the checked answer of an embedder: a row of finite numbers for each text or path, in float32.

    Raises
    ------
    InputError
        When it gives anything else.

    Examples
    --------
    >>> embed(lambda texts: [[len(text), 1] for text in texts], ["a", "bcd"])
    array([[1., 1.],
           [3., 1.]], dtype=float32)
    """
    rows = np.asarray(embedder([*cells]))
    is_table = rows.ndim == 2 and len(rows) == len(cells) and rows.shape[1] > 0 and rows.dtype.kind in "fiu"
    if not is_table or not np.isfinite(rows).all():
        raise InputError(
            f"the embedder gave {rows.dtype} of shape {rows.shape} for {len(cells)} {what}, wanted finite "
            "numbers, one row for each"
        )
    return rows.astype(np.float32)


def _own_function(name: str) -> Embedder:
    """Return a function of the user's own."""
    if not FUNCTION.fullmatch(name):
        raise InputError(
            f"{name!r} names no embedder: write module:function, or {', '.join(f'{p}:...' for p in ADAPTERS)}"
        )
    module, _, path = name.partition(":")
    with _working_folder_first():
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise InputError(
                f"{name!r}: {error}; a module is looked for in {os.getcwd()} and among installed packages"
            ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise InputError(f"{name!r}: {module} has no {path}; define it there")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{name!r} is {type(found).__name__}, wanted a function of a list of str")
    return found


@contextmanager
def _working_folder_first() -> Iterator[None]:
    """Find modules in the working folder, as ``python script.py`` there would."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _folder(prefix: str, name: str) -> str:
    """Return the folder of a model; nothing is downloaded."""
    if not os.path.isdir(name):
        raise InputError(f"{prefix}:{name} names no folder that is there: download the model to one first")
    return name


def _model2vec(name: str) -> Embedder:
    folder = _folder("model2vec", name)
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder)
    return lambda texts: model.encode(texts)


def _sentence_transformers(name: str) -> Embedder:
    folder = _folder("sentence-transformers", name)
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, local_files_only=True)
    return lambda texts: model.encode(texts, convert_to_numpy=True, show_progress_bar=False)


def _fastembed(name: str) -> Embedder:
    from fastembed import TextEmbedding

    known = [model["model"] for model in TextEmbedding.list_supported_models()]
    if name not in known:
        raise InputError(f"fastembed:{name} is no model that it knows: {', '.join(known[:5])}, ...")
    model = TextEmbedding(model_name=name)
    return lambda texts: np.stack([*model.embed(texts)])


def _jimm(name: str) -> Embedder:
    """Return a vision model of jax-image-models; its pictures are resized to the model's side."""
    folder = _folder("jimm", name)
    import jax
    import jimm
    from jax.sharding import AxisType

    config = _json(Path(folder) / "config.json")
    kind = config.get("model_type")
    if kind not in JIMM:
        raise InputError(f"jimm:{name} is a model of type {kind!r}; known are {', '.join(JIMM)}")
    side = int(config.get("vision_config", config).get("image_size", 224))
    mesh = jax.make_mesh((1,), ("fsdp",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        model = getattr(jimm, JIMM[kind]).from_pretrained(folder)
        model.eval()  # without dropout
    # A classifier's logits are of its own classes; what it is applied to is the embedding.
    encode = model.encoder if kind == "vit" else model
    about = Path(folder) / "preprocessor_config.json"
    colours = _json(about) if about.is_file() else {}
    mean, deviation = (np.array(colours.get(f"image_{part}", MIDDLE)) for part in ("mean", "std"))

    def embedded(paths: list[str]) -> Float[np.ndarray, "m q"]:
        parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
        with jax.set_mesh(mesh):
            rows = [encode(_pictures(part, side, mean, deviation)) for part in parts]
            return np.concatenate([*map(np.asarray, rows)])

    return embedded


def _pictures(
    paths: Sequence[str], side: int, mean: Float[np.ndarray, "3"], deviation: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "m side side 3"]:
    """Return picture files at a model's size and in its colours."""
    from PIL import Image, ImageOps

    rows = []
    for path in paths:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB").resize((side, side))
            rows.append((np.asarray(upright) / 255.0 - mean) / deviation)
    return np.stack(rows).astype(np.float32)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no description of a model: {error}") from error


ADAPTERS = {
    "model2vec": Adapter(_model2vec, "texts", "model2vec", '"dual-jax[text]"'),
    "sentence-transformers": Adapter(
        _sentence_transformers, "texts", "sentence-transformers", "sentence-transformers"
    ),
    "fastembed": Adapter(_fastembed, "texts", "fastembed", "fastembed"),
    "jimm": Adapter(_jimm, "pictures", "jax-image-models and Pillow", "jax-image-models pillow"),
}
