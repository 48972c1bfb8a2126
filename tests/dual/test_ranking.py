"""From a trained state to a ranking, on one device or on several."""

import dataclasses

import jax
import numpy as np
import pytest

from dual_jax.devices.mesh import make_mesh
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import fit, train
from dual_jax.dual.ranking import rank
from dual_jax.dual.trained import learnt_space
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import coverage

N = 31
X = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
CONFIG = DualConfig(hidden=(9, 7), latent_dim=4, pretrain_steps=60, steps=20, n_exact=8)
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def state():
    return train(KEY, X, CONFIG)[0]


def test_the_first_picks_of_a_full_ranking_are_those_of_any_smaller_budget(state):
    whole = rank(state, X, CONFIG)
    assert sorted(whole.indices.tolist()) == list(range(N))
    assert whole.indices[:5].tolist() == rank(state, X, CONFIG, 5).indices.tolist()


def test_padding_of_any_content_is_never_picked_and_changes_no_pick(state):
    fixed = state.fixed
    padded = fixed._replace(
        **{name: np.pad(getattr(fixed, name), (0, 2)) for name in ("is_labeled", "is_candidate")}
    )
    padded = state._replace(fixed=padded._replace(targets=np.pad(fixed.targets, (0, 2), constant_values=-1)))
    rows = np.pad(X, [(0, 2), (0, 0)], constant_values=1e3)
    picks = rank(padded, rows, CONFIG, 9, is_row=np.arange(N + 2) < N)
    assert picks.indices.tolist() == rank(state, X, CONFIG, 9).indices.tolist()


@pytest.mark.slow
def test_the_norms_of_a_state_on_a_mesh_rank_as_on_one_device():
    config = DualConfig.paper(hidden=(9, 7), latent_dim=4, pretrain_steps=10, steps=10, block_rows=16)
    one = fit(KEY, X, config)
    two = fit(KEY, X, config, mesh=make_mesh(jax.devices()[:2]))
    assert one.n_exact == N
    np.testing.assert_allclose(two.ranking.scores, one.ranking.scores, atol=1e-3)  # Adam amplifies rounding
    assert two.ranking.indices[:5].tolist() == one.ranking.indices[:5].tolist()


def test_more_picks_than_candidates_are_refused(state):
    with pytest.raises(ValueError, match="n_select=40 exceeds the 31 candidates"):
        rank(state, X, CONFIG, 40)


@pytest.mark.slow
def test_refined_picks_cover_the_pool_at_least_as_well_as_the_greedy_ones(state):
    config = dataclasses.replace(CONFIG, readout="refine")
    cover = build_cover(learnt_space(state, X, config), power_cost(0.5))
    refined, greedy = (rank(state, X, c, 5).indices for c in (config, CONFIG))
    of = [float(coverage(cover, indices)[-1]) for indices in (refined, greedy)]
    assert of[0] <= of[1] * (1 + 1e-6)
