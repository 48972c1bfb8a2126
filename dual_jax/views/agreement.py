"""A dense network whose codes of two views of one sample agree, and those of other samples do not."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from dual_jax.dual.loop import CHUNK, Chunk, stop_unless_finite
from dual_jax.dual.network import Module, dense
from dual_jax.numerics.arithmetic import matmul
from dual_jax.views.directions import at_unit_length

WIDTHS = (256, 256, 64)  # of the layers; the last is the code
NETWORK: Module = dense(WIDTHS)  # what is left after training: see `folded`
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 2e-3, 1e-3, 30  # steps of warming up
NOISE = 0.1  # standard deviation, for inputs of mean variance 1
SHARPNESS, ROUNDS, SCORE_TEMPERATURE = 0.05, 3, 0.1  # of the balanced assignment, and of the scores
VARIANCE_FLOOR = 1e-5  # in the normalisation of a layer
FOLDED_ROWS = 8192  # at most, for the statistics of the folded network


class Layer(NamedTuple):
    """Parameters of a dense layer; ``gain`` and ``shift`` follow the normalisation over the batch."""

    kernel: Float[Array, "i o"]
    bias: Float[Array, " o"]
    gain: Float[Array, " o"]
    shift: Float[Array, " o"]


class AgreementParams(NamedTuple):
    """What is trained; ``prototypes`` (K, code) has no rows for `nt_xent`."""

    layers: tuple[Layer, ...]
    prototypes: Float[Array, "k p"]


class AgreementState(NamedTuple):
    """What a step needs and returns."""

    params: AgreementParams
    opt_state: Any
    step: Int[Array, ""]


class Schedule(NamedTuple):
    """Numbers that may vary without compiling again; the temperature is that of `nt_xent`."""

    n_steps: float | Array
    temperature: float | Array
    learning_rate: float | Array = LEARNING_RATE


def learn_agreement(
    key: Key[Array, ""],
    views: Float[Array, "n v d"],
    *,
    n_prototypes: int,
    steps: int,
    batch_size: int,
    temperature: float = 0.5,
    callbacks: Iterable[Callable[[Chunk], None]] = (),
) -> tuple[PyTree, Float[np.ndarray, " steps"]]:
    """Return parameters of `NETWORK`, trained so that views of one sample have near codes, and the losses.

    A step draws distinct samples and two views of each, and takes a step of AdamW down `swapped_loss`
    (``n_prototypes > 0``) or `nt_xent` (0). The learning rate rises over 30 steps and falls to 0 by half a
    cosine. While it trains, the hidden layers normalise over the batch (Ioffe and Szegedy, ICML 2015);
    afterwards the statistics of the views are folded into the weights, so what is returned is a plain dense
    network that treats each row by itself.

    Parameters
    ----------
    views
        (samples, views of each, columns), of mean 0 and mean variance 1; at least 2 views.
    callbacks
        Called with a `dual_jax.dual.loop.Chunk` of stage "agree" after every 50 steps.

    Raises
    ------
    ValueError
        The loss became infinite or NaN.
    """
    key_init, key_steps = jax.random.split(key)
    batch_size = min(batch_size, len(views))
    state, losses = init_agreement(key_init, views.shape[2], n_prototypes), np.zeros(0, np.float32)
    schedule = Schedule(float(steps), temperature)
    for done in range(0, steps, CHUNK):
        n_now = min(CHUNK, steps - done)
        state, chunk = _advance(state, key_steps, views, schedule, n_now, batch_size)
        values = {"loss": np.asarray(chunk)[:n_now]}
        stop_unless_finite("agree", done, values)
        losses = np.append(losses, values["loss"])
        for callback in callbacks:
            callback(Chunk("agree", done + n_now, steps, values))
    rows = views.reshape(-1, views.shape[2])
    return folded(state.params.layers, rows[:: -(-len(rows) // FOLDED_ROWS)]), losses


def init_agreement(key: Key[Array, ""], n_inputs: int, n_prototypes: int) -> AgreementState:
    """Return a fresh network and prototypes, and their optimiser."""
    *keys, key_prototypes = jax.random.split(key, len(WIDTHS) + 1)
    layers = []
    for key_layer, fan_in, fan_out in zip(keys, (n_inputs, *WIDTHS), WIDTHS, strict=False):
        kernel = jax.random.uniform(key_layer, (fan_in, fan_out), minval=-1.0) * fan_in**-0.5
        layers.append(Layer(kernel, jnp.zeros(fan_out), jnp.ones(fan_out), jnp.zeros(fan_out)))
    prototypes = jax.random.normal(key_prototypes, (n_prototypes, WIDTHS[-1]))
    params = AgreementParams(tuple(layers), prototypes)
    return AgreementState(params, _optimizer(0.0).init(params), jnp.zeros((), jnp.int32))


def _optimizer(rate: Any) -> optax.GradientTransformation:
    return optax.adamw(rate, weight_decay=WEIGHT_DECAY)


def normalised_codes(layers: tuple[Layer, ...], x: Float[Array, "b d"]) -> Float[Array, "b p"]:
    """Return codes at unit length, the hidden layers normalised over the rows."""
    for layer in layers[:-1]:
        x = matmul(x, layer.kernel)
        x = (x - jnp.mean(x, axis=0)) * jax.lax.rsqrt(jnp.var(x, axis=0) + VARIANCE_FLOOR)
        x = jax.nn.relu(x * layer.gain + layer.shift)
    return at_unit_length(matmul(x, layers[-1].kernel) + layers[-1].bias)


def swapped_loss(
    first: Float[Array, "b p"], second: Float[Array, "b p"], prototypes: Float[Array, "k p"]
) -> Float[Array, ""]:
    """Return the loss of predicting each view's balanced assignment from the other view.

    With s = z W^T the scores of codes for the prototypes, both at unit length, q(s) their balanced
    assignment (`balanced_assignment`) and p(s) their softmax at temperature 0.1,

        -1/2 mean_i sum_k ( q(s_1)_ik log p(s_2)_ik + q(s_2)_ik log p(s_1)_ik );

    q gets no gradient. Source: SwAV, Caron et al., NeurIPS 2020, Eqs. (1) and (2).
    """
    directions = at_unit_length(prototypes).T
    scores = [matmul(codes, directions) for codes in (first, second)]
    targets = [jax.lax.stop_gradient(balanced_assignment(s)) for s in scores]
    logs = [jax.nn.log_softmax(s / SCORE_TEMPERATURE) for s in scores]
    first_part, second_part = (jnp.sum(q * p, axis=1) for q, p in zip(targets, logs[::-1], strict=True))
    return -0.5 * jnp.mean(first_part + second_part)


def balanced_assignment(scores: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """Return shares of each row in the columns that sum to 1, all columns being chosen about equally.

    Three rounds of Sinkhorn's iteration on exp(scores / 0.05). Source: Caron et al., NeurIPS 2020, Eq. (5).
    """
    shares = jnp.exp((scores - jnp.max(scores)) / SHARPNESS)
    for _ in range(ROUNDS):
        shares = shares / (jnp.sum(shares, axis=0, keepdims=True) + jnp.finfo(jnp.float32).tiny)
        shares = shares / (jnp.sum(shares, axis=1, keepdims=True) + jnp.finfo(jnp.float32).tiny)
    return shares


def nt_xent(
    first: Float[Array, "b p"], second: Float[Array, "b p"], temperature: float | Array
) -> Float[Array, ""]:
    """Return the normalised temperature-scaled cross entropy of pairs of views.

    With z the 2b rows at length 1 and i* the other view of i,

        mean_i  -log( exp(z_i . z_i* / t) / sum_{j != i} exp(z_i . z_j / t) ).

    Source: SimCLR, Chen et al., ICML 2020, Eq. (1).

    Examples
    --------
    >>> views = jnp.eye(2)
    >>> round(float(nt_xent(views, views, 1.0)), 4)
    0.5514
    """
    z = at_unit_length(jnp.concatenate([first, second]))
    n = len(z)
    logits = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, matmul(z, z.T) / temperature)
    other = (jnp.arange(n) + n // 2) % n
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, other))


@partial(jax.jit, donate_argnums=0)
def agreement_step(
    state: AgreementState,
    key: Key[Array, ""],
    first: Float[Array, "b d"],
    second: Float[Array, "b d"],
    schedule: Schedule,
) -> tuple[AgreementState, Float[Array, ""]]:
    """Return the state after a step of AdamW on two views of a batch, and its loss before the step."""
    n = len(first)
    inputs = jnp.concatenate([first, second])
    inputs += NOISE * jax.random.normal(key, inputs.shape)

    def loss(params: AgreementParams) -> Array:
        codes = normalised_codes(params.layers, inputs)
        if len(params.prototypes):
            return swapped_loss(codes[:n], codes[n:], params.prototypes)
        return nt_xent(codes[:n], codes[n:], schedule.temperature)

    value, gradient = jax.value_and_grad(loss)(state.params)
    warming = jnp.minimum(1.0, (state.step + 1) / WARM_UP)
    rate = schedule.learning_rate * warming * 0.5 * (1.0 + jnp.cos(jnp.pi * state.step / schedule.n_steps))
    updates, opt_state = _optimizer(rate).update(gradient, state.opt_state, state.params)
    return AgreementState(optax.apply_updates(state.params, updates), opt_state, state.step + 1), value


@partial(jax.jit, static_argnames="batch_size", donate_argnums=0)
def _advance(
    state: AgreementState,
    key: Key[Array, ""],
    views: Float[Array, "n v d"],
    schedule: Schedule,
    n_steps: int | Array,
    batch_size: int,
) -> tuple[AgreementState, Float[Array, " chunk"]]:
    """Return the state after at most `CHUNK` steps, each on its own batch, and their losses."""
    n, n_views, _ = views.shape
    per_epoch = n // batch_size
    first_epoch = state.step // per_epoch
    key_order, key_views = jax.random.split(key)
    epochs = first_epoch + jnp.arange(-(-CHUNK // per_epoch) + 1)
    orders = jax.vmap(lambda epoch: jax.random.permutation(jax.random.fold_in(key_order, epoch), n))(epochs)

    def advance(i: Array, carry: Any) -> Any:
        state, losses = carry
        key_first, key_second, key_noise = jax.random.split(jax.random.fold_in(key_views, state.step), 3)
        epoch, place = state.step // per_epoch - first_epoch, state.step % per_epoch * batch_size
        rows = jax.lax.dynamic_slice(orders, (epoch, place), (1, batch_size))[0]
        first = jax.random.randint(key_first, (batch_size,), 0, n_views)
        second = (first + jax.random.randint(key_second, (batch_size,), 1, n_views)) % n_views
        state, loss = agreement_step(state, key_noise, views[rows, first], views[rows, second], schedule)
        return state, losses.at[i].set(loss)

    return jax.lax.fori_loop(0, n_steps, advance, (state, jnp.zeros(CHUNK)))


@jax.jit
def folded(layers: tuple[Layer, ...], rows: Float[Array, "n d"]) -> PyTree:
    """Return parameters of `NETWORK` that do what the layers do when they normalise over these rows."""
    params = {}
    for number, layer in enumerate(layers[:-1]):
        x = matmul(rows, layer.kernel)
        factor = layer.gain * jax.lax.rsqrt(jnp.var(x, axis=0) + VARIANCE_FLOOR)
        kernel, bias = layer.kernel * factor, layer.shift - jnp.mean(x, axis=0) * factor
        params[2 * number] = {"kernel": kernel, "bias": bias}
        rows = jax.nn.relu(matmul(rows, kernel) + bias)
    params[2 * len(layers) - 2] = {"kernel": layers[-1].kernel, "bias": layers[-1].bias}
    return {"layers": params}
