"""An embedding of unlabelled images: two random views of one image near, those of others far.

Source: SimCLR, Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML
2020. Put it beside the pixels (`dual_jax.beside`, or ``embedding=`` of the estimators) to pick images for a
learner that will work in such a space.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from dual_jax.data.errors import InputError
from dual_jax.dual.loop import Advanced, Callbacks, Progress, Values, run_chunk, run_in_chunks
from dual_jax.dual.network import Module, dense
from dual_jax.numerics.arithmetic import matmul, safe_sqrt, squared_norms
from dual_jax.views.augmentation import augment
from dual_jax.views.convolution import convolutional, with_channels

STEPS, BATCH, LATENT_DIM = 1000, 256, 64
MIN_SIDE = 4  # convolutions halve an image until its longer side is no more
WIDTHS = (32, 64, 128)  # of the first convolutions, and the last of them of all that follow
HEAD = dense((64, 32))  # trained with the encoder and then left out
ENCODED = 256  # images encoded at a time


class Networks(NamedTuple):
    """Encoder and head: two modules, or their parameters."""

    encoder: Any
    head: Any


class ContrastiveState(NamedTuple):
    """What a step needs and returns."""

    params: Networks
    opt_state: Any
    step: Int[Array, ""]


class Rates(NamedTuple):
    """Numbers that may vary without compiling again."""

    temperature: float | Array
    learning_rate: float | Array
    n_steps: float | Array  # over which the learning rate falls to 0


class Embedder(NamedTuple):
    """A trained encoder: call `embed` with it. ``losses`` has a number a step."""

    encoder: Module
    params: Any
    mean: float
    deviation: float
    losses: Float[np.ndarray, " steps"]


def learn(
    key: Key[Array, ""],
    images: Float[ArrayLike, "n h w *c"],
    *,
    encoder: Module | None = None,
    latent_dim: int = LATENT_DIM,
    steps: int = STEPS,
    batch_size: int = BATCH,
    temperature: float = 0.1,
    learning_rate: float = 1e-3,
    callbacks: Callbacks = (),
) -> Embedder:
    """Return an encoder trained without labels on images.

    Each step draws ``batch_size`` images and two views of each (`dual_jax.views.augmentation.augment`), and
    takes
    a step of Adam down `nt_xent` of the views, seen through the encoder and a dense head. The learning rate
    falls to 0 by half a cosine. Images are first given mean 0 and variance 1 as a whole.

    Parameters
    ----------
    key
        The only source of randomness.
    images
        (n, h, w) or (n, h, w, channels), n >= 2.
    encoder
        Any module from images (n, h, w, channels) to codes (n, latent_dim); by default convolutions that
        halve the image until its longer side is at most 4, then a linear layer.
    latent_dim
        Of the default encoder.
    steps, batch_size
        At most all images are in a batch.
    temperature
        Of `nt_xent`, > 0; 0.1 is the best of the paper's Table 5.
    learning_rate
        At the first step, > 0.
    callbacks
        Called with a `dual_jax.dual.loop.Chunk` of stage "contrast" after every 50 steps.

    Raises
    ------
    ValueError
        The images have other axes or are all of one colour, a number is out of range, or the loss became
        infinite or NaN.

    Examples
    --------
    >>> images = jax.random.normal(jax.random.key(0), (20, 8, 8))
    >>> embedder = learn(jax.random.key(1), images, latent_dim=3, steps=2)
    >>> embed(embedder, images).shape
    (20, 3)
    """
    images = with_channels(jnp.asarray(images, jnp.float32))
    mean, deviation = float(jnp.mean(images)), float(jnp.std(images))
    _check(images, deviation, steps=steps, batch_size=batch_size, rates=(temperature, learning_rate))
    images = (images - mean) / deviation
    modules = Networks(encoder or _default_encoder(images.shape[1:], latent_dim), HEAD)
    rates = Rates(temperature, learning_rate, float(steps))
    key_init, key_steps = jax.random.split(key)
    batch, state = min(batch_size, len(images)), init(key_init, images, modules)

    def advance(state: ContrastiveState, mean_loss: float, n_now: int) -> Advanced:
        return _advance(state, mean_loss, n_now, key_steps, images, modules, rates, batch)

    progress = run_in_chunks(advance, Progress("contrast", 0, state, np.inf, False, {}), steps, callbacks)
    return Embedder(
        modules.encoder, progress.state.params.encoder, mean, deviation, progress.history["contrast"]["loss"]
    )


def embed(embedder: Embedder, images: Float[ArrayLike, "n h w *c"]) -> Float[Array, "n p"]:
    """Return the codes of images, of the pool or new: (n, latent_dim) float32."""
    scaled = (with_channels(jnp.asarray(images, jnp.float32)) - embedder.mean) / embedder.deviation
    return _encoded(embedder.params, scaled, embedder.encoder)


@partial(jax.jit, static_argnames="encoder")
def _encoded(params: Any, images: Float[Array, "n h w c"], encoder: Module) -> Float[Array, "n p"]:
    def one(image: Array) -> Array:
        return encoder.apply(params, image[None])[0]

    return jax.lax.map(one, images, batch_size=min(ENCODED, len(images)))


def nt_xent(
    first: Float[Array, "b p"], second: Float[Array, "b p"], temperature: float | Array
) -> Float[Array, ""]:
    """Return the normalised temperature-scaled cross entropy of pairs of views.

    With z the 2b rows at length 1 and i* the other view of i,

        mean_i  -log( exp(z_i . z_i* / t) / sum_{j != i} exp(z_i . z_j / t) ).

    Source: Chen et al., ICML 2020, Eq. (1).

    Examples
    --------
    >>> views = jnp.eye(2)
    >>> round(float(nt_xent(views, views, 1.0)), 4)
    0.5514
    """
    z = jnp.concatenate([first, second])
    z = z / safe_sqrt(squared_norms(z))[:, None]
    n = len(z)
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, matmul(z, z.T) / temperature)
    other = (jnp.arange(n) + n // 2) % n
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, other))


def init(key: Key[Array, ""], images: Float[Array, "n h w c"], modules: Networks) -> ContrastiveState:
    """Return fresh networks for images of this shape, and their optimiser."""
    key_encoder, key_head = jax.random.split(key)
    encoder = modules.encoder.init(key_encoder, images[:1])
    head = modules.head.init(key_head, modules.encoder.apply(encoder, images[:1]))
    params = Networks(encoder, head)
    return ContrastiveState(params, optax.adam(1.0).init(params), jnp.zeros((), jnp.int32))


@partial(jax.jit, static_argnames="modules", donate_argnums=0)
def contrastive_step(
    state: ContrastiveState,
    key: Key[Array, ""],
    images: Float[Array, "b h w c"],
    modules: Networks,
    rates: Rates,
) -> tuple[ContrastiveState, Float[Array, ""]]:
    """Return the state after a step of Adam on a batch of distinct images, and its loss before the step."""

    def loss(params: Networks) -> Array:
        keys = jax.random.split(key, (2, len(images)))
        views = jax.vmap(jax.vmap(augment), (0, None))(keys, images).reshape(-1, *images.shape[1:])
        seen = modules.head.apply(params.head, modules.encoder.apply(params.encoder, views))
        return nt_xent(seen[: len(images)], seen[len(images) :], rates.temperature)

    value, gradient = jax.value_and_grad(loss)(state.params)
    rate = rates.learning_rate * 0.5 * (1.0 + jnp.cos(jnp.pi * state.step / rates.n_steps))
    updates, opt_state = optax.adam(rate).update(gradient, state.opt_state, state.params)
    return ContrastiveState(optax.apply_updates(state.params, updates), opt_state, state.step + 1), value


@partial(jax.jit, static_argnames=("modules", "batch_size"), donate_argnums=0)
def _advance(
    state: ContrastiveState,
    mean_loss: float | Array,
    n_steps: int | Array,
    key: Key[Array, ""],
    images: Float[Array, "n h w c"],
    modules: Networks,
    rates: Rates,
    batch_size: int,
) -> Advanced:
    """Return the state after at most a chunk of steps, each on its own batch."""

    def step(state: ContrastiveState) -> tuple[ContrastiveState, Values]:
        key_rows, key_views = jax.random.split(jax.random.fold_in(key, state.step))
        rows = jax.random.permutation(key_rows, len(images))[:batch_size]
        state, loss = contrastive_step(state, key_views, images[rows], modules, rates)
        return state, {"loss": loss}

    return run_chunk(step, state, mean_loss, n_steps, tolerance=0.0)


@lru_cache  # the same object for the same images, so that learning again compiles nothing
def _default_encoder(image_shape: tuple[int, ...], latent_dim: int) -> Module:
    n_halvings = max(1, (-(-max(image_shape[:2]) // MIN_SIDE) - 1).bit_length())
    widths = tuple(WIDTHS[min(i, len(WIDTHS) - 1)] for i in range(n_halvings))
    return convolutional(widths, latent_dim)


def _check(images: Array, deviation: float, *, steps: int, batch_size: int, rates: tuple[float, ...]) -> None:
    if len(images) < 2 or not (np.isfinite(deviation) and deviation > 0):
        raise InputError(
            f"{len(images)} images with a standard deviation of {deviation:g} cannot be told apart: give two "
            "or more, finite and not all of one colour"
        )
    if steps < 1 or batch_size < 2:
        raise InputError(f"steps={steps}, batch_size={batch_size}: at least 1 step of 2 images is needed")
    if not all(np.isfinite(rate) and rate > 0 for rate in rates):
        raise InputError(f"temperature, learning_rate = {rates}: both must be finite and above 0")
