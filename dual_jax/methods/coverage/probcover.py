"""ProbCover: cover as many rows as possible with balls of one radius."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.methods.coverage.facility import greedy_similarity
from dual_jax.methods.coverage.kcenter import spread_rest
from dual_jax.numerics.arithmetic import squared_distances
from dual_jax.numerics.graphs import BLOCK
from dual_jax.numerics.kmeans import kmeans
from dual_jax.selection.limits import APART, Limits, only
from dual_jax.selection.protocol import Selection
from dual_jax.selection.walks import NONE_LEFT

MARGIN = 1e-4  # the radius is a distance of the pool, and rounding must not decide on that pair


@partial(jax.jit, static_argnames=("n_select", "n_clusters"))
def probcover(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    radius: float | None = None,
    purity: float = 0.95,
    n_clusters: int = 10,
    limits: Limits | None = None,
) -> Selection:
    """Return rows whose balls of one radius hold as many rows of the pool as possible.

    Greedily maximises ``|{i : ||x_i - x_j|| < radius for a j in S}|``, S being labelled rows and picks: each
    pick covers the most rows not covered yet, at least 1 - 1/e of what the best set covers. Source: Yehuda et
    al., NeurIPS 2022 (their delta is ``radius``); equal to MaxHerding with a top-hat kernel.

    The radius, unless given, is the largest one whose ball holds a single k-means pseudo-class for a share
    ``purity`` of the rows: a quantile of the distances to the nearest row of another cluster, exactly what
    the paper searches on a grid. The paper takes as many clusters as classes; they are not known here.

    Nested (the radius does not depend on ``n_select``). When all rows are covered, `kcenter` continues from
    the picks, with score 0: our rule, the paper stops there. Ties go to the lowest position.

    Fails when the radius is wrong for the budget, a known weakness of the method: too large, and it covers
    the pool with a few picks; too small, and every pick covers itself. Outliers come last. It wants features
    in which Euclidean distance is meaningful (the paper: l2-normalised self-supervised ones), so scale them.

    Cost: O(n^2 d) work once for the radius and about O(n^2 d log n_select) for the picks, O(n) memory and
    blocks of rows, and one k-means.

    Parameters
    ----------
    key
        Seeds the k-means; ignored when ``radius`` is given.
    candidates
        Forbidden rows are covered too.
    radius
        Of the balls, > 0, in the units of ``x``; None for the rule above.
    purity
        Share of rows whose ball should be pure, 0 to 1; the paper's default. Not used if ``radius`` is given.
    n_clusters
        Pseudo-classes, static, at least 2; give the number of classes where it is known.
    limits
        See `dual_jax.selection.limits`; all are kept, and "mean distance" is the share of rows that are not
        covered. With ``until`` or costs the picks end when all rows are.

    Returns
    -------
    Selection
        Positions, and the number of rows that each pick newly covers.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0], [20.0]])
    >>> picks = dj.METHODS["probcover"](jax.random.key(0), x, 3, radius=1.5)
    >>> picks.indices.tolist(), picks.scores.tolist()
    ([1, 3, 5], [3.0, 2.0, 1.0])
    """
    reach = _pure_radius(key, x, purity, n_clusters) if radius is None else radius
    cost = jax.tree_util.Partial(_out_of_reach, limit=reach**2)
    picks = greedy_similarity(x, n_select, cost, labeled, candidates, limits)
    n_useful = jnp.sum(picks.scores > 0)
    if limits is not None and {"until", "costs"} & {*limits.asked()}:
        indices = jnp.where(jnp.arange(n_select) < n_useful, picks.indices, NONE_LEFT)
    else:
        indices = spread_rest(x, picks.indices, n_useful, labeled, candidates, only(limits, *APART))
    return picks._replace(indices=indices)


def _out_of_reach(squared: Array, limit: Array) -> Array:
    """Return the indicator cost: 0 inside the ball, 1 outside; a row is always inside its own."""
    return ((squared >= limit) & (squared > 0)).astype(squared.dtype)


def _pure_radius(key: Array, x: Float[Array, "n d"], purity: Array | float, n_clusters: int) -> Array:
    """Return the largest radius at which a share ``purity`` of the balls holds one k-means cluster."""
    x = x - x.mean(0)
    labels = kmeans(key, x, min(n_clusters, len(x))).labels

    def nearest_other(row: tuple[Array, Array]) -> Array:
        squared = squared_distances(row[0][None], x)[0]
        return jnp.min(squared, where=labels != row[1], initial=jnp.inf)

    squared = jax.lax.map(nearest_other, (x, labels), batch_size=BLOCK)
    n_impure = jnp.floor((1.0 - purity) * len(x) + 1e-3).astype(int)  # 0.05 * 20 is 1 in spite of rounding
    return (1.0 - MARGIN) * jnp.sqrt(jnp.sort(squared)[jnp.clip(n_impure, 0, len(x) - 1)])
