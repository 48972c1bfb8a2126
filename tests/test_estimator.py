"""The estimator keeps scikit-learn's contract, and the promises of its own."""

import contextlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

import dual_jax as dj
from dual_jax.config import DualConfig

SMALL = DualConfig(hidden=(8, 8), latent_dim=2, pretrain_steps=5, steps=5)
X = np.random.default_rng(0).normal(size=(31, 6))


def selector(n_to_select=5, **parameters):
    return dj.DUALSelector(n_to_select, config=SMALL, **parameters)


CHECKS = list(estimator_checks_generator(dj.DUALSelector(max_iter=5, pretrain_iter=5, latent_dim=2)))


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=[check.func.__name__ for _, check in CHECKS])
def test_scikit_learn_finds_nothing_to_complain_about(estimator, check):
    check(estimator)


def test_picks_are_positions_best_first_and_the_rest_of_the_fit_agrees_with_them():
    fitted = selector().fit(X)
    assert len(set(fitted.sample_indices_)) == 5
    np.testing.assert_array_equal(fitted.ranking_[:5], fitted.sample_indices_)
    assert np.flatnonzero(fitted.support_).tolist() == sorted(fitted.sample_indices_)
    assert np.isfinite(fitted.scores_).all()
    assert fitted.n_iter_ == 5
    assert set(fitted.history_) == {"pretrain", "train"}


def test_half_of_the_candidates_are_picked_by_default():
    assert len(selector(None).fit(X, labeled=[0, 1, 2]).sample_indices_) == 14


def test_labelled_and_forbidden_rows_are_never_picked_whatever_names_them():
    frame = pd.DataFrame(X, index=[f"row{i}" for i in range(31)]).rename(columns=str)
    mask, allowed = np.arange(31) == 3, np.arange(31) < 20
    by_mask = selector().fit(X, labeled=mask, candidates=allowed)
    by_position = selector().fit(X, labeled=[3], candidates=np.arange(20))
    by_name = selector().fit(frame, labeled=["row3"], candidates=frame.index[:20])
    np.testing.assert_array_equal(by_mask.ranking_, by_position.ranking_)
    np.testing.assert_array_equal(by_mask.ranking_, by_name.ranking_)
    assert by_name.sample_ids_.tolist() == [f"row{i}" for i in by_name.sample_indices_]
    assert sorted(by_mask.ranking_) == [i for i in range(20) if i != 3]
    assert np.isnan(by_mask.scores_[[3, 25]]).all()


def test_another_budget_from_the_same_fit_is_a_prefix_and_goes_on_where_the_exact_order_ends():
    fitted = selector().fit(X)
    assert fitted.select(3).tolist() == fitted.ranking_[:3].tolist()
    fitted.n_exact_ = 2
    assert sorted(fitted.select(31)) == list(range(31))
    with pytest.raises(ValueError, match="31"):
        fitted.select(32)


def test_a_fit_beyond_the_memory_that_is_left_is_refused_with_advice(monkeypatch):
    monkeypatch.setattr("dual_jax.estimator.free_memory", lambda: 50e3)
    with pytest.raises(ValueError, match=r"31 x 6 takes .* set dictionary_size to at most"):
        selector().fit(X)


def test_refined_picks_are_computed_anew_for_each_budget():
    fitted = selector(readout="refine").fit(X)
    assert fitted.n_exact_ == 5
    assert len(set(fitted.select(7))) == 7


def test_transform_gives_the_encoders_codes_for_any_number_of_rows():
    fitted = selector().fit(X)
    codes = fitted.transform(X)
    assert codes.shape == (31, 2)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(fitted.transform(X[7:8]), codes[7:8])
    many = np.tile(X, (40, 1))
    np.testing.assert_array_equal(fitted.transform(many)[1200:], np.tile(codes, (40, 1))[1200:])


def test_a_jax_array_stays_on_its_device(monkeypatch):
    x = jnp.asarray(X, jnp.float32)
    fitted = selector()
    monkeypatch.setattr(
        "dual_jax.request.validate_data", lambda *_, **__: pytest.fail("a device array went to the host")
    )
    fitted.fit(x)
    assert isinstance(fitted.transform(x), jax.Array)
    assert fitted.n_features_in_ == 6


def test_sparse_pools_are_made_dense_up_to_a_limit(monkeypatch):
    sparse = scipy.sparse.csr_array(X)
    np.testing.assert_array_equal(selector().fit(sparse).ranking_, selector().fit(X).ranking_)
    monkeypatch.setattr("dual_jax.request.MAX_DENSE", 100)
    with pytest.raises(ValueError, match="31 x 6 cells, and at most 100"):
        selector().fit(sparse)


def test_it_survives_cloning_pickling_and_a_frame_out():
    fitted = selector().fit(X)
    assert clone(fitted).get_params() == fitted.get_params()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    frame = selector().set_output(transform="pandas").fit(X).transform(X)
    assert frame.columns.tolist() == ["dualselector0", "dualselector1"]


def test_large_offsets_do_not_drown_a_feature():
    shifted = X + np.array([0, 1e9, 0, 0, 0, 0])
    assert selector().fit(shifted).ranking_.tolist() == selector().fit(X).ranking_.tolist()


def test_constant_features_and_duplicates_are_fine_and_duplicates_are_not_picked_together():
    doubled = np.concatenate([X[:15], X[:15], X[:1]])
    doubled[:, 0] = 7.0
    picks = selector(15).fit(doubled).sample_indices_
    assert len(np.unique(doubled[picks], axis=0)) == 15


def test_progress_callbacks_and_the_configuration_reach_the_fit():
    seen = []
    fitted = selector(max_iter=3, pretrain_iter=4, callbacks=[seen.append]).fit(X)
    assert [(c.stage, c.n_steps) for c in seen][:2] == [("pretrain", 4), ("train", 3)]
    assert (fitted.config_.steps, fitted.config_.pretrain_steps, fitted.config_.latent_dim) == (3, 4, 2)


ODD = st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 1e-300, 1e300, np.nan, np.inf]))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    x=hnp.arrays(np.float64, (31, 6), elements=ODD, fill=st.sampled_from([0.0, 1.0, 1e30])),
    n_to_select=st.sampled_from([None, 1, 5, 31, 0, -1, 32, 2.5, True, "3"]),
    labeled=st.sampled_from([None, [0], [30, 30], [31], [True] * 31, [0.5], ["a"]]),
    scale=st.sampled_from(["standard", "global", "l2", "none", "other"]),
)
def test_odd_values_end_in_picks_or_in_a_clear_error(x, n_to_select, labeled, scale):
    picks = [0]
    with contextlib.suppress(ValueError, TypeError):
        picks = selector(n_to_select, scale=scale).fit(x, labeled=labeled).sample_indices_
    assert len(picks) == len(set(picks)) >= 1
