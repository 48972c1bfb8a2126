"""How much each part of a code counts, decided without labels.

The votes are shares in squared distances. The untrained features have one. A learnt map has one too, unless
it forgets which samples they find alike; the values of series have up to as much as all the rest, where
times correspond and the other features say little. No label of a pool is read; the thresholds below were set
with labelled results of the sets of `bench/views.py` in view, so those sets do not confirm them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from dual_jax.numerics.arithmetic import matmul, safe_divide
from dual_jax.views.preparation import Preparation, prepared, sampled

COMPARED, NEIGHBOURS = 500, 10  # samples, and neighbours of each, by which a map is compared
FORGOTTEN, KEPT = 0.1, 0.3  # shares of shared neighbours from which a map has no vote, and a whole one
UNALIGNED, ALIGNED = 0.1, 0.2  # shares of common power at which values have no vote, and a whole one


def map_vote(local: Float[Array, "n q"], learnt: Float[Array, "n p"]) -> Float[Array, ""]:
    """Return the vote of a learnt map, from 0 to 1, by how far it keeps the neighbours of untrained features.

    Of at most 500 samples, the mean share of the ten nearest in one space that are among the ten nearest in
    the other; votes rise evenly from a share of 0.1 to 0.3. Both spaces have rows of unit length. Ours: on
    photographs, whose classes are no clusters, a network keeps some .2 and is the worse space; on digits and
    drawings it keeps .4 or more.

    Examples
    --------
    >>> rows = jnp.eye(20)
    >>> float(map_vote(rows, rows))
    1.0
    """
    if not learnt.shape[1]:
        return jnp.zeros(())
    step = -(-len(local) // COMPARED)
    first, second = (_neighbours(rows[::step]) for rows in (local, learnt))
    n_shared = jnp.sum(first[:, :, None] == second[:, None, :]) / first.size
    return jnp.clip((n_shared - FORGOTTEN) / (KEPT - FORGOTTEN), 0.0, 1.0)


def _neighbours(rows: Float[Array, "n q"]) -> Array:
    products = jnp.where(jnp.eye(len(rows), dtype=bool), -jnp.inf, matmul(rows, rows.T))
    return jax.lax.top_k(products, min(NEIGHBOURS, len(rows) - 1))[1]


def values_vote(
    preparation: Preparation, x: Shaped[np.ndarray, "n c t"], views: Float[Array, "n v q"]
) -> Float[Array, ""]:
    """Return the vote of the values of series, from 0 to 1, the rest together having one.

    It is ``min(1, w s)``: w rises from 0 to 1 while the mean curve holds 0.1 to 0.2 of the power, which says
    that times correspond (of series of random phase it holds nothing); s is the variance of the features
    of views within a series over that between series, which says how little they tell. Ours.
    """
    series = prepared(preparation, jnp.asarray(sampled(x), jnp.float32))
    series = series - jnp.mean(series, axis=(0, 2), keepdims=True)
    power = jnp.mean(jnp.sum(series**2, axis=(1, 2)))
    common = safe_divide(jnp.sum(jnp.mean(series, axis=0) ** 2), power)
    within = jnp.sum(jnp.var(views, axis=1, ddof=1)) / len(views)
    between = jnp.maximum(jnp.sum(jnp.var(views, axis=(0, 1))) - within, 0.0)
    is_aligned = jnp.clip((common - UNALIGNED) / (ALIGNED - UNALIGNED), 0.0, 1.0)
    return is_aligned * jnp.where(within < between, safe_divide(within, between), 1.0)
