"""Limits in both estimators: shares of the candidates, early ends, other budgets of a fit, saving."""

import jax
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.data.errors import InputError

N = 40
X = np.random.default_rng(0).normal(size=(N, 3))
PATIENTS = np.array([f"p{i % 8}" for i in range(N)])
ONE_EACH = dj.Limits(groups=PATIENTS, per_group=1)


def dual(n_to_select=None, **settings):
    return dj.DUALSelector(n_to_select, max_iter=5, pretrain_iter=10, **settings)


@pytest.fixture(params=["DUALSelector", "Selector"])
def make(request):
    return dual if request.param == "DUALSelector" else lambda n=None: dj.Selector("medoids", n)


def test_a_share_is_of_the_candidates_and_at_least_one_row():
    fits = [dj.Selector("kcenter", share).fit(X, labeled=[0, 1]) for share in (0.1, 1e-3)]

    assert [len(fit.sample_indices_) for fit in fits] == [4, 1]


def test_groups_end_the_picks_and_a_warning_says_how_many_there_are(make):
    with pytest.warns(UserWarning, match="8 picks of at most 10: no other row is left that per_group allows"):
        selector = make(10).fit(X, limits=ONE_EACH)

    assert len({*PATIENTS[selector.sample_indices_]}) == len(selector.sample_indices_) == 8
    assert selector.ranking_.tolist() == selector.sample_indices_.tolist()
    assert selector.end_.startswith("8 picks of at most 10")


def test_until_decides_on_the_number_of_picks_where_none_is_given(make):
    selector = make().fit(X, limits=dj.Limits(until=0.6))
    capped = make(3).fit(X, limits=dj.Limits(until=0.6))

    assert 3 < len(selector.sample_indices_) < N
    assert "enough for the mean distance" in selector.end_
    assert capped.sample_indices_.tolist() == selector.sample_indices_[:3].tolist()


def test_another_budget_of_the_same_fit_keeps_the_limits(make):
    selector = make(5).fit(X, limits=ONE_EACH)

    assert selector.select(7)[:5].tolist() == selector.sample_indices_.tolist()
    assert len({*PATIENTS[selector.select(7)]}) == 7
    with pytest.raises(InputError, match="8 picks of at most 9: no other row is left that per_group allows"):
        selector.select(9)


def test_costs_bound_the_picks_which_are_then_for_this_total_cost_alone(make):
    costs = np.random.default_rng(1).uniform(1, 3, N)

    selector = make().fit(X, limits=dj.Limits(costs=costs, total_cost=10))

    assert 8 < costs[selector.sample_indices_].sum() <= 10.001
    assert not selector.is_nested_


@pytest.mark.slow  # a program for a mesh takes half a minute to compile
def test_on_two_devices_the_padding_of_the_last_share_is_in_no_group_and_never_picked():
    limits = dj.Limits(0.05, 0.2, PATIENTS[:33], 1, np.ones(33), np.ones(33), 20)

    selector = dual(10, devices=jax.devices()[:2]).fit(X[:33], limits=limits)

    picks = selector.sample_indices_
    assert 4 <= len(picks) <= 8
    assert picks.max() < 33
    assert len({*PATIENTS[picks]}) == len(picks)
    assert selector.select(3).tolist() == picks[:3].tolist()  # equal costs are none


def test_a_saved_fit_keeps_its_limits(make, tmp_path):
    selector = make(5).fit(X, limits=ONE_EACH)

    selector.save(tmp_path / "fit.npz")
    again = dj.load(tmp_path / "fit.npz")

    assert again.select(8).tolist() == selector.select(8).tolist()
    assert again.end_ == selector.end_
    with pytest.raises(InputError, match="8 picks of at most 9"):
        again.select(9)


def test_limits_that_leave_no_row_are_refused_before_any_work(make):
    labeled = np.arange(N) < 8  # one of each patient

    with pytest.raises(InputError, match="no row may be picked within the limits"):
        make(5).prepare(X, labeled=labeled, limits=ONE_EACH)


@pytest.mark.parametrize(
    ("selector", "limits", "message"),
    [
        (dual(5, readout="refine"), ONE_EACH, "dual with readout='refine' cannot keep per_group"),
        (dj.Selector("llr", 5), ONE_EACH, "llr cannot keep per_group; it keeps until. These can: activeft"),
        (dj.Selector("facility", 5), dj.Limits(until=3), "until=3 is no share"),
        (
            dj.Selector("facility", 5),
            dj.Limits(weights=np.ones(3)),
            r"weights has shape \(3,\), wanted",
        ),
        (dj.Selector("facility", 1.5), None, "an integer, or a share in .0, 1., got 1.5"),
    ],
)
def test_a_limit_that_cannot_be_kept_or_used_is_refused_before_any_work(selector, limits, message):
    with pytest.raises(InputError, match=message):
        selector.prepare(X, limits=limits)
