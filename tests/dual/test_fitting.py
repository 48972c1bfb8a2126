"""From a pool to a trained state and its ranking: what fit and train promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dual_jax.devices.mesh import make_mesh
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import check_coefficient_optimizer, fit, train
from dual_jax.dual.loop import CHUNK, Progress, run_in_chunks, run_stage
from dual_jax.dual.ranking import rank, rank_on_mesh
from dual_jax.dual.stages import Rows, advance, begin_selection, stage_step
from dual_jax.dual.steps import init
from dual_jax.numerics.xla import UNOPTIMIZED, OneOff

N = 31
X = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
CONFIG = DualConfig(hidden=(9, 7), latent_dim=4, pretrain_steps=60, steps=20, n_exact=8)
KEY = jax.random.key(3)


def test_the_ranking_holds_every_candidate_once_and_no_labelled_row():
    labeled, candidates = np.arange(N) == 2, np.arange(N) > 1
    fitted = fit(KEY, X, CONFIG, labeled=labeled, candidates=candidates)
    assert sorted(fitted.ranking.indices.tolist()) == list(range(3, N))
    gains = np.array(fitted.ranking.scores)
    assert np.all(np.diff(gains[:8]) <= 1e-5)  # gains of a greedy order fall
    assert np.all(np.diff(gains[8:]) <= 0)


@pytest.fixture
def compilations():
    """Return a list that grows with every program that is compiled."""
    found, is_open = [], [True]

    def listen(event, seconds, **_):
        if is_open and event.endswith("backend_compile_duration"):
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    is_open.clear()  # not every version can take a listener off


def n_programs(function):
    return function.n_programs() if isinstance(function, OneOff) else function._cache_size()


def test_a_fit_compiles_each_program_once_and_none_for_another_seed_weight_rate_or_number_of_steps(
    compilations,
):
    x, programs = X[:23], (begin_selection, advance, rank_on_mesh)
    before = [n_programs(program) for program in programs]
    fit(KEY, x, CONFIG)
    after = [n_programs(program) for program in programs]
    assert np.subtract(after, before).tolist() == [1, 2, 1]  # steps of stage 1 and of stage 3
    assert compilations
    weights = {"alpha": 3.0, "eta": 0.5, "temperature": 0.7, "learning_rate": 0.01}
    others = {**weights, "pretrain_steps": 30, "steps": 9}
    key = jax.random.key(9)  # may compile, where many programs since the last key have pushed its own out
    compilations.clear()
    fit(key, x, dataclasses.replace(CONFIG, **others))
    assert compilations == []
    assert [n_programs(program) for program in programs] == after


def test_the_same_key_gives_the_same_picks():
    first = fit(KEY, X, CONFIG)
    again = fit(KEY, X, CONFIG)
    np.testing.assert_array_equal(first.ranking.indices, again.ranking.indices)
    np.testing.assert_array_equal(first.history["train"]["loss"], again.history["train"]["loss"])


def test_history_has_every_term_at_every_step_and_callbacks_see_each_chunk():
    seen = []
    fitted = fit(KEY, X, dataclasses.replace(CONFIG, tolerance=0.0), callbacks=[seen.append])
    assert [(c.stage, c.step, c.n_steps) for c in seen] == [
        ("pretrain", CHUNK, 60),
        ("pretrain", 60, 60),
        ("train", 20, 20),
        ("rank", 0, 1),
        ("rank", 1, 1),
    ]
    assert {len(values) for values in fitted.history["train"].values()} == {20}
    assert set(fitted.history["train"]) > {"reconstruction", "sparsity", "cluster_sparsity", "loss"}
    assert set(fitted.history["pretrain"]) == {"reconstruction", "loss"}


def test_a_stage_stops_when_a_chunk_hardly_improves():
    config = dataclasses.replace(CONFIG, pretrain_steps=400, steps=0, tolerance=0.5)
    assert len(train(KEY, X, config)[1]["pretrain"]["loss"]) == 2 * CHUNK


def test_the_first_term_that_is_not_finite_stops_the_fit_and_is_named():
    config = dataclasses.replace(CONFIG, pretrain_learning_rate=1e30)
    with pytest.raises(ValueError, match=r"reconstruction is .* of the pretrain stage"):
        fit(KEY, X, config)


def test_an_optimiser_that_needs_the_whole_gradient_is_refused_for_c_only():
    def clipped(rate):
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    check_coefficient_optimizer(DualConfig(optimizer=clipped))
    check_coefficient_optimizer(DualConfig(coefficient_optimizer=optax.sgd))
    with pytest.raises(ValueError, match="element-wise"):
        fit(KEY, X, DualConfig(coefficient_optimizer=clipped))


def test_settings_out_of_range_are_refused_before_any_work():
    for change, words in (
        ({"alpha": -1.0}, "alpha=-1.0 is out of range"),
        ({"temperature": 0.0}, "temperature"),
        ({"objective": "paper"}, "choose one of free, simplex"),
        ({"readout": "best"}, "greedy, chain, refine, norms"),
        ({"power": 3.0}, "power"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 3.0}, "n_clusters=3.0 is out of range: it must be an integer"),
        ({"steps": 10.0}, "steps=10.0"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"hidden": [16, 8]}, "a tuple of widths"),
        ({"hidden": (0,)}, "a tuple of widths"),
        ({"moments_dtype": "float16"}, "choose one of float32, bfloat16"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(KEY, X, DualConfig(**change))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, pytest.param({"objective": "free", "coefficient_seeds": (1, 2)}, marks=pytest.mark.slow)],
    ids=["simplex", "free"],
)
def test_devices_change_neither_losses_nor_picks(changes):
    config = dataclasses.replace(CONFIG, **changes)
    one = fit(KEY, X, config)
    three = fit(KEY, X, config, mesh=make_mesh(jax.devices()[:3]))
    np.testing.assert_allclose(three.history["train"]["loss"], one.history["train"]["loss"], rtol=1e-5)
    np.testing.assert_array_equal(three.ranking.indices, one.ranking.indices)


def test_three_stages_run_under_an_outer_jit_as_one_program():
    def picks(x):
        state, _ = train(KEY, x, CONFIG)
        return rank(state, x, CONFIG, 4).indices

    np.testing.assert_array_equal(jax.jit(picks)(jnp.asarray(X)), fit(KEY, X, CONFIG).ranking.indices[:4])


@pytest.mark.slow
def test_a_weight_a_device_by_pmap_and_seeds_side_by_side_inside_by_vmap():
    keys, alphas = jax.random.split(KEY, 2), jnp.array([0.5, 2.0])
    config = DualConfig.paper(
        hidden=(9,), latent_dim=4, pretrain_steps=10, steps=10, coefficient_seeds=None, block_rows=N
    )

    def losses(key, alpha):
        return train(key, X, dataclasses.replace(config, alpha=alpha))[1]["train"]["loss"]

    found = jax.pmap(jax.vmap(losses, (0, None)), in_axes=(None, 0))(keys, alphas)
    alone = [[losses(key, alpha) for key in keys] for alpha in alphas]
    np.testing.assert_allclose(found, alone, rtol=1e-5)  # ten steps of Adam, batched products


@pytest.mark.parametrize(
    ("changes", "masks", "words"),
    [
        ({}, {"labeled": [3]}, r"labeled has shape \(1,\), wanted \(31,\)"),
        ({}, {"candidates": np.zeros(N, bool)}, "no row may be picked"),
        ({"n_clusters": 40}, {}, "n_clusters=40 exceeds the 31 rows"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_the_first_step(changes, masks, words):
    with pytest.raises(ValueError, match=words):
        fit(KEY, X, dataclasses.replace(CONFIG, pretrain_steps=10**9, **changes), **masks)


@pytest.mark.slow
def test_a_pool_of_integers_is_padded_as_one_of_floats():
    x = np.random.default_rng(0).integers(0, 9, size=X.shape)
    spread = fit(KEY, x, CONFIG, mesh=make_mesh(jax.devices()[:3]))
    assert sorted(spread.ranking.indices.tolist()) == list(range(N))


def test_fits_run_side_by_side_over_keys_alone():
    keys = jax.random.split(KEY, 2)
    short = dataclasses.replace(CONFIG, pretrain_steps=3, steps=2)
    losses = jax.vmap(lambda key: train(key, X, short)[1]["train"]["loss"])(keys)
    alone = [train(key, X, short)[1]["train"]["loss"] for key in keys]
    np.testing.assert_allclose(losses, alone, rtol=1e-5)


def test_stages_run_as_one_program_or_in_chunks_with_the_same_states():
    rows, state = Rows(jnp.asarray(X), jnp.ones(N, bool)), init(KEY, X, CONFIG)
    config = dataclasses.replace(CONFIG, tolerance=0.0)

    def stage(state, rows, config):
        return run_stage(stage_step("pretrain", rows, config), state, 70)

    whole = jax.jit(stage, compiler_options=UNOPTIMIZED)  # as a small pool's chunks
    one, values, _ = whole(state, rows, config)
    start = Progress("pretrain", 0, state, np.inf, False, {})
    chunks = run_in_chunks(lambda *at: advance(*at, rows, config, "pretrain", None, None), start, 70)
    np.testing.assert_array_equal(values["loss"], chunks.history["pretrain"]["loss"])
    jax.tree.map(np.testing.assert_array_equal, one, chunks.state)


@pytest.mark.slow
def test_side_by_side_each_fit_stops_for_itself_and_the_rest_of_its_history_is_zero():
    def losses(rate):
        config = dataclasses.replace(
            CONFIG, pretrain_learning_rate=rate, pretrain_steps=150, steps=0, tolerance=0.02
        )
        return train(KEY, X, config)[1]["pretrain"]["loss"]

    rates = jnp.array([1e-5, 1e-2])
    together = np.asarray(jax.vmap(losses)(rates))
    alone = [losses(float(rate)) for rate in rates]
    assert [len(found) for found in alone] == [2 * CHUNK, 150]
    assert (together == 0).sum(axis=1).tolist() == [CHUNK, 0]
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=1e-4)  # 150 steps of Adam, batched


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("of", [np.asarray, jnp.asarray], ids=["NumPy", "JAX"])
def test_a_row_that_is_not_finite_is_an_error_that_names_it(of, bad):
    x = X.copy()
    x[[7, 20]] = bad
    with pytest.raises(ValueError, match=r"row 7 \(from 0\) of x holds NaN or an infinity"):
        fit(KEY, of(x), CONFIG)


@pytest.mark.slow
def test_a_pool_on_the_host_reaches_each_device_as_its_share_alone():
    mesh, shape = make_mesh(jax.devices()[:4]), (8, 6)  # of a share, one row of which may be padding
    found, of_others = [], jax.live_arrays()

    def look(chunk):
        own = [array for array in jax.live_arrays() if not any(array is other for other in of_others)]
        found.extend(array for array in own if array.ndim == 2 and array.shape[1] == 6 and len(array) >= N)
        assert all(array.sharding.shard_shape(array.shape) == shape for array in found), chunk

    config = dataclasses.replace(CONFIG, dictionary_size=9, pretrain_steps=3, steps=2)
    fit(KEY, X, config, mesh=mesh, callbacks=[look])
    assert found
