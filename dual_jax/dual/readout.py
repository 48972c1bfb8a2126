"""From a trained selection block to a ranking: the four read-outs.

`by_norms` is the paper's: one score per sample, so near-duplicates are picked together. `greedily` solves
Eq. (4) with one-hot coefficients in the learnt space, and is the default; `refined` adds swaps for one
budget, and `chained` swaps for a budget, half of it, and so on.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import min_max
from dual_jax.numerics.chunks import assign
from dual_jax.numerics.draws import spread_along_clusters
from dual_jax.selection.chain import chain
from dual_jax.selection.cover import Cover, build_cover, power_cost
from dual_jax.selection.coverage import greedy, remaining_gains
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection, top
from dual_jax.selection.swaps import refine
from dual_jax.selection.walks import cut, walk

MAX_EXACT = 100_000  # rows up to which the greedy uses every candidate
PER_PICK, MIN_SHORTLIST = 8, 8192  # candidates beyond that
N_TARGETS = 16_384  # rows on which the candidates that were not picked are rated beyond that


class Pool(NamedTuple):
    """All rows in the learnt space, its centroids, and which rows are real, labelled, and candidates."""

    u: Float[Array, "n q"]
    centroids: Float[Array, "K q"]
    is_row: Bool[Array, " n"]
    is_labeled: Bool[Array, " n"]
    is_candidate: Bool[Array, " n"]


def by_norms(
    c_norms: Float[Array, " m"],
    p_norms: Float[Array, " m"],
    dictionary: Int[Array, " m"],
    is_candidate: Bool[Array, " n"],
    n_select: int,
) -> Selection:
    """Return the candidates of largest ``minmax(||C_j||) + minmax(||P_j||)``; nested.

    Candidates outside the dictionary have the lowest score, 0. Source: Li et al., IJCAI 2020, section 3;
    the l2 norms are those of its text (the released code squares them).
    """
    is_ranked = (dictionary >= 0) & is_candidate[dictionary]
    scores = min_max(c_norms, is_ranked) + min_max(p_norms, is_ranked)
    places = jnp.where(dictionary >= 0, dictionary, len(is_candidate))
    return top(jnp.zeros(len(is_candidate)).at[places].set(scores, mode="drop"), is_candidate, n_select)


def by_norms_within(
    c_norms: Float[Array, " m"],
    p_norms: Float[Array, " m"],
    dictionary: Int[Array, " m"],
    pool: Pool,
    n_select: int,
    limits: Limits,
) -> Selection:
    """Return `by_norms` without the rows that the limits exclude, by distances of the learnt space."""
    order = by_norms(c_norms, p_norms, dictionary, pool.is_candidate, len(pool.u))
    picks = walk(limits, pool.u, order, pool.is_labeled, pool.is_candidate, n_select, pool.is_row)
    return cut(limits, pool.u, picks, pool.is_labeled, pool.is_row)


def greedily(
    pool: Pool,
    power: float | Array,
    n_select: int,
    axis_name: str | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return the candidates that greedily lower ``sum_i min_{j in S} ||u_i - u_j||^power``; nested.

    Labelled rows are in S from the start, and every row of the pool is a target. Without them the first two
    picks are chosen together (see `dual_jax.selection.coverage.greedy`). Up to `MAX_EXACT` rows all
    candidates are used. In a larger pool it is a short list, drawn by `spread_out`: `PER_PICK` candidates for
    each pick, at least `MIN_SHORTLIST`; see `is_nested`. With limits, -1 marks a missing
    pick.
    Source: Li et al., IJCAI 2020, Eq. (4), its l2-norm to the power ``power``, its coefficients one-hot.
    """
    cover = _cover(pool, power, _shortlist(pool, n_select), axis_name, limits)
    return greedy(cover, n_select, pair_first=True)


def _cover(
    pool: Pool,
    power: float | Array,
    shortlist: Int[Array, " m"] | None,
    axis_name: str | None,
    limits: Limits | None = None,
) -> Cover:
    """Return the problem of covering every row of the pool by candidates."""
    return build_cover(
        pool.u,
        power_cost(power),
        labeled=pool.is_labeled,
        candidates=pool.is_candidate,
        weights=pool.is_row.astype(jnp.float32),
        shortlist=shortlist,
        axis_name=axis_name,
        limits=limits,
    )


def is_nested(how: str, n: int, n_select: int) -> bool:
    """Return whether the picks of each budget up to ``n_select`` are the first of those of a larger one.

    Swaps are for one budget, a chain is for its largest, and the short list of a large pool grows with large
    budgets.
    """
    return how == "norms" or (how == "greedy" and (n <= MAX_EXACT or PER_PICK * n_select <= MIN_SHORTLIST))


def _shortlist(pool: Pool, n_select: int) -> Int[Array, " m"] | None:
    """Return the rows of a large pool that may be picked; None if all may."""
    size = max(PER_PICK * n_select, MIN_SHORTLIST)
    is_short = len(pool.u) > max(MAX_EXACT, size)
    return spread_out(pool, pool.is_candidate, size) if is_short else None


def refined(
    pool: Pool,
    power: float | Array,
    n_select: int,
    axis_name: str | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return `greedily`'s picks after k-medoids swaps at this budget: a lower objective, not nested.

    Swaps are among the candidates that the greedy uses. Devices do not share this work. Of the limits swaps
    keep the weights alone.
    """
    cover = _cover(pool, power, _shortlist(pool, n_select), axis_name, limits)
    return refine(cover, greedy(cover, n_select, pair_first=True).indices)


def chained(
    pool: Pool,
    power: float | Array,
    n_select: int,
    axis_name: str | None = None,
    limits: Limits | None = None,
    *,
    largest: int,
) -> Selection:
    """Return the order of `dual_jax.selection.chain` for ``largest`` picks, which the greedy continues.

    Of fewer picks the chain is for their number. Swaps and order are among the candidates that the greedy
    uses, and keep of the limits the weights alone.
    """
    size = min(n_select, largest)
    cover = _cover(pool, power, _shortlist(pool, size), axis_name, limits)
    picks = chain(cover, size, pair_first=True)
    if size == n_select:
        return picks
    is_picked = jnp.zeros(len(pool.u), bool).at[picks.indices].set(True)
    known = pool._replace(is_labeled=pool.is_labeled | is_picked, is_candidate=pool.is_candidate & ~is_picked)
    more = greedily(known, power, n_select - size, axis_name, limits)
    return Selection(*(jnp.concatenate(parts) for parts in zip(picks, more, strict=True)))


def with_rest(
    pool: Pool, power: float | Array, picks: Selection, n_select: int, axis_name: str | None = None
) -> Selection:
    """Return the picks followed by the other candidates, by the gain that each would add alone.

    In a pool above `MAX_EXACT` rows the gain is measured on `N_TARGETS` rows that `spread_out` draws.
    """
    cover = _cover(pool, power, None, axis_name)
    if len(pool.u) > MAX_EXACT:
        targets = spread_out(pool, pool.is_row, N_TARGETS)
        share = jnp.sum(cover.weights) / N_TARGETS
        cover = cover._replace(weights=jnp.zeros_like(cover.weights).at[targets].set(share))
    gains = remaining_gains(cover, picks.indices)
    is_left = pool.is_candidate.at[picks.indices].set(False)
    rest = top(gains, is_left, n_select - len(picks.indices))
    return Selection(*(jnp.concatenate(parts) for parts in zip(picks, rest, strict=True)))


def spread_out(pool: Pool, is_open: Bool[Array, " n"], size: int) -> Int[Array, " size"]:
    """Return ``size`` open positions from all over the pool: see `dual_jax.numerics.draws`."""
    labels, squared = assign(pool.u, pool.centroids)
    return spread_along_clusters(labels, squared, is_open, size).astype(jnp.int32)
