"""The two halves of ``fit``: every check comes first, and trains nothing; the rest is ``run``."""

import numpy as np
import pandas as pd
import pytest

import dual_jax as dj
from dual_jax.data.errors import InputError, InputTypeError
from dual_jax.estimators.prepared import Deferred

X = np.random.default_rng(0).normal(size=(31, 6))
SMALL = dj.DualConfig(hidden=(8, 8), latent_dim=2, pretrain_steps=5, steps=5)
MAKE = {"dual": lambda n: dj.DUALSelector(n, config=SMALL), "ted": lambda n: dj.Selector("ted", n)}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_run_on_what_prepare_returns_is_fit(make):
    frame = pd.DataFrame(X, index=[f"r{i}" for i in range(31)]).rename(columns=str)
    selector = make(5)
    before = {**vars(selector)}
    prepared = selector.prepare(frame, labeled=["r3"])
    assert vars(selector) == before  # neither fitted nor changed
    assert selector.run(prepared) is selector
    fitted = make(5).fit(frame, labeled=["r3"])
    assert selector.ranking_.tolist() == fitted.ranking_.tolist()
    assert selector.sample_ids_.tolist() == fitted.sample_ids_.tolist()
    assert selector.feature_names_in_.tolist() == fitted.feature_names_in_.tolist()


def test_one_prepared_pool_serves_several_runs():
    prepared = dj.Selector("random", 5, random_state=np.random.RandomState(0)).prepare(X)
    first, second = (dj.Selector("random", 5).run(prepared).ranking_ for _ in range(2))
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize(
    ("method", "knobs", "error"),
    [
        ("ted", {"kernel": "foo"}, InputError),
        ("ted", {"width": "2"}, InputTypeError),
        ("dual", {"power": 3.0}, InputError),
        ("kmean", {}, InputError),
    ],
)
def test_a_knob_that_a_method_refuses_is_found_by_prepare(method, knobs, error):
    with pytest.raises(error):
        dj.Selector(method, 5, **knobs).prepare(X)


@pytest.mark.parametrize("setting", [{"power": 3.0}, {"steps": -1}, {"n_clusters": 32}])
def test_a_setting_out_of_range_is_found_by_prepare(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        dj.DUALSelector(5, config=dj.DualConfig(**setting)).prepare(X)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_table_that_takes_long_is_made_when_all_else_is_checked(make):
    made = []
    slow = Deferred(lambda: made.append(1) or X[:, :2] ** 2, (31, 2))
    with pytest.raises(InputError, match="n_to_select=32"):
        make(32).prepare(X, embedding=slow)
    assert made == []
    prepared = make(5).prepare(X, embedding=slow)
    np.testing.assert_array_equal(prepared.x, make(5).prepare(X, embedding=X[:, :2] ** 2).x)
    np.testing.assert_array_equal(make(5).prepare(slow).x, make(5).prepare(X[:, :2] ** 2).x)
    assert made == [1, 1]
