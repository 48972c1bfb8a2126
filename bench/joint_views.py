"""A network and coefficients C trained together: C rebuilds views of samples from codes of the others.

The joint stage that `bench.selfexpression` tries, on pools of some hundred samples: C is full, and every step
takes all of them.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dual_jax.numerics.arithmetic import matmul, safe_sqrt, squared_distances, squared_norms
from dual_jax.views import agreement, encoder
from dual_jax.views.directions import project
from dual_jax.views.preparation import described, prepared, with_channel_axis
from dual_jax.views.random_views import CROP, ImageChanges, view_images, view_series

STEPS, N_VIEWS = 150, 8
GAMMA, TEMPERATURE, SHARPNESS, RATE = 0.1, 0.5, 10.0, 1e-3  # of the recommended objective
NEIGHBOURS = 10


class Rows(NamedTuple):
    """Principal local features: of the pool, of its views (n, v, d), and of the test set."""

    pool: jax.Array
    views: jax.Array
    test: jax.Array


def rows(learnt: encoder.Encoder, x: np.ndarray, test: np.ndarray, changes: ImageChanges) -> Rows:
    """Return what the maps of an encoder get, with new views of the pool."""
    preparation, maps = learnt.preparation, learnt.maps
    settings = preparation.settings

    def finish(samples: jax.Array) -> jax.Array:
        return project(maps.local, described(settings, preparation.power, samples) * maps.scale)

    own, other = (
        prepared(preparation, jnp.asarray(with_channel_axis(part, settings.kind))) for part in (x, test)
    )

    def view(key: jax.Array) -> jax.Array:
        if settings.kind == "series":
            return finish(view_series(key, own, int(own.shape[2] * CROP)))
        return finish(view_images(key, own, changes, preparation.ground if settings.is_plain else None))

    views = [view(key) for key in jax.random.split(jax.random.key(1), N_VIEWS)]
    return Rows(finish(own), jnp.stack(views, axis=1), finish(other))


def coefficients(raw: jax.Array, codes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return C, a target's coefficients in a row, and the mean squared distance to the ten nearest rows.

    The softmax of ``10 raw - d^2 / (2 tau s)`` over all rows but the target; the scale s has no gradient.
    """
    squared = jnp.where(jnp.eye(len(codes), dtype=bool), jnp.inf, squared_distances(codes, codes))
    scale = jax.lax.stop_gradient(-jnp.mean(jax.lax.top_k(-squared, NEIGHBOURS)[0]))
    return jax.nn.softmax(SHARPNESS * raw - squared / (2 * TEMPERATURE * scale)), scale


def expression(raw: jax.Array, codes: jax.Array, targets: list[jax.Array]) -> jax.Array:
    """Return the mean length of what C leaves of the targets, and gamma times the row norms of C."""
    c, scale = coefficients(raw, codes)
    left = [jnp.mean(safe_sqrt(squared_norms(target - matmul(c, codes)), 1e-8)) for target in targets]
    return sum(left) / len(left) + GAMMA * jnp.sqrt(scale) * jnp.sum(safe_sqrt(jnp.mean(c**2, axis=0), 1e-12))


@partial(jax.jit, static_argnames=("weight", "is_contrast"))
def train(
    key: jax.Array, start: Any, data: Rows, weight: float, is_contrast: bool
) -> tuple[agreement.AgreementParams, jax.Array]:
    """Return network and C after `STEPS` full steps of the anchor and ``weight`` times the expression."""
    n = len(data.pool)
    network, atoms = (
        optax.adamw(agreement.LEARNING_RATE, weight_decay=agreement.WEIGHT_DECAY),
        optax.adam(RATE),
    )

    def loss(params: Any, raw: jax.Array, inputs: jax.Array) -> jax.Array:
        first, second, own = jnp.split(agreement.normalised_codes(params.layers, inputs), 3)
        anchor = (
            agreement.nt_xent(first, second, 0.5)
            if is_contrast
            else agreement.swapped_loss(first, second, params.prototypes)
        )
        return anchor + weight * expression(raw, own, [first, second]) if weight else anchor

    def step(i: jax.Array, carry: Any) -> Any:
        params, raw, of_network, of_atoms = carry
        key_views, key_noise = jax.random.split(jax.random.fold_in(key, i))
        first = jax.random.randint(key_views, (n,), 0, N_VIEWS)
        pair = [data.views[jnp.arange(n), (first + by) % N_VIEWS] for by in (0, 1 + i % (N_VIEWS - 1))]
        inputs = jnp.concatenate([*pair, data.pool])
        inputs += agreement.NOISE * jax.random.normal(key_noise, inputs.shape)
        down = jax.grad(loss, argnums=(0, 1))(params, raw, inputs)
        for_network, of_network = network.update(down[0], of_network, params)
        for_atoms, of_atoms = atoms.update(down[1], of_atoms, raw)
        return optax.apply_updates(params, for_network), raw + for_atoms, of_network, of_atoms

    raw = jnp.zeros((n, n))
    return jax.lax.fori_loop(0, STEPS, step, (start, raw, network.init(start), atoms.init(raw)))[:2]


@jax.jit
def of_fixed(codes: jax.Array) -> jax.Array:
    """Return C that rebuilds codes which stay as they are."""
    optimiser = optax.adam(RATE)

    def step(_: jax.Array, carry: Any) -> Any:
        raw, state = carry
        updates, state = optimiser.update(jax.grad(expression)(raw, codes, [codes]), state)
        return raw + updates, state

    raw = jnp.zeros((len(codes), len(codes)))
    return coefficients(jax.lax.fori_loop(0, 2 * STEPS, step, (raw, optimiser.init(raw)))[0], codes)[0]
