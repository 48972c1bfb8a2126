"""Picture files as arrays, read with Pillow: upright, in 8 bits, at one size.

The first frame of an animation, the first page of a TIFF. Pictures are turned as their EXIF says. What is
transparent lies on white. Grey pictures of more than 8 bits are stretched from their least to their largest
value, as each device uses another part of the range. CMYK becomes RGB by Pillow's formula.
"""

import io
import os
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.data.media import IMAGES, Held, read_each

if TYPE_CHECKING:
    from PIL.Image import Image

NEEDS_PILLOW = 'reading pictures needs Pillow: pip install "dual-jax[images]"'
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")  # the only decoders of Pillow that are run
SIDE = 32  # pixels to which pictures are resized
FINER = 2  # times the wanted side, at least, at which a JPEG is decoded
GREY = 2  # levels, at most, by which the channels of a grey picture differ
QUALITY = 85  # of a JPEG of a thumbnail


class Pictures(NamedTuple):
    """Pictures at one size, (n, h, w) where all are grey and (n, h, w, 3) otherwise.

    ``is_read`` has an entry for each file that was asked for, ``skipped`` the reason for each that could not
    be read, ``sha256`` the sum over names and bytes, and ``note`` what was done to them.
    """

    values: UInt8[np.ndarray, "n h w ..."]
    is_read: Bool[np.ndarray, " files"]
    skipped: dict[str, str]
    sha256: str
    note: str


def check_pillow() -> None:
    """Raise `MissingPackageError` where Pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(NEEDS_PILLOW) from error


def read_pictures(
    names: Sequence[str | Held],
    folder: str | PathLike[str] = ".",
    *,
    side: int = SIDE,
    shape: Sequence[int] = (),
) -> Pictures:
    """Return the pictures in files.

    Pictures of one size of at most ``side`` pixels stay as they are; all others are squeezed to a square.

    Parameters
    ----------
    names : sequence of str or Held
        Paths, taken from ``folder`` where they are relative, or files that a table holds.
    folder : path
        Where they begin.
    side : int
        Pixels of the square.
    shape : sequence of int
        (h, w), (h, w, 1) or (h, w, 3) that the pictures shall have instead, such as that of former ones.

    Raises
    ------
    InputError
        When no file can be read.
    MissingPackageError
        When Pillow is not installed.

    Examples
    --------
    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.new("RGB", (80, 60), "red").save(f"{folder}/a.png")
    ...     PIL.Image.new("L", (30, 30)).save(f"{folder}/b.png")
    ...     read_pictures(["a.png", "b.png"], folder).values.shape
    (2, 32, 32, 3)
    """
    check_pillow()
    shape = tuple(shape)
    side = max(shape[:2]) if shape else side
    with _quiet():
        loaded = read_each(names, folder, lambda data: _decoded(data, side), IMAGES)
    values, size = _at_one_size([np.asarray(picture) for picture, _ in loaded.values], side, shape)
    if len(shape) == 2 or shape[2:] == (1,) or (not shape and _is_grey(values)):
        values = np.rint(values.mean(axis=-1)).astype(np.uint8)
    how = "grey" if values.ndim == 3 else "colour"
    n_resized = sum(own != size for _, own in loaded.values)
    note = f"{len(values):,} {how} pictures, {n_resized:,} of them resized to {size[1]} x {size[0]} pixels"
    return Pictures(values, loaded.is_read, loaded.skipped, loaded.sha256, note)


def _at_one_size(
    pictures: list[np.ndarray], side: int, shape: Sequence[int]
) -> tuple[UInt8[np.ndarray, "n h w 3"], tuple[int, ...]]:
    """Return pictures at one size, and that: the one that is asked for, their own, or a square."""
    sizes = {picture.shape[:2] for picture in pictures}
    size = tuple(shape[:2]) if shape else (side, side) if len(sizes) > 1 else sizes.pop()
    return np.stack([_resized(picture, size) for picture in pictures]), size


def thumbnail(path: str | PathLike[str] | Held, side: int = 96) -> UInt8[np.ndarray, "h w 3"]:
    """Return a small copy of a picture, its longer side of at most ``side`` pixels, for a person to look at.

    Raises
    ------
    InputError
        When the file cannot be read.
    MissingPackageError
        When Pillow is not installed.

    Examples
    --------
    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.new("RGB", (80, 60), "red").save(f"{folder}/a.png")
    ...     thumbnail(f"{folder}/a.png", 40).shape
    (30, 40, 3)
    """
    check_pillow()
    name = path if isinstance(path, Held) else os.fspath(path)
    with _quiet():
        loaded = read_each([name], "", lambda data: _decoded(data, side, keep_ratio=True), IMAGES)
    ((picture, _),) = loaded.values
    return np.asarray(picture)


def as_jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return a picture as the bytes of a JPEG file, such as for a ``data:`` address.

    Examples
    --------
    >>> as_jpeg(np.zeros((8, 8, 3), np.uint8))[:2]
    b'\\xff\\xd8'
    """
    check_pillow()
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _quiet() -> Any:
    """Return a context without Pillow's warnings on large or odd pictures; what it cannot read it raises."""
    return warnings.catch_warnings(action="ignore")


def _decoded(data: bytes, side: int, *, keep_ratio: bool = False) -> tuple["Image", tuple[int, ...]]:
    """Return a picture in RGB, of at most ``side`` pixels, and its own height and width."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise InputError(f"is no picture of {', '.join(FORMATS)}") from None
    with image:
        own = image.size
        image.draft("RGB", (FINER * side, FINER * side))
        image.load()
        upright = _upright(image)
        picture = _in_colour(upright)
    is_turned = upright.size != image.size
    if keep_ratio:
        picture.thumbnail((side, side))
    elif max(picture.size) > side:
        picture = picture.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=FINER)
    return picture, own if is_turned else own[::-1]


def _upright(image: "Image") -> "Image":
    """Return a picture turned as its EXIF says; as it is where that is broken."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF raises anything, and most viewers show such pictures
        return image


def _in_colour(image: "Image") -> "Image":
    """Return a picture of any mode in RGB."""
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = Image.fromarray(_stretched(np.asarray(image, np.float32)))
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("RGB")


def _stretched(values: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    """Return numbers of any range as 0 to 255; those that are not finite as the least."""
    is_finite = np.isfinite(values)
    if not is_finite.any():
        raise InputError("holds no finite number")
    low, high = values[is_finite].min(), values[is_finite].max()
    shares = (np.where(is_finite, values, low) - low) / max(high - low, np.finfo(np.float32).tiny)
    return np.rint(255 * shares).astype(np.uint8)


def _resized(value: np.ndarray, size: Sequence[int]) -> np.ndarray:
    if value.shape[:2] == tuple(size):
        return value
    from PIL import Image

    return np.asarray(Image.fromarray(value).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _is_grey(values: UInt8[np.ndarray, "n h w 3"]) -> bool:
    """Return whether no picture has a colour; one picture at a time, to save memory."""
    return all(int(np.ptp(value, axis=-1).max()) <= GREY for value in values)
