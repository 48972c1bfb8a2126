"""Recordings (.wav) as series of one length, read with SciPy: one channel, one rate, values from -1 to 1.

Channels are averaged. The rate is the most common one, brought down to 16 kHz where it is at most 48 kHz, so
that what people hear is kept; higher rates, of ultrasound, stay. The length is that of the longest recording,
at most 16,384 samples: a longer one gives eight stretches of equal length, spread evenly from its beginning
to its end, and a shorter one is repeated.
"""

import io
import math
import warnings
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from os import PathLike
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from dual_jax.data.errors import InputError
from dual_jax.data.media import SERIES, Held, read_each

HEARD, HEARD_RATE = 48_000, 16_000  # samples a second: rates of what is heard, and what they become
SLOWEST, FASTEST = 100, 10_000_000  # samples a second; a header that says another is broken
MAX_LENGTH, SHORTEST = 16_384, 16  # samples of a series
N_STRETCHES = 8  # of a recording that is longer
MAX_RATIO = 1000  # of the whole numbers whose ratio is that of two rates


class Recordings(NamedTuple):
    """Recordings as series of one length and rate.

    ``is_read`` has an entry for each file that was asked for, ``skipped`` the reason for each that could not
    be read, ``sha256`` the sum over names and bytes, and ``note`` what was done to them.
    """

    values: Float[np.ndarray, "n times"]
    rate: int
    is_read: Bool[np.ndarray, " files"]
    skipped: dict[str, str]
    sha256: str
    note: str


def read_recordings(
    names: Sequence[str | Held], folder: str | PathLike[str] = ".", *, rate: int = 0, length: int = 0
) -> Recordings:
    """Return the recordings in ``.wav`` files of 8, 16, 24 or 32 bits, or of floats.

    Parameters
    ----------
    names : sequence of str or Held
        Paths, taken from ``folder`` where they are relative, or files that a table holds.
    folder : path
        Where they begin.
    rate, length : int
        Samples a second, and of a series, such as those of former recordings; decided where 0.

    Raises
    ------
    InputError
        When no file can be read.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import wavfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wavfile.write(f"{folder}/a.wav", 8000, np.zeros(400, np.int16))
    ...     wavfile.write(f"{folder}/b.wav", 8000, np.zeros((300, 2), np.uint8))
    ...     found = read_recordings(["a.wav", "b.wav"], folder)
    >>> found.values.shape, found.rate
    ((2, 400), 8000)
    """
    with warnings.catch_warnings(action="ignore"):  # on chunks that SciPy does not know
        if not (rate and length):
            found = read_each(names, folder, _measured, SERIES).values
            rate, length = _common(found, rate, length)
        loaded = read_each(names, folder, partial(_series, rate, length), SERIES)
    values = np.stack([series for series, _ in loaded.values])
    own = np.array([n_samples for _, n_samples in loaded.values])
    note = (
        f"{len(values):,} recordings at {rate:,} samples a second, {length:,} samples each: of "
        f"{int((own > length).sum()):,} longer ones {N_STRETCHES} stretches spread evenly, "
        f"{int((own < length).sum()):,} shorter ones repeated"
    )
    return Recordings(values, rate, loaded.is_read, loaded.skipped, loaded.sha256, note)


def _common(found: Sequence[tuple[int, int]], rate: int, length: int) -> tuple[int, int]:
    """Return the rate and the length for recordings of these rates and numbers of samples."""
    if not rate:
        counts = Counter(own for own, _ in found)
        common = max(counts, key=lambda own: (counts[own], -own))
        rate = min(common, HEARD_RATE) if common <= HEARD else common
    longest = max(math.ceil(n_samples * rate / own) for own, n_samples in found)
    return rate, length or max(SHORTEST, min(MAX_LENGTH, longest))


def _parsed(data: bytes) -> tuple[int, Shaped[np.ndarray, "times ..."]]:
    """Return the rate and the samples of a file as they are in it."""
    from scipy.io import wavfile

    rate, samples = wavfile.read(io.BytesIO(data))
    if not SLOWEST <= rate <= FASTEST:
        raise InputError(f"says that it has {rate:,} samples a second")
    if len(samples) < SHORTEST:
        raise InputError(f"has {len(samples)} samples, wanted {SHORTEST} or more")
    return rate, samples


def _measured(data: bytes) -> tuple[int, int]:
    """Return the rate and the number of samples of a file."""
    rate, samples = _parsed(data)
    return rate, len(samples)


def _series(rate: int, length: int, data: bytes) -> tuple[Float[np.ndarray, " length"], int]:
    """Return a recording at a rate and of a length, and how many samples it had at that rate."""
    from scipy.signal import resample_poly

    own, samples = _parsed(data)
    n_samples = math.ceil(len(samples) * rate / own)
    pieces = samples[None]
    if n_samples > length:
        pieces = _stretches(samples, math.ceil(length // N_STRETCHES * own / rate))
    values = _as_shares(pieces)
    values = values.mean(axis=2) if values.ndim == 3 else values
    if not np.isfinite(values).all():
        raise InputError("holds numbers that are not finite")
    if own != rate:
        ratio = Fraction(rate, own).limit_denominator(MAX_RATIO)
        values = resample_poly(values, ratio.numerator, ratio.denominator, axis=1)
    if n_samples > length:
        values = values[:, : length // N_STRETCHES]
    return np.resize(values, length).astype(np.float32), n_samples


def _stretches(samples: np.ndarray, width: int) -> np.ndarray:
    """Return `N_STRETCHES` stretches, the first from the beginning, the last up to the end."""
    starts = np.linspace(0, len(samples) - width, N_STRETCHES).astype(int)
    return np.stack([samples[start : start + width] for start in starts])


def _as_shares(samples: np.ndarray) -> Float[np.ndarray, "..."]:
    """Return samples as shares of the largest that their type holds; 8 bits have their zero in the middle."""
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float32)
