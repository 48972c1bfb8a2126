"""Small pictures of samples as data URIs, and all of a pool's small images in one picture.

A data URI is a picture inside a page: it needs no other file. Pillow comes with matplotlib.
"""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

SIDE = 96  # pixels of a thumbnail's longer side, at most; a smaller image keeps its own
MAX_SHEET = 4_000_000  # pixels of a sheet; its file has about 2 MB, and no pool with more gets one
MAX_CURVE = 240  # points of a curve
CHANNELS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # they differ for every eye


class Sheet(NamedTuple):
    """Images of one size in one picture, row by row: its data URI, a tile's width and height, tiles a row."""

    uri: str
    width: int
    height: int
    n_columns: int


def data_uri(content: bytes, kind: str) -> str:
    """Return a file as a data URI.

    Parameters
    ----------
    content : bytes
        Of the file.
    kind : str
        Its media type, such as ``image/png``.

    Examples
    --------
    >>> data_uri(b"GIF89a", "image/gif")
    'data:image/gif;base64,R0lGODlh'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def to_bytes(
    images: Float[np.ndarray, "k h w"] | Float[np.ndarray, "k h w c"],
) -> UInt8[np.ndarray, "k h w"] | UInt8[np.ndarray, "k h w 3"]:
    """Return images of any range as bytes, 0 for the smallest number of all and 255 for the largest.

    Colours after the third, which say how opaque a pixel is, are left out; numbers that are not finite are 0.

    Examples
    --------
    >>> to_bytes(np.array([[[-1.0, 0.0, 1.0]]])).tolist()
    [[[0, 127, 255]]]
    """
    images = np.asarray(images, np.float32)[..., :3] if np.ndim(images) == 4 else np.asarray(images)
    is_finite = np.isfinite(images)
    low, high = (images.min(), images.max()) if is_finite.all() else _ends(images[is_finite])
    scaled = (images - low) / (high - low if high > low else 1.0)
    return (255 * np.where(is_finite, scaled, 0.0)).astype(np.uint8)


def _ends(values: Float[np.ndarray, " m"]) -> tuple[float, float]:
    return (values.min(), values.max()) if len(values) else (0.0, 1.0)


def thumbnails(
    images: UInt8[np.ndarray, "k h w"] | UInt8[np.ndarray, "k h w 3"], side: int = SIDE
) -> list[str]:
    """Return each image as a data URI, made smaller where a side is longer than ``side``."""
    from PIL import Image

    found = []
    for image in images:
        picture = Image.fromarray(image)
        picture.thumbnail((side, side))
        found.append(_encoded(picture))
    return found


def _encoded(picture: Any) -> str:
    """Return a picture of Pillow's as PNG, or as JPEG where it is in colour and not tiny."""
    is_photograph = picture.mode == "RGB" and min(picture.size) > 32
    form, kind = ("JPEG", "image/jpeg") if is_photograph else ("PNG", "image/png")
    content = io.BytesIO()
    picture.save(content, form, optimize=True)
    return data_uri(content.getvalue(), kind)


def sheet(images: UInt8[np.ndarray, "m h w"] | UInt8[np.ndarray, "m h w 3"]) -> Sheet | None:
    """Return images in one picture; None where they have more than `MAX_SHEET` pixels.

    Examples
    --------
    >>> sheet(np.zeros((10, 8, 8), np.uint8))[1:]
    (8, 8, 4)
    """
    from PIL import Image

    m, height, width = images.shape[:3]
    if m * height * width > MAX_SHEET:
        return None
    n_columns = int(np.ceil(np.sqrt(m)))
    n_rows = -(-m // n_columns)
    tiles = np.zeros((n_rows * n_columns, *images.shape[1:]), np.uint8)
    tiles[:m] = images
    tiles = tiles.reshape(n_rows, n_columns, *images.shape[1:]).swapaxes(1, 2)
    picture = tiles.reshape(n_rows * height, n_columns * width, *images.shape[3:])
    return Sheet(_encoded(Image.fromarray(picture)), width, height, n_columns)


def curves(channels: Float[np.ndarray, "c t"], width: int = 240, height: int = 72) -> str:
    """Return a series in its channels as a drawing (SVG) in a data URI; a long one is thinned out.

    Examples
    --------
    >>> curves(np.zeros((1, 5))).startswith("data:image/svg+xml;base64,")
    True
    """
    channels = np.nan_to_num(np.asarray(channels, np.float64))
    low, high = channels.min(), channels.max()
    shares = (channels - low) / (high - low if high > low else 1.0)
    lines = "".join(_line(channel, width, height, i) for i, channel in enumerate(shares))
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{lines}</svg>'
    return data_uri(drawing.encode(), "image/svg+xml")


def _line(shares: Float[np.ndarray, " t"], width: int, height: int, number: int) -> str:
    places = np.linspace(0, len(shares) - 1, min(len(shares), MAX_CURVE)).astype(int)
    x = 2 + (width - 4) * places / max(len(shares) - 1, 1)
    y = height - 2 - (height - 4) * shares[places]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    color = CHANNELS[number % len(CHANNELS)]
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.2"/>'
