"""Which rows swaps count: all of a pool, or a weighted subsample of a large one.

A sweep of swaps takes the distance of every candidate to every target. With t targets instead of all n rows
it costs n t, and what is swapped in may still be any row. Each target has the weight of the rows to which it
is the nearest, so that their sum estimates F. Source: de Mathelin et al., AAAI 2025 (OneBatchPAM), its
nearest-neighbour weights. There the targets are drawn at random; here they are evenly spaced rows, which
needs no key, and their number grows with k (ours): a pick that serves a handful of targets fits their
accidents. It still happens, so `dual_jax.selection.swaps.refine` ends with swaps that count all rows.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dual_jax.numerics.arithmetic import sum_by_label
from dual_jax.numerics.chunks import assign
from dual_jax.numerics.draws import even_rows
from dual_jax.selection.cover import Cover

MOST_TARGETS = 20_000  # rows up to which swaps count all of them
MIN_TARGETS, PER_PICK = 2_048, 16  # in a larger pool


class Targets(NamedTuple):
    """The rows that swaps count."""

    u: Float[Array, "t q"]  # centred as the cover's
    rows: Int[Array, " t"]  # their positions
    weights: Float[Array, " t"]
    labelled_cost: Float[Array, " t"]  # as in the cover


def number_of_targets(n: int, n_select: int) -> int:
    """Return how many of n rows the swaps of ``n_select`` picks count: all up to `MOST_TARGETS` rows.

    Examples
    --------
    >>> number_of_targets(20_000, 100), number_of_targets(100_000, 100), number_of_targets(100_000, 1000)
    (20000, 2048, 16000)
    """
    return n if n <= MOST_TARGETS else min(n, max(MIN_TARGETS, PER_PICK * n_select))


def targets_of(cover: Cover, size: int) -> Targets:
    """Return all rows as targets, or ``size`` of them with the weights of the rows that they are nearest to.

    Parameters
    ----------
    cover
        The problem.
    size
        How many targets, static, at most the number of rows. Of rows that have a weight evenly spaced ones
        are taken; where fewer have one, the last is repeated with weight 0.
    """
    n = len(cover.u)
    if size >= n:
        return Targets(cover.centred, jnp.arange(n), cover.weights, cover.labelled_cost)
    return _subsample(cover, size)


@partial(jax.jit, static_argnames="size")
def _subsample(cover: Cover, size: int) -> Targets:
    rows = even_rows(cover.weights > 0, size)
    u = cover.centred[rows]
    labels, _ = assign(cover.centred, u)
    weights = sum_by_label(cover.weights[:, None], labels, size)[:, 0]
    return Targets(u, rows, weights, cover.labelled_cost[rows])
