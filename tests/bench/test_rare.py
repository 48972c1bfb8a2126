"""Distances along graphs and the greedy on them, and pools with a long tail."""

import jax.numpy as jnp
import numpy as np
from sklearn.metrics import pairwise_distances

from bench import distances, long_tails, rare
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import greedy


def test_the_greedy_on_a_matrix_picks_what_the_greedy_on_rows_picks():
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    on_rows = greedy(build_cover(jnp.asarray(x), power_cost(0.5)), 8, pair_first=True)
    assert distances.greedy(rare.root(x), 8).tolist() == on_rows.indices.tolist()


def test_every_second_pick_may_be_the_middle_of_the_farthest_region():
    x = np.concatenate([np.linspace(0, 1, 80), np.linspace(9, 9.1, 12)])[:, None]
    away = pairwise_distances(x)
    near_only = distances.greedy(away, 2, np.where(x[:, 0] > 5, 0.0, 1.0))
    assert (x[near_only] < 5).all()
    third = distances.greedy(away, 3, np.where(x[:, 0] > 5, 0.0, 1.0), far=3)[2]
    assert x[third] > 5


def test_geodesics_go_along_a_ring_and_reach_every_row():
    turn = np.linspace(0, 2 * np.pi, 101)[:100]
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    lengths = distances.geodesics(np.concatenate([ring, ring[:20] + 50]))
    assert abs(lengths[0, 50] - np.pi) < 0.05
    assert np.isfinite(lengths).all()


def test_spreading_brings_rows_of_one_part_together():
    x = np.random.default_rng(0).normal(size=(40, 2)) + np.repeat([0, 30], 20)[:, None]
    away = distances.by_spreading(distances.weighted(x))
    assert away[:20, :20].max() < away[:20, 20:].min()


def test_classes_of_a_long_tail_shrink_evenly_and_the_test_set_is_even():
    data = long_tails.long_tail("digits", 0)
    sizes = np.sort(np.bincount(data.y))[::-1]
    ratios = sizes[:-1] / sizes[1:]
    assert (sizes[0], sizes[-1]) == (120, 5)
    assert abs(np.log(ratios) - np.log(24) / 9).max() < 0.15
    assert set(np.bincount(data.y_test)) == {50}


def test_unequal_prototypes_keep_more_of_their_sizes():
    scores = np.repeat([[1.0, 0.6], [0.6, 1.0]], [9, 1], axis=0)
    even, uneven = long_tails.agreement.balanced_assignment(scores), long_tails.uneven_assignment(scores)
    assert even[:, 0].sum() + 0.5 < uneven[:, 0].sum() < 9.5
