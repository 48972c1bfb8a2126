"""Thumbnails are the samples: their pixels, their sides, the right tile, and nothing for a broken file."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from dual_jax.plots.thumbnails import MAX_SHEET, SIDE, curves, sheet, thumbnails, to_bytes

DRAW = np.random.default_rng(0)


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_small_image_keeps_its_pixels():
    images = DRAW.integers(0, 256, size=(2, 8, 6)).astype(np.uint8)
    images[0, 0, :2] = 0, 255

    found = thumbnails(to_bytes(images))

    assert [np.asarray(opened(uri)).tolist() for uri in found] == images.tolist()


@pytest.mark.parametrize("shape", [(300, 200), (300, 200, 3), (300, 200, 4)])
def test_a_large_image_is_made_smaller_and_keeps_its_proportions(shape):
    (uri,) = thumbnails(to_bytes(DRAW.uniform(size=(1, *shape))))
    assert opened(uri).size == (64, SIDE)
    assert uri.startswith("data:image/jpeg" if len(shape) == 3 else "data:image/png")


def test_numbers_of_any_range_and_gaps_become_bytes():
    assert to_bytes(np.array([[[-5.0, np.nan, 5.0]]])).tolist() == [[[0, 0, 255]]]
    assert to_bytes(np.full((1, 1, 2), np.nan)).tolist() == [[[0, 0]]]
    assert to_bytes(np.full((1, 1, 2), 3.0)).tolist() == [[[0, 0]]]


def test_each_tile_of_a_sheet_is_its_image():
    images = DRAW.integers(0, 256, size=(7, 5, 4)).astype(np.uint8)

    found = sheet(images)

    picture = np.asarray(opened(found.uri))
    for i, image in enumerate(images):
        down, across = divmod(i, found.n_columns)
        tile = picture[down * 5 : down * 5 + 5, across * 4 : across * 4 + 4]
        assert np.array_equal(tile, image)


def test_images_that_are_too_many_or_too_large_get_no_sheet():
    assert sheet(np.zeros((2, MAX_SHEET // 2 + 1, 1), np.uint8)) is None


def test_a_curve_has_a_line_for_each_channel_inside_its_drawing():
    uri = curves(np.stack([np.linspace(0, 1, 500), np.full(500, np.nan)]), width=100, height=50)
    drawing = base64.b64decode(uri.partition(",")[2]).decode()
    assert drawing.count("<polyline") == 2
    numbers = re.findall(r"([\d.]+),([\d.]+)", drawing)
    assert all(0 <= float(x) <= 100 and 0 <= float(y) <= 50 for x, y in numbers)
