"""Local features of series: statistics over time of the log power at each frequency.

Source: Welch's method (IEEE Trans. Audio Electroacoust. 1967), with the spread and the quantiles of a
spectrogram beside its mean. Where in the series something happens does not count, only how often.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dual_jax.numerics.arithmetic import matmul

QUANTILES = (0.1, 0.5, 0.9)
STRIDES_PER_WINDOW = 4
FLOOR = 1e-4  # of the mean power of a pool


def window_lengths(n_times: int) -> tuple[int, ...]:
    """Return the lengths of the two windows for series of that many samples; one window for short series."""
    if n_times > 1000:
        return 64, 256
    return (16, 64) if n_times > 200 else (8,)


@partial(jax.jit, static_argnames="windows")
def mean_power(series: Float[Array, "n c t"], windows: tuple[int, ...]) -> Float[Array, " windows"]:
    """Return the mean power over series, times and frequencies at each window."""
    return jnp.stack([jnp.mean(_power(series, window)) for window in windows])


@partial(jax.jit, static_argnames="windows")
def spectral_statistics(
    series: Float[Array, "n c t"], windows: tuple[int, ...], power: Float[Array, " windows"]
) -> Float[Array, "n q"]:
    """Return for each series statistics over time of its log power, by channel, window and frequency.

    With F(t, f) the Fourier transform of a window at time t under the Hann taper, windows a quarter of their
    length apart, they are mean, standard deviation and the quantiles .1, .5 and .9 over t of

        log( |F(t, f)|^2 + power / 10,000 ).

    Parameters
    ----------
    series
        (n, channels, times); a window must fit.
    windows
        Their lengths; see `window_lengths`.
    power
        Mean power of the pool at each window; see `mean_power`.

    Examples
    --------
    >>> series = jnp.sin(jnp.arange(40.0)).reshape(1, 1, 40)
    >>> spectral_statistics(series, (8,), mean_power(series, (8,))).shape
    (1, 25)
    """
    parts = []
    for window, unit in zip(windows, power, strict=True):
        logs = jnp.log(_power(series, window) + FLOOR * unit + jnp.finfo(jnp.float32).tiny)
        moments = jnp.stack([jnp.mean(logs, axis=2), jnp.std(logs, axis=2)])
        parts.append(jnp.concatenate([moments, _quantiles(logs)]))
    return jnp.concatenate([part.transpose(1, 2, 0, 3).reshape(len(series), -1) for part in parts], axis=1)


def _power(series: Float[Array, "n c t"], window: int) -> Float[Array, "n c frames f"]:
    """Return the power at each time and frequency, as a product with sines and cosines."""
    stride = max(1, window // STRIDES_PER_WINDOW)
    starts = np.arange(0, series.shape[-1] - window + 1, stride)
    frames = series[..., starts[:, None] + np.arange(window)]
    times, frequencies = np.arange(window)[:, None], np.arange(window // 2 + 1)
    taper = np.hanning(window + 1)[:-1, None]
    angles = 2 * np.pi * times * frequencies / window
    waves = np.concatenate([taper * np.cos(angles), taper * np.sin(angles)], axis=1)
    real, imaginary = jnp.split(matmul(frames, jnp.asarray(waves, jnp.float32)), 2, axis=-1)
    return real**2 + imaginary**2


def _quantiles(logs: Float[Array, "n c frames f"]) -> Float[Array, "quantiles n c f"]:
    n_frames = logs.shape[2]
    places = np.array(QUANTILES) * (n_frames - 1)
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, n_frames - 1)
    part = jnp.asarray(places - below, logs.dtype)[:, None, None, None]
    ordered = jnp.moveaxis(jnp.sort(logs, axis=2), 2, 0)
    return ordered[below] * (1 - part) + ordered[above] * part
