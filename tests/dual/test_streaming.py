"""A pool that passes by in pieces gives the picks of one that memory holds, and no row is out of reach."""

import jax
import numpy as np
import pandas as pd
import pytest

import dual_jax as dj
from dual_jax.data.tables import map_pool
from dual_jax.dual import streaming
from dual_jax.numerics.scaling import apply

KEY, N = jax.random.key(0), 101
X = np.random.default_rng(0).normal(size=(N, 5)) * [1, 2, 3, 4, 5]
CONFIG = dj.DualConfig(pretrain_steps=8, steps=4, tolerance=0.0, n_exact=10)


@pytest.fixture
def small(monkeypatch):
    """Let 40 rows train, 30 be covered and 12 be short-listed, seven at a time in memory."""
    for name, value in (("SAMPLE", 40), ("N_RANKED", 30), ("PIECE", 35)):
        monkeypatch.setattr(streaming, name, value)
    monkeypatch.setattr(streaming.readout, "MIN_SHORTLIST", 12)
    monkeypatch.setattr(streaming.readout, "PER_PICK", 2)


@pytest.mark.slow
@pytest.mark.parametrize("readout", ["greedy", "refine"])
def test_where_memory_holds_the_pool_the_picks_are_those_of_a_fit(readout, monkeypatch):
    monkeypatch.setattr(streaming, "PIECE", 35)
    config = dj.DualConfig(pretrain_steps=8, steps=4, tolerance=0.0, n_exact=10, readout=readout)

    found = dj.stream(KEY, X, 10, config)

    whole = dj.fit(jax.random.split(KEY)[1], apply(found.scaler, X), config)
    assert found.picks.indices.tolist() == whole.ranking.indices[:10].tolist()
    np.testing.assert_allclose(found.picks.scores, whole.ranking.scores[:10], rtol=1e-4)  # sums of 101 roots


def test_a_file_on_disk_gives_the_picks_of_an_array(small, tmp_path):
    np.save(tmp_path / "pool.npy", X)
    on_disk = np.load(tmp_path / "pool.npy", mmap_mode="r")
    picks = [dj.stream(KEY, x, 6, CONFIG).picks for x in (X, on_disk)]
    assert picks[0].indices.tolist() == picks[1].indices.tolist()


def test_row_groups_of_a_parquet_file_give_the_picks_of_an_array(small, tmp_path):
    path = tmp_path / "pool.parquet"
    frame = pd.DataFrame(X).rename(columns=str).assign(label="a", name=[f"{i:03}" for i in range(N)])
    frame.to_parquet(path, row_group_size=17)
    pool = map_pool(path, "name", exclude=["label"])
    picks = [dj.stream(KEY, x, 6, CONFIG).picks for x in (X, pool.x)]
    assert picks[0].indices.tolist() == picks[1].indices.tolist()
    rows = np.array([0, 16, 17, 50, 100])
    np.testing.assert_array_equal(pool.x[rows], X[rows])
    assert pool.dropped == {"label": "excluded", "name": "the id column"}
    assert pool.ids[rows].tolist() == ["000", "016", "017", "050", "100"]
    with pytest.raises(ValueError, match="repeats 'a'"):
        map_pool(path, "label")
    with pytest.raises(ValueError, match="has no column 'key'"):
        map_pool(path, "key")


def test_rows_that_did_not_train_are_picked_and_labelled_or_forbidden_ones_never(small):
    labeled, candidates = [3, 50, 51], np.arange(N) < 90
    found = dj.stream(KEY, X, 6, CONFIG, labeled=labeled, candidates=candidates)
    picks = set(found.picks.indices.tolist())
    assert len(picks) == 6
    assert picks <= set(range(90)) - set(labeled)
    assert picks - set(found.sample.tolist())
    assert len(found.sample) == 40


@pytest.mark.slow
def test_where_few_rows_are_open_they_are_in_the_sample(small):
    labeled = np.arange(N) >= 3
    for seed in range(4):
        found = dj.stream(jax.random.key(seed), X, 3, CONFIG, labeled=labeled)
        assert sorted(found.picks.indices.tolist()) == [0, 1, 2]
        assert set(found.sample.tolist()) & {0, 1, 2}
        assert len(found.sample) == 40


def test_each_well_separated_group_gets_a_pick_though_few_rows_are_ranked(small):
    x = X / 100 + 10 * np.repeat(np.eye(5), [21, 20, 20, 20, 20], axis=0)
    picks = dj.stream(KEY, x, 5, CONFIG).picks.indices
    assert sorted(np.repeat(np.arange(5), [21, 20, 20, 20, 20])[picks]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("cell", [np.nan, np.inf, 1e39])
def test_a_cell_that_is_no_finite_number_is_refused_before_any_work(cell, small):
    x = X.copy()
    x[77, 2] = cell
    with pytest.raises(ValueError, match="row 77"):
        dj.stream(KEY, x, 5, CONFIG)


@pytest.mark.parametrize("x", [X[:, 0], X[:, :1], X[:1], X.astype(str), X.astype(complex)])
def test_what_is_no_table_of_numbers_is_refused(x):
    with pytest.raises(ValueError, match="cannot be streamed"):
        dj.stream(KEY, x, 5, CONFIG)


def test_a_ranking_by_norms_is_refused():
    with pytest.raises(ValueError, match="every row of the pool"):
        dj.stream(KEY, X, 5, dj.DualConfig.paper())


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_an_infinity_in_halves_on_disk_is_named_before_any_work(dtype, tmp_path):
    x = X.astype(dtype)
    x[7, 2] = np.inf
    np.save(tmp_path / "pool.npy", x)
    with pytest.raises(ValueError, match=r"row 7 \(from 0\) of the pool holds NaN, an infinity"):
        dj.stream(KEY, map_pool(tmp_path / "pool.npy").x, 6, CONFIG)


def test_halves_on_disk_give_the_picks_of_the_same_numbers_in_float32(small, tmp_path):
    np.save(tmp_path / "pool.npy", X.astype(np.float16))
    pool = map_pool(tmp_path / "pool.npy")
    picks = [dj.stream(KEY, x, 6, CONFIG).picks for x in (pool.x, X.astype(np.float16).astype(np.float32))]
    assert picks[0].indices.tolist() == picks[1].indices.tolist()
