"""The picks are the same whatever the caller has set in JAX: 64-bit types, strict promotion, NaN checks."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.numerics.precision import float32_types

X = np.random.default_rng(0).normal(size=(24, 4))
SHORT = {"max_iter": 10, "pretrain_iter": 50}
CONFIG = dj.DualConfig.paper(pretrain_steps=10, steps=10, latent_dim=3, hidden=(6,))
SETTINGS = {
    "64-bit types": ("jax_enable_x64", True),
    "strict promotion": ("jax_numpy_dtype_promotion", "strict"),
    "NaN checks": ("jax_debug_nans", True),
}


@contextlib.contextmanager
def jax_setting(name, value):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


def by_estimator():
    return dj.DUALSelector(4, **SHORT).fit(X).sample_indices_.tolist()


def by_methods():
    names = ("ted", "facility", "kmeans", "maed", "cted", "smrs", "rrss", "medoids")
    return {name: dj.METHODS[name](jax.random.key(0), X, 4).indices.tolist() for name in names}


def by_steps():
    """The steps in the caller's own jit, on the caller's own arrays."""
    x = jnp.asarray(X)
    state = dj.init(jax.random.key(1), x, CONFIG)
    for _ in range(3):
        state, _ = jax.jit(lambda state: dj.pretrain_step(state, x, CONFIG))(state)
    state = dj.start_selection(jax.random.key(2), state, x, CONFIG)
    for _ in range(3):
        state, _ = jax.jit(lambda state: dj.train_step(state, x, CONFIG))(state)
    return dj.rank(state, x, CONFIG, 4).indices.tolist()


DOORS = (by_estimator, by_methods, by_steps)


@pytest.fixture(scope="module")
def usual():
    return {door: door() for door in DOORS}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("door", DOORS)
def test_the_picks_do_not_depend_on_a_setting_of_jax(usual, door, setting):
    with jax_setting(*SETTINGS[setting]):
        assert door() == usual[door]


def test_a_raw_key_serves_as_a_new_style_key_does(usual):
    raw, new = jax.random.PRNGKey(3), jax.random.key(3)
    x = np.float32(X)
    assert dj.fit(raw, x, CONFIG).ranking.indices.tolist() == dj.fit(new, x, CONFIG).ranking.indices.tolist()


def test_the_callers_setting_is_as_it_was_afterwards():
    with jax_setting("jax_numpy_dtype_promotion", "strict"), float32_types():
        pass
    assert jax.config.jax_numpy_dtype_promotion == "standard"
