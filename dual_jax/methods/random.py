"""Random selection: the baseline that every other method has to beat."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.selection.protocol import Selection


@partial(jax.jit, static_argnames=("n_select",))
def random(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
) -> Selection:
    """Return rows drawn uniformly without replacement from those that may be picked.

    Every ordered subset of the open rows is equally likely: the pool is shuffled and the open rows are taken
    in that order. Neither the values of ``x`` nor the labelled rows have any influence. Nested: for one key,
    a larger budget continues the same order. Report the mean over at least 20 keys, for a single draw is
    noise; below the number of classes it usually misses some. Cost O(n log n), memory O(n).

    Returns
    -------
    Selection
        Positions in drawn order; the scores fall from 1 by 1 / n for each place in the shuffled pool.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> sorted(dj.METHODS["random"](jax.random.key(0), jnp.zeros((3, 1)), 3).indices.tolist())
    [0, 1, 2]
    """
    n = len(x)
    places = jax.random.permutation(key, n)
    order = jnp.argsort(jnp.where(candidates, places, n))[:n_select].astype(jnp.int32)
    return Selection(order, 1.0 - places[order] / n)
