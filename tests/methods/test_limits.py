"""Which limits each method keeps: the registry says so, the picks hold it, and the others are refused."""

import functools
import inspect
import itertools
import re

import jax
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import train
from dual_jax.dual.trained import learnt_space
from dual_jax.methods import METHODS
from dual_jax.methods.coverage.medoids import squashed
from dual_jax.methods.facts import COVERS
from dual_jax.numerics.kernels import median_distance
from dual_jax.selection.limits import NAMES, Limits

N, D, K = 24, 4, 7
KEY = jax.random.key(0)
POOL = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
LABELED = np.isin(np.arange(N), [2, 11, 17])
GROUPS = np.arange(N) % 5
COSTS = np.random.default_rng(1).uniform(1, 3, N).astype(np.float32)
SHORT = {"pretrain_steps": 20, "steps": 5}
EXAMPLE = {
    "until": {"until": 0.7},
    "min_distance": {"min_distance": 0.6},
    "per_group": {"groups": GROUPS, "per_group": 2},
    "weights": {"weights": np.ones(N)},
    "costs": {"costs": COSTS, "total_cost": 6.0},
}


def keeping(limit):
    """The methods that keep a limit; of those that share code one is run by default."""
    default = {"random", "dual", "facility", "medoids"}
    return [
        pytest.param(name, marks=() if name in default else pytest.mark.slow)
        for name, method in METHODS.items()
        if limit in method.facts.limits
    ]


def knobs(name):
    own = SHORT if "pretrain_steps" in inspect.signature(METHODS[name].select).parameters else {}
    return own | ({"radius": 1.5} if name == "probcover" else {})


def run(name, n_select=K, labeled=None, **asked):
    limits = Limits(**asked) if asked else None
    picks = METHODS[name](KEY, POOL, n_select, labeled=labeled, limits=limits, **knobs(name))
    assert np.isfinite(picks.scores).all()
    return picks.indices.tolist()


@functools.cache
def space(name, has_labels):
    """The rows in the space of a method."""
    if name in ("dual", "dual_wo", "dual_paper"):
        make = DualConfig.paper if name == "dual_paper" else DualConfig
        config = make(**SHORT, **METHODS[name].facts.settings)
        state, _ = train(KEY, POOL, config, labeled=LABELED if has_labels else None)
        return np.asarray(learnt_space(state, POOL, config))
    if name == "activeft":
        return POOL / np.linalg.norm(POOL, axis=1, keepdims=True)
    return np.asarray(squashed(KEY, POOL)) if name == "medoids" else POOL


def measure(name):
    """What each pair of rows is apart, as the mean distance of a method has it."""
    apart = cdist(space(name, False), space(name, False))
    if name in ("dual", "dual_wo", "medoids"):
        return np.sqrt(apart)
    if name == "facility":
        return 1 - np.exp(-(apart**2) / (2 * float(median_distance(POOL)) ** 2))
    return (apart >= 1.5).astype(float) if name == "probcover" else apart


@pytest.mark.parametrize("name", keeping("min_distance"))
def test_no_two_picks_are_too_near_nor_too_many_of_a_group_labelled_rows_included(name):
    picks = run(name, 20, LABELED, **EXAMPLE["min_distance"], **EXAMPLE["per_group"])

    u, done = space(name, True), [*np.flatnonzero(LABELED), *picks]
    apart = cdist(u, u) + np.diag(np.full(N, np.inf))
    pairs = [apart[a, b] for a, b in itertools.combinations(done, 2) if b in picks]
    assert len(picks) < 20
    assert min(pairs) >= np.quantile(apart.min(1), 0.6) * (1 - 1e-3)
    assert np.bincount(GROUPS[done])[GROUPS[picks]].max() <= 2
    left = [r for r in range(N) if r not in done and np.bincount(GROUPS[done])[GROUPS[r]] < 2]
    reach = np.quantile(apart.min(1), 0.6)  # every other row is excluded by one of the limits
    assert all(apart[r, done].min() < reach * (1 + 1e-3) for r in left)


@pytest.mark.parametrize("name", keeping("until"))
def test_picks_end_with_the_one_that_brings_the_mean_distance_to_the_share(name):
    picks, plain, d = run(name, 20, until=0.7), run(name, 20), measure(name)

    means = np.array([d[:, plain[: k + 1]].min(1).mean() for k in range(20)])
    assert picks == plain[: 1 + np.argmax(means <= 0.7 * means[0])]


@pytest.mark.parametrize("name", keeping("costs"))
def test_picks_stay_within_the_total_cost_and_equal_costs_are_none(name):
    picks = run(name, N, **EXAMPLE["costs"])

    assert len(picks) >= 2
    assert COSTS[picks].sum() <= 6.0 + 1e-4
    assert run(name, N, costs=np.full(N, 2.0), total_cost=2 * 5, weights=np.ones(N)) == run(name, 5)


@pytest.mark.parametrize("name", keeping("weights"))
def test_rows_without_weight_want_no_cover(name):
    weights = (np.arange(N) < 8).astype(float)

    weighted, plain, d = run(name, weights=weights), run(name), measure(name)

    curves = [[weights @ d[:, picks[: k + 1]].min(1) for k in range(K)] for picks in (weighted, plain)]
    assert sum(curves[0]) < sum(curves[1])


@pytest.mark.parametrize("name", METHODS)
def test_a_limit_that_a_method_does_not_keep_is_refused_with_those_that_do(name):
    for limit in [limit for limit in NAMES if limit not in METHODS[name].facts.limits]:
        with pytest.raises(ValueError, match=re.escape(f"{name} cannot keep {limit}; it keeps")) as error:
            run(name, **EXAMPLE[limit])
        assert "facility" in str(error.value).partition("These can:")[2]


def test_every_nested_method_keeps_until_and_no_other_does():
    assert {n for n, m in METHODS.items() if "until" in m.facts.limits} == {
        n for n, m in METHODS.items() if m.facts.nested
    }


@pytest.mark.parametrize("how", ["refine", "chain"])
@pytest.mark.parametrize("name", ["dual", "medoids"])
def test_swaps_keep_weights_alone(name, how):
    with pytest.raises(ValueError, match=f"{name} with readout='{how}' cannot keep until; it keeps weights"):
        METHODS[name](KEY, POOL, K, limits=Limits(until=0.5), readout=how)


def test_dual_and_the_covering_read_outs_keep_everything():
    assert [n for n, m in METHODS.items() if m.facts.limits == COVERS] == [
        *("dual", "dual_wo", "facility", "medoids", "probcover")
    ]
    assert COVERS == NAMES


def test_under_jit_minus_one_stands_for_missing_picks():
    limits = Limits(groups=GROUPS, per_group=1)

    picks = jax.jit(lambda x: METHODS["kcenter"](KEY, x, K, limits=limits))(POOL).indices

    assert sorted(GROUPS[picks[:5]]) == [0, 1, 2, 3, 4]
    assert picks[5:].tolist() == [-1, -1]
