"""Kernel herding: picks whose mean in feature space follows that of the pool."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.graphs import BLOCK
from dual_jax.numerics.kernels import kernel_matrix, median_distance
from dual_jax.selection.limits import Limits, Used, begin, close_around
from dual_jax.selection.protocol import Selection, first_best
from dual_jax.selection.walks import cut, pick_or_none


@partial(jax.jit, static_argnames=("n_select", "kernel"))
def herding(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    kernel: str = "rbf",
    width: float | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return rows whose kernel mean follows the kernel mean of the pool.

    With S the labelled rows and the picks so far, the next pick maximises

        mean_i k(x_i, x) - sum_{s in S} k(x_s, x) / (|S| + 1),

    a greedy descent on the maximum mean discrepancy between S and the pool. Source: Chen, Welling and Smola,
    UAI 2010, Eq. (8), without replacement. The mean is over all rows, labelled and forbidden ones too.

    Nested. Deterministic, ties within 1e-6 relative by position. It imitates the density: a duplicate of a
    pick is less wanted but not excluded, and rare rows come late. Fails on unscaled features and with a
    width far from the distances that matter; the linear kernel only matches the mean.

    Cost: O(n^2 d) work once, O(n d) a pick; O(n) memory and blocks of rows.

    Parameters
    ----------
    kernel, width
        As in `dual_jax.numerics.kernels.kernel_matrix`; both defaults are ours.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions, and the objective of each when it was picked.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[0.0], [1.0], [2.0], [9.0], [10.0]])
    >>> dj.METHODS["herding"](jax.random.key(0), x, 2, width=1.0).indices.tolist()
    [1, 3]
    """
    sigma = median_distance(x) if width is None else width
    mean, crowd = _kernel_sums(x, labeled, kernel, sigma)

    def pick(
        state: tuple[Array, Array, Array, Used | None], _: None
    ) -> tuple[tuple[Array, Array, Array, Used | None], tuple[Array, Array]]:
        crowd, n_done, is_open, used = state
        scores = mean - crowd / (n_done + 1)
        best = first_best(scores, is_open)
        crowd, n_done = crowd + kernel_matrix(x, x[best][None], kernel, sigma)[:, 0], n_done + 1
        is_left, used = close_around(limits, used, is_open, best, x)
        found = pick_or_none(limits, is_open, best, scores[best])
        return (crowd, n_done, is_left, used), found

    used, candidates = begin(limits, x, labeled, candidates)
    start = (crowd, labeled.sum(), candidates, used)
    return cut(limits, x, Selection(*jax.lax.scan(pick, start, length=n_select)[1]), labeled)


def _kernel_sums(
    x: Float[Array, "n d"], labeled: Bool[Array, " n"], kernel: str, width: Array | float
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Return the mean kernel of each row with the pool, and its summed kernel with the labelled rows."""
    n_blocks = -(-len(x) // BLOCK)
    size = -(-len(x) // n_blocks)
    rows = jnp.minimum(jnp.arange(n_blocks * size), len(x) - 1).reshape(n_blocks, size)

    def sums(rows: Array) -> tuple[Array, Array]:
        similarity = kernel_matrix(x, x[rows], kernel, width)
        return similarity.mean(axis=0), jnp.sum(similarity, axis=0, where=labeled[:, None])

    mean, crowd = jax.lax.map(sums, rows)
    return mean.ravel()[: len(x)], crowd.ravel()[: len(x)]
