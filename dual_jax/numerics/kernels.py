"""Kernels between rows: the similarity that a reconstruction method works in.

``"linear"`` is ``x . y``; ``"rbf"`` is ``exp(-||x - y||^2 / (2 width^2))``, whose width is by default the
median distance between two rows of the pool.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dual_jax.numerics.arithmetic import exact_squared_distances, matmul, squared_distances

KERNELS = ("linear", "rbf")
WIDTH_SAMPLE = 1024  # rows of which the median distance is taken


def kernel_matrix(
    x: Float[Array, "m d"],
    y: Float[Array, "n d"],
    kernel: str = "linear",
    width: Float[Array, ""] | float | None = None,
) -> Float[Array, "m n"]:
    """Return the kernel between each row of ``x`` and each row of ``y``.

    Parameters
    ----------
    x, y
        (m, d) and (n, d) rows; let ``x`` be the longer one. Memory is some m n numbers.
    kernel
        ``"linear"`` or ``"rbf"``, static.
    width
        Of the RBF kernel, in units of distance, above 0; `median_distance` of ``x`` by default.

    Returns
    -------
    Array
        (m, n). Equal rows have an RBF similarity of exactly 1.

    Raises
    ------
    ValueError
        When the kernel is not one of the two.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([[0.0], [1.0]])
    >>> print(kernel_matrix(x, x, "rbf", 1.0).round(2))
    [[1.   0.61]
     [0.61 1.  ]]
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel={kernel!r} is unknown: give one of {', '.join(KERNELS)}.")
    if kernel == "linear":
        return matmul(x, y.T)
    width = median_distance(x) if width is None else width
    centre = jnp.mean(x, axis=0)
    return jnp.exp(-exact_squared_distances(x - centre, y - centre) / (2.0 * width**2))


def median_distance(x: Float[Array, "n d"]) -> Float[Array, ""]:
    """Return the median distance between two different rows; 1 when more than half of the pairs are equal.

    Of a pool above 1024 rows it is that of 1024 rows at even steps, so that it costs the same for any pool.
    The lower of two middle values is taken.
    """
    n = min(len(x), WIDTH_SAMPLE)
    rows = x[jnp.arange(n) * (len(x) // n)] - jnp.mean(x, axis=0)
    squared = squared_distances(rows, rows).at[jnp.diag_indices(n)].set(0.0)
    # The n zeros of the diagonal come first in order; the median of the n (n - 1) others follows them.
    middle = jnp.sort(squared.ravel())[n + (n * (n - 1) - 1) // 2] if n > 1 else squared[0, 0]
    return jnp.sqrt(jnp.where(middle > 0, middle, 1.0))
