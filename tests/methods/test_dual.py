"""DUAL as a method: the same code as the core, in one compiled program."""

import jax
import numpy as np
import pytest

from dual_jax.config import DualConfig
from dual_jax.fitting import fit, rank
from dual_jax.methods.dual import dual, dual_paper, dual_wo

KEY, N, K = jax.random.key(3), 24, 7
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
SHORT = {"pretrain_steps": 20, "steps": 5}  # in more, Adam blows up the rounding in which two programs differ


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "config"),
    [(dual, DualConfig(**SHORT, tolerance=0.0)), (dual_paper, DualConfig.paper(**SHORT))],
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
