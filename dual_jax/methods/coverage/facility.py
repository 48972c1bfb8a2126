"""Facility location: every row of the pool should be similar to a pick."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.arithmetic import safe_divide
from dual_jax.numerics.kernels import median_distance
from dual_jax.selection.cover import Cost, build_cover
from dual_jax.selection.coverage import coverage, greedy
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection

SIMILARITIES = ("rbf", "cosine")


@partial(jax.jit, static_argnames=("n_select", "similarity"))
def facility(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    similarity: str = "rbf",
    width: float | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return rows such that every row of the pool is similar to one of them.

    Greedily maximises ``sum_i max_{j in S} s_ij``, S being labelled rows and picks, with

        s_ij = exp(-||x_i - x_j||^2 / (2 width^2))    or    s_ij = x_i . x_j / (||x_i|| ||x_j||),

    which reaches 1 - 1/e of the best value. Source: the facility location of apricot (Schreiber et al., JMLR
    2020); with ``"rbf"`` it is MaxHerding (Bae, Noh and Sutherland, ECCV 2024).

    Nested. Deterministic, ties within 1e-6 relative by position. A duplicate of a pick gains nothing and
    comes only after all distinct rows. Outliers cover themselves and come late.

    The most robust simple choice; follows density, so rare classes get few picks. Fails on unscaled features,
    and with a width far from the distances that matter: too wide, and all rows are alike; too narrow, and
    each covers itself alone.

    Cost: about O(n^2 d log n_select) work, O(n) memory and blocks of rows; no n x n matrix.

    Parameters
    ----------
    candidates
        Forbidden rows are covered too.
    similarity
        ``"rbf"`` (default) or ``"cosine"``, static. A row of zeros has cosine 1/2 with every other one.
    width
        Of ``"rbf"``, > 0, in the units of ``x``; by default the median distance between two rows of the pool,
        or of 1,024 of them at even steps (our choice). Without effect with ``"cosine"``.

    limits
        See `dual_jax.selection.limits`; all are kept, distances are those of the rows, scaled to length 1
        for ``"cosine"``, and "mean distance" is the mean of ``1 - max_j s_ij``.

    Returns
    -------
    Selection
        Positions, and by how much each pick raises the sum.

    Raises
    ------
    ValueError
        When the similarity is not one of the two.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> dj.METHODS["facility"](jax.random.key(0), x, 2).indices.tolist()
    [2, 3]
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity={similarity!r} is unknown: give one of {', '.join(SIMILARITIES)}.")
    if similarity == "cosine":
        x = safe_divide(x, jnp.linalg.norm(x, axis=1, keepdims=True))
        cost = jax.tree_util.Partial(_cosine_cost)
    else:
        sigma = median_distance(x) if width is None else width
        cost = jax.tree_util.Partial(_rbf_cost, width=sigma)
    return greedy_similarity(x, n_select, cost, labeled, candidates, limits)


def greedy_similarity(
    x: Float[Array, "n d"],
    n_select: int,
    cost: Cost,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    limits: Limits | None = None,
) -> Selection:
    """Return the picks of the greedy for the similarity ``1 - cost``, gains counted from 0."""
    cover = build_cover(x, cost, labeled=labeled, candidates=candidates, limits=limits)
    picks = greedy(cover, n_select)
    most = len(x) if limits is None else jnp.sum(cover.weights)
    from_nothing = most - coverage(cover, picks.indices[:1])[0]  # used where no row is labelled
    gain = jnp.where(labeled.any(), picks.scores[0], from_nothing)
    return picks._replace(scores=picks.scores.at[0].set(gain))


def _rbf_cost(squared: Array, width: Array) -> Array:
    return -jnp.expm1(-squared / (2.0 * width**2))


def _cosine_cost(squared: Array) -> Array:
    """Return ``1 - cos``, which is half the squared distance of unit vectors."""
    return squared / 2.0
