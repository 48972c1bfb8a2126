"""Log spectra, compared with a plain sum over sines, and what they do not see."""

from itertools import pairwise

import numpy as np
import pytest

from dual_jax.views import spectra
from dual_jax.views.spectra import log_spectra

T = np.arange(90)
X = np.random.default_rng(0).normal(size=(4, 180)) + 5


def oracle(series, n_windows, n_bands, floor):
    """Return log power of one channel by the formula of the docstring, one sum after another."""
    length = 2 * len(series) // (n_windows + 1)
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1, length + 1) / (length + 1))
    edges = [band * (length // 2) // n_bands for band in range(n_bands + 1)]
    features = []
    for start in np.linspace(0, len(series) - length, n_windows).astype(int):
        window = series[start : start + length] - series[start : start + length].mean()
        waves = np.exp(-2j * np.pi * np.outer(np.arange(1, length // 2 + 1), np.arange(length)) / length)
        power = np.abs(waves @ (taper * window)) ** 2 / np.sum(taper**2)
        features += [power[low:high].mean() + floor for low, high in pairwise(edges)]
    return np.log(features)


def test_features_are_those_of_the_formula_by_channel_window_and_band():
    found = log_spectra(X, n_channels=2, n_windows=3, n_bands=4, floor=0.5)

    expected = [np.concatenate([oracle(half, 3, 4, 0.5) for half in np.split(row, 2)]) for row in X]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32 logarithms near 1


@pytest.mark.parametrize(("frequency", "band"), [(2, 0), (13, 1), (40, 3)])
def test_a_sine_has_its_power_in_the_band_of_its_frequency(frequency, band):
    wave = np.sin(2 * np.pi * frequency * T / 90)

    assert log_spectra([wave, 3 * wave], n_windows=1, n_bands=4).argmax(axis=1).tolist() == [band, band]


def test_an_offset_changes_nothing_and_a_factor_is_an_offset():
    found = log_spectra(X)

    np.testing.assert_allclose(log_spectra(X + 100), found, atol=1e-5)  # float64 spectra, float32 logarithms
    np.testing.assert_allclose(log_spectra(3 * X), found + 2 * np.log(3), atol=1e-5)


def test_a_dead_series_stays_in_sight_of_the_others():
    found = log_spectra(np.vstack([X, np.full(180, 7.0)]))

    assert np.isfinite(found).all()
    assert found[4].max() - found[:4].mean() > np.log(spectra.FLOOR) - 2  # the floor is of the mean power


def test_series_that_are_all_dead_are_all_alike():
    np.testing.assert_array_equal(log_spectra(np.ones((2, 64))), 0)


def test_the_number_of_rows_at_a_time_changes_nothing(monkeypatch):
    whole = log_spectra(X)
    monkeypatch.setattr(spectra, "CELLS", 200)

    np.testing.assert_array_equal(log_spectra(X), whole)


@pytest.mark.parametrize(
    ("length", "n_features"), [(3000, 8 * 16), (64, 3 * 16), (32, 16), (5, 2), (2, 1)], ids=str
)
def test_windows_and_bands_follow_the_length_of_the_series(length, n_features):
    assert log_spectra(np.ones((2, length))).shape == (2, n_features)


@pytest.mark.parametrize(
    ("x", "knobs", "words"),
    [
        (X, {"n_channels": 7}, r"wanted \(n, 7 \* length\)"),
        (X[0], {}, "one row per series"),
        (X[:, :1], {}, "longer series"),
        (X, {"n_windows": 1, "n_bands": 91}, "180 samples have 90 frequencies, for 91 bands"),
        (X, {"n_windows": 180}, "use fewer windows"),
    ],
)
def test_what_cannot_be_cut_is_refused(x, knobs, words):
    with pytest.raises(ValueError, match=words):
        log_spectra(x, **knobs)
