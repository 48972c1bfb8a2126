"""A small neural network as the judge of picks: all sets of picks are trained in one program."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from dual_jax.dual.loop import Values, run_stage
from dual_jax.evaluation.judges import Score, Table, score

HIDDEN, STEPS, RATE, DECAY = 64, 200, 1e-2, 1e-3
AT_A_TIME = 32  # sets of picks


class _Weights(NamedTuple):
    """A hidden layer with ReLU, and a linear one."""

    inner: Float[Array, "d h"]
    inner_bias: Float[Array, " h"]
    outer: Float[Array, "h c"]
    outer_bias: Float[Array, " c"]


def perceptrons(picked: Sequence[Table], test: Table, n_classes: int, n_most: int) -> list[Score]:
    """Return the score of a network of one hidden layer for each set of picks.

    64 units, cross-entropy over the classes of all data, 200 full-batch steps of AdamW; all from one start.

    Parameters
    ----------
    picked
        Sets of picked rows, at most ``n_most`` in each.
    test, n_classes
        As for the judges of `dual_jax.evaluation.judges`.
    n_most
        Rows to which every set is padded: with the same number for a whole data set, one program serves all.

    Examples
    --------
    >>> rows = Table(np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, 1]))
    >>> [result.accuracy for result in perceptrons([rows], rows, 2, 4)]
    [1.0]
    """
    x = np.zeros((len(picked), n_most, test.x.shape[1]), np.float32)
    y = np.full((len(picked), n_most), -1, np.int32)
    for i, rows in enumerate(picked):
        x[i, : len(rows.y)], y[i, : len(rows.y)] = rows.x, rows.y
    logits = np.asarray(_logits(jax.random.key(0), x, y, np.float32(test.x), n_classes))
    return [score(found.argmax(axis=1), found, test.y) for found in logits]


@partial(jax.jit, static_argnames="n_classes")
def _logits(
    key: Key[Array, ""],
    x: Float[Array, "sets k d"],
    y: Int[Array, "sets k"],
    test: Float[Array, "n d"],
    n_classes: int,
) -> Float[Array, "sets n c"]:
    start = _start(key, x.shape[2], n_classes)
    optimizer = optax.adamw(RATE, weight_decay=DECAY)

    def loss(weights: _Weights, x: Array, y: Array) -> Array:
        of_row = optax.softmax_cross_entropy_with_integer_labels(_apply(weights, x), jnp.maximum(y, 0))
        return jnp.sum(of_row, where=y >= 0) / jnp.sum(y >= 0)

    def trained(rows: tuple[Array, Array]) -> Array:
        def step(state: tuple[_Weights, optax.OptState]) -> tuple[tuple[_Weights, optax.OptState], Values]:
            weights, kept = state
            value, gradient = jax.value_and_grad(loss)(weights, *rows)
            updates, kept = optimizer.update(gradient, kept, weights)
            return (optax.apply_updates(weights, updates), kept), {"loss": value}

        (weights, _), *_ = run_stage(step, (start, optimizer.init(start)), STEPS)
        return _apply(weights, test)

    return jax.lax.map(trained, (x, y), batch_size=min(AT_A_TIME, len(x)))


def _start(key: Key[Array, ""], d: int, n_classes: int) -> _Weights:
    inner, outer = jax.random.split(key)
    return _Weights(
        jax.random.normal(inner, (d, HIDDEN)) * (2.0 / d) ** 0.5,
        jnp.zeros(HIDDEN),
        jax.random.normal(outer, (HIDDEN, n_classes)) * HIDDEN**-0.5,
        jnp.zeros(n_classes),
    )


def _apply(weights: _Weights, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
    hidden = jax.nn.relu(x @ weights.inner + weights.inner_bias)
    return hidden @ weights.outer + weights.outer_bias
