"""DUAL as a method: the same stages as the core, also inside another program."""

import jax
import numpy as np
import pytest

from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import fit, train
from dual_jax.dual.ranking import rank
from dual_jax.dual.trained import learnt_space
from dual_jax.methods import METHODS
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import greedy

dual = METHODS["dual"]
dual_paper = METHODS["dual_paper"]
dual_wo = METHODS["dual_wo"]
KEY, N, K = jax.random.key(3), 24, 7
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
SHORT = {"pretrain_steps": 20, "steps": 5}  # in more, Adam blows up the rounding in which two programs differ


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "config"),
    [(dual, DualConfig(**SHORT)), (dual_paper, DualConfig.paper(**SHORT))],
)
def test_the_picks_are_those_of_the_core(method, config):
    fitted = fit(KEY, X, config)
    picks = method(KEY, X, K, **SHORT)
    assert picks.indices.tolist() == rank(fitted.state, X, config, K).indices.tolist()


@pytest.mark.slow
def test_without_the_cluster_branch_it_is_dual_with_a_weight_of_zero():
    plain, ablated = dual(KEY, X, K, beta=0.0, **SHORT), dual_wo(KEY, X, K, **SHORT)
    assert ablated.indices.tolist() == plain.indices.tolist()


@pytest.mark.slow
def test_the_refined_read_out_is_a_choice():
    indices = dual(KEY, X, K, readout="refine", **SHORT).indices
    assert len(set(indices.tolist())) == K


@pytest.mark.slow
@pytest.mark.parametrize("steps", [{"steps": 0}, {"pretrain_steps": 0}])
def test_a_stage_of_no_steps_is_left_out(steps):
    knobs = SHORT | steps
    picks = METHODS["dual"](KEY, X, K, **knobs)
    fitted = fit(KEY, X, DualConfig(**knobs))
    assert picks.indices.tolist() == fitted.ranking.indices[:K].tolist()
    again = jax.jit(lambda x: METHODS["dual"](KEY, x, K, **knobs).indices)(X)
    assert again.tolist() == picks.indices.tolist()


def test_the_power_of_the_distance_is_that_of_the_read_out():
    config = DualConfig(pretrain_steps=20, steps=0)
    state, _ = train(KEY, X, config)
    cover = greedy(build_cover(learnt_space(state, X, config), power_cost(2.0)), K, pair_first=True)
    picks = METHODS["dual"](KEY, X, K, power=2.0, pretrain_steps=20, steps=0)
    assert picks.indices.tolist() == cover.indices.tolist()
    assert picks.indices.tolist() != METHODS["dual"](KEY, X, K, pretrain_steps=20, steps=0).indices.tolist()
