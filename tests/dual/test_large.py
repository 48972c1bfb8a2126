"""Pools with more rows than C rebuilds and a step of stage 1 sees: all of them are ranked all the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.devices.mesh import shard_rows
from dual_jax.dual.fitting import drawn_targets, fit, train
from dual_jax.dual.ranking import norms_on
from dual_jax.dual.stages import Rows, _batch
from dual_jax.dual.state import started
from dual_jax.numerics.tiles import Tiles

KEY, N = jax.random.key(0), 101
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
CONFIG = dj.DualConfig(n_targets=40, batch_rows=30, pretrain_steps=8, steps=4, tolerance=0.0, n_exact=10)


@pytest.fixture(scope="module")
def fitted():
    labeled, candidates = np.isin(np.arange(N), [3, 50]), np.arange(N) < 90
    return fit(KEY, X, CONFIG, labeled=labeled, candidates=candidates)


def test_some_rows_are_rebuilt_and_all_candidates_are_ranked(fitted):
    fixed = started(fitted.state)
    assert sum(len(block) for block in fitted.state.params.C) == 40
    assert len(set(fixed.targets.tolist())) == 40
    assert set(fixed.dictionary.tolist()) - {-1} <= set(fixed.targets.tolist())
    assert sorted(fitted.ranking.indices.tolist()) == sorted(set(range(90)) - {3, 50})


@pytest.mark.slow
def test_with_all_rows_in_one_batch_nothing_changes():
    whole = dataclasses.replace(CONFIG, n_targets=10 * N, batch_rows=None)
    bounded = dataclasses.replace(CONFIG, n_targets=N, batch_rows=N)
    picks = [fit(KEY, X, config).ranking.indices.tolist() for config in (whole, bounded)]
    assert picks[0] == picks[1]


def test_an_epoch_sees_every_row_once():
    pool = Rows(jnp.asarray(X), jnp.ones(N, bool))
    batches = [_batch(pool, jnp.int32(step), 4, Tiles()) for step in range(5, 9)]
    seen = np.concatenate([np.asarray(batch.x)[np.asarray(batch.is_row)] for batch in batches])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, X.tolist()))


def test_a_batch_takes_as_many_rows_of_each_tile_and_the_same_on_any_devices():
    pool = Rows(jnp.asarray(X[:96]), jnp.ones(96, bool))
    batch = _batch(pool, jnp.int32(2), 5, Tiles(4))
    own = [
        _batch(Rows(pool.x[i : i + 24], pool.is_row[:24]), jnp.int32(2 - i), 5, Tiles())
        for i in (0, 24, 48, 72)
    ]
    np.testing.assert_array_equal(batch.x, np.concatenate([one.x for one in own]))
    places = [np.flatnonzero((np.asarray(X[:96]) == row).all(axis=1)) for row in batch.x[batch.is_row]]
    assert np.ravel(places).tolist() == list(range(2, 96, 5))


@pytest.mark.slow
def test_devices_change_neither_losses_nor_picks():
    alone = fit(KEY, X, CONFIG)
    spread = fit(KEY, X, CONFIG, mesh=dj.make_mesh(jax.devices()[:2]))
    for stage in ("pretrain", "train"):  # 12 steps of Adam on sums in another order
        np.testing.assert_allclose(spread.history[stage]["loss"], alone.history[stage]["loss"], rtol=1e-4)
    assert spread.ranking.indices[:10].tolist() == alone.ranking.indices[:10].tolist()


@pytest.mark.parametrize("n_usable", [1, 5, 60])
def test_rows_that_may_be_picked_are_among_the_targets_however_few_they_are(n_usable):
    is_usable = np.arange(N) >= N - n_usable
    rows = np.asarray(drawn_targets(KEY, jnp.asarray(is_usable), 40))
    assert len(set(rows.tolist())) == 40
    assert is_usable[rows].sum() >= min(n_usable, 20)
    assert (np.diff(rows) > 0).all()


@pytest.mark.slow
def test_the_estimator_explains_continues_keeps_and_weighs_such_a_fit(tmp_path):
    selector = dj.DUALSelector(5, config=CONFIG).fit(X, labeled=[7])
    selector.save(tmp_path / "fit.npz")
    again = dj.load(tmp_path / "fit.npz")
    assert len(selector.select(60)) == 60
    assert again.select(60).tolist() == selector.select(60).tolist()
    assert again.explain().n_represented.sum() <= N
    norms = selector.row_norms()
    np.testing.assert_allclose(again.row_norms()["C"], norms["C"], rtol=1e-6)
    assert (norms["C"] > 0).all()


@pytest.mark.slow
def test_it_runs_under_an_outer_jit():
    picks = jax.jit(lambda x: dj.rank(train(KEY, x, CONFIG)[0], x, CONFIG, 5).indices)(X)
    assert picks.tolist() == fit(KEY, X, CONFIG).ranking.indices[:5].tolist()


@pytest.mark.slow
def test_norms_and_short_lists_are_the_same_on_devices_that_need_padding(monkeypatch):
    monkeypatch.setattr("dual_jax.dual.readout.MAX_EXACT", 30)
    monkeypatch.setattr("dual_jax.dual.readout.MIN_SHORTLIST", 20)
    x = np.random.default_rng(1).normal(size=(43, 3)).astype(np.float32)
    config = dataclasses.replace(CONFIG, n_targets=41, batch_rows=43, n_clusters=6, n_exact=2)
    mesh = dj.make_mesh(jax.devices()[:4])  # 44 rows, 44 targets, 8 clusters with their padding
    alone, spread = fit(KEY, x, config), fit(KEY, x, config, mesh=mesh)
    assert spread.ranking.indices.tolist() == alone.ranking.indices.tolist()
    of_one, of_four = (
        norms_on(alone.state, jnp.asarray(x), config, None),
        norms_on(spread.state, shard_rows(x, mesh), config, mesh),
    )
    np.testing.assert_allclose(of_four.C, of_one.C, rtol=1e-4)
