"""An encoder of images or series: the usage example, what must not change its codes, files, and mistakes."""

import jax
import numpy as np
import pytest

from dual_jax.views import keeping
from dual_jax.views.encoder import encode, features, learn
from dual_jax.views.keeping import adjusted_rand_index, stability
from dual_jax.views.preparation import fit_preparation, prepared

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
IMAGES = np.zeros((40, 10, 10), np.float32)
for number, image in enumerate(IMAGES):  # bars in two directions
    lines = slice(2 + number % 5, 4 + number % 5)
    image[(lines, slice(1, 9)) if number % 2 else (slice(1, 9), lines)] = 1 + number % 3
SERIES = np.sin(np.arange(60) * RNG.uniform(0.3, 1.5, (40, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return learn(KEY, IMAGES, kind="images", steps=20)


def test_images_become_codes_and_new_ones_too(encoder):
    codes = encode(encoder, IMAGES)

    assert codes.shape == (40, 32)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(encode(encoder, IMAGES[7:9, ..., None]), codes[7:9], atol=1e-3)  # other sums


def test_parts_have_unit_length_and_the_code_has_even_columns(encoder):
    found = features(encoder, IMAGES)

    for part in (found.local, found.closed, found.network):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1.0, rtol=1e-3)
    deviation = np.std(found.code, axis=0)
    np.testing.assert_allclose(deviation, deviation.mean(), rtol=0.01)


def test_a_key_decides_and_the_unit_of_the_pixels_does_not(encoder):
    again = learn(KEY, 255 * IMAGES.astype(np.float64), kind="images", steps=20)

    # Training can grow a rounding of the pixels; a wrong unit would change everything.
    np.testing.assert_allclose(
        features(again, 255 * IMAGES).closed, features(encoder, IMAGES).closed, atol=0.02
    )
    same = learn(KEY, IMAGES, kind="images", steps=20)
    np.testing.assert_array_equal(encode(same, IMAGES), encode(encoder, IMAGES))


def test_without_the_network_there_is_the_closed_form():
    encoder = learn(KEY, IMAGES, kind="images", closed=True)

    found = features(encoder, IMAGES)
    assert found.network.shape == (40, 0)
    assert found.closed.shape[1] == 64


def test_directions_of_bars_are_nearer_than_their_pixels():
    codes = np.asarray(encode(learn(KEY, IMAGES, kind="images", closed=True), IMAGES))

    products = codes @ codes.T - 10 * np.eye(40)
    assert np.mean(products.argmax(axis=1) % 2 == np.arange(40) % 2) == 1.0


@pytest.mark.parametrize("shape", [(3, 5), pytest.param((50, 20, 4), marks=pytest.mark.slow)])
def test_images_of_any_size_and_colour_are_taken(shape):
    images = RNG.integers(0, 255, (12, *shape), dtype=np.uint8)

    assert encode(learn(KEY, images, kind="images", closed=True), images).shape == (12, 8)


@pytest.mark.parametrize("shape", [pytest.param((16,), marks=pytest.mark.slow), (2, 210)])
def test_series_of_any_length_and_number_of_channels_are_taken(shape):
    series = RNG.normal(size=(12, *shape))

    assert encode(learn(KEY, series, kind="series", closed=True), series).shape == (12, 8)


@pytest.mark.slow
def test_series_of_near_frequency_are_near():
    codes = np.asarray(encode(learn(KEY, SERIES, kind="series", steps=20), SERIES))

    nearest = (codes @ codes.T - 100 * np.eye(40)).argmax(axis=1)
    turns = np.abs(np.diff(np.arcsin(np.clip(SERIES, -1, 1)), axis=1)).mean(axis=1)
    assert np.median(np.abs(turns - turns[nearest])) < 0.3 * np.median(np.abs(turns - turns[::-1]))


def test_centring_undoes_a_move():
    padded = np.pad(IMAGES[:5], ((0, 0), (10, 10), (10, 10)))
    elsewhere = np.roll(padded, (3, -2), axis=(1, 2))
    preparation = fit_preparation(padded[..., None], "images", side=30, centre=True)

    first, second = (prepared(preparation, x[..., None]) for x in (padded, elsewhere))

    np.testing.assert_allclose(first, second, atol=1e-2)  # places in float32


def test_a_ground_is_found_whatever_its_colour():
    dark, light = (fit_preparation(x[..., None], "images") for x in (IMAGES, 5 - IMAGES))
    noise = fit_preparation(RNG.normal(size=(20, 9, 9, 1)), "images")

    assert dark.settings.is_plain
    assert light.settings.is_plain
    assert float(light.ground[0]) == pytest.approx(-float(dark.ground[0]), rel=1e-4)
    assert not noise.settings.is_plain


@pytest.mark.parametrize("closed", [False, True])
def test_a_file_gives_the_encoder_back(tmp_path, closed):
    encoder = learn(KEY, IMAGES, kind="images", steps=2, closed=closed)

    keeping.save(encoder, tmp_path / "encoder.npz")

    again = keeping.load(tmp_path / "encoder.npz")
    np.testing.assert_array_equal(encode(again, IMAGES), encode(encoder, IMAGES))


def test_two_encoders_of_plain_images_find_the_same_clusters():
    assert stability(KEY, IMAGES, kind="images", closed=True) > 0.3
    assert abs(adjusted_rand_index(RNG.integers(0, 5, 2000), RNG.integers(0, 5, 2000))) < 0.01


@pytest.mark.parametrize(
    ("x", "knobs", "words"),
    [
        (IMAGES[:1], {}, "1 sample"),
        (np.ones((3, 8, 8)), {}, "deviation of 0"),
        (np.full((3, 8, 8), np.nan), {}, "deviation of nan"),
        (IMAGES.reshape(40, -1), {}, r"shape \(40, 100\), wanted"),
        (IMAGES, {"kind": "sounds"}, "one of images, series"),
        (IMAGES, {"n_views": 1}, "at least 2 views"),
        (IMAGES, {"steps": 0}, "1 step"),
        (IMAGES, {"loss": "mse"}, "'swav' or 'nt_xent'"),
        (IMAGES, {"temperature": 0.0}, "finite and above 0"),
        (IMAGES, {"side": 5}, "14 or more"),
        (SERIES[:, :10], {"kind": "series"}, "wanted 16 or more"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(x, knobs, words):
    with pytest.raises(ValueError, match=words):
        learn(KEY, x, **{"kind": "images", **knobs})


def test_samples_of_another_shape_are_refused(encoder):
    with pytest.raises(ValueError, match="the encoder learnt from"):
        encode(encoder, IMAGES[:, :9])
