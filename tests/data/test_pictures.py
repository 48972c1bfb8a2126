"""Picture files as arrays: upright, in 8 bits, at one size; what cannot be read is named."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.data.media import list_folder
from dual_jax.data.pictures import NEEDS_PILLOW, as_jpeg, read_pictures, thumbnail

ORIENTATION = 0x0112
GRADIENT = np.add.outer(np.arange(20), 3 * np.arange(30)).astype(np.uint8)  # all four corners differ


def picture(height=20, width=30, seed=0):
    colours = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(colours)


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_pictures_of_one_small_size_stay_as_they_are(tmp_path):
    for name in "ab":
        Image.fromarray(GRADIENT).save(tmp_path / f"{name}.png")
    found = read_pictures(["a.png", "b.png"], tmp_path)
    np.testing.assert_array_equal(found.values, [GRADIENT, GRADIENT])
    assert "2 grey pictures, 0 of them resized" in found.note


def test_pictures_of_several_sizes_become_squares_in_colour(tmp_path):
    picture().save(tmp_path / "a.png")
    Image.new("RGB", (400, 100), "red").save(tmp_path / "b.jpg", quality=95)
    found = read_pictures(["a.png", "b.jpg"], tmp_path, side=24)
    assert found.values.shape == (2, 24, 24, 3)
    assert np.abs(found.values[1].astype(int) - [255, 0, 0]).max() < 10  # as JPEG rounds colours
    assert "2 of them resized to 24 x 24" in found.note


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tiff"])
def test_every_form_gives_the_picture(tmp_path, suffix):
    Image.fromarray(GRADIENT).convert("RGB").save(tmp_path / f"a.{suffix}")
    found = read_pictures([f"a.{suffix}"], tmp_path)
    assert np.abs(found.values[0].astype(int) - GRADIENT).max() < 12  # JPEG and WebP round


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_upright(tmp_path, orientation):
    turned = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose}
    turned |= {6: np.rot90, 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}  # as stored
    stored = np.ascontiguousarray(turned.get(orientation, np.asarray)(GRADIENT))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_pictures(["a.png"], tmp_path).values[0], GRADIENT)


def test_cmyk_palette_and_alpha_become_colours(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    red.convert("CMYK").save(tmp_path / "cmyk.tif")
    red.convert("P").save(tmp_path / "palette.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 255)).save(tmp_path / "opaque.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    names = ["cmyk.tif", "palette.png", "opaque.png", "clear.png"]
    values = read_pictures(names, tmp_path).values
    np.testing.assert_array_equal(values[:, 0, 0], [[255, 0, 0]] * 3 + [[255, 255, 255]])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_grey_pictures_of_more_than_8_bits_are_stretched(tmp_path, dtype):
    Image.fromarray((GRADIENT * 9.0).astype(dtype)).save(tmp_path / "a.tiff")
    shares = GRADIENT / GRADIENT.max()
    np.testing.assert_array_equal(read_pictures(["a.tiff"], tmp_path).values[0], np.rint(255 * shares))


def test_of_an_animation_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_pictures(["a.gif"], tmp_path).values[0, 0, 0], [255, 0, 0])


def test_new_pictures_take_the_shape_of_the_former(tmp_path):
    picture().save(tmp_path / "a.png")
    for shape in [(20, 30), (16, 12), (40, 28, 3)]:
        assert read_pictures(["a.png"], tmp_path, shape=shape).values.shape == (1, *shape)
    assert read_pictures(["a.png"], tmp_path, shape=(20, 30, 1)).values.shape == (1, 20, 30)


def test_a_large_jpeg_is_as_its_reduced_pixels(tmp_path):
    smooth = np.kron(GRADIENT, np.ones((20, 20))).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    found = read_pictures(["a.jpg"], tmp_path, side=10).values[0].astype(int)
    blocks = smooth.reshape(10, 40, 10, 60).mean(axis=(1, 3))
    assert np.abs(found - blocks)[1:-1, 1:-1].max() < 6  # edges of a bicubic filter aside


def test_what_cannot_be_read_is_skipped_by_name(tmp_path):
    whole = encoded(picture(), "JPEG")
    files = {"whole.jpg": whole, "cut.jpg": whole[:400], "text.png": b"not a picture", "empty.gif": b""}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = read_pictures([*files, "nowhere.png"], tmp_path)
    assert found.is_read.tolist() == [True, False, False, False, False]
    assert list(found.skipped) == ["cut.jpg", "text.png", "empty.gif", "nowhere.png"]
    assert "truncated" in found.skipped["cut.jpg"]


def test_a_folder_of_none_that_can_be_read_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"none of 1 pictures can be read: a\.png is no picture"):
        read_pictures(["a.png"], tmp_path)


def test_without_pillow_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingPackageError, match="pip install") as caught:
        read_pictures(["a.png"], tmp_path)
    assert str(caught.value) == NEEDS_PILLOW


def test_a_thumbnail_keeps_the_ratio_of_its_sides(tmp_path):
    picture(200, 300).save(tmp_path / "a.jpg")
    small = thumbnail(tmp_path / "a.jpg", 60)
    assert small.shape == (40, 60, 3)
    assert Image.open(io.BytesIO(as_jpeg(small))).size == (60, 40)
    with pytest.raises(InputError, match="none of 1"):
        thumbnail(tmp_path / "b.jpg")


def test_a_folder_is_listed_in_order_with_the_rest_counted(tmp_path):
    for name in ["b/2.png", "a.JPG", "b/10.png", "notes.txt", ".hidden.png", ".git/x.png", "x.wav"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    found = list_folder(tmp_path)
    assert (found.kind, found.names) == ("images", ["a.JPG", "b/10.png", "b/2.png"])
    assert found.others == {".txt": 1, ".wav": 1, "hidden": 2, "linked folders": 1}
    assert list_folder(tmp_path / ".git").names == ["x.png"]


def malformed(n):
    """Give broken files: cut short, with bytes changed, of another form than the name says, or noise."""
    rng = np.random.default_rng(0)
    forms = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tiff"}
    whole = {form: encoded(picture(16, 16, seed=i), form) for i, form in enumerate(forms)}
    for i in range(n):
        form = [*forms][i % len(forms)]
        data = bytearray(whole[form])
        if i % 4 == 0:
            data = data[: rng.integers(1, len(data))]
        elif i % 4 == 1:
            for place in rng.integers(0, len(data), 20):
                data[place] = rng.integers(256)
        elif i % 4 == 2:
            data = bytearray(rng.bytes(200))
        suffix = [*forms.values()][(i + (i % 4 == 3)) % len(forms)]  # every fourth has a wrong one
        yield f"{i}{suffix}", bytes(data)


def test_300_malformed_pictures_are_each_read_or_skipped_by_name(tmp_path):
    files = dict(malformed(300))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = read_pictures([*files], tmp_path)
    assert found.values.shape == (found.is_read.sum(), 16, 16, 3) or found.values.shape[1:] == (32, 32, 3)
    assert [name for name, is_read in zip(files, found.is_read, strict=True) if not is_read] == [
        *found.skipped
    ]
    assert len(found.skipped) >= 150  # cut and noise, at least
    assert all(reason and "\n" not in reason for reason in found.skipped.values())
