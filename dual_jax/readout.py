"""From a trained selection block to a ranking: the three read-outs.

`by_norms` is the paper's: one score a sample, so near-duplicates are taken together. `greedily` solves
Eq. (4) with one-hot coefficients in the learnt space, and is the default; `refined` adds swaps for one
budget.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax import coverage
from dual_jax.numerics import min_max
from dual_jax.selection import Selection, top


class Pool(NamedTuple):
    """All rows in the learnt space, and what they are: real or padding, labelled, open to be picked."""

    u: Float[Array, "n q"]
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

    Candidates outside the dictionary have score 0, the least. Source: Li et al., IJCAI 2020, section 3;
    the l2 norms are those of its text (the released code squares them).
    """
    is_ranked = (dictionary >= 0) & is_candidate[dictionary]
    scores = min_max(c_norms, is_ranked) + min_max(p_norms, is_ranked)
    places = jnp.where(dictionary >= 0, dictionary, len(is_candidate))
    return top(jnp.zeros(len(is_candidate)).at[places].set(scores, mode="drop"), is_candidate, n_select)


def greedily(pool: Pool, power: float, n_select: int) -> Selection:
    """Return the candidates that greedily lower ``sum_i min_{j in S} ||u_i - u_j||^power``; nested.

    Labelled rows are in S from the start. Source: Li et al., IJCAI 2020, Eq. (4), its l2-norm to the power
    ``power``, its coefficients one-hot.
    """
    return coverage.greedy(
        pool.u,
        n_select,
        coverage.power_cost(power),
        labeled=pool.is_labeled,
        candidates=pool.is_candidate,
        weights=pool.is_row.astype(jnp.float32),
    )


def refined(pool: Pool, power: float, n_select: int) -> Selection:
    """Return `greedily`'s picks after k-medoids swaps at this budget: a lower objective, not nested."""
    start = greedily(pool, power, n_select)
    return coverage.refine(
        pool.u,
        start.indices,
        coverage.power_cost(power),
        labeled=pool.is_labeled,
        candidates=pool.is_candidate,
        weights=pool.is_row.astype(jnp.float32),
    )


def with_rest(pool: Pool, power: float, picks: Selection, n_select: int) -> Selection:
    """Return the picks followed by the other candidates, by the gain that each alone would still bring."""
    gains = coverage.remaining_gains(
        pool.u,
        picks.indices,
        coverage.power_cost(power),
        labeled=pool.is_labeled,
        weights=pool.is_row.astype(jnp.float32),
    )
    is_left = pool.is_candidate.at[picks.indices].set(False)
    rest = top(gains, is_left, n_select - len(picks.indices))
    return Selection(*(jnp.concatenate(parts) for parts in zip(picks, rest, strict=True)))
