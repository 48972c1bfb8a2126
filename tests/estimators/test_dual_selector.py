"""The estimator keeps scikit-learn's contract, and the promises of its own."""

import contextlib
import dataclasses
import pickle
import signal
from threading import Thread

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from essential import ESSENTIAL
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

import dual_jax as dj
from dual_jax.devices.mesh import on_host
from dual_jax.dual.config import DualConfig
from dual_jax.estimators import dual_selector as module

SMALL = DualConfig(hidden=(8, 8), latent_dim=2, pretrain_steps=5, steps=5)
SHORT = dj.DUALSelector(max_iter=5, pretrain_iter=5, latent_dim=2)
X = np.random.default_rng(0).normal(size=(31, 6))


SHARED = dataclasses.replace(SMALL, block_rows=8, dictionary_size=9)  # by up to four devices


def selector(n_to_select=5, config=SMALL, **parameters):
    return dj.DUALSelector(n_to_select, config=config, **parameters)


def checks():
    """Give scikit-learn's checks as test parameters."""
    for estimator, check in estimator_checks_generator(SHORT):
        name = check.func.__name__
        yield pytest.param(estimator, check, id=name, marks=[] if name in ESSENTIAL else [pytest.mark.slow])


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
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
    monkeypatch.setattr("dual_jax.dual.room.free_memory", lambda: 50e3)
    with pytest.raises(ValueError, match=r"31 x 6 takes .* set dictionary_size to at most"):
        selector().fit(X)


@pytest.mark.slow
def test_where_memory_is_short_a_smaller_dictionary_is_taken_unless_one_was_asked_for(monkeypatch):
    x = np.random.default_rng(0).normal(size=(400, 6))
    monkeypatch.setattr("dual_jax.dual.room.free_memory", lambda: 0.8 * dj.plan(400, 6, SMALL).n_bytes)
    with pytest.warns(UserWarning, match=r"memory holds a dictionary of 256 rows, not of 400"):
        fitted = selector().fit(x)
    assert fitted.sizes_.n_places == len(fitted.state_.fixed.dictionary) == 256
    assert len(fitted.ranking_) == 400
    with pytest.raises(ValueError, match="400 x 6 takes"):
        dj.DUALSelector(5, config=dataclasses.replace(SMALL, dictionary_size=400)).fit(x)


@pytest.mark.slow
def test_a_kept_fit_goes_on_with_its_dictionary_whatever_memory_is_left_now(monkeypatch, tmp_path):
    x, whole = np.random.default_rng(0).normal(size=(400, 6)), dj.plan(400, 6, SMALL).n_bytes
    monkeypatch.setattr("dual_jax.dual.room.free_memory", lambda: 0.8 * whole)
    with pytest.warns(UserWarning, match="a dictionary of 256 rows"):
        first = selector().fit(x, checkpoint_dir=tmp_path)
    monkeypatch.setattr("dual_jax.dual.room.free_memory", lambda: 2.0 * whole)
    again = selector().fit(x, checkpoint_dir=tmp_path)
    assert again.sizes_.n_places == 256
    np.testing.assert_array_equal(again.ranking_, first.ranking_)


@pytest.mark.slow
def test_refined_picks_are_computed_anew_for_each_budget():
    fitted = selector(readout="refine").fit(X)
    assert fitted.n_exact_ == 5
    assert len(set(fitted.select(7))) == 7


@pytest.mark.slow
def test_a_chain_can_be_cut_and_goes_on_beyond_its_budget():
    fitted = selector(readout="chain").fit(X)
    assert (fitted.n_exact_, fitted.is_nested_) == (5, False)
    longer = {budget: fitted.select(budget).tolist() for budget in (3, 9)}
    assert longer[3] == fitted.sample_indices_.tolist()[:3]
    assert longer[9][:5] == fitted.sample_indices_.tolist()
    assert len(set(longer[9])) == 9


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
        "dual_jax.estimators.prepared.validate_data",
        lambda *_, **__: pytest.fail("a device array went to the host"),
    )
    fitted.fit(x)
    assert isinstance(fitted.transform(x), jax.Array)
    assert fitted.n_features_in_ == 6


def test_sparse_pools_are_made_dense_up_to_a_limit(monkeypatch):
    sparse = scipy.sparse.csr_array(X)
    np.testing.assert_array_equal(selector().fit(sparse).ranking_, selector().fit(X).ranking_)
    monkeypatch.setattr("dual_jax.estimators.prepared.MAX_DENSE", 100)
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
    assert [len(terms["loss"]) for terms in fitted.history_.values()] == [4, 3]
    assert fitted.transform(X).shape == (31, 2)


def press_control_c(stage):
    """Return a callback that presses Ctrl-C at each break of a stage."""
    return lambda chunk: signal.raise_signal(signal.SIGINT) if chunk.stage == stage else None


def test_control_c_ends_a_kept_fit_at_a_break_and_the_same_fit_goes_on_from_there(tmp_path):
    former, seen, pressing = signal.getsignal(signal.SIGINT), [], press_control_c("pretrain")
    with pytest.raises(KeyboardInterrupt):
        selector(callbacks=[pressing]).fit(X, checkpoint_dir=tmp_path)
    assert signal.getsignal(signal.SIGINT) is former
    again = selector(callbacks=[seen.append]).fit(X, checkpoint_dir=tmp_path)
    assert seen[0].stage == "train"
    np.testing.assert_array_equal(again.ranking_, selector().fit(X).ranking_)
    assert signal.getsignal(signal.SIGINT) is former


def test_without_a_folder_control_c_keeps_its_meaning_and_so_does_it_for_a_fit_in_a_thread(tmp_path):
    former, handlers = signal.getsignal(signal.SIGINT), []

    def note(chunk):
        handlers.append(signal.getsignal(signal.SIGINT))

    selector(callbacks=[note]).fit(X)
    thread = Thread(target=lambda: selector(callbacks=[note]).fit(X, checkpoint_dir=tmp_path))
    thread.start()
    thread.join()
    assert len(handlers) == 8
    assert set(handlers) == {former}


@pytest.mark.parametrize("n_devices", [1, 2])
def test_the_sizes_that_were_decided_for_the_pool_are_those_of_the_fit(n_devices):
    fitted = selector(devices=jax.devices()[:n_devices]).fit(X, labeled=[1], candidates=range(20))
    sizes, fixed = fitted.sizes_, fitted.state_.fixed
    assert (sizes.n_places, sizes.n_clusters, sizes.n_targets) == (31, 10, 31)
    assert sizes.n_places == len(fixed.dictionary)
    assert len(fitted.state_.params.C) == sizes.n_tiles == 1  # the devices share blocks, and there is one
    assert fitted.row_norms()["C"].shape == (31,)
    assert sorted(fitted.select(19)) == [i for i in range(20) if i != 1]


Z = np.random.default_rng(1).normal(size=(31, 3))


def test_an_embedding_is_used_beside_the_pool_and_both_decide():
    both = selector().fit(X, embedding=Z)
    assert both.ranking_.tolist() != selector().fit(X).ranking_.tolist()
    assert both.ranking_.tolist() != selector().fit(X[::-1], embedding=Z).ranking_.tolist()
    joined, alone = selector().prepare(X, embedding=Z).x, selector().prepare(X, embedding=X).x[:, :6]
    alike = selector(scale="none").prepare(dj.beside(alone, Z)).x
    np.testing.assert_allclose(joined, alike, atol=1e-5)  # scaled once, and twice
    assert both.n_features_in_ == 6


@pytest.mark.slow
def test_rows_that_only_the_embedding_or_only_the_inputs_tell_apart_are_all_found():
    # Six groups, which differ in 200 inputs (three) or in 2 embedded features (two): one pick in each.
    inputs, codes = np.repeat([0, 1, 2, 0, 1, 2], 5), np.repeat([0, 0, 0, 1, 1, 1], 5)
    noise = np.random.default_rng(0).normal(size=(30, 202)) * 0.1
    wide, few = np.random.default_rng(1).normal(size=(3, 200)), np.array([[0.0, 0], [1, 2]])
    x, z = wide[inputs] + noise[:, :200], few[codes] + noise[:, 200:]
    picks = selector(6).fit(x, embedding=z).sample_indices_
    assert sorted(picks // 5) == list(range(6))


def test_new_rows_are_encoded_with_their_embedding_or_with_the_function_that_gives_it():
    given, computed = selector().fit(X, embedding=Z), selector().fit(X, embedding=lambda x: x[:, :3] ** 2)
    np.testing.assert_array_equal(
        given.transform(X[3:5], embedding=Z[3:5]), given.transform(X, embedding=Z)[3:5]
    )
    np.testing.assert_array_equal(
        computed.transform(X[3:5]), computed.transform(X[3:5], embedding=X[3:5, :3] ** 2)
    )
    codes = selector().fit_transform(X, embedding=Z)
    np.testing.assert_array_equal(codes, given.transform(X, embedding=Z))
    assert given.get_feature_names_out().tolist() == ["dualselector0", "dualselector1"]


def test_new_rows_have_an_embedding_when_and_only_when_the_pool_had_one():
    with pytest.raises(ValueError, match="give that of these rows as embedding="):
        selector().fit(X, embedding=Z).transform(X)
    with pytest.raises(ValueError, match="the fit had no embedding"):
        selector().fit(X).transform(X, embedding=Z)
    with pytest.raises(ValueError, match="2 features, but the scaler was fitted on 3"):
        selector().fit(X, embedding=Z).transform(X, embedding=Z[:, :2])


def test_a_jax_pool_keeps_its_device_beside_an_embedding_from_the_host():
    x = jnp.asarray(X, jnp.float32)
    fitted = selector().fit(x, embedding=Z)
    assert isinstance(fitted.transform(x, embedding=Z), jax.Array)


BAD_EMBEDDINGS = {
    "too few rows": (Z[:30], ValueError, "embedding has 30 rows for 31 rows"),
    "NaN": (
        np.where(np.arange(93).reshape(31, 3) == 4, np.nan, Z),
        ValueError,
        "embedding has NaN at row 1, c",
    ),
    "no table": (Z[:, 0], ValueError, "2D table"),
    "words": (Z.astype(str), ValueError, "embedding holds <U"),
    "objects": (np.full((31, 1), {}), TypeError, "embedding holds a cell that is no number"),
    "all the same": (np.ones((31, 2)), ValueError, "rows of the embedding are the same"),
    "a function that gives no row for some": (lambda x: x[1:], ValueError, "embedding has 30 rows"),
}


@pytest.mark.parametrize("make", [selector, lambda: dj.Selector("ted", 5)], ids=["dual", "ted"])
@pytest.mark.parametrize(("given_", "error", "words"), BAD_EMBEDDINGS.values(), ids=BAD_EMBEDDINGS)
def test_an_embedding_that_cannot_be_used_is_refused_before_any_work(given_, error, words, make):
    with pytest.raises(error, match=words):
        make().fit(X, embedding=given_)


@pytest.mark.slow
def test_picks_are_explained_in_the_learnt_space_on_any_devices():
    alone, spread = (
        selector(devices=jax.devices()[:n], config=SHARED).fit(X, labeled=[3]).explain() for n in (1, 4)
    )
    assert alone.n_represented.sum() < 31  # the labelled row stands for itself
    assert alone.nearest[0] == 3
    assert alone.cluster.max() < 10  # min(2 sqrt(31), 31 / 3)
    # The fits have the same bits; the program that explains them is split by the compiler.
    np.testing.assert_allclose(spread.distance, alone.distance, rtol=1e-6)
    np.testing.assert_array_equal(spread.n_represented, alone.n_represented)


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


def test_a_pool_goes_from_the_host_to_its_devices_sharded_and_is_whole_on_none():
    found, of_others = [], jax.live_arrays()

    def look(chunk):
        own = [array for array in jax.live_arrays() if not any(array is other for other in of_others)]
        tables = [array for array in own if array.ndim == 2 and array.shape[1] == 6]
        found.extend(array.sharding.shard_shape(array.shape)[0] for array in tables if len(array) >= 31)

    fitted = selector(config=SHARED, devices=jax.devices()[:4], callbacks=[look]).fit(X)
    assert set(found) == {8}  # rows of each device
    assert isinstance(fitted._prepared.x, np.ndarray)
    assert len(fitted.select(20)) == 20


@pytest.mark.slow
def test_the_devices_that_are_named_are_used():
    fitted = selector(devices=[jax.devices()[1]]).fit(X)
    assert fitted.state_.params.C[0].devices() == {jax.devices()[1]}
    with pytest.raises(ValueError, match="devices is empty"):
        selector(devices=[]).fit(X)


def test_transform_shards_the_rows_over_the_devices_of_the_fit(monkeypatch):
    seen, encoded, many = [], module.encoded, np.tile(X, (300, 1))

    def look(encoder, rows, config, mesh):
        codes = encoded(encoder, rows, config, mesh)
        seen.extend([rows, codes])
        return codes

    fitted = selector(devices=jax.devices()[:4], config=SHARED).fit(X)
    monkeypatch.setattr(module, "encoded", look)
    codes = fitted.transform(many)
    shares = [shard.data.shape[0] for array in seen for shard in array.addressable_shards]
    assert shares == [module.TRANSFORM_ROWS] * 2 * 3 * 4  # rows and codes of three batches on four devices
    fitted.params_ = on_host(fitted.params_)
    alone = fitted.set_params(devices=None).transform(many)
    np.testing.assert_allclose(codes, alone, rtol=1e-5, atol=1e-6)  # float32, another product
