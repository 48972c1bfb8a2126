"""What is saved comes back the same, runs nothing when read, and is read by later versions."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import dual_jax as dj
from dual_jax.numerics.scaling import apply, fit_scaler

KEPT = Path(__file__).parents[1] / "files" / "selector-format-1.npz"
X = np.random.default_rng(0).normal(size=(40, 5))
FRAME = pd.DataFrame(X, index=[f"r{i}" for i in range(40)], columns=list("abcde"))


@pytest.fixture(scope="module")
def fitted():
    return dj.DUALSelector(5, max_iter=4, pretrain_iter=6, latent_dim=3).fit(FRAME, labeled=["r3"])


@pytest.fixture(scope="module")
def again(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "fit.npz"
    fitted.save(path)
    return dj.load(path)


def test_picks_ids_and_history_come_back(fitted, again):
    assert again.sample_ids_.tolist() == fitted.sample_ids_.tolist()
    np.testing.assert_array_equal(again.scores_, fitted.scores_)
    assert again.history_["train"]["loss"].tolist() == fitted.history_["train"]["loss"].tolist()
    assert (again.n_iter_, again.n_exact_) == (fitted.n_iter_, fitted.n_exact_)
    assert (again.sizes_, again._config) == (fitted.sizes_, fitted._config)


def test_ids_of_several_levels_come_back_as_text_and_dates_as_dates(tmp_path):
    levels = pd.MultiIndex.from_product([["x", "y"], range(20)])
    for index, form in (
        (levels, r"[xy]/\d+"),
        (pd.date_range("2024-01-01", periods=40), r"2024-\d\d-\d\dT.*"),
    ):
        own = dj.Selector("kcenter", 3).fit(FRAME.set_axis(index))
        own.save(tmp_path / "fit.npz")
        again = dj.load(tmp_path / "fit.npz")
        assert all(re.fullmatch(form, str(one)) for one in again.sample_ids_)
        assert len({*again.sample_ids_}) == 3
        assert again.sample_indices_.tolist() == own.sample_indices_.tolist()


def test_an_estimator_that_came_back_chooses_sizes_anew_for_another_pool(again):
    assert again.config.n_clusters is again.config.dictionary_size is None
    assert again.sizes_.n_clusters == 12


def test_what_is_computed_from_the_fit_is_the_same(fitted, again):
    np.testing.assert_array_equal(again.transform(FRAME), fitted.transform(FRAME))
    assert again.select(30).tolist() == fitted.select(30).tolist()
    assert again.explain().cluster.tolist() == fitted.explain().cluster.tolist()
    with pytest.raises(ValueError, match="feature names"):
        again.transform(FRAME.rename(columns={"a": "z"}))


@pytest.mark.slow
def test_moments_in_bfloat16_are_kept(tmp_path):
    config = dj.DualConfig(moments_dtype="bfloat16", pretrain_steps=2, steps=3)
    own = dj.DUALSelector(5, config=config).fit(X)
    own.save(tmp_path / "fit.npz")
    again = dj.load(tmp_path / "fit.npz")
    assert again.config.moments_dtype == "bfloat16"
    jax.tree.map(np.testing.assert_array_equal, again.state_.opt_state, own.state_.opt_state)


@pytest.mark.slow
def test_an_embedding_is_scaled_as_it_was(tmp_path):
    own = dj.DUALSelector(5, max_iter=2, pretrain_iter=2).fit(X, embedding=X[:, :2] ** 2)
    own.save(tmp_path / "fit.npz")
    again = dj.load(tmp_path / "fit.npz")
    expected = own.transform(X[:9], embedding=X[:9, :2] ** 2)
    np.testing.assert_array_equal(again.transform(X[:9], embedding=X[:9, :2] ** 2), expected)


def test_every_other_method_is_kept_too(tmp_path):
    own = dj.Selector("ted", 5, kernel="rbf", width=2.0).fit(X, labeled=[1])
    own.save(tmp_path / "fit.npz")
    again = dj.load(tmp_path / "fit.npz")
    assert again.get_params() == own.get_params()
    assert again.select(35).tolist() == own.select(35).tolist()
    assert again.knobs_ == own.knobs_


def test_functions_of_ones_own_are_asked_for(tmp_path):
    config = dj.DualConfig(optimizer=lambda rate: optax.sgd(rate), pretrain_steps=2, steps=2)
    dj.DUALSelector(5, config=config).fit(X).save(tmp_path / "fit.npz")
    with pytest.raises(ValueError, match="its own optimizer"):
        dj.load(tmp_path / "fit.npz")
    assert dj.load(tmp_path / "fit.npz", config=config).select(5).shape == (5,)


def test_a_file_of_the_first_format_is_read():
    kept = dj.load(KEPT)
    assert kept.sample_ids_.tolist() == kept.select(4).tolist()
    assert kept.transform(X[:2]).shape == (2, 2)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "broken"),
        (lambda path: np.savez(path, a=np.zeros(2)), "broken"),
        (lambda path: path.unlink(), "there is no file"),
    ],
)
def test_what_is_no_saved_estimator_is_refused(damage, complaint, tmp_path):
    path = tmp_path / "fit.npz"
    path.write_bytes(KEPT.read_bytes())
    damage(path)
    with pytest.raises(ValueError, match=complaint):
        dj.load(path)


def test_the_exported_encoder_gives_the_codes_of_any_number_of_rows(fitted):
    program = dj.export(fitted)
    rows = jnp.asarray(apply(fit_scaler(X), X))
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    for n in (1, 7):
        np.testing.assert_allclose(  # two programs for the same products
            program.call(rows[:n]), fitted.transform(FRAME[:n]), rtol=1e-5, atol=1e-5
        )


def test_numbers_of_numpy_are_kept_and_an_array_alone_is_refused(tmp_path):
    fitted = dj.Selector("kcenter", np.int64(3)).fit(np.eye(8))
    fitted.save(tmp_path / "fit.npz")
    assert dj.load(tmp_path / "fit.npz").n_to_select == 3
    np.save(tmp_path / "pool.npy", np.eye(3))
    with pytest.raises(ValueError, match="is no dual-jax"):
        dj.load(tmp_path / "pool.npy")
