"""Limits on picks against slow float64 NumPy: in the greedy, and down a ranking."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dual_jax.selection import coverage as module
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.limitchecks import check_limits, most_picks
from dual_jax.selection.limits import Limits, squared_spacing
from dual_jax.selection.protocol import Selection
from dual_jax.selection.swaps import refine
from dual_jax.selection.walks import cut, trimmed, walk

N, K = 30, 10
U = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
D = np.sqrt(cdist(U, U))  # of the cost below
COST = power_cost(0.5)
GROUPS = np.arange(N) % 7
COSTS = np.random.default_rng(1).uniform(1, 4, N).astype(np.float32)
WEIGHTS = np.random.default_rng(2).integers(0, 4, N).astype(np.float32)
LABELED = np.isin(np.arange(N), [3, 10])
EVERYTHING = Limits(0.3, 0.3, GROUPS, 2, WEIGHTS, COSTS, 20.0)


def greedy(n_select=K, *, u=U, pair_first=False, limits=None, **masks):
    cover = build_cover(u, COST, limits=check_limits(limits, len(u)), **masks)
    picks = module.greedy(cover, n_select, pair_first=pair_first)
    return [index for index in picks.indices.tolist() if index >= 0]


def spacing(x, quantile):
    distances = cdist(x, x) + np.diag(np.full(len(x), np.inf))
    return np.quantile(distances.min(1), quantile)


def objective(picks, weights=None, labeled=None):
    chosen = [*picks, *np.flatnonzero(np.zeros(N, bool) if labeled is None else labeled)]
    return (np.ones(N) if weights is None else weights) @ D[:, chosen].min(1)


def is_within(limits, picks, labeled):
    """Whether picks keep min_distance, per_group and costs."""
    done = [*np.flatnonzero(labeled), *picks]
    pairs = [(a, b) for a, b in itertools.combinations(done, 2) if b in picks]
    if limits.min_distance is not None:
        reach = spacing(U, limits.min_distance)
        if any(np.linalg.norm(U[a] - U[b]) < reach * (1 - 1e-4) for a, b in pairs):
            return False
    if limits.per_group is not None and picks:
        counts = np.bincount(np.asarray(limits.groups)[done])
        if any(counts[np.asarray(limits.groups)[p]] > limits.per_group for p in picks):
            return False
    return (
        limits.costs is None or np.asarray(limits.costs, np.float64)[picks].sum() <= limits.total_cost + 1e-4
    )


def slow_greedy(limits, labeled, by_cost):
    """Each time the allowed row of largest gain, or gain per cost; stops at ``until``."""
    weights = np.ones(N) if limits.weights is None else np.asarray(limits.weights, np.float64)
    costs = np.asarray(limits.costs, np.float64) if by_cost else np.ones(N)
    farthest = np.sqrt(2 * np.linalg.norm(U - U[weights > 0].mean(0), axis=1).max())
    covered, picks, goal = D[:, labeled].min(1, initial=np.inf), [], None
    while len(picks) < K:
        before = np.where(np.isinf(covered), farthest, covered)
        gains = weights @ (before[:, None] - np.minimum(covered[:, None], D)) / costs
        allowed = [i for i in np.flatnonzero(~labeled) if i not in picks]
        allowed = [i for i in allowed if is_within(limits, [*picks, i], labeled)]
        if not allowed:
            break
        picks.append(int(max(allowed, key=gains.__getitem__)))
        covered = np.minimum(covered, D[:, picks[-1]])
        goal = limits.until * (weights @ covered) if goal is None and limits.until else goal
        if limits.until and weights @ covered <= goal:
            break
    return picks


@pytest.mark.parametrize("labeled", [np.zeros(N, bool), LABELED], ids=["fresh", "second round"])
@pytest.mark.parametrize(
    "limits",
    [
        Limits(until=0.6),
        Limits(min_distance=0.9),
        Limits(groups=GROUPS, per_group=1),
        Limits(weights=WEIGHTS),
        Limits(costs=COSTS, total_cost=9.0),
        Limits(until=0.4, min_distance=0.5, groups=GROUPS, per_group=2, weights=WEIGHTS),
        EVERYTHING,
    ],
    ids=["until", "min_distance", "per_group", "weights", "costs", "without costs", "all"],
)
def test_the_greedy_is_that_of_numpy_among_the_rows_that_the_limits_allow(limits, labeled):
    picks = greedy(limits=limits, labeled=labeled)

    ways = (False,) if limits.costs is None else (True, False)
    slow = [slow_greedy(limits, labeled, by_cost) for by_cost in ways]
    if limits.until is None:  # of two ways to spend, the one that covers better
        slow.sort(key=lambda rows: objective(rows, limits.weights, labeled))
    assert picks == slow[0]
    assert is_within(limits, picks, labeled)


@pytest.mark.parametrize("seed", range(6))
def test_limits_drawn_at_random_give_the_picks_of_numpy(seed):
    draw = np.random.default_rng(seed)
    until, quantile = draw.uniform(0.2, 0.9, 2)
    groups, most, weights = draw.integers(0, 6, N), int(draw.integers(1, 4)), draw.integers(0, 5, N)
    labeled = draw.uniform(size=N) < 0.1
    limits = Limits(until, quantile, groups, most, weights)

    assert greedy(limits=limits, labeled=labeled) == slow_greedy(limits, labeled, by_cost=False)


def test_a_single_good_row_is_not_kept_out_by_cheap_ones():
    u = np.array([[0.0], [0.1], [10.0], [10.1], [10.2], [10.3]], np.float32)
    limits = Limits(costs=[1.0, 50.0, 100.0, 100.0, 100.0, 100.0], total_cost=100.0)

    assert greedy(6, u=u, limits=limits) == [3]  # by gain per cost: row 0, and then nothing is left to spend


def test_the_objective_within_a_total_cost_is_near_the_best_of_all_sets():
    limits = Limits(costs=COSTS, total_cost=5.0)
    sets = [s for k in (1, 2, 3) for s in itertools.combinations(range(N), k) if COSTS[list(s)].sum() <= 5]
    before = N * np.sqrt(2 * np.linalg.norm(U - U.mean(0), axis=1).max())
    best = before - min(objective(s) for s in sets)

    assert before - objective(greedy(limits=limits)) >= (1 - 1 / np.e) / 2 * best  # Khuller, Moss and Naor


def test_limits_that_exclude_nothing_change_no_pick_and_no_gain():
    plain = module.greedy(build_cover(U, COST, labeled=None), K, pair_first=True)
    loose = Limits(1e-6, 0.0, GROUPS, N, np.ones(N), np.full(N, 2.5), 1e6)
    limited = module.greedy(build_cover(U, COST, limits=check_limits(loose, N)), K, pair_first=True)

    assert limited.indices.tolist() == plain.indices.tolist()
    assert limited.scores.tolist() == plain.scores.tolist()


def test_without_limits_the_program_is_the_one_without_the_keyword():
    def text(**keywords):
        return jax.jit(lambda u: module.greedy(build_cover(u, COST, **keywords), K)).lower(U).as_text()

    assert text(limits=None) == text(limits=Limits()) == text()


def test_a_row_of_weight_two_counts_as_two_equal_rows_and_one_of_weight_zero_not_at_all():
    twice = np.concatenate([U[:20], U[5:10]])
    weights = np.where(np.isin(np.arange(N), np.arange(5, 10)), 2.0, 1.0) * (np.arange(N) < 20)

    by_weight = greedy(limits=Limits(weights=weights), candidates=np.arange(N) < 20)

    assert by_weight == greedy(u=twice, candidates=np.arange(25) < 20)


def test_of_the_first_pair_a_limit_keeps_the_first_row():
    first = greedy(2, pair_first=True)
    together = np.where(np.isin(np.arange(N), first), 0, -1)

    picks = greedy(2, pair_first=True, limits=Limits(groups=together, per_group=1))

    assert picks[0] == first[0]
    assert picks[1] != first[1]


def test_picks_end_where_no_row_is_left_and_say_so_by_minus_one():
    limits = check_limits(Limits(groups=GROUPS, per_group=1), N)
    picks = module.greedy(build_cover(U, COST, limits=limits), K)

    assert sorted(GROUPS[picks.indices[:7]]) == [0, 1, 2, 3, 4, 5, 6]
    assert picks.indices[7:].tolist() == [-1, -1, -1]
    assert len(trimmed(picks).indices) == 7


def test_equal_rows_are_too_near_at_any_quantile():
    twice = np.concatenate([U[:15], U[:15]])

    assert len({row % 15 for row in greedy(N, u=twice, limits=Limits(min_distance=0.0))}) == 15
    assert len(greedy(N, u=twice, limits=Limits(min_distance=0.0))) == 15


@pytest.mark.parametrize("quantile", [0.0, 0.2, 0.77, 1.0])
def test_the_spacing_is_a_quantile_of_the_distances_to_the_nearest_other_row(quantile):
    is_counted = np.arange(N + 5) < N  # the rest is padding
    padded = np.concatenate([U, np.zeros((5, 3), np.float32)])

    found = squared_spacing(jnp.asarray(padded), is_counted, quantile)
    assert found == pytest.approx(spacing(U, quantile) ** 2, rel=1e-5)


def test_swaps_keep_weights_and_refuse_what_they_would_break():
    start = jnp.asarray(greedy())
    weighted = build_cover(U, COST, limits=check_limits(Limits(weights=WEIGHTS), N))
    refined = refine(weighted, start).indices.tolist()

    assert objective(refined, WEIGHTS) <= objective(greedy(), WEIGHTS)
    with pytest.raises(ValueError, match="swaps cannot keep min_distance"):
        refine(build_cover(U, COST, limits=check_limits(Limits(min_distance=0.1), N)), start)


def test_a_walk_takes_each_row_of_an_order_that_the_ones_before_allow():
    order = np.random.default_rng(3).permutation(N)
    limits = Limits(min_distance=0.8, groups=GROUPS, per_group=2)
    ranked = Selection(jnp.asarray(order), jnp.arange(N, 0.0, -1.0))

    picks = trimmed(walk(check_limits(limits, N), U, ranked, LABELED, ~LABELED, N)).indices.tolist()

    slow = []
    for row in order:
        if not LABELED[row] and is_within(limits, [*slow, row], LABELED):
            slow.append(int(row))
    assert picks == slow


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_ends_with_the_first_pick_that_reaches_the_share(share):
    picks = Selection(jnp.arange(N, dtype=jnp.int32), jnp.ones(N))
    means = [cdist(U, U[: k + 1]).min(1).mean() for k in range(N)]

    kept = trimmed(cut(Limits(until=share), U, picks, np.zeros(N, bool))).indices

    assert len(kept) == 1 + np.argmax(np.array(means) <= share * means[0])


def test_groups_and_costs_bound_the_number_of_picks():
    costs, everything, none = [3.0, 1.0, 2.0, 1.0], np.ones(4, bool), np.zeros(4, bool)
    paid = check_limits(Limits(costs=costs, total_cost=4.0), 4)
    grouped = check_limits(Limits(groups=["a", "a", "a", None], per_group=2), 4)

    assert most_picks(paid, everything, none) == 3
    assert most_picks(paid, np.array([True, False, True, False]), none) == 1
    assert most_picks(grouped, everything, none) == 3
    assert most_picks(grouped, ~np.eye(4, dtype=bool)[0], np.eye(4, dtype=bool)[0]) == 2


def test_rows_without_a_group_are_not_limited():
    groups = [None if i % 2 else "a" for i in range(N)]

    picks = greedy(N, limits=Limits(groups=groups, per_group=1))

    assert sum(i % 2 == 0 for i in picks) == 1
    assert len(picks) == 16


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(until=1.0), "until=1.0 is no share"),
        (Limits(until="half"), "until='half' is no share"),
        (Limits(min_distance=-0.1), "min_distance=-0.1 is no quantile"),
        (Limits(min_distance=float("nan")), "min_distance=nan is no quantile"),
        (Limits(per_group=1), "groups and per_group belong together"),
        (Limits(groups=GROUPS, per_group=0), "per_group=0 is no count"),
        (Limits(groups=GROUPS[:5], per_group=1), "groups has shape (5,), wanted (30,)"),
        (Limits(costs=COSTS), "costs and total_cost belong together"),
        (Limits(costs=COSTS - 1.5, total_cost=3), "wanted a number finite and above 0"),
        (Limits(costs=COSTS, total_cost=0), "total_cost=0 cannot be spent"),
        (Limits(weights=WEIGHTS - 1), "weights is -1.0 in row"),
        (Limits(weights=np.zeros(N)), "every weight is 0"),
    ],
)
def test_a_limit_that_cannot_be_used_is_refused_with_the_value_seen(limits, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_limits(limits, N)
