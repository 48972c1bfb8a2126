"""Robust k-medoids of the inputs: DUAL's read-out without its network, the control to compare it with."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.arithmetic import matmul, principal_directions, squared_norms
from dual_jax.numerics.statistics import MAX_INPUTS, bounded_gain, robust_moments
from dual_jax.selection.chain import chain
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import greedy
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection
from dual_jax.selection.swaps import refine

POWER = 0.5  # of the distance, as in the default read-out of DUAL
READOUTS = ("greedy", "chain", "refine")


@partial(jax.jit, static_argnames=("n_select", "readout", "pair_first"))
def medoids(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    readout: str = "greedy",
    pair_first: bool = True,
    limits: Limits | None = None,
) -> Selection:
    """Return rows such that every row of the pool is near one of them; far rows have little influence.

    Greedily lowers ``sum_i min_{j in S} ||u_i - u_j||^(1/2)``, S being labelled rows and picks and u the
    rows less their geometric median, in units of their median length, with lengths l mapped to log(1 + l).
    This is Eq. (4) of Li et al., IJCAI 2020, its norm to the power 1/2 and its coefficients one-hot, in the
    space of the inputs: what `dual` does, without anything learnt. Source: ours.

    Nested with the greedy read-out. Deterministic, ties within 1e-6 relative by position (above 128 features
    distances are taken in as many principal directions, which the key starts). A duplicate of a pick gains
    nothing and comes only after all distinct rows. Coverage follows density, so rare groups get few picks;
    features must be scaled; without ``pair_first`` the first pick is central and its partner poor.

    Cost: about O(n^2 d log n_select) work, O(n) memory and blocks of rows; no n x n matrix. Swaps add
    O(n (n + n_select) d) a sweep.

    Parameters
    ----------
    key
        Ignored up to 128 features.
    candidates
        Forbidden rows are covered too.
    readout
        ``"greedy"`` (default), ``"refine"`` (swaps for this one budget) or ``"chain"`` (swaps for this
        budget, half of it and so on: `dual_jax.selection.chain`); static.
    pair_first
        Choose the first two picks together; see `dual_jax.selection.coverage.greedy`; static.
    limits
        See `dual_jax.selection.limits`; all are kept, with swaps the weights alone. Distances are those of u,
        to the power 1/2 for "mean distance".

    Returns
    -------
    Selection
        Positions, and by how much each pick lowers the sum.

    Raises
    ------
    ValueError
        When the read-out is not one of the three.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> dj.METHODS["medoids"](jax.random.key(0), x, 2).indices.tolist()
    [1, 3]
    """
    if readout not in READOUTS:
        raise ValueError(f"readout={readout!r} is unknown: give one of {', '.join(READOUTS)}.")
    u = squashed(key, x)
    cover = build_cover(u, power_cost(POWER), labeled=labeled, candidates=candidates, limits=limits)
    if readout == "chain":
        return chain(cover, n_select, pair_first=pair_first)
    picks = greedy(cover, n_select, pair_first=pair_first)
    return picks if readout == "greedy" else refine(cover, picks.indices)


def squashed(key: Key[Array, ""], x: Float[Array, "n d"]) -> Float[Array, "n q"]:
    """Return the space of `dual_jax.dual.objectives.simplex` without codes; q is d, at most 128."""
    center, spread = robust_moments(x, jnp.ones(len(x), bool))
    inputs = (x - center) / spread
    if x.shape[1] > MAX_INPUTS:
        inputs = matmul(inputs, principal_directions(key, inputs, MAX_INPUTS))
    return inputs * bounded_gain(squared_norms(inputs))[:, None]
