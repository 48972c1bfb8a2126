"""The read-outs on pools small enough to print."""

import jax.numpy as jnp
import numpy as np

from dual_jax.readout import Pool, by_norms, greedily, refined, with_rest

LINE = jnp.array([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]])


def pool(labeled=()):
    is_labeled = jnp.isin(jnp.arange(6), jnp.array(labeled, int))
    return Pool(LINE, jnp.ones(6, bool), is_labeled, ~is_labeled)


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


def test_the_rest_follows_by_the_gain_that_each_alone_would_bring():
    start = greedily(pool(), 1.0, 2)
    whole = with_rest(pool(), 1.0, start, 6)
    assert sorted(whole.indices.tolist()) == list(range(6))
    covered = np.abs(LINE - LINE[start.indices].T).min(axis=1)
    gains = np.maximum(covered[:, None] - np.abs(LINE - LINE.T), 0).sum(axis=0)
    np.testing.assert_allclose(whole.scores[2:], gains[whole.indices[2:]], rtol=1e-5, atol=1e-6)  # float32
    assert np.all(np.diff(whole.scores[2:]) <= 0)
