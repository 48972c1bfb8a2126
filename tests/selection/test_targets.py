"""Swaps on a weighted subsample of the targets."""

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.numerics.draws import even_rows
from dual_jax.selection import swaps, targets
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import coverage, greedy
from dual_jax.selection.targets import number_of_targets, targets_of

HALF, N = power_cost(0.5), 600


def pool(seed=0):
    rng = np.random.default_rng(seed)
    return (4.0 * rng.normal(size=(12, 4))[rng.integers(12, size=N)] + rng.normal(size=(N, 4))).astype(
        np.float32
    )


def objective(cover, picks):
    return float(coverage(cover, picks)[-1])


def test_each_target_has_the_weight_of_the_rows_that_it_is_nearest_to():
    u, weights = pool(), np.random.default_rng(1).integers(0, 3, N).astype(np.float32)
    few = targets_of(build_cover(u, HALF, weights=weights), 40)
    assert few.rows.tolist() == even_rows(jnp.asarray(weights > 0), 40).tolist()
    nearest = ((u[:, None] - u[few.rows]) ** 2).sum(-1).argmin(1)
    assert few.weights.tolist() == np.bincount(nearest, weights, minlength=40).tolist()


def test_where_fewer_rows_count_than_are_wanted_their_weights_add_up_all_the_same():
    weights = (np.arange(N) < 25).astype(np.float32)
    few = targets_of(build_cover(pool(), HALF, weights=weights), 40)
    assert float(few.weights.sum()) == 25


@pytest.mark.slow
@pytest.mark.parametrize("start", ["greedy", "random"])
def test_swaps_on_a_fifth_of_the_rows_end_within_half_a_per_cent_of_swaps_on_all(start):
    cover = build_cover(pool(), HALF)
    first = greedy(cover, 8).indices if start == "greedy" else jnp.arange(8)
    full, few = (swaps.refine(cover, first, n_targets=size).indices for size in (N, N // 5))
    assert objective(cover, few) <= 1.005 * objective(cover, full)


def test_swaps_on_a_handful_of_rows_that_cover_worse_are_undone():
    cover = build_cover(pool(), HALF)
    best = swaps.refine(cover, greedy(cover, 8).indices).indices
    assert sorted(swaps.refine(cover, best, n_targets=9).indices.tolist()) == sorted(best.tolist())


def test_labelled_rows_cover_the_targets_of_the_subsample():
    labeled = np.arange(N) % 2 == 0
    few = targets_of(build_cover(pool(), HALF, labeled=labeled), 40)
    distances = np.linalg.norm(pool()[few.rows][:, None] - pool()[labeled], axis=2).min(1) ** 0.5
    np.testing.assert_allclose(few.labelled_cost, distances, rtol=1e-4, atol=1e-6)  # by the Gram trick


@pytest.mark.slow
def test_above_twenty_thousand_rows_a_subsample_is_the_default(monkeypatch):
    assert number_of_targets(20_001, 5) < 20_001
    monkeypatch.setattr(targets, "MOST_TARGETS", 100)
    monkeypatch.setattr(targets, "MIN_TARGETS", 60)
    cover = build_cover(pool(), HALF)
    first = greedy(cover, 3).indices
    by_default, asked = swaps.refine(cover, first), swaps.refine(cover, first, n_targets=60)
    assert by_default.indices.tolist() == asked.indices.tolist()
