"""The chain: halves of halves by swaps, in one order, against slow float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dual_jax.selection.chain import chain
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import coverage, greedy
from dual_jax.selection.swaps import refine

HALF = power_cost(0.5)
N, K, SETS = 160, 21, (21, 10, 5, 2)


def pool(seed=0):
    return np.random.default_rng(seed).normal(size=(N, 3)).astype(np.float32)


def links(u=None, **masks):
    return chain(build_cover(pool() if u is None else u, HALF, **masks), K, pair_first=True)


def dissimilarity(u):
    return cdist(np.float64(u), np.float64(u)) ** 0.5


def best_swap(d, inside, candidates):
    """F of the best set that differs from ``inside`` by one candidate."""
    sets = [[*inside[:i], c, *inside[i + 1 :]] for i in range(len(inside)) for c in candidates]
    return min(d[:, chosen].min(1).sum() for chosen in sets)


def test_the_first_half_of_four_picks_are_the_middles_of_two_groups():
    u = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [10.0]])
    picks = chain(build_cover(u, power_cost(1.0)), 4).indices.tolist()
    assert set(picks[:2]) == {1, 4}
    assert len(set(picks)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_no_swap_with_a_member_of_the_next_larger_set_lowers_the_objective(seed):
    d, picks = dissimilarity(pool(seed)), links(pool(seed)).indices.tolist()
    for size, larger in zip(SETS, (N, *SETS), strict=False):
        others = range(N) if larger == N else picks[:larger]
        here = d[:, picks[:size]].min(1).sum()
        assert here <= best_swap(d, picks[:size], set(others) - {*picks[:size]}) * (1 + 2e-6)  # TIE, float32


@pytest.mark.slow
def test_within_a_set_members_come_in_the_order_of_the_greedy():
    d, picks = dissimilarity(pool()), links().indices.tolist()
    for start, end in zip((0, *SETS[::-1]), SETS[::-1], strict=False):
        for place in range(start, end):
            here = [d[:, [*picks[:place], other]].min(1).sum() for other in picks[place:end]]
            assert here[0] <= min(here) * (1 + 2e-6)  # the tie rule's, in float32


def test_scores_are_what_each_pick_lowers_the_objective_by():
    picks = links()
    curve = coverage(build_cover(pool(), HALF), picks.indices)
    np.testing.assert_allclose(picks.scores[1:], -np.diff(curve), rtol=1e-3)  # differences of long sums


@pytest.mark.slow
def test_the_largest_set_is_that_of_swaps_and_smaller_ones_cover_nearly_as_well_as_theirs():
    cover = build_cover(pool(), HALF)
    first = greedy(cover, K, pair_first=True).indices
    chained = coverage(cover, links().indices)
    whole = refine(cover, first).indices
    assert sorted(links().indices.tolist()) == sorted(whole.tolist())
    for size in SETS[1:]:
        swapped = coverage(cover, refine(cover, first[:size]).indices)[-1]
        assert chained[size - 1] < 1.05 * swapped  # of these 160 rows only 21 are members


def test_labelled_and_forbidden_rows_are_never_picked_and_labels_cover():
    labeled, candidates = np.arange(N) < 20, np.arange(N) < 90
    picks = links(labeled=labeled, candidates=candidates).indices.tolist()
    assert set(picks) <= set(range(20, 90))
    assert len(set(picks)) == K
    near_labels = np.concatenate([pool()[:20], pool()[:20] + 1e-3, 9.0 + pool()[:120]])
    first = links(near_labels, labeled=labeled).indices.tolist()[:2]
    assert all(row >= 40 for row in first)


def test_a_chain_of_all_candidates_is_an_order_of_them():
    picks = links(candidates=np.arange(N) < K).indices.tolist()
    assert sorted(picks) == list(range(K))


@pytest.mark.slow
def test_rows_of_weight_zero_change_nothing():
    padded = np.concatenate([pool(), np.full((32, 3), 5.0, np.float32)])
    is_row = np.arange(N + 32) < N
    picks = links(padded, candidates=is_row, weights=is_row.astype(np.float32)).indices
    assert picks.tolist() == links().indices.tolist()


def test_a_short_list_is_all_that_is_picked_from():
    shortlist = np.random.default_rng(1).permutation(N)[:50]
    picks = links(shortlist=shortlist).indices.tolist()
    assert picks == links(candidates=np.isin(np.arange(N), shortlist)).indices.tolist()


def test_equal_rows_come_after_all_that_differ():
    picks = links(pool()[np.arange(N) % 15]).indices.tolist()
    assert sorted(row % 15 for row in picks[:15]) == list(range(15))


@pytest.mark.slow
def test_neither_block_size_nor_number_of_devices_changes_the_picks():
    expected = links().indices.tolist()
    assert chain(build_cover(pool(), HALF), K, pair_first=True, block_size=128).indices.tolist() == expected
    share = jax.pmap(lambda u: links(u, axis_name="devices"), axis_name="devices")
    assert share(np.stack([pool()] * 2)).indices.tolist() == [expected] * 2


@pytest.mark.parametrize(
    "n_select", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 3]
)
def test_few_picks_are_those_of_swaps_as_a_set(n_select):
    cover = build_cover(pool(), HALF)
    picks = chain(cover, n_select, pair_first=True).indices.tolist()
    swapped = refine(cover, greedy(cover, n_select, pair_first=True).indices).indices.tolist()
    assert sorted(picks) == sorted(swapped)


def test_too_many_picks_are_refused():
    with pytest.raises(ValueError, match="n_select is 161, wanted 1 to 160"):
        chain(build_cover(pool(), HALF), N + 1)
