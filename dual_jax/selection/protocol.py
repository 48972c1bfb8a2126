"""What every method returns, and the rules that all of them keep.

A *method* is called as ``METHODS[name](key, x, n_select, *, labeled=None, candidates=None, limits=None,
**knobs)``:

- ``key``: a JAX random key; deterministic methods ignore it.
- ``x``: (n, d) float32, the pool, taken as given (scale it before).
- ``n_select``: how many rows to pick, static.
- ``labeled``: (n,) bool, rows that already have a label: they count as picked and are never returned.
- ``candidates``: (n,) bool, rows that may be picked; all rows by default.
- ``limits``: what else is asked of the picks, see `dual_jax.selection.limits`; there may then be fewer.

The call checks these, makes the masks, and calls the method's own function
``(key, x, n_select, *, labeled, candidates, **knobs) -> Selection``. That function always receives two
boolean arrays, and none of the ``candidates`` that it receives is labelled. Its docstring describes only its
knobs, and what is particular to it in the arguments above. A method that keeps limits while it picks takes
them as the keyword ``limits`` and returns -1 where they leave no row; for the others the call does.

Positions are positions in ``x``, distinct, best first. A method is *nested* when its first k picks do not
depend on ``n_select``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

TIE = 1e-6  # relative: scores closer than this are equal, and the lower position wins


class Selection(NamedTuple):
    """Picked positions, best first, and the score or gain of each pick (method's own scale)."""

    indices: Int[Array, " k"]
    scores: Float[Array, " k"]


def row_mask(mask: ArrayLike | None, n: int, name: str, *, default: bool = False) -> Bool[Array, " n"]:
    """Return a mask of n rows, ``default`` everywhere for None.

    Raises
    ------
    ValueError
        When it has another shape; ``name`` is what the caller calls it.
    """
    mask = jnp.full(n, default) if mask is None else jnp.asarray(mask, bool)
    if mask.shape != (n,):
        raise ValueError(f"{name} has shape {mask.shape}, wanted ({n},): one boolean for each row of x.")
    return mask


def pickable(
    n: int, labeled: Bool[Array, " n"] | None = None, candidates: Bool[Array, " n"] | None = None
) -> Bool[Array, " n"]:
    """Return which of n rows may be picked: candidates that have no label yet."""
    is_open = jnp.ones(n, bool) if candidates is None else jnp.asarray(candidates, bool)
    return is_open if labeled is None else is_open & ~jnp.asarray(labeled, bool)


def first_best(scores: Float[Array, " n"], is_open: Bool[Array, " n"]) -> Int[Array, ""]:
    """Return the lowest open position whose score ties with the best open one (`TIE`)."""
    open_scores = jnp.where(is_open, scores, -jnp.inf)
    best = jnp.max(open_scores)
    return jnp.argmax(is_open & (open_scores >= best - TIE * jnp.abs(best)))


def top(scores: Float[Array, " n"], is_open: Bool[Array, " n"], n_select: int) -> Selection:
    """Return the ``n_select`` open rows of largest score, ties by position (`TIE` below the best of them)."""
    falling = jnp.argsort(jnp.where(is_open, -scores, jnp.inf), stable=True)
    tie = _ties(jnp.where(is_open, scores, -jnp.inf)[falling])
    order = falling[jnp.lexsort((falling, tie))][:n_select].astype(jnp.int32)
    return Selection(order, scores[order])


def _ties(falling: Float[Array, " n"]) -> Int[Array, " n"]:
    """Return the number of the tie that each of the falling scores belongs to.

    A tie reaches from its best score to `TIE` below it, where the next one begins; the beginnings are found
    by doubling: after r rounds those of the first 2^r ties are known.
    """
    n = len(falling)
    is_first = jnp.zeros(n, bool).at[0].set(True)
    after = jnp.searchsorted(-falling, TIE * jnp.abs(falling) - falling, side="right")

    def double(_: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        is_first, after = state
        is_first = is_first.at[jnp.where(is_first, after, n)].set(True, mode="drop")
        return is_first, after.at[after].get(mode="fill", fill_value=n)

    return jnp.cumsum(jax.lax.fori_loop(0, n.bit_length(), double, (is_first, after))[0])
