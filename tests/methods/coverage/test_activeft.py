"""ActiveFT: its gradient against float64 differences, and what its optimum looks like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.coverage.activeft import _best_labeled, _loss

activeft = METHODS["activeft"]
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ANGLES = np.concatenate([c + 0.1 * RNG.normal(size=8) for c in (0.0, 2.1, 4.2)])
GROUPS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
TEMPERATURE, BALANCE = 0.2, 0.7


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_loss(centers, fixed, f, labeled):
    """The objective with the detached side given on its own; rows that a label serves best do not count."""
    total = 0.0
    for row in f:
        k = int(np.argmax(centers @ row))
        if labeled.any() and (f[labeled] @ row).max() >= centers[k] @ row:
            continue
        positive = np.exp(row @ centers[k] / TEMPERATURE)
        crowd = np.concatenate([fixed, f[labeled]])
        total -= np.log(positive / (positive + BALANCE * np.exp(crowd @ centers[k] / TEMPERATURE).sum()))
    return total / len(f)


def slow_gradient(centers, f, labeled, step=1e-6):
    gradient = np.zeros_like(centers)
    for at in np.ndindex(centers.shape):
        change = np.zeros_like(centers)
        change[at] = step
        up, down = (slow_loss(centers + s * change, centers, f, labeled) for s in (1, -1))
        gradient[at] = (up - down) / (2 * step)
    return gradient


def test_each_of_three_directions_gets_one_pick():
    indices = np.asarray(activeft(KEY, GROUPS, 3, learning_rate=0.05).indices)

    assert sorted(indices // 8) == [0, 1, 2]


def test_the_loss_and_its_gradient_are_those_of_the_formula():
    f, centers = unit(RNG.normal(size=(12, 3))), unit(RNG.normal(size=(4, 3)))
    labeled = np.isin(np.arange(12), [0, 7])
    small = [jnp.asarray(a, jnp.float32) for a in (centers, f)]
    rivals = jax.jit(_best_labeled)(small[1], jnp.asarray(labeled))

    loss, gradient = jax.jit(jax.value_and_grad(_loss))(
        small[0], small[1], jnp.asarray(labeled), rivals, TEMPERATURE, BALANCE
    )

    assert abs(loss - slow_loss(centers, centers, f, labeled)) < 1e-5  # float32
    np.testing.assert_allclose(gradient, slow_gradient(centers, f, labeled), atol=1e-5)  # float32


@pytest.mark.slow
def test_the_directions_of_labelled_rows_are_left_to_them():
    labeled = np.isin(np.arange(24), [0, 1, 2, 3, 4, 5, 6])

    indices = np.asarray(activeft(KEY, GROUPS, 2, labeled=labeled, learning_rate=0.05).indices)

    assert sorted(indices // 8) == [1, 2]


@pytest.mark.slow
def test_lengths_do_not_matter():
    lengths = np.random.default_rng(1).uniform(0.5, 2.0, size=(24, 1)).astype(np.float32)

    here, there = (activeft(KEY, x, 3, learning_rate=0.05) for x in (GROUPS, GROUPS * lengths))

    np.testing.assert_allclose(here.scores, there.scores, atol=1e-6)  # shares of 24 rows
