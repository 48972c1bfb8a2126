"""Our own kernels do what the plain step does: here they are interpreted, on a CPU."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dual_jax.devices.mesh import make_mesh, shard_rows
from dual_jax.dual import trial
from dual_jax.dual.config import DualConfig
from dual_jax.dual.sizes import PLAIN, Sizes
from dual_jax.dual.stages import Rows, advance, begin_selection
from dual_jax.dual.steps import init, start_selection, train_step
from dual_jax.dual.trained import coefficients
from dual_jax.dual.trial import tried

SMALL = {"hidden": (9, 7), "latent_dim": 5, "n_clusters": 5}  # 5 codes: widths are padded to 8
SLOW = pytest.mark.slow
SIMPLEX, FREE = DualConfig(**SMALL), DualConfig.paper(**SMALL)
N, D, N_STEPS = 590, 6, 20  # several tiles of targets and of places; neither number fills its last one
KEY, X = jax.random.key(1), np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
ROW = jnp.arange(N)
IS_ROW = ROW < N - 3
MASKS = {"labeled": ROW % 7 == 0, "candidates": ROW % 9 > 0, "is_row": IS_ROW}


def start(config):
    sizes = config.sizes(N, platform="tpu")
    return start_selection(KEY, init(KEY, X, config), jnp.asarray(X), config, sizes=sizes, **MASKS)


def after_steps(config, kernel):
    state, all_terms = start(config), []
    for _ in range(N_STEPS):
        state, terms = train_step(state, X, config, is_row=IS_ROW, kernel=kernel)
        all_terms.append(terms)
    return state, jax.tree.map(lambda *of_step: np.array(of_step), *all_terms)


@pytest.mark.parametrize(
    ("config", "block_rows"),
    [(FREE, None), *(pytest.param(*of, marks=SLOW) for of in ((SIMPLEX, None), (SIMPLEX, 300), (FREE, 300)))],
    ids=["free-one block", "simplex-one block", "simplex-two blocks", "free-two blocks"],
)
def test_a_kernel_gives_the_numbers_of_the_plain_step(config, block_rows):
    config = dataclasses.replace(config, block_rows=block_rows)
    (plain, plain_terms), (own, own_terms) = (after_steps(config, kernel) for kernel in (PLAIN, "tpu"))
    assert [c.shape for c in own.params.C] == [c.shape for c in plain.params.C]
    assert own.params.C[0].shape[1] == 640  # five tiles of places, or one and a quarter
    assert (own.sums is None) == (config.objective == "simplex")
    np.testing.assert_allclose(own_terms, plain_terms, rtol=2e-6, atol=1e-9)
    # Adam divides a gradient by its size, which amplifies the rounding of those that are almost 0. Two plain
    # steps that add in another order differ as much: with two blocks for one by 3e-6, in 4 numbers of B.
    for expected, found in zip(*map(jax.tree.leaves, (plain, own)), strict=True):
        apart = np.abs(np.asarray(found, np.float64) - expected) / max(1.0, np.abs(expected).max(initial=0.0))
        assert np.mean(apart > 1e-6) <= 1e-4
        assert apart.max(initial=0.0) <= 1e-5
    if block_rows is None:
        apart = np.abs(coefficients(own, X, config).C - coefficients(plain, X, config).C)
        assert np.mean(apart > 1e-6) <= 1e-5
        assert apart.max() <= 1e-5


@pytest.mark.parametrize("config", [pytest.param(SIMPLEX, marks=SLOW), FREE], ids=["simplex", "free"])
def test_what_is_not_free_stays_exactly_0_under_a_kernel(config):
    state, _ = after_steps(config, "tpu")
    places, (c,), (adam, *_) = np.asarray(state.fixed.dictionary), state.params.C, state.opt_state.C[0]
    own = np.flatnonzero(places >= 0)
    for block in (c, adam.mu, adam.nu):
        block = np.asarray(block)
        assert np.isfinite(block).all()
        assert not block[:, places < 0].any()
        assert not block[~np.asarray(IS_ROW)].any()
        assert not block[places[own], own].any()
    assert np.asarray(c)[:300, own].any(axis=1).all()


@SLOW
def test_a_kernel_runs_under_vmap():
    rates = jnp.array([1e-3, 1e-2])

    def loss(rate, kernel):
        config = dataclasses.replace(FREE, learning_rate=rate)
        state, _ = train_step(start(config), X, config, is_row=IS_ROW, kernel=kernel)
        return train_step(state, X, config, is_row=IS_ROW, kernel=kernel)[1].self_expression

    plain, own = (jax.jit(jax.vmap(partial(loss, kernel=kernel)))(rates) for kernel in (PLAIN, "tpu"))
    np.testing.assert_allclose(own, plain, rtol=1e-6)


@SLOW
@pytest.mark.parametrize("config", [SIMPLEX, FREE], ids=["simplex", "free"])
def test_devices_that_share_the_targets_use_kernels_too(config):
    n, mesh = 592, make_mesh(jax.devices("cpu")[:2])
    x, is_row = jnp.pad(X, ((0, n - N), (0, 0))), jnp.pad(IS_ROW, (0, n - N))
    rows, mask = Rows(*(shard_rows(a, mesh) for a in (x, is_row))), shard_rows(jnp.arange(n) % 7 == 0, mesh)
    sizes = config.sizes(n, n_devices=2, platform="tpu")

    def losses(kernel):
        own = sizes._replace(kernel=kernel)
        state = begin_selection(KEY, init(KEY, x, config), rows, config, mask, ~mask, own, mesh)
        return np.asarray(advance(state, jnp.inf, 5, rows, config, "train", mesh, own).values["loss"][:5])

    np.testing.assert_allclose(losses("tpu"), losses(PLAIN), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "n", "platform", "kernel"),
    [
        ({}, 4000, "tpu", "tpu"),
        ({"kernel": "plain"}, 4000, "tpu", PLAIN),
        ({}, 4000, "cpu", PLAIN),
        ({}, 4000, "gpu", PLAIN),
        ({}, 1000, "tpu", PLAIN),  # fits the chip's own memory
        ({"coefficient_optimizer": optax.sgd}, 4000, "tpu", PLAIN),
        ({"moments_dtype": "bfloat16"}, 4000, "tpu", PLAIN),
        ({"latent_dim": 200}, 4000, "tpu", PLAIN),
        ({"objective": "free"}, 4000, "tpu", PLAIN),  # blocks stay on the chip
        ({"objective": "free", "dictionary_size": 12_000}, 12_000, "tpu", "tpu"),
        ({"dictionary_size": 90_000}, 90_000, "tpu", PLAIN),  # a row of so many places is too long
    ],
)
def test_where_a_kernel_is_used(change, n, platform, kernel):
    assert DualConfig(**change).sizes(n, platform=platform).kernel == kernel


class Chip:
    """A device of another kind."""

    def __init__(self, kind):
        self.device_kind, self.platform = kind, "tpu"


@pytest.mark.parametrize(
    ("objective", "kind", "kernel"),
    [
        ("simplex", "TPU v5 lite", "tpu"),
        ("simplex", "TPU v4", PLAIN),
        ("free", "TPU v4", "tpu"),
        ("free", "TPU v9", PLAIN),
    ],
)
def test_a_kernel_is_used_on_kinds_of_tpus_whose_compiler_was_asked(monkeypatch, objective, kind, kernel):
    monkeypatch.setattr(jax, "devices", lambda: [Chip(kind)])
    monkeypatch.setattr(trial, "trial", lambda *_: 0.0)
    sizes = Sizes(9, 9, 2, 9, 1, kernel="tpu")
    assert tried(sizes, DualConfig(objective=objective), None).kernel == kernel


@pytest.mark.parametrize(
    ("result", "reason"), [(0.5, "differ there by 5.0e-01"), (RuntimeError("no"), "RuntimeError: no")]
)
def test_a_device_on_which_a_kernel_fails_takes_the_plain_step_with_a_warning(monkeypatch, result, reason):
    def run(*_):
        if isinstance(result, Exception):
            raise result
        return result

    trial._objection.cache_clear()
    monkeypatch.setattr(jax, "devices", lambda: [jax.local_devices()[0]])
    monkeypatch.setattr(trial, "kind_of", lambda _: "v5e")
    monkeypatch.setattr(trial, "trial", run)
    config = DualConfig(dictionary_size=20_000)
    with pytest.warns(UserWarning, match=reason):
        sizes = tried(config.sizes(20_000, platform="tpu"), config, None)
    assert sizes == dataclasses.replace(config, kernel="plain").sizes(20_000, platform="tpu")
    trial._objection.cache_clear()


@SLOW
@pytest.mark.parametrize("objective", ["simplex", pytest.param("free", marks=pytest.mark.slow)])
def test_the_trial_finds_no_difference_where_there_is_none(objective):
    assert trial.trial(objective, "tpu") < 1e-5
