"""The read-outs on pools small enough to print."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.dual import readout
from dual_jax.dual.readout import Pool, by_norms, chained, greedily, refined, spread_out, with_rest
from dual_jax.numerics.kmeans import kmeans

LINE = jnp.array([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]])


def pool(labeled=()):
    is_labeled = jnp.isin(jnp.arange(6), jnp.array(labeled, int))
    return Pool(LINE, LINE[1::2], jnp.ones(6, bool), is_labeled, ~is_labeled)


def test_norms_of_c_and_p_are_scaled_to_one_and_added():
    c, p = jnp.array([1.0, 3.0, 2.0]), jnp.array([0.0, 0.0, 8.0])
    picks = by_norms(c, p, jnp.arange(3), jnp.ones(3, bool), 3)
    assert picks.indices.tolist() == [2, 1, 0]
    assert picks.scores.tolist() == [1.5, 1.0, 0.0]


def test_norms_scale_over_ranked_rows_alone_and_ignore_unused_places():
    c = jnp.array([9.0, 1.0, 2.0, 50.0])
    is_candidate = jnp.array([False, True, True, True])  # row 0 is labelled, row 3 is outside the dictionary
    picks = by_norms(c, jnp.zeros(4), jnp.array([0, 1, 2, -1]), is_candidate, 3)
    assert picks.indices.tolist() == [2, 1, 3]
    assert picks.scores.tolist() == [1.0, 0.0, 0.0]


def test_the_greedy_read_out_takes_one_row_of_each_group():
    picks = greedily(pool(), 0.5, 3).indices.tolist()
    assert {0.0, 5.0, 9.0} == {round(float(LINE[i, 0])) for i in picks}


def test_labelled_rows_count_as_picked():
    assert set(greedily(pool(labeled=[1, 5]), 0.5, 1).indices.tolist()) <= {3, 4}
    assert set(refined(pool(labeled=[1, 5]), 0.5, 1).indices.tolist()) <= {3, 4}
    assert set(chained(pool(labeled=[1, 5]), 0.5, 1, largest=5).indices.tolist()) <= {3, 4}


@pytest.mark.slow
def test_beyond_its_largest_set_the_greedy_continues_a_chain():
    short, whole = (chained(pool(), 1.0, n, largest=3) for n in (3, 6))
    assert whole.indices.tolist()[:3] == short.indices.tolist()
    rest = greedily(pool(short.indices.tolist()), 1.0, 3)
    assert whole.indices.tolist()[3:] == rest.indices.tolist()


def test_the_rest_follows_by_the_gain_that_each_alone_would_bring():
    start = greedily(pool(), 1.0, 2)
    whole = with_rest(pool(), 1.0, start, 6)
    assert sorted(whole.indices.tolist()) == list(range(6))
    covered = np.abs(LINE - LINE[start.indices].T).min(axis=1)
    gains = np.maximum(covered[:, None] - np.abs(LINE - LINE.T), 0).sum(axis=0)
    np.testing.assert_allclose(whole.scores[2:], gains[whole.indices[2:]], rtol=1e-5, atol=1e-6)  # float32
    assert np.all(np.diff(whole.scores[2:]) <= 0)


def groups(n=240):
    """Six groups, the last of them a thirtieth of the pool, shuffled."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.minimum(np.arange(n) * 30 // n // 5, 5) + (np.arange(n) >= n - n // 30))
    label = np.minimum(label, 5)
    u = jnp.asarray(10.0 * np.eye(6)[label] + rng.normal(size=(n, 6)), jnp.float32)
    clusters = kmeans(jax.random.key(0), u, 6)
    return label, Pool(u, clusters.centroids, jnp.ones(n, bool), jnp.zeros(n, bool), jnp.ones(n, bool))


def test_a_systematic_sample_holds_every_cluster_in_proportion_and_only_open_rows():
    label, whole = groups()
    is_open = jnp.arange(240) % 3 > 0
    drawn = np.asarray(spread_out(whole, is_open, 40))
    assert len(set(drawn.tolist())) == 40
    assert np.all(is_open[drawn])
    shares = np.bincount(label[np.asarray(is_open)], minlength=6) / 160 * 40
    assert np.all(np.abs(np.bincount(label[drawn], minlength=6) - shares) <= 1)  # one step of the sample


def test_when_fewer_rows_are_open_than_wanted_all_of_them_come_first():
    _, whole = groups()
    drawn = np.asarray(spread_out(whole, jnp.arange(240) < 7, 40))
    assert sorted(drawn[:7].tolist()) == list(range(7))
    assert len(set(drawn.tolist())) == 40


@pytest.mark.slow
def test_a_large_pool_is_ranked_from_a_short_list_against_all_targets(monkeypatch):
    for name, value in (("MAX_EXACT", 100), ("PER_PICK", 8), ("MIN_SHORTLIST", 60), ("N_TARGETS", 80)):
        monkeypatch.setattr(readout, name, value)
    label, whole = groups()
    picks = greedily(whole, 0.5, 6)
    assert sorted(label[np.asarray(picks.indices)].tolist()) == list(range(6))
    assert set(picks.indices.tolist()) <= set(spread_out(whole, whole.is_candidate, 60).tolist())
    ranking = with_rest(whole, 0.5, picks, 240)
    assert sorted(ranking.indices.tolist()) == list(range(240))


@pytest.mark.parametrize(
    ("how", "n", "n_select", "expected"),
    [
        ("norms", 200, 50, True),
        ("refine", 50, 2, False),
        ("chain", 50, 2, False),
        ("greedy", 100, 90, True),
        ("greedy", 200, 7, True),
        ("greedy", 200, 8, False),
    ],
)
def test_picks_are_nested_until_the_short_list_of_a_large_pool_grows(how, n, n_select, expected, monkeypatch):
    for name, value in (("MAX_EXACT", 100), ("PER_PICK", 8), ("MIN_SHORTLIST", 60)):
        monkeypatch.setattr(readout, name, value)
    assert readout.is_nested(how, n, n_select) is expected
