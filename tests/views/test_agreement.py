"""The network that makes views agree: its losses against plain sums, its folding, and what training does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.views import agreement
from dual_jax.views.agreement import (
    NETWORK,
    balanced_assignment,
    folded,
    init_agreement,
    learn_agreement,
    normalised_codes,
    nt_xent,
    swapped_loss,
)
from dual_jax.views.directions import at_unit_length

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 5, 3)).astype(np.float32)
SAMPLES = RNG.normal(size=(40, 1, 6))
VIEWS = jnp.asarray(SAMPLES + 0.3 * RNG.normal(size=(40, 3, 6)), jnp.float32)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_nt_xent_is_that_of_the_formula():
    z, t = unit(np.concatenate([FIRST, SECOND]).astype(np.float64)), 0.3

    terms = []
    for i in range(10):
        others = [np.exp(z[i] @ z[j] / t) for j in range(10) if j != i]
        terms.append(-np.log(np.exp(z[i] @ z[(i + 5) % 10] / t) / sum(others)))

    np.testing.assert_allclose(nt_xent(FIRST, SECOND, t), np.mean(terms), rtol=1e-5)


def test_the_swapped_loss_is_that_of_the_formula():
    prototypes = RNG.normal(size=(4, 3)).astype(np.float32)
    scores = [unit(z.astype(np.float64)) @ unit(prototypes).T for z in (FIRST, SECOND)]

    def share(s):
        q = np.exp(s / 0.05)
        for _ in range(3):
            q = q / q.sum(axis=0)
            q = q / q.sum(axis=1, keepdims=True)
        return q

    def log_softmax(s):
        return s / 0.1 - np.log(np.exp(s / 0.1).sum(axis=1, keepdims=True))

    both = share(scores[0]) * log_softmax(scores[1]) + share(scores[1]) * log_softmax(scores[0])
    found = swapped_loss(at_unit_length(jnp.asarray(FIRST)), at_unit_length(jnp.asarray(SECOND)), prototypes)
    np.testing.assert_allclose(found, -0.5 * both.sum(axis=1).mean(), rtol=1e-4)


def test_an_assignment_shares_out_rows_and_balances_columns():
    shares = balanced_assignment(jnp.asarray(RNG.uniform(-0.1, 0.1, (60, 3)), jnp.float32))

    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.02)  # three rounds


@pytest.mark.parametrize("loss", [nt_xent, swapped_loss])
def test_a_row_of_zeros_has_a_loss_and_a_gradient(loss):
    views = jnp.zeros((2, 3)).at[0, 0].set(1.0)
    last = 0.5 if loss is nt_xent else jnp.eye(3)

    value, gradient = jax.value_and_grad(loss)(views, views, last)

    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_the_folded_network_does_what_the_layers_did():
    rows = VIEWS.reshape(-1, 6)
    layers = init_agreement(KEY, 6, 0).params.layers

    codes = at_unit_length(NETWORK.apply(folded(layers, rows), rows))

    np.testing.assert_allclose(codes, normalised_codes(layers, rows), atol=1e-5)


@pytest.mark.parametrize("n_prototypes", [0, 5])
def test_views_of_one_sample_come_nearer_than_others(n_prototypes):
    network, losses = learn_agreement(KEY, VIEWS, n_prototypes=n_prototypes, steps=60, batch_size=16)

    codes = at_unit_length(NETWORK.apply(network, VIEWS.reshape(-1, 6))).reshape(40, 3, -1)
    own = jnp.sum(codes[:, 0] * codes[:, 1], axis=1).mean()
    other = jnp.sum(codes[:, 0] * jnp.roll(codes[:, 1], 1, axis=0), axis=1).mean()
    assert float(own) > float(other) + 0.3
    assert len(losses) == 60
    assert losses[-10:].mean() < losses[:10].mean()


def test_learning_again_compiles_nothing_and_callbacks_are_told():
    chunks = []
    learn_agreement(KEY, VIEWS, n_prototypes=0, steps=60, batch_size=16, callbacks=[chunks.append])
    n_compiled = agreement._advance._cache_size()

    learn_agreement(jax.random.key(1), VIEWS + 1, n_prototypes=0, steps=7, batch_size=16, temperature=0.2)

    assert agreement._advance._cache_size() == n_compiled
    assert [(chunk.stage, chunk.step, len(chunk.terms["loss"])) for chunk in chunks] == [
        ("agree", 50, 50),
        ("agree", 60, 10),
    ]


def test_a_loss_that_is_not_finite_stops_it_and_names_the_step():
    with pytest.raises(ValueError, match="loss is nan at step 0 of the agree stage"):
        learn_agreement(KEY, VIEWS.at[:].set(jnp.nan), n_prototypes=0, steps=1, batch_size=16)
