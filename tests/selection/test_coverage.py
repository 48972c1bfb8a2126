"""The greedy cover and its swaps, against slow float64 NumPy."""

import itertools
import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dual_jax.numerics.draws import even_rows
from dual_jax.selection import coverage as module
from dual_jax.selection import swaps
from dual_jax.selection.cover import build_cover, power_cost

HALF = power_cost(0.5)
N, Q, K = 240, 12, 60


def greedy(u, n_select, cost, *, pair_first=False, block_size=32, **masks):
    return module.greedy(
        build_cover(u, cost, **masks), n_select, pair_first=pair_first, block_size=block_size
    )


def refine(u, indices, cost, *, max_sweeps=10, **masks):
    return swaps.refine(build_cover(u, cost, **masks), indices, max_sweeps=max_sweeps)


def coverage(u, indices, cost, **masks):
    return module.coverage(build_cover(u, cost, **masks), indices)


def pool(seed=0, n=N, q=Q):
    return np.random.default_rng(seed).normal(size=(n, q)).astype(np.float32)


def rbf(squared, scale):
    return 1.0 - jnp.exp(-squared / scale)


RBF = jax.tree_util.Partial(rbf, scale=np.float32(12.0))


def out_of_reach(squared):
    return (squared >= 14.0).astype(jnp.float32)


def dissimilarity(u, cost=lambda s: s**0.25):
    u = np.asarray(u, np.float64)
    return cost(cdist(u, u, "sqeuclidean"))


def all_gains(d, covered, weights):
    """Gains of all rows; minus the objective when nothing is covered yet."""
    if np.isinf(covered).all():
        return -(weights @ d)
    return weights @ np.maximum(covered[:, None] - d, 0.0)


def slow_greedy(d, n_select, labeled=None, weights=None):
    """Recompute every gain at every pick."""
    n = len(d)
    labeled = np.zeros(n, bool) if labeled is None else labeled
    weights = np.ones(n) if weights is None else weights
    covered, is_open, picks = d[:, labeled].min(1, initial=np.inf), ~labeled, []
    for _ in range(n_select):
        gains = np.where(is_open, all_gains(d, covered, weights), -np.inf)
        picks.append(int(np.argmax(gains >= gains.max() - 1e-6 * abs(gains.max()))))
        is_open[picks[-1]] = False
        covered = np.minimum(covered, d[:, picks[-1]])
    return picks


def slow_swaps(d, picks):
    """Plain PAM: the best of all swaps, until none helps."""
    picks = np.array(picks)
    while True:
        rest = [d[:, np.delete(picks, place)].min(1, initial=np.inf) for place in range(len(picks))]
        objectives = np.array([np.minimum(without[:, None], d).sum(0) for without in rest])
        if objectives.min() >= d[:, picks].min(1).sum() - 1e-9:
            return picks
        place, candidate = np.unravel_index(objectives.argmin(), objectives.shape)
        picks[place] = candidate


def test_greedy_picks_the_centre_of_each_group():
    u = jnp.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    picks = greedy(u, 2, power_cost(1.0))
    assert picks.indices.tolist() == [2, 4]
    # The pool's diameter around its mean of 6 is 12: 6 * 12 - 30 = 42; then 30 falls to 5.
    np.testing.assert_allclose(picks.scores, [42.0, 25.0], rtol=1e-6)


def test_the_first_200_picks_equal_those_of_float64():
    u = pool(1, 600, 24)
    picks = greedy(u, 200, HALF)
    assert picks.indices.tolist() == slow_greedy(dissimilarity(u), 200)


@pytest.mark.parametrize("n", [N, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["spread", "plane", "tight", "shifted"])
def test_each_gain_is_that_of_float64_and_the_best_there_is(name, n):
    u = {
        "spread": pool(2, n),
        "plane": pool(2, n) * ([1.0] * 2 + [0.0] * 10),
        "tight": 3.0 * pool(3, n)[np.arange(n) % 10] + 1e-3 * pool(4, n),
        "shifted": pool(2, n) + 30.0,
    }[name].astype(np.float32)
    picks, d = greedy(u, K, HALF), dissimilarity(u)
    from_mean = np.sqrt(((u - u.mean(0, dtype=np.float64)) ** 2).sum(1))
    covered, is_open = np.full(n, (2 * from_mean.max()) ** 0.5), np.ones(n, bool)  # the first gain's start
    for pick, score in zip(*map(np.asarray, picks), strict=True):
        gains = all_gains(d, covered, np.ones(n))
        assert score == pytest.approx(gains[pick], rel=1e-6)
        assert gains[pick] >= gains[is_open].max() * (1 - 1e-6)  # the tie rule's
        is_open[pick], covered = False, np.minimum(covered, d[:, pick])


@pytest.mark.parametrize("seed", range(5))
def test_the_first_pair_is_such_that_neither_has_a_better_partner(seed):
    u = pool(seed, 40, 3)
    d, picks = dissimilarity(u), greedy(u, 6, HALF, pair_first=True)
    first, second = picks.indices[:2].tolist()
    together = np.minimum(d[:, :, None], d[:, None, :]).sum(axis=0)  # F of every pair
    assert together[first, second] == pytest.approx(
        min(together[first].min(), together[second].min()), rel=1e-6
    )
    plain = greedy(u, 2, HALF).indices
    assert together[first, second] <= together[plain[0], plain[1]] * (1 + 1e-6)
    assert d[:, first].sum() <= d[:, second].sum() * (1 + 1e-6)
    is_known = jnp.zeros(len(u), bool).at[picks.indices[:2]].set(True)
    assert picks.indices[2:].tolist() == greedy(u, 4, HALF, labeled=is_known).indices.tolist()


def test_a_pair_of_groups_gets_one_pick_each_where_the_best_single_row_lies_between():
    u = np.concatenate([np.linspace(-6, -4, 9), [0.0], np.linspace(4, 6, 9)])[:, None]
    assert greedy(u, 1, power_cost(1.0)).indices.tolist() == [9]
    assert np.sign(u[greedy(u, 2, power_cost(1.0)).indices, 0]).tolist() == [0, -1]
    assert {*np.sign(u[greedy(u, 2, power_cost(1.0), pair_first=True).indices, 0])} == {-1, 1}


def test_a_first_pair_is_sought_only_where_two_rows_are_open_and_none_is_labelled():
    u, one = pool(1, 40, 3), jnp.arange(40) == 7
    assert greedy(u, 1, HALF, pair_first=True, candidates=one).indices.tolist() == [7]
    for masks in ({"labeled": one}, {"labeled": one, "candidates": jnp.arange(40) > 20}):
        picks = [greedy(u, 5, HALF, pair_first=pair, **masks).indices.tolist() for pair in (True, False)]
        assert picks[0] == picks[1]
    equal = np.zeros((4, 3), np.float32)
    assert greedy(equal, 4, HALF, pair_first=True).indices.tolist() == [0, 1, 2, 3]


def test_the_first_pair_of_a_large_pool_is_sought_among_rows_from_all_over(monkeypatch):
    monkeypatch.setattr(module, "PAIRED", 16)
    is_open = jnp.arange(300) % 3 > 0
    drawn = even_rows(is_open, 16).tolist()
    assert len(set(drawn)) == 16
    assert all(is_open[row] for row in drawn)
    assert np.ptp(np.diff(drawn)) <= 2  # even
    picks = greedy(pool(1, 300, 4), 5, HALF, candidates=is_open, pair_first=True).indices.tolist()
    assert {*picks[:2]} <= {*drawn}


@pytest.mark.parametrize("block_size", [pytest.param(1, marks=pytest.mark.slow), 160])
def test_block_size_changes_neither_picks_nor_scores(block_size):
    expected, picks = greedy(pool(), K, HALF), greedy(pool(), K, HALF, block_size=block_size)
    assert picks.indices.tolist() == expected.indices.tolist()
    # Rounding of a matrix product may depend on its shape; the scores do not use one.
    np.testing.assert_array_equal(picks.scores, expected.scores)


def test_equal_rows_are_one_until_all_is_covered_and_then_come_in_order():
    u = pool()[np.arange(N) % 20]
    picks = greedy(u, K, HALF)
    assert sorted(picks.indices[:20].tolist()) == list(range(20))
    assert picks.indices[20:].tolist() == list(range(20, K))
    assert not picks.scores[20:].any()


def test_ties_beyond_the_short_list_go_to_the_lowest_position():
    signs = np.array(list(itertools.product([-0.5, 0.5], repeat=8)))
    halves = signs[signs.sum(1) % 2 == 0]
    pairs = [
        a * np.eye(8)[i] + b * np.eye(8)[j]
        for i in range(8)
        for j in range(i)
        for a in (-1, 1)
        for b in (-1, 1)
    ]
    roots = np.concatenate([halves, pairs]) @ np.eye(8, Q)  # the 240 roots of E8: no row differs from another
    picks = greedy(roots, K, HALF)
    assert picks.indices.tolist() == slow_greedy(dissimilarity(roots), K)


@pytest.mark.parametrize(
    ("cost", "slow"),
    [
        (RBF, lambda s: 1 - np.exp(-s / 12)),
        (out_of_reach, lambda s: (s >= 14.0) * 1.0),
    ],
    ids=["facility location", "ProbCover"],
)
def test_any_cost_of_the_squared_distance_will_do(cost, slow):
    assert greedy(pool(5), K, cost).indices.tolist() == slow_greedy(dissimilarity(pool(5), slow), K)


def test_labelled_rows_cover_from_the_start_and_are_never_returned():
    labeled = np.random.default_rng(0).random(N) < 0.2
    picks = greedy(pool(), K, HALF, labeled=labeled)
    assert picks.indices.tolist() == slow_greedy(dissimilarity(pool()), K, labeled)


def test_the_greedy_continues_from_its_own_picks_as_labels():
    whole = greedy(pool(), K, HALF)
    labeled = np.isin(np.arange(N), whole.indices[:20])
    rest = greedy(pool(), K, HALF, labeled=labeled)
    assert rest.indices[:40].tolist() == whole.indices[20:].tolist()
    np.testing.assert_allclose(rest.scores[:40], whole.scores[20:], rtol=1e-6)  # one float32 sum


def test_only_candidates_are_returned_even_when_they_are_few():
    candidates = np.arange(N) < K
    picks = greedy(pool(), K, HALF, candidates=candidates)
    assert sorted(picks.indices.tolist()) == list(range(K))


def test_a_short_list_picks_as_if_nothing_else_were_a_candidate():
    shortlist = np.random.default_rng(2).permutation(N)[:100]
    expected = greedy(pool(), K, HALF, candidates=np.isin(np.arange(N), shortlist))
    picks = greedy(pool(), K, HALF, shortlist=shortlist)
    assert picks.indices.tolist() == expected.indices.tolist()
    np.testing.assert_array_equal(picks.scores, expected.scores)


@pytest.mark.parametrize("n_devices", [pytest.param(2, marks=pytest.mark.slow), 8])
def test_the_number_of_devices_does_not_change_the_picks(n_devices):
    labeled = np.arange(N) % 7 == 0
    share = jax.pmap(
        lambda labeled: greedy(pool(), K, HALF, labeled=labeled, pair_first=True, axis_name="devices"),
        axis_name="devices",
    )
    for known in (labeled, np.zeros(N, bool)):
        picks = share(np.tile(known, (n_devices, 1)))
        expected = greedy(pool(), K, HALF, labeled=known, pair_first=True)
        for indices, scores in zip(picks.indices, picks.scores, strict=True):
            assert indices.tolist() == expected.indices.tolist()
            # Another program sums in another order; the tie rule is for that.
            np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)


def test_remaining_gains_are_those_of_adding_one_more_row():
    picks, d = np.arange(0, N, 24), dissimilarity(pool())
    expected = all_gains(d, d[:, picks].min(1), np.ones(N))
    # Sums of 240 float32 numbers, many of them zero.
    np.testing.assert_allclose(
        module.remaining_gains(build_cover(pool(), HALF), picks), expected, rtol=1e-5, atol=1e-4
    )


def test_targets_of_weight_zero_do_not_count():
    weights = np.where(np.arange(N) < 200, 1.0, 0.0).astype(np.float32)
    near, far = (np.concatenate([pool()[:200], np.full((40, Q), v, np.float32)]) for v in (0.0, 50.0))
    padded = [greedy(u, K, HALF, weights=weights, candidates=weights > 0) for u in (near, far)]
    assert padded[0].indices.tolist() == slow_greedy(dissimilarity(pool()[:200]), K)
    assert padded[1].indices.tolist() == padded[0].indices.tolist()
    np.testing.assert_array_equal(padded[1].scores, padded[0].scores)


def test_whole_weights_equal_repeated_rows():
    repeats = np.random.default_rng(1).integers(1, 4, N)
    picks = greedy(pool(), K, HALF, weights=repeats.astype(np.float32))
    assert picks.indices.tolist() == slow_greedy(dissimilarity(pool()), K, weights=repeats)


def test_one_program_serves_all_masks_and_all_bandwidths():
    programs = []
    for scale in (12.0, 8.0):
        cost, labeled = jax.tree_util.Partial(rbf, scale=np.float32(scale)), np.arange(N) < scale
        picks = greedy(pool(5), K, cost, labeled=labeled)
        programs.append(module.greedy_picks._cache_size())
    assert programs[0] == programs[1]
    slow = dissimilarity(pool(5), lambda s: 1 - np.exp(-s / 8))
    assert picks.indices.tolist() == slow_greedy(slow, K, labeled)


def test_greedy_runs_under_jit_and_vmap():
    pools = np.stack([pool(0), pool(5)])
    chosen = partial(greedy, n_select=K, cost=HALF, pair_first=True)
    picks = jax.jit(jax.vmap(lambda u: chosen(u)))(pools)
    assert picks.indices.tolist() == [chosen(u).indices.tolist() for u in pools]


def test_no_array_has_a_row_and_a_column_for_every_sample():
    u = np.zeros((4000, Q), np.float32)
    for verb in (lambda u: greedy(u, 100, HALF), lambda u: refine(u, np.arange(100), HALF)):
        shapes = re.findall(r"\w\[([\d,]+)\]", str(jax.make_jaxpr(verb)(u)))
        sizes = [math.prod(int(length) for length in shape.split(",")) for shape in shapes]
        assert max(sizes) <= 4000 * 101  # 64 columns, or 100 medoids and the labelled rows


@pytest.mark.parametrize("start", ["greedy", "random"])
def test_refine_matches_plain_swaps_from_the_same_start(start):
    u, d = pool(6) * ([1.0] * 3 + [0.0] * 9), dissimilarity(pool(6)[:, :3])
    first = np.asarray(greedy(u, K, HALF).indices) if start == "greedy" else np.arange(K)
    picks = np.asarray(refine(u, first, HALF).indices)
    # Eager swaps and best swaps may stop in different optima, half a per cent apart at most.
    assert d[:, picks].min(1).sum() <= 1.005 * d[:, slow_swaps(d, first)].min(1).sum()


def test_no_single_swap_improves_what_refine_returns():
    u, d = pool(6) * ([1.0] * 3 + [0.0] * 9), dissimilarity(pool(6)[:, :3])
    picks = np.asarray(refine(u, np.arange(K), HALF).indices)
    best = d[:, slow_swaps(d, picks)].min(1).sum()
    assert d[:, picks].min(1).sum() == pytest.approx(best, rel=2e-6)  # swaps must pay 1e-6, in float32


def test_no_sweep_raises_the_objective():
    start = np.arange(K)
    sweeps = [refine(pool(), start, HALF, max_sweeps=s).indices for s in range(5)]
    objectives = [float(coverage(pool(), picks, HALF)[-1]) for picks in sweeps]
    # The same float32 sum each time, so no slack is due beyond its order of picks.
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(objectives))
    assert objectives[1] < objectives[0]


def test_refine_returns_its_set_in_greedy_order_with_gains():
    picks = refine(pool(), np.arange(K), HALF)
    is_medoid = np.isin(np.arange(N), picks.indices)
    again = greedy(pool(), K, HALF, candidates=is_medoid)
    assert picks.indices.tolist() == again.indices.tolist()
    curve = coverage(pool(), picks.indices, HALF)
    np.testing.assert_allclose(picks.scores[1:], -np.diff(curve), rtol=1e-3)  # differences of long sums


def test_refine_keeps_labelled_rows_and_swaps_in_candidates_only():
    labeled, candidates = np.arange(N) < 20, np.arange(N) < 150
    start = greedy(pool(), K, HALF, labeled=labeled, candidates=candidates).indices[::-1]
    picks = refine(pool(), start, HALF, labeled=labeled, candidates=candidates)
    assert set(picks.indices.tolist()) <= set(range(20, 150))
    before, after = (coverage(pool(), p, HALF, labeled=labeled)[-1] for p in (start, picks.indices))
    assert after <= before


def test_refine_never_swaps_in_a_forbidden_row_however_well_it_would_cover():
    u = np.random.default_rng(0).normal(size=(200, 2)) + np.where(np.arange(200) < 128, 0.0, 9.0)[:, None]
    picks = refine(u, np.array([130]), HALF, candidates=np.arange(200) >= 128)
    assert picks.indices[0] >= 128


def test_refine_finds_the_best_single_medoid():
    d = dissimilarity(pool())
    assert refine(pool(), np.array([7]), HALF).indices.tolist() == [int(d.sum(0).argmin())]


def test_coverage_is_the_objective_after_each_pick():
    picks, d = np.asarray(greedy(pool(), K, HALF).indices), dissimilarity(pool())
    expected = [d[:, picks[: t + 1]].min(1).sum() for t in range(K)]
    np.testing.assert_allclose(coverage(pool(), picks, HALF), expected, rtol=1e-6)  # one float32 sum


def test_nearest_says_which_pick_covers_a_row():
    picks, d = np.asarray(greedy(pool(), K, HALF).indices), dissimilarity(pool())
    place, distance = swaps.nearest(build_cover(pool(), HALF), picks)
    assert place.tolist() == d[:, picks].argmin(1).tolist()
    np.testing.assert_allclose(distance, d[:, picks].min(1), rtol=1e-5, atol=0)  # Gram beyond near pairs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda u: greedy(u, N + 1, HALF), "n_select is 241, wanted 1 to 240"),
        (lambda u: greedy(u, 3, HALF, candidates=np.arange(N) < 2), "n_select is 3, wanted 1 to 2"),
        (lambda u: greedy(u, 0, HALF), "n_select is 0"),
        (lambda u: greedy(u[0], 1, HALF), r"u has shape \(12,\)"),
        (lambda u: greedy(u, 1, HALF, labeled=np.zeros(3, bool)), r"labeled has shape \(3,\)"),
        (lambda u: greedy(u, 1, HALF, weights=np.zeros(N)), "weights go from 0.0 to 0.0"),
        (lambda u: refine(u, [1, 1], HALF), "distinct positions"),
        (lambda u: refine(u, [N], HALF), "0 to 239"),
        (lambda u: refine(u, [1], HALF, labeled=np.arange(N) < 2), "unlabelled positions"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(pool())
