"""Every method keeps scikit-learn's contract, and what it is asked for reaches it."""

import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from essential import ESSENTIAL
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

import dual_jax as dj
from dual_jax.estimators.selector import check_knobs
from dual_jax.numerics.scaling import apply, fit_scaler

X = np.random.default_rng(0).normal(size=(31, 6))
QUICK = ("random", "ted")  # to compile, for each of the many shapes that scikit-learn tries
SHORT = {"pretrain_steps": 3, "steps": 3}  # for the three that train a network


def selector(method="facility", n_to_select=5, **parameters):
    return dj.Selector(method, n_to_select, **parameters)


def checks():
    """Give scikit-learn's checks as test parameters: all for two methods, the essential ones for the rest."""
    for name in dj.METHODS:
        marks = [] if name in QUICK else [pytest.mark.slow]
        short = SHORT if name.startswith("dual") else {}
        for estimator, check in estimator_checks_generator(dj.Selector(name, **short)):
            if name in QUICK or check.func.__name__ in ESSENTIAL:
                yield pytest.param(estimator, check, marks=marks, id=f"{name}-{check.func.__name__}")


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learn_finds_nothing_to_complain_about(estimator, check):
    check(estimator)


def test_picks_are_those_of_the_method_on_the_scaled_pool():
    fitted = selector("ted", kernel="rbf", width=2.0).fit(X)
    scaled = apply(fit_scaler(X), X)
    expected = dj.METHODS["ted"](jax.random.key(0), scaled, 5, kernel="rbf", width=2.0)
    assert fitted.sample_indices_.tolist() == expected.indices.tolist()
    np.testing.assert_allclose(fitted.scores_[expected.indices], expected.scores, rtol=1e-6)  # same program
    assert np.flatnonzero(fitted.support_).tolist() == sorted(fitted.sample_indices_)


def test_a_nested_method_ranks_a_small_pool_whole_and_another_budget_is_a_prefix():
    fitted = selector().fit(X)
    assert sorted(fitted.ranking_) == list(range(31))
    assert (fitted.n_exact_, fitted.is_nested_) == (31, True)
    assert fitted.sample_indices_.tolist() == fitted.select(5).tolist() == fitted.ranking_[:5].tolist()
    assert fitted.select(9).tolist() == fitted.ranking_[:9].tolist()
    assert np.isfinite(fitted.scores_).all()


def test_of_a_larger_pool_a_nested_method_ranks_its_picks_and_goes_on_when_asked(monkeypatch):
    whole = selector().fit(X).ranking_.tolist()
    monkeypatch.setattr("dual_jax.estimators.selector.MAX_RANKED", 30)
    fitted = selector().fit(X)
    assert fitted.ranking_.tolist() == whole[:5]
    assert np.isfinite(fitted.scores_).sum() == 5
    assert fitted.select(3).tolist() == whole[:3]
    assert fitted.select(31).tolist() == whole


def test_where_the_order_is_not_nested_each_budget_is_computed_anew():
    fitted = selector("kmeans").fit(X)
    assert (fitted.n_exact_, fitted.is_nested_) == (5, False)
    assert fitted.select(5).tolist() == fitted.ranking_.tolist() == fitted.sample_indices_.tolist()
    assert fitted.select(9).tolist() == selector("kmeans", 9).fit(X).sample_indices_.tolist()


@pytest.mark.slow
def test_a_chain_can_be_cut_and_a_larger_budget_has_another_one():
    fitted = selector("medoids", readout="chain").fit(X)
    assert (fitted.n_exact_, fitted.is_nested_) == (5, False)
    assert fitted.select(3).tolist() == fitted.sample_indices_.tolist()[:3]
    assert len(set(fitted.select(9).tolist())) == 9


@pytest.mark.parametrize(("readout", "is_nested"), [("greedy", True), ("chain", False), ("refine", False)])
def test_duals_swaps_are_for_one_budget(readout, is_nested, monkeypatch):
    def dual(key, x, n_select, *, labeled, candidates, readout="greedy"):
        return dj.METHODS["random"](key, x, n_select, labeled=labeled, candidates=candidates)

    monkeypatch.setattr("dual_jax.methods.dual.dual", dual)
    assert selector("dual", readout=readout).fit(X).is_nested_ is is_nested


def test_a_budget_above_the_candidates_is_refused_also_after_the_fit():
    with pytest.raises(ValueError, match="28 candidates"):
        selector("random", 29).fit(X, labeled=[0, 1, 2])
    with pytest.raises(ValueError, match="28 candidates"):
        selector("random").fit(X, labeled=[0, 1, 2]).select(29)


def test_half_of_the_candidates_are_picked_by_default():
    assert len(dj.Selector("random").fit(X, labeled=[0, 1, 2]).sample_indices_) == 14


def test_an_embedding_goes_beside_the_scaled_pool():
    z = np.random.default_rng(1).normal(size=(31, 3))
    fitted = selector("ted").fit(X, embedding=z)
    wide = dj.beside(apply(fit_scaler(X), X), z)
    assert fitted.sample_indices_.tolist() == selector("ted", scale="none").fit(wide).sample_indices_.tolist()
    assert fitted.sample_indices_.tolist() != selector("ted").fit(X).sample_indices_.tolist()
    assert fitted.select(9).tolist()[:5] == fitted.sample_indices_.tolist()


def test_picks_of_any_method_are_explained_in_the_scaled_pool():
    fitted = selector("ted").fit(X, labeled=[3])
    why, scaled = fitted.explain(), apply(fit_scaler(X), X)
    np.testing.assert_array_equal(why.gain, fitted.scores_[fitted.sample_indices_])
    assert why.nearest[0] == 3
    length = np.linalg.norm(scaled[fitted.sample_indices_[0]] - scaled[3])
    np.testing.assert_allclose(why.distance[0], length, rtol=1e-5)  # a sum of six squares
    assert why.n_represented.sum() <= 30


@pytest.mark.parametrize("method", ["facility", "random"])
def test_labelled_and_forbidden_rows_are_never_picked_whatever_names_them(method):
    frame = pd.DataFrame(X, index=[f"row{i}" for i in range(31)]).rename(columns=str)
    by_mask = selector(method).fit(X, labeled=np.arange(31) == 3, candidates=np.arange(31) < 20)
    by_name = selector(method).fit(frame, labeled=["row3"], candidates=frame.index[:20])
    np.testing.assert_array_equal(by_mask.ranking_, by_name.ranking_)
    assert by_name.sample_ids_.tolist() == [f"row{i}" for i in by_name.sample_indices_]
    assert not {3, *range(20, 31)} & {*by_mask.ranking_, *by_mask.select(19)}
    assert np.isnan(by_mask.scores_[[3, 25]]).all()


def test_labelled_rows_have_an_influence():
    first = selector().fit(X).sample_indices_
    assert first[1] == selector().fit(X, labeled=first[:1]).sample_indices_[0]


def test_a_jax_array_gives_the_same_picks():
    on_device = selector().fit(jnp.asarray(X, jnp.float32))
    assert on_device.sample_indices_.tolist() == selector().fit(X).sample_indices_.tolist()
    assert on_device.n_features_in_ == 6


def test_the_seed_decides_and_a_generator_is_drawn_from_once_a_fit():
    assert selector("random").fit(X).select(7).tolist() == selector("random").fit(X).select(7).tolist()
    assert (
        selector("random").fit(X).ranking_.tolist()
        != selector("random", random_state=1).fit(X).ranking_.tolist()
    )
    drawn = selector("kmeans", random_state=np.random.RandomState(0)).fit(X)
    assert drawn.select(9).tolist() == drawn.select(9).tolist()


def test_knobs_are_parameters_like_any_other():
    made = selector("ted", kernel="rbf")
    assert made.get_params() == {**dj.Selector("ted", 5).get_params(), "kernel": "rbf"}
    assert clone(made).set_params(width=2, n_to_select=4).get_params()["width"] == 2
    assert "width" not in made.get_params()
    assert repr(made) == "Selector(kernel='rbf', method='ted', n_to_select=5)"
    assert "kernel" in made._repr_html_()


def test_the_knobs_in_force_are_noted_with_their_defaults():
    fitted = selector("ted", kernel="rbf", width=np.int64(2)).fit(X)
    assert fitted.knobs_ == {"regularization": 0.01, "kernel": "rbf", "width": 2.0}


def test_a_fit_survives_pickling_and_new_parameters():
    fitted = selector("kmeans").fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    expected = fitted.select(9).tolist()
    assert again.select(9).tolist() == expected
    assert fitted.set_params(method="random").select(9).tolist() == expected


def test_it_is_the_last_step_of_a_pipeline():
    pipeline = make_pipeline(PCA(3), selector("random")).fit(X)
    assert len(pipeline[-1].sample_indices_) == 5
    assert pipeline[-1].n_features_in_ == 3
    assert not hasattr(pipeline, "transform")


MISTAKES = {
    "a misspelt method": (("kmean", {}), ValueError, "did you mean kmeans.*use one of activeft, alfs"),
    "no method": ((None, {}), ValueError, "method=None is unknown: use one of"),
    "a misspelt knob": (("ted", {"kernle": "rbf"}), ValueError, r"did you mean kernel\?\); it takes regul"),
    "a misspelt parameter": (("ted", {"n_select": 3}), ValueError, "did you mean n_to_select"),
    "a knob of a method without any": (("kcenter", {"tol": 1.0}), ValueError, "'tol'; it takes none"),
    "a word for a number": (("ted", {"width": "2"}), TypeError, "width='2' cannot be used.*a number"),
    "a flag for a number": (("kmeans", {"max_iter": True}), TypeError, "must be an integer"),
    "a number for a flag": (("dcs", {"center": 1}), TypeError, "must be True or False"),
    "a number for a word": (("ted", {"kernel": 1}), TypeError, "must be a word"),
    "a fraction of neighbours": (("llr", {"n_neighbors": 2.5}), TypeError, "must be an integer"),
    "no rule for this one": (("ted", {"kernel": None}), TypeError, "must be a word"),
    "no neighbours": (("llr", {"n_neighbors": 0}), ValueError, "must be at least 1"),
    "a rank of zero": (("dcs", {"rank": 0}), ValueError, "must be at least 1"),
    "below zero": (("ted", {"regularization": -1}), ValueError, "finite and at least 0"),
    "not finite": (("ted", {"width": np.inf}), ValueError, "finite and at least 0"),
    "a word that the method refuses": (("ted", {"kernel": "foo"}), ValueError, "give one of linear, rbf"),
    "no width at all": (("facility", {"width": 0}), ValueError, "facility with width=0.0 gave a score"),
}


@pytest.mark.parametrize(("made", "error", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_method_or_knob_that_cannot_be_used_is_named_with_what_can(made, error, words):
    method, knobs = made
    with pytest.raises(error, match=words):
        selector(method, **knobs).fit(X)


@pytest.mark.parametrize("method", dj.METHODS)
def test_the_defaults_of_every_knob_may_be_given(method):
    parameters = list(inspect.signature(dj.METHODS[method].select).parameters.values())[5:]
    knobs = {knob.name: knob.default for knob in parameters if knob.name != "limits"}
    assert check_knobs(method, knobs) == knobs
