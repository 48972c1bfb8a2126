"""Statistics of spectrograms: against NumPy's Fourier transform in float64, and what must not change them."""

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.views.spectrograms import mean_power, spectral_statistics, window_lengths

RNG = np.random.default_rng(0)
SERIES = RNG.normal(size=(3, 2, 50)).astype(np.float32)


def slow_statistics(channel, window, floor):
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = range(0, len(channel) - window + 1, window // 4)
    power = [np.abs(np.fft.rfft(taper * channel[s : s + window].astype(np.float64))) ** 2 for s in starts]
    logs = np.log(np.array(power) + floor)
    return np.concatenate([logs.mean(0), logs.std(0), *np.quantile(logs, [0.1, 0.5, 0.9], axis=0)]), power


def test_statistics_are_those_of_numpy():
    series, windows = jnp.asarray(SERIES), (8, 16)
    power = mean_power(series, windows)

    found = spectral_statistics(series, windows, power)

    mean = np.mean([slow_statistics(channel, 8, 1.0)[1] for channel in SERIES.reshape(-1, 50)])
    np.testing.assert_allclose(power[0], mean, rtol=1e-5)
    wanted = [
        np.concatenate(
            [
                slow_statistics(c, w, 1e-4 * float(p))[0]
                for w, p in zip(windows, power, strict=True)
                for c in one
            ]
        )
        for one in SERIES
    ]
    np.testing.assert_allclose(found, wanted, atol=1e-3)  # logarithms of small powers in float32


def test_the_amplitude_is_an_offset_of_means_and_quantiles():
    series, windows = jnp.asarray(SERIES), (8,)

    found = spectral_statistics(series, windows, mean_power(series, windows)).reshape(3, 2, 5, 5)
    louder = spectral_statistics(3 * series, windows, mean_power(3 * series, windows)).reshape(3, 2, 5, 5)

    offset = np.log(9) * np.array([1, 0, 1, 1, 1])[:, None]
    np.testing.assert_allclose(louder - found, np.broadcast_to(offset, louder.shape), atol=1e-4)


def test_silence_is_finite():
    series = jnp.zeros((2, 1, 20))

    assert np.isfinite(spectral_statistics(series, (8,), mean_power(series, (8,)))).all()


@pytest.mark.parametrize("n_times", [16, 201, 1001])
def test_half_a_series_holds_its_windows(n_times):
    assert max(window_lengths(n_times)) <= n_times // 2
