"""Deterministic column selection: the rows of largest leverage."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.arithmetic import safe_divide
from dual_jax.selection.protocol import Selection, top


@partial(jax.jit, static_argnames=("n_select", "rank", "center"))
def dcs(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    rank: int | None = None,
    energy: float = 0.9,
    center: bool = False,
) -> Selection:
    """Return the rows of largest leverage in the best approximation of ``x`` of a given rank.

    With the thin decomposition ``x = U S V^T`` and k the rank, the score of row i is

        l_i = sum_{j <= k} U_ij^2,    0 <= l_i <= 1,    sum_i l_i = k.

    Source: Papailiopoulos, Kyrillidis and Boutsidis, KDD 2014: the rows of largest l_i, of as many that their
    scores sum to more than k - eps, rebuild ``x`` within 1 / (1 - eps) of its best approximation of rank k.
    The paper takes k as given. Deterministic and nested.

    A score belongs to a row alone: labelled and forbidden rows are part of the decomposition, and have
    no other influence. So there is no diversity: copies of a row share their score and are picked together.
    It prefers outliers, and unscaled features decide it alone; a rank that separates two nearly equal
    singular values makes it unstable. Cost of one singular value decomposition, O(n d min(n, d)); memory
    O(n d).

    Parameters
    ----------
    rank
        k, static, at least 1; what exceeds the numerical rank of ``x`` is dropped. By default (ours) the
        smallest one that holds ``energy`` of the sum of the squared singular values.
    energy
        Share in (0, 1], 0.9 by default (ours); without effect when ``rank`` is given.
    center
        Whether to subtract the mean row first, static; the authors do not.

    Returns
    -------
    Selection
        Positions by falling leverage, and the leverages.

    Raises
    ------
    ValueError
        When ``rank`` is smaller than 1.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0]])
    >>> dj.METHODS["dcs"](jax.random.key(0), x, 2, rank=2).indices.tolist()
    [2, 1]
    """
    if rank is not None and rank < 1:
        raise ValueError(f"rank={rank} is no rank of an approximation: give at least 1, or None.")
    x = x - x.mean(axis=0) if center else x
    x = safe_divide(x, jnp.broadcast_to(jnp.abs(x).max(), x.shape))
    u, s, _ = jnp.linalg.svd(x, full_matrices=False)
    is_positive = s > jnp.finfo(x.dtype).eps * max(x.shape) * s[0]
    before = jnp.concatenate([jnp.zeros(1, x.dtype), jnp.cumsum(s**2)[:-1]])  # energy of the larger ones
    is_kept = before < energy * jnp.sum(s**2) if rank is None else jnp.arange(len(s)) < rank
    leverage = jnp.sum(u**2, axis=1, where=is_kept & is_positive)
    return top(leverage, candidates, n_select)
