"""Scaling of a table before selection: fitted on the pool, applied to it and to new rows.

Moments are taken of differences to the pool's first row, so a feature at 1e6 +- 1 keeps its digits in float32
and a constant feature has a deviation of exactly 0. NumPy tables are worked on in float64 and come back as
float32; jax arrays stay on their device in float32.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

SMALLEST_SPREAD, LARGEST_SPREAD = 1e-15, 1e15  # of the cells of a pool as a method is given it
SCALINGS = ("standard", "global", "l2", "none")
CELLS = 1 << 22  # cells in float64 at a time on the host: 32 MB

Table = np.ndarray | jax.Array


class Scaler(NamedTuple):
    """How to scale a row: ``((x - origin) - center) / scale``; for ``l2`` the row's own length instead.

    ``origin`` is a float32 number near the mean, so that the first difference is exact, and ``center`` is the
    rest of the mean. Both are (d,) for ``standard`` and for `Parts`, and so is the scale of ``standard``;
    others are scalars.
    """

    how: str
    origin: Float[Table, "*d"]
    center: Float[Table, "*d"]
    scale: Float[Table, "*d"]


def fit_scaler(x: Shaped[Table, "n d"], how: str = "standard") -> Scaler:
    """Return the scaler that ``how`` names, fitted on the rows of ``x``.

    Parameters
    ----------
    x : (n, d) array
        Finite numbers; NumPy or jax.
    how : {"standard", "global", "l2", "none"}
        ``standard``: mean 0 and standard deviation 1 for each feature, 0 where a feature is constant.
        ``global``: one mean and one standard deviation for the whole table (images: keeps the relative size
        of pixels). ``l2``: each row to length 1. ``none``: as given.

    Raises
    ------
    ValueError
        When ``how`` is none of these.

    Examples
    --------
    >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
    >>> apply(fit_scaler(x, "standard"), x)
    array([[-1.,  0.],
           [ 1.,  0.]], dtype=float32)
    """
    if how not in SCALINGS:
        raise ValueError(f"scaling {how!r} is not known: use one of {', '.join(SCALINGS)}")
    xp: ModuleType = jnp if isinstance(x, jax.Array) else np
    zero, one = xp.zeros((), xp.float32), xp.ones((), xp.float32)
    if how in ("l2", "none"):
        return Scaler(how, zero, zero, one)
    origin, center, deviation = _moments(x)
    if how == "standard":
        return Scaler(how, origin, center, xp.where(deviation > 0, deviation, one))
    means = origin + center
    mean = xp.asarray(xp.mean(means))
    deviation = _rms(xp.hypot(deviation, means - mean), xp)
    return Scaler(how, zero, mean, xp.where(deviation > 0, deviation, one))


def apply(scaler: Scaler, x: Shaped[Table, "n d"]) -> Float[Table, "n d"]:
    """Return the rows of ``x`` scaled, in float32, on the side where ``x`` is.

    Raises
    ------
    ValueError
        When ``x`` has another number of features than the table that the scaler was fitted on.
    """
    n_fitted = np.shape(scaler.origin)
    if n_fitted and x.shape[1:] != n_fitted:
        raise ValueError(f"x has {x.shape[1]} features, but the scaler was fitted on {n_fitted[0]} features")
    if isinstance(x, jax.Array):
        on_device = [jnp.asarray(part, jnp.float32) for part in scaler[1:]]
        return _scaled_on_device(x.astype(jnp.float32), scaler.how, on_device, jnp)
    on_host = [np.asarray(part, np.float64) for part in scaler[1:]]
    scaled = np.empty(x.shape, np.float32)
    step = max(1, CELLS // max(1, x.shape[1]))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        scaled[rows] = _scaled(x[rows].astype(np.float64), scaler.how, on_host, np)
    return scaled


Parts = tuple[Scaler, ...]  # of the views that `join` puts into one table, in their order


def beside(x: Shaped[Table, "n d"], *others: Shaped[Table, "n _"]) -> Float[Table, "n w"]:
    """Return several views of the same rows, such as inputs and an embedding, as one table: one vote each.

    With ``nrm(a) = (a - mean) / sqrt(mean_i ||a_i - mean||^2)`` the rows of v views of w columns in all are

        sqrt(w / v) [nrm(x), nrm(embedding), ...]:

    all views have the same mean squared distance between rows, whatever their widths and units, and a
    feature has variance 1 on average, as in a standardised table. So a method picks for what the embedding
    knows, and the inputs stay in. Ours; `dual_jax.dual.network` does the same with its own codes.

    Parameters
    ----------
    x : (n, d) array
        Finite numbers, scaled as they would be alone (`fit_scaler`): that decides between the features.
    *others : (n, q) arrays
        Finite numbers, such as an embedding; the relative size of the columns of each is kept.

    Examples
    --------
    >>> beside(np.array([[1.0], [3.0]]), np.array([[0.0], [200.0]]))
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """
    return join(fit_parts(x, *others), x, *others)


def fit_parts(*views: Shaped[Table, "n _"]) -> Parts:
    """Return how `beside` scales these views, for `join` to do so with new rows."""
    spread = (sum(view.shape[1] for view in views) / len(views)) ** 0.5
    return tuple(_fit_part(view, spread) for view in views)


def join(parts: Parts, *views: Shaped[Table, "m _"]) -> Float[Table, "m w"]:
    """Return views as one table, scaled by the parts' moments, on the side where the first view is."""
    xp: ModuleType = jnp if isinstance(views[0], jax.Array) else np
    rows = [apply(part, xp.asarray(view)) for part, view in zip(parts, views, strict=True)]
    return xp.concatenate(rows, axis=1)


def _fit_part(x: Shaped[Table, "n d"], spread: float) -> Scaler:
    """Return the scaler that centres each feature and gives the rows a root mean squared length."""
    xp: ModuleType = jnp if isinstance(x, jax.Array) else np
    origin, center, deviation = _moments(x)
    length = _rms(deviation, xp) * x.shape[1] ** 0.5
    return Scaler("spread", origin, center, xp.where(length > 0, length, xp.ones_like(length)) / spread)


def _scaled(
    x: Float[Table, "n d"], how: str, parts: Sequence[Float[Table, "*s"]], xp: ModuleType
) -> Float[Table, "n d"]:
    """Return ``x`` scaled by origin, center and scale, in its own precision."""
    origin, center, scale = parts
    if how == "none":
        return x
    if how == "l2":
        length = _rms(x.T, xp)[:, None] * x.shape[1] ** 0.5
        return x / xp.where(length > 0, length, xp.ones_like(length))
    return ((x - origin) - center) / scale


def _moments(x: Shaped[Table, "n d"]) -> tuple[Float[Table, " d"], ...]:
    """Return a float32 origin, the rest of the mean, and the standard deviation, per feature."""
    if isinstance(x, jax.Array):
        return _moments_on_device(x.astype(jnp.float32), jnp)
    step = max(1, CELLS // len(x))
    groups = [_column_moments(x[:, j : j + step].astype(np.float64), np) for j in range(0, x.shape[1], step)]
    return tuple(np.concatenate(part) for part in zip(*groups, strict=True))


def _column_moments(x: Float[Table, "n d"], xp: ModuleType) -> tuple[Float[Table, " d"], ...]:
    """Return origin, center and deviation of columns in their own precision."""
    first = x[0]
    x = x - first
    mean = xp.mean(x, axis=0)
    mean = mean + xp.mean(
        x - mean, axis=0
    )  # one float32 sum over many rows loses digits; the second is small
    origin = first.astype(xp.float32)
    return origin, (first - origin) + mean, _rms(x - mean, xp)


def _rms(x: Float[Table, " n *d"], xp: ModuleType) -> Float[Table, " *d"]:
    """Return the root mean square over the first axis, for values whose squares leave float32."""
    largest = xp.max(xp.abs(x), axis=0)
    largest = xp.where(largest > 0, largest, xp.ones_like(largest))
    return xp.asarray(largest * xp.sqrt(xp.mean(xp.square(x / largest), axis=0)))


_moments_on_device = jax.jit(_column_moments, static_argnames="xp")
_scaled_on_device = jax.jit(_scaled, static_argnames=("how", "xp"))


def check_spread(x: Any) -> None:
    """Raise ValueError where squared distances between the rows of ``x`` would leave float32.

    Traced arrays pass. Equal rows pass too: no distance is needed to order them.
    """
    if isinstance(x, jax.core.Tracer):
        return
    xp = jnp if isinstance(x, jax.Array) else np
    spread = float(xp.max(xp.abs(x - x[:1])))
    if not (spread == 0 or SMALLEST_SPREAD <= spread <= LARGEST_SPREAD):
        raise ValueError(
            f"the cells of x differ from those of its first row by {spread:.1e} at most, wanted between "
            f"{SMALLEST_SPREAD:g} and {LARGEST_SPREAD:g}, so that squares stay within float32: scale the "
            'features, for instance with scale="standard" or scale="global"'
        )
