"""k-center against brute force: the 2-approximation, its order, labels and duplicates."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.methods.coverage.kcenter import spread_rest

kcenter = METHODS["kcenter"]
KEY = jax.random.key(0)
LINE = jnp.array([[0.0], [1.0], [2.0], [9.0], [10.0], [4.0]])


def distances(x):
    x = np.asarray(x, np.float64)
    return np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))


def best_radius(d, n_select):
    """The smallest cover radius of any columns as centres."""
    sets = itertools.combinations(range(d.shape[1]), n_select)
    return min(d[:, list(chosen)].min(1).max() for chosen in sets)


def test_on_a_line_the_picks_start_in_the_middle_and_go_to_the_ends():
    picks = kcenter(KEY, LINE, 4)

    assert picks.indices.tolist() == [5, 4, 0, 2]
    # Twice the largest distance to the mean 26 / 6, then the distance to the nearest pick.
    assert picks.scores.tolist() == pytest.approx([2 * 17 / 3, 6.0, 4.0, 2.0], rel=1e-6)  # float32


@pytest.mark.parametrize("seed", range(6))
def test_the_cover_radius_is_at_most_twice_the_best(seed):
    x = np.random.default_rng(seed).normal(size=(12, 2)).astype(np.float32)
    d = distances(x)

    indices = np.asarray(kcenter(KEY, x, 3).indices)

    assert d[:, indices].min(1).max() <= 2 * best_radius(d, 3)


def test_each_pick_is_the_farthest_row_from_labelled_rows_and_earlier_picks():
    x = np.random.default_rng(9).normal(size=(24, 4)).astype(np.float32)
    d, labeled = distances(x), np.isin(np.arange(24), [3, 8, 9])

    picks = kcenter(KEY, x, 7, labeled=labeled)

    done = [3, 8, 9]
    for index, score in zip(picks.indices.tolist(), picks.scores.tolist(), strict=True):
        closest = d[:, done].min(1)
        assert index == closest.argmax()
        assert score == pytest.approx(closest.max(), rel=1e-5)  # float32 sums of four squares
        done.append(index)


def test_duplicates_come_after_all_distinct_rows_with_score_zero():
    x = jnp.array([[0.1], [5.3], [0.1], [0.1], [7.7], [5.3]])

    picks = kcenter(KEY, x, 6)

    assert set(picks.indices[:3].tolist()) == {0, 1, 4}
    assert picks.indices[3:].tolist() == [2, 3, 5]
    assert picks.scores[3:].tolist() == [0.0, 0.0, 0.0]


def test_a_forbidden_outlier_stays_within_three_times_the_best_radius():
    x = np.array([[0.0], [1.0], [2.0], [3.0], [30.0]], np.float32)
    d, candidates = distances(x), np.array([True, True, True, True, False])

    indices = np.asarray(kcenter(KEY, x, 2, candidates=candidates).indices)

    assert 4 not in indices
    assert d[:, indices].min(1).max() <= 3 * best_radius(d[:, :4], 2)


def test_spread_rest_keeps_the_first_picks_and_continues_from_them():
    indices = spread_rest(LINE, jnp.array([0, 1, 2]), jnp.array(1), jnp.zeros(6, bool), jnp.ones(6, bool))

    assert indices.tolist() == [0, 4, 5]
