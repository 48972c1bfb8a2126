"""Why each row was picked: its gain, its cluster, the rows it represents, and the nearest earlier row."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics.arithmetic import squared_differences
from dual_jax.numerics.chunks import assign
from dual_jax.numerics.precision import in_float32
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.protocol import Selection
from dual_jax.selection.swaps import nearest


class Explanation(NamedTuple):
    """One entry for each pick, in pick order, and of the last two one for each row of the pool; on the host.

    Attributes
    ----------
    gain
        The score that it was picked for, on the method's own scale.
    cluster
        The centroid that it is nearest to.
    n_represented
        Rows of the pool to which it is the nearest of all picks and labelled rows.
    nearest
        Position of the nearest row that was picked or labelled before it; -1 where there is none.
    distance
        To that row, in the space of selection; NaN where there is none.
    representative
        Position of the pick or labelled row that each row of the pool is nearest to.
    to_representative
        The distance to it.
    """

    gain: Float[np.ndarray, " k"]
    cluster: Int[np.ndarray, " k"]
    n_represented: Int[np.ndarray, " k"]
    nearest: Int[np.ndarray, " k"]
    distance: Float[np.ndarray, " k"]
    representative: Int[np.ndarray, " n"]
    to_representative: Float[np.ndarray, " n"]


@in_float32
def explain(
    u: Float[ArrayLike, "n q"],
    picks: Selection,
    centroids: Float[ArrayLike, "K q"],
    *,
    labeled: Bool[ArrayLike, " n"] | None = None,
) -> Explanation:
    """Return for each pick its gain, its cluster, how many rows it represents, and the nearest earlier row.

    Of equally near rows the one that was labelled or picked first counts. Distances exist a block at a time:
    memory is some 32 (k + labelled rows) numbers more than the rows themselves.

    Parameters
    ----------
    u
        (n, q) rows in the space that the method selects in.
    picks
        Of any method, in pick order.
    centroids
        (K, q) centres of clusters of these rows, such as `dual_jax.numerics.kmeans` finds.
    labeled
        Rows that had a label before the first pick.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> picks = Selection(jnp.array([1, 3]), jnp.array([5.0, 2.0]))
    >>> why = explain(jnp.array([[0.0], [1.0], [2.0], [9.0]]), picks, jnp.array([[1.0], [9.0]]))
    >>> why.cluster.tolist(), why.n_represented.tolist(), why.nearest.tolist(), why.distance.tolist()
    ([0, 1], [3, 1], [-1, 1], [nan, 8.0])
    """
    u, centroids = jnp.asarray(u), jnp.asarray(centroids)
    before = np.flatnonzero(np.zeros(len(u), bool) if labeled is None else np.asarray(labeled))
    chosen = jnp.concatenate([jnp.asarray(before, jnp.int32), jnp.asarray(picks.indices, jnp.int32)])
    place, reach = nearest(build_cover(u, power_cost(1.0)), chosen)
    former, distance = _nearest_before(u, chosen, jnp.arange(len(before), len(chosen)))
    return Explanation(
        gain=np.asarray(picks.scores),
        cluster=np.asarray(assign(u[chosen[len(before) :]], centroids)[0]),
        n_represented=np.bincount(place, minlength=len(chosen))[len(before) :],
        nearest=np.asarray(former),
        distance=np.asarray(distance),
        representative=np.asarray(chosen)[np.asarray(place)],
        to_representative=np.asarray(reach),
    )


def represented(why: Explanation, pick: int, n_rows: int) -> Int[np.ndarray, " m"]:
    """Return the rows nearest to a pick of those that it represents, without itself, ``n_rows`` at most.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> picks = Selection(jnp.array([1, 3]), jnp.array([5.0, 2.0]))
    >>> why = explain(jnp.array([[0.5], [1.0], [2.0], [9.0]]), picks, jnp.array([[1.0], [9.0]]))
    >>> represented(why, 1, 5).tolist(), represented(why, 3, 5).tolist()
    ([0, 2], [])
    """
    rows = np.flatnonzero(why.representative == pick)
    rows = rows[rows != pick]
    return rows[np.argsort(why.to_representative[rows], kind="stable")[:n_rows]]


@jax.jit
def _nearest_before(
    u: Float[Array, "n q"], chosen: Int[Array, " m"], places: Int[Array, " k"]
) -> tuple[Int[Array, " k"], Float[Array, " k"]]:
    """Return position and distance of the nearest of the rows chosen before each place; -1 and NaN."""
    rows = u[chosen]

    def look_back(place: Array) -> tuple[Array, Array]:
        squared = squared_differences(rows[place][None], rows)[0]
        squared = jnp.where(jnp.arange(len(rows)) < place, squared, jnp.inf)
        best = jnp.argmin(squared)
        distance = jnp.where(place > 0, jnp.sqrt(squared[best]), jnp.nan)
        return jnp.where(place > 0, chosen[best], -1), distance

    return jax.lax.map(look_back, places)
