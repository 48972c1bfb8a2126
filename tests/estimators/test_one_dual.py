"""One DUAL: at the default settings every way to it picks the same rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler

import dual_jax as dj
from dual_jax.dual import grid

N_SELECT, SEED = 20, 0
X = StandardScaler().fit_transform(load_wine().data).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    """Return the core's fit."""
    return dj.fit(jax.random.key(SEED), X, dj.DualConfig())


def test_the_default_settings_stop_before_the_last_step(fitted):
    n_steps = {stage: len(terms["loss"]) for stage, terms in fitted.history.items()}
    assert n_steps["pretrain"] < dj.DualConfig().pretrain_steps


def by_dual_selector():
    return dj.DUALSelector(N_SELECT, scale="none", random_state=SEED).fit(X).sample_indices_


def by_selector():
    return dj.Selector("dual", N_SELECT, scale="none", random_state=SEED).fit(X).sample_indices_


def by_method():
    return dj.METHODS["dual"](jax.random.key(SEED), X, N_SELECT).indices


def by_reader():
    return dj.METHODS["dual"].reader(jax.random.key(SEED), X)(N_SELECT).indices


@pytest.mark.parametrize(
    "picks", [by_dual_selector, by_selector, by_method, by_reader], ids=lambda function: function.__name__
)
def test_every_door_gives_the_picks_of_the_core(picks, fitted):
    assert np.asarray(picks()).tolist() == fitted.ranking.indices[:N_SELECT].tolist()


def under_jit():
    return jax.jit(lambda key, x: dj.METHODS["dual"](key, x, N_SELECT).indices)(jax.random.key(SEED), X)


def by_grid():
    keys, pools, config = jax.random.key(SEED)[None], jnp.asarray(X)[None], dj.DualConfig()
    ((outcome,),) = grid.select(keys, grid.pretrain(keys, pools, config), pools, [config], N_SELECT)
    return outcome.picks


@pytest.mark.slow
@pytest.mark.parametrize("picks", [under_jit, by_grid], ids=lambda function: function.__name__)
def test_other_programs_give_the_picks_of_the_core_but_for_their_rounding(picks, fitted):
    # Adam grows the rounding of another program until a stage may stop a chunk earlier or later. Of four
    # seeds, 9 or 10 of a grid's first 10 picks are the core's; another seed shares 6 to 8. With few steps
    # `tests/dual/test_fitting.py` and `tests/dual/test_grid.py` compare all picks.
    assert len({*np.asarray(picks())[:10].tolist()} & {*fitted.ranking.indices[:10].tolist()}) >= 9
