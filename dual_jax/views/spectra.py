"""Series as log power in frequency bands of windows: what tells signals of no fixed phase apart."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from dual_jax.data.errors import InputError

MAX_WINDOWS, MIN_WINDOW = 8, 32  # windows of a channel by default, and samples in one
MAX_BANDS = 16
FLOOR = 1e-6  # of the mean power: smaller powers are treated as this one
CELLS = 1 << 22  # samples in float64 at a time: 32 MB


def log_spectra(
    x: Any,
    *,
    n_channels: int = 1,
    n_windows: int | None = None,
    n_bands: int | None = None,
    floor: float | None = None,
) -> Float[np.ndarray, "n q"]:
    """Return for each series the log power in bands of its windows' frequencies.

    A channel of T samples is cut into W windows of ``L = floor(2 T / (W + 1))`` samples that overlap by half.
    With F_w(f) = sum_t h_t x_{w,t} exp(-2 pi i f t / L) of window w less its mean, under the Hann taper h,

        feature(w, b) = log( mean_{f in band b} |F_w(f)|^2 / sum_t h_t^2 + e ),

    where the B bands share out the frequencies 1, ..., L // 2 (in cycles a window) evenly. Source: Welch's
    method (IEEE Trans. Audio Electroacoust. 1967) with its windows kept apart and its frequencies pooled.
    A shift of the signal by a few samples hardly changes it, and a factor of the amplitude is an offset.

    Parameters
    ----------
    x : (n, n_channels * T) array
        A series a row, its channels one after the other; finite.
    n_channels : int
        Channels in a row.
    n_windows : int, optional
        W; by default as many as have at least 32 samples, at most 8.
    n_bands : int, optional
        B; by default 16, or L // 2 where that is less.
    floor : float, optional
        e, > 0; by default 1e-6 of the mean over all series. Give the pool's when new series are to be
        comparable with it.

    Returns
    -------
    (n, n_channels * W * B) float32
        By channel, window and band.

    Raises
    ------
    ValueError
        When the rows cannot be cut like that.

    Examples
    --------
    >>> t = np.arange(64)
    >>> slow, fast = np.sin(2 * np.pi * t / 16), np.sin(2 * np.pi * t / 4)
    >>> log_spectra([slow, fast], n_windows=1, n_bands=4).argmax(axis=1)
    array([0, 1])
    """
    x = np.asarray(x)
    windows, bands = _cut(x.shape, n_channels, n_windows, n_bands)
    rows = max(1, CELLS // max(1, x.shape[1]))
    parts = [_powers(x[i : i + rows], n_channels, windows, bands) for i in range(0, len(x), rows)]
    powers = np.concatenate(parts)
    if floor is None:
        floor = FLOOR * float(powers.mean()) or 1.0  # where nothing moves, nothing differs
    return np.log(powers + floor).astype(np.float32)


def _cut(
    shape: tuple[int, ...], n_channels: int, n_windows: int | None, n_bands: int | None
) -> tuple[int, int]:
    """Return how many windows and bands a channel has."""
    if len(shape) != 2 or 0 in shape or n_channels < 1 or shape[1] % n_channels:
        raise InputError(
            f"x has shape {shape}, wanted (n, {n_channels} * length): one row per series, channel by channel"
        )
    n_samples = shape[1] // n_channels
    windows = n_windows or min(MAX_WINDOWS, max(1, 2 * n_samples // MIN_WINDOW - 1))
    n_frequencies = _window_length(n_samples, windows) // 2
    bands = n_bands or min(MAX_BANDS, max(1, n_frequencies))
    if windows < 1 or not 1 <= bands <= n_frequencies:
        raise InputError(
            f"{windows} windows of {n_samples} samples have {n_frequencies} frequencies, for {bands} bands: "
            "use fewer windows or bands, or longer series"
        )
    return windows, bands


def _window_length(n_samples: int, n_windows: int) -> int:
    return math.floor(2 * n_samples / (n_windows + 1))


def _powers(
    x: Shaped[np.ndarray, "n t"], n_channels: int, n_windows: int, n_bands: int
) -> Float[np.ndarray, "n q"]:
    """Return the power in each band, by channel, window and band."""
    channels = x.astype(np.float64).reshape(len(x), n_channels, -1)
    n_samples = channels.shape[-1]
    length = _window_length(n_samples, n_windows)
    starts = np.linspace(0, n_samples - length, n_windows).astype(int)
    windows = channels[..., starts[:, None] + np.arange(length)]
    taper = np.hanning(length + 2)[1:-1]
    tapered = taper * (windows - windows.mean(axis=-1, keepdims=True))
    power = np.abs(np.fft.rfft(tapered)[..., 1 : length // 2 + 1]) ** 2 / np.sum(taper**2)
    edges = np.linspace(0, length // 2, n_bands + 1).astype(int)
    sums = np.add.reduceat(power, edges[:-1], axis=-1)
    return (sums / np.diff(edges)).reshape(len(x), -1)
