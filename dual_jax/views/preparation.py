"""Samples as they come to samples in one scale, and to their local features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from dual_jax.data.errors import InputError
from dual_jax.views.gradients import coarse_colours, gradient_centroids, gradient_histograms
from dual_jax.views.random_views import pixel_places, resample
from dual_jax.views.spectrograms import mean_power, spectral_statistics, window_lengths

KINDS = ("images", "series")
ROWS = 256  # samples worked on at a time
SAMPLE = 4000  # samples at most from which moments and principal directions are taken
SMALLEST_SIDE, LARGEST_SIDE = 28, 32  # pixels to which images are resized by default
SHORTEST = 16  # samples of a series, at least
NARROWEST = 8  # pixels of a side of images; a narrower array is a series in channels
MARGIN = 1 / 14  # of a side, of ground around an image that is enlarged
PLAIN_SHARE, PLAIN_WIDTH = 0.5, 0.05  # of the border's pixels, within this share of the range: a plain ground


@jax.tree_util.register_static
@dataclass(frozen=True)
class Settings:
    """What decides how the programs of an encoder are compiled.

    Attributes
    ----------
    kind
        ``"images"`` or ``"series"``.
    shape
        Of a sample as it comes, with its channels: (h, w, c) or (c, t).
    side
        Of images after resizing.
    is_centred
        Images are moved so that the centroid of their gradient is in the middle.
    is_plain
        Images lie on a ground of one colour.
    windows
        Lengths of the windows of series.
    """

    kind: str
    shape: tuple[int, ...]
    side: int = 0
    is_centred: bool = False
    is_plain: bool = True
    windows: tuple[int, ...] = ()


class Preparation(NamedTuple):
    """How samples are prepared: their mean by channel, their deviation, and by kind the rest.

    ``ground`` is the value of each channel beyond the edge of an image, after scaling, and ``power`` the mean
    power of series at each window.
    """

    settings: Settings
    mean: Float[Array, " c"]
    deviation: Float[Array, ""]
    ground: Float[Array, " c"]
    power: Float[Array, " windows"]


def with_channel_axis(x: Any, kind: str) -> Shaped[np.ndarray, "n ..."]:
    """Return images as (n, h, w, c) or series as (n, c, t), their values as they came.

    Raises
    ------
    InputError
        They have other axes, or none of them is there.
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: it must be one of {', '.join(KINDS)}")
    x = np.asarray(x)
    wanted = {"images": "(n, h, w) or (n, h, w, channels)", "series": "(n, times) or (n, channels, times)"}
    n_axes = {"images": 4, "series": 3}[kind]
    if x.ndim not in (n_axes - 1, n_axes) or 0 in x.shape:
        raise InputError(f"{kind} have shape {x.shape}, wanted {wanted[kind]}")
    if x.ndim == n_axes:
        return x
    return x[..., None] if kind == "images" else x[:, None]


def kind_of_shape(shape: Sequence[int]) -> str:
    """Return what samples of a shape are: (h, w, channels), or (h, w) of 8 or more, are images.

    Examples
    --------
    >>> kind_of_shape((28, 28)), kind_of_shape((2, 500)), kind_of_shape((500,))
    ('images', 'series', 'series')
    """
    is_image = len(shape) == 3 or (len(shape) == 2 and min(shape) >= NARROWEST)
    return "images" if is_image else "series"


def sampled(x: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "m ..."]:
    """Return at most `SAMPLE` samples, evenly spaced."""
    return x[:: -(-len(x) // SAMPLE)]


def pieces(x: Shaped[np.ndarray, "n ..."]) -> Iterator[Float[Array, "rows ..."]]:
    """Give samples in pieces of one size, so that one program does all; the last is filled up."""
    size = min(ROWS, len(x))
    for start in range(0, len(x), size):
        rows = np.minimum(np.arange(start, start + size), len(x) - 1)
        yield jnp.asarray(x[rows], jnp.float32)


def fit_preparation(
    x: Shaped[np.ndarray, "n ..."], kind: str, *, side: int | None = None, centre: bool = False
) -> Preparation:
    """Return how samples like these are prepared, judged by at most 4,000 of them.

    Raises
    ------
    InputError
        They are all the same or not finite, or too short or small.
    """
    sample = sampled(x)
    axes = (0, 1, 2) if kind == "images" else (0, 2)
    mean = sample.mean(axes, dtype=np.float64).astype(np.float32)
    deviation = float(np.std(sample, dtype=np.float64))
    if not (np.isfinite(deviation) and deviation > 0):
        raise InputError(
            f"{len(x)} {kind} with a standard deviation of {deviation:g}: they must be finite and differ"
        )
    none = jnp.zeros(0)
    made = Preparation(Settings(kind, x.shape[1:]), jnp.asarray(mean), jnp.float32(deviation), none, none)
    if kind == "series":
        return _fit_series(made, sample)
    side = side or min(max(*x.shape[1:3], SMALLEST_SIDE), LARGEST_SIDE)
    if side < SMALLEST_SIDE // 2:
        raise InputError(f"side={side}: it must be {SMALLEST_SIDE // 2} or more")
    ground, is_plain = _ground(sample)
    settings = Settings(kind, x.shape[1:], side, centre, is_plain)
    return made._replace(settings=settings, ground=jnp.asarray((ground - mean) / deviation, jnp.float32))


def _fit_series(made: Preparation, sample: Shaped[np.ndarray, "n c t"]) -> Preparation:
    n_times = sample.shape[2]
    if n_times < SHORTEST:
        raise InputError(f"series have {n_times} samples, wanted {SHORTEST} or more")
    made = made._replace(settings=Settings("series", sample.shape[1:], windows=window_lengths(n_times)))
    powers = [mean_power(prepared(made, piece), made.settings.windows) for piece in pieces(sample)]
    return made._replace(power=jnp.mean(jnp.stack(powers), axis=0))


def _ground(sample: Shaped[np.ndarray, "n h w c"]) -> tuple[Float[np.ndarray, " c"], bool]:
    """Return the median colour of the border, and whether most of the border has it."""
    edges = sample[:, 0], sample[:, -1], sample[:, :, 0], sample[:, :, -1]
    border = np.concatenate(edges, axis=1).reshape(-1, sample.shape[-1]).astype(np.float32)
    ground = np.median(border, axis=0)
    width = PLAIN_WIDTH * (float(sample.max()) - float(sample.min()))
    is_near = np.all(np.abs(border - ground) <= width, axis=1)
    return ground, bool(is_near.mean() >= PLAIN_SHARE)


def prepared(preparation: Preparation, x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """Return samples less the mean in units of the deviation; images at their side, and centred if asked."""
    settings = preparation.settings
    if settings.kind == "series":
        return (x - preparation.mean[:, None]) / preparation.deviation
    images = (x - preparation.mean) / preparation.deviation
    n, h, w, c = images.shape
    is_enlarged = max(h, w) < settings.side
    margin = round(settings.side * MARGIN) if settings.is_plain and is_enlarged else 0
    inner = settings.side - 2 * margin
    if (h, w) != (inner, inner):
        images = jax.image.resize(images, (n, inner, inner, c), "cubic" if is_enlarged else "linear")
        edge = (margin, margin)
        images = jnp.pad(images - preparation.ground, ((0, 0), edge, edge, (0, 0))) + preparation.ground
    if settings.is_centred:
        places = pixel_places(images.shape[1:3]) + gradient_centroids(images)[:, :, None, None]
        images = resample(images - preparation.ground, places) + preparation.ground
    return images


def described(settings: Settings, power: Array, samples: Float[Array, "n ..."]) -> Float[Array, "n q"]:
    """Return the local features of prepared samples."""
    if settings.kind == "series":
        return spectral_statistics(samples, settings.windows, power)
    histograms = gradient_histograms(samples)
    if samples.shape[-1] == 1:
        return histograms
    return jnp.concatenate([histograms, coarse_colours(samples)], axis=1)
