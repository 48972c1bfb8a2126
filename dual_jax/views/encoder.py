"""An encoder of images or series learnt without labels: views, local features, and codes that agree.

Random views of each sample (`random_views`) are described by fixed local features (`gradients`,
`spectrograms`), whose principal directions feed two maps: a closed form (`directions`) and a dense network
(`agreement`). The code joins all three, so that what a map forgets is still there; of series whose times
correspond it holds the values themselves too.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Shaped

from dual_jax.data.errors import InputError
from dual_jax.dual.loop import Chunk
from dual_jax.views.agreement import NETWORK, learn_agreement
from dual_jax.views.directions import (
    Projection,
    agreeing_projection,
    at_unit_length,
    evened,
    principal_projection,
    project,
)
from dual_jax.views.gradients import N_COLOURS
from dual_jax.views.preparation import (
    SAMPLE,
    Preparation,
    Settings,
    described,
    fit_preparation,
    pieces,
    prepared,
    sampled,
    with_channel_axis,
)
from dual_jax.views.random_views import CROP, ImageChanges, view_images, view_series
from dual_jax.views.votes import map_vote, values_vote

N_DIRECTIONS, N_CLOSED, N_RAW = 256, 64, 64  # columns of local features, of the closed form, of raw values
N_CODE = 128  # columns of the code, a power of two
MAX_RAW = 4096  # values of a series, at most, that have a part of their own: directions of more take minutes
UPRIGHT = ImageChanges(rotation=0.21, shear=0.15, flip=0.5)  # for what may be mirrored but seldom lies
COLOUR_SHARE = 0.25  # of the histograms' variance, that of the colours
BATCH = 512
TINY = 1e-6


class Maps(NamedTuple):
    """From local features to the parts of the code.

    ``scale`` is a factor of each local feature, ``local`` their principal directions, ``closed`` the closed
    form on these, and ``network`` parameters of `dual_jax.views.agreement.NETWORK`, empty without it. ``raw``
    are the principal directions of the values of series; of images and long series there are none.
    """

    scale: Float[Array, " q"]
    local: Projection
    closed: Projection
    network: PyTree
    raw: Projection


class Encoder(NamedTuple):
    """Everything that turns samples into codes: call `encode` or `features` with it.

    ``centres`` has the mean of each part over the pool, ``votes`` the share of each in squared distances,
    ``code`` is the map of the joined parts to the code, and ``losses`` are those of the network, a number a
    step.
    """

    preparation: Preparation
    maps: Maps
    centres: tuple[Array, ...]
    votes: Float[Array, " parts"]
    code: Projection
    losses: Float[Array, " steps"]


class Features(NamedTuple):
    """What an encoder computes from samples, one row each.

    ``code`` is the space to pick in. The others are its parts at unit length: ``local`` are the untrained
    features, ``closed`` and ``network`` the codes of the two maps, and ``raw`` the values of series. A part
    that an encoder lacks has no columns.
    """

    code: Float[Array, "n p"]
    local: Float[Array, "n q"]
    closed: Float[Array, "n c"]
    network: Float[Array, "n r"]
    raw: Float[Array, "n s"]


def learn(
    key: Key[Array, ""],
    x: Shaped[Any, "n ..."],
    *,
    kind: str,
    flip: bool = False,
    centre: bool = False,
    closed: bool = False,
    side: int | None = None,
    changes: ImageChanges | None = None,
    n_views: int | None = None,
    loss: str | None = None,
    n_prototypes: int | None = None,
    temperature: float = 0.5,
    steps: int | None = None,
    callbacks: Iterable[Callable[[Chunk], None]] = (),
) -> Encoder:
    """Return an encoder learnt from unlabelled images or series.

    Parameters
    ----------
    key
        The only source of randomness.
    x
        At least 2 images (n, h, w) or (n, h, w, channels) of any size, or series (n, times) or (n, channels,
        times) of at least 16 samples; numbers of any type.
    kind
        ``"images"`` or ``"series"``.
    flip
        Mirror images show the same, as of most things but not of digits and text; turns and shears are then
        milder.
    centre
        Move the centroid of an image's gradient to the middle first: for one object on a plain ground.
    closed
        Leave the network out; what remains needs no training.
    side
        Pixels to which images are resized; by default their longer side, at least 28 and at most 32.
    changes
        Sizes of the changes in views of images, with the chance of a flip; by default `ImageChanges()`.
    n_views
        Views of each sample, at least 2; by default 6, 8 below 1,000 samples, 3 above 20,000.
    loss
        ``"swav"`` or ``"nt_xent"`` of the network; by default the first for images, the second for series.
    n_prototypes
        Of SwAV; by default 50, 20 below 1,000 samples.
    temperature
        Of NT-Xent.
    steps
        Of the network; by default 300, 150 below 1,000 samples, 1,000 above 20,000.
    callbacks
        Called with a `dual_jax.dual.loop.Chunk` of stage "agree" after every 50 steps.

    Raises
    ------
    InputError
        The samples have other axes, are all the same or not finite, a number is out of range, or the loss
        became infinite or NaN.

    Examples
    --------
    >>> images = jax.random.normal(jax.random.key(0), (20, 8, 8))
    >>> encoder = learn(jax.random.key(1), images, kind="images", steps=2)
    >>> encode(encoder, images).shape
    (20, 16)
    """
    x = with_channel_axis(x, kind)
    n = len(x)
    n_views, steps, loss = _decided(n, kind, n_views, steps, loss)
    _check(n, n_views=n_views, steps=steps, loss=loss, temperature=temperature)
    changes = changes or (UPRIGHT if flip else ImageChanges())
    key_views, key_network = jax.random.split(key)
    preparation = fit_preparation(x, kind, side=side, centre=centre)
    scale, local, views = _views(key_views, preparation, x, changes, n_views)
    network: PyTree = {}
    losses = np.zeros(0, np.float32)
    if not closed:
        network, losses = learn_agreement(
            key_network,
            views,
            n_prototypes=0 if loss == "nt_xent" else n_prototypes or (50 if n >= 1000 else 20),
            steps=steps,
            batch_size=BATCH,
            temperature=temperature,
            callbacks=callbacks,
        )
    maps = Maps(scale, local, agreeing_projection(views, N_CLOSED), network, _raw(preparation, x))
    return _joined(preparation, maps, x, views, jnp.asarray(losses))


def code_width(n: int, n_joined: int = N_CODE) -> int:
    """Return the columns of the code for n samples whose joined parts have ``n_joined`` columns."""
    return int(2 ** int(np.log2(min(N_CODE, n - 1, n_joined))))


def encode(encoder: Encoder, x: Shaped[Any, "m ..."]) -> Float[Array, "m p"]:
    """Return the codes of samples, of the pool or new: (m, columns) float32.

    All columns have about the same variance over the pool, so standardising them changes nothing.
    """
    return features(encoder, x).code


def features(encoder: Encoder, x: Shaped[Any, "m ..."]) -> Features:
    """Return the code of samples and its parts; see `Features`."""
    settings = encoder.preparation.settings
    x = with_channel_axis(x, settings.kind)
    if x.shape[1:] != settings.shape:
        raise InputError(f"samples have shape {x.shape[1:]}, the encoder learnt from {settings.shape}")
    parts = _around(encoder.centres, _parts(encoder.preparation, encoder.maps, x))
    return Features(project(encoder.code, _joint(parts, encoder.votes)), *parts)


def _decided(
    n: int, kind: str, n_views: int | None, steps: int | None, loss: str | None
) -> tuple[int, int, str]:
    """Return the views of each sample, the steps and the loss: as asked, else by the rules of `learn`."""
    n_views = n_views or (8 if n < 1000 else 3 if n > 20_000 else 6)
    steps = (150 if n < 1000 else 1000 if n > 20_000 else 300) if steps is None else steps
    return n_views, steps, loss or {"images": "swav", "series": "nt_xent"}[kind]


def _check(n: int, *, n_views: int, steps: int, loss: str, temperature: float) -> None:
    if n < 2:
        raise InputError(f"{n} sample: give two or more")
    if n_views < 2 or steps < 1 or loss not in ("swav", "nt_xent"):
        raise InputError(
            f"n_views={n_views}, steps={steps}, loss={loss!r}: at least 2 views, 1 step, and a loss that is "
            "'swav' or 'nt_xent' are needed"
        )
    if not (np.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature={temperature}: it must be finite and above 0")


def _view(
    preparation: Preparation, key: Key[Array, ""], x: Float[Array, "n ..."], changes: ImageChanges
) -> Float[Array, "n q"]:
    """Return the local features of one random view of each sample.

    The view and its description are two programs: in one, XLA's fusion on a CPU computes each pixel of a view
    again for every pixel around it, and the program takes 2.4 times as long.
    """
    return _described(preparation, _changed(preparation, key, x, changes))


@jax.jit
def _changed(
    preparation: Preparation, key: Key[Array, ""], x: Float[Array, "n ..."], changes: ImageChanges
) -> Float[Array, "n ..."]:
    """Return one random view of each sample."""
    settings, samples = preparation.settings, prepared(preparation, x)
    if settings.kind == "series":
        return view_series(key, samples, int(samples.shape[2] * CROP))
    return view_images(key, samples, changes, preparation.ground if settings.is_plain else None)


@jax.jit
def _described(preparation: Preparation, views: Float[Array, "n ..."]) -> Float[Array, "n q"]:
    return described(preparation.settings, preparation.power, views)


def _views(
    key: Key[Array, ""], preparation: Preparation, x: np.ndarray, changes: ImageChanges, n_views: int
) -> tuple[Float[Array, " q"], Projection, Float[Array, "n v p"]]:
    """Return the scale of the local features, their principal directions, and the views in these."""
    key_basis, key_views = jax.random.split(key)

    def drawn(key: Array, x: np.ndarray, finish: Callable[[Array], Array] = lambda rows: rows) -> Array:
        parts = [
            finish(_view(preparation, jax.random.fold_in(key, i), piece, changes))
            for i, piece in enumerate(pieces(x))
        ]
        return jnp.concatenate(parts)[: len(x)]

    sample = sampled(x)
    n_drawn = max(1, min(n_views, SAMPLE // len(sample)))
    basis = jnp.concatenate([drawn(key, sample) for key in jax.random.split(key_basis, n_drawn)])
    scale = _scale(preparation.settings, basis)
    local = principal_projection(basis * scale, N_DIRECTIONS)
    keys = jax.random.split(key_views, n_views)
    views = [drawn(key, x, lambda rows: project(local, rows * scale)) for key in keys]
    return scale, local, jnp.stack(views, axis=1)


def _scale(settings: Settings, rows: Float[Array, "n q"]) -> Float[Array, " q"]:
    """Return the factor of each local feature: one for all histograms, one for all colours."""
    variance = jnp.var(rows, axis=0)
    if settings.kind == "series":
        return jnp.where(variance > TINY, 1.0 / jnp.sqrt(variance + TINY), 0.0)
    n_channels = settings.shape[2]
    n_histograms = len(variance) - (N_COLOURS**2 * n_channels if n_channels > 1 else 0)
    histograms, colours = jnp.sum(variance[:n_histograms]), jnp.sum(variance[n_histograms:])
    colour = jnp.sqrt(COLOUR_SHARE * histograms / (colours + TINY))
    return jnp.where(jnp.arange(len(variance)) < n_histograms, 1.0, colour)


def _raw(preparation: Preparation, x: np.ndarray) -> Projection:
    """Return the principal directions of the values of series; none for images and for long series."""
    if preparation.settings.kind == "images" or np.prod(x.shape[1:]) > MAX_RAW:
        return Projection(jnp.zeros(0), jnp.zeros((0, 0)))
    sample = jnp.concatenate([prepared(preparation, piece) for piece in pieces(sampled(x))])
    return principal_projection(sample[: len(sampled(x))].reshape(len(sampled(x)), -1), N_RAW)


@jax.jit
def _parts_of_piece(preparation: Preparation, maps: Maps, x: Float[Array, "n ..."]) -> tuple[Array, ...]:
    samples = prepared(preparation, x)
    local = project(maps.local, described(preparation.settings, preparation.power, samples) * maps.scale)
    network = at_unit_length(NETWORK.apply(maps.network, local)) if maps.network else local[:, :0]
    raw = project(maps.raw, samples.reshape(len(samples), -1)[:, : len(maps.raw.mean)])
    return local, project(maps.closed, local), network, raw


def _parts(preparation: Preparation, maps: Maps, x: np.ndarray) -> list[Array]:
    found = [_parts_of_piece(preparation, maps, piece) for piece in pieces(x)]
    return [jnp.concatenate(part)[: len(x)] for part in zip(*found, strict=True)]


def _around(centres: tuple[Array, ...], parts: list[Array]) -> list[Array]:
    """Return parts less their centres, at unit length."""
    return [at_unit_length(part - centre) for part, centre in zip(parts, centres, strict=True)]


def _joint(parts: list[Array], votes: Float[Array, " parts"]) -> Float[Array, "n q"]:
    return jnp.concatenate([part * jnp.sqrt(vote) for part, vote in zip(parts, votes, strict=True)], axis=1)


def _joined(
    preparation: Preparation, maps: Maps, x: np.ndarray, views: Float[Array, "n v q"], losses: Array
) -> Encoder:
    """Return the encoder with the votes of its parts and the map of the joined parts to the code."""
    parts = _parts(preparation, maps, x)
    centres = tuple(jnp.mean(part, axis=0) for part in parts)
    parts = _around(centres, parts)
    votes = jnp.stack([jnp.ones(()), map_vote(parts[0], parts[1]), map_vote(parts[0], parts[2])])
    is_series = preparation.settings.kind == "series"
    votes = jnp.append(votes / jnp.sum(votes), values_vote(preparation, x, views) if is_series else 0.0)
    joint = _joint(parts, votes)
    n_columns = code_width(len(x), joint.shape[1])
    code = evened(principal_projection(joint, n_columns), n_columns)
    return Encoder(preparation, maps, centres, votes, code, losses)
