"""Pictures of a selection: what the picks cover, how the fit went, what was picked.

See also `dual_jax.plots.maps.pool_map`. Every function returns a matplotlib figure that does not use pyplot's
state.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from dual_jax.numerics.arithmetic import squared_distances
from dual_jax.plots.maps import frame, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AT_A_TIME = 64  # picks whose distances to all rows are in memory
MOST_IMAGES, IMAGES_IN_ROW = 60, 12
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000")


def covered(
    x: Float[ArrayLike, "n q"], picks: Int[ArrayLike, " k"], targets: Float[ArrayLike, "m q"]
) -> Float[np.ndarray, " k"]:
    """Return the mean distance from a target to the nearest of the first 1, 2, .., k picks.

    In units of the mean distance of the rows from their mean: 1 is the value of a single row in the
    middle, 0 means that every target is picked. No label is needed, so the curve helps to choose a budget.

    Parameters
    ----------
    x
        (n, q) the pool in the space that the method used.
    picks
        Positions in ``x``, best first.
    targets
        (m, q) the pool itself, or the centroids of its clusters.

    Examples
    --------
    >>> x = np.array([[0.0], [1.0], [3.0], [4.0]])
    >>> print(*(f"{share:.3f}" for share in covered(x, np.array([1, 2]), x)))
    1.000 0.333
    """
    x, picks, targets = jnp.asarray(x), jnp.asarray(picks), jnp.asarray(targets)
    unit = jnp.mean(jnp.linalg.norm(x - jnp.mean(x, axis=0), axis=1))
    nearest, means = jnp.full(len(targets), jnp.inf), []
    for start in range(0, len(picks), AT_A_TIME):
        nearest, found = _cover(x[picks[start : start + AT_A_TIME]], targets, nearest)
        means.append(found)
    return np.asarray(jnp.concatenate(means) / jnp.where(unit > 0, unit, 1.0))


@jax.jit
def _cover(
    rows: Float[Array, "b q"], targets: Float[Array, "m q"], nearest: Float[Array, " m"]
) -> tuple[Float[Array, " m"], Float[Array, " b"]]:
    """Return the distances to the nearest row so far, and their mean after each of the rows."""
    center = jnp.mean(targets, axis=0)
    distances = jnp.sqrt(squared_distances(rows - center, targets - center))
    so_far = jax.lax.cummin(jnp.concatenate([nearest[None], distances]), axis=0)[1:]
    return so_far[-1], jnp.mean(so_far, axis=1)


def coverage_curve(curves: Mapping[str, Float[np.ndarray, " k"]]) -> "Figure":
    """Return what the first picks leave uncovered, from `covered`, one line for each kind of target.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    figure = new(3.4, 5.0)
    axes = figure.add_subplot()
    frame(axes, "Coverage against budget", "picks", "mean distance to the nearest pick")
    for color, (name, values) in zip(COLORS, curves.items(), strict=False):
        axes.plot(np.arange(1, len(values) + 1), values, color=color, label=name, linewidth=1.6)
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize=8)
    return figure


def loss_curves(history: Mapping[str, Mapping[str, Float[np.ndarray, " steps"]]]) -> "Figure":
    """Return the terms of the objective over the steps of each stage, each as a share of its first value.

    Parameters
    ----------
    history
        Of a fit: stage, then term (and "loss"), then one number per step.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    figure = new(3.4, 8.0)
    titles = {"pretrain": "Stage 1: the autoencoder", "train": "Stage 3: the selection"}
    stages = [stage for stage in titles if history.get(stage)]
    for place, stage in enumerate(stages, 1):
        axes = figure.add_subplot(1, len(stages), place)
        frame(axes, titles[stage], "step", "share of its first value")
        terms = {
            name: values for name, values in history[stage].items() if stage == "train" or name == "loss"
        }
        for color, (name, values) in zip(COLORS, terms.items(), strict=False):
            first = values[0] if values[0] else 1.0
            axes.plot(np.asarray(values) / first, color=color, label=name.replace("_", " "), linewidth=1.3)
        axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def sorted_norms(norms: Mapping[str, Float[np.ndarray, " m"]], n_select: int) -> "Figure":
    """Return the row norms of C and P in falling order, each as a share of its largest, the budget marked.

    If they fall steeply, few rows rebuild the pool. With the free objective the paper ranks by them.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    figure = new(3.4, 5.0)
    axes = figure.add_subplot()
    frame(axes, "Sorted row norms", "rank", "share of the largest")
    for color, (name, values) in zip(COLORS, norms.items(), strict=False):
        falling = np.sort(np.asarray(values))[::-1]
        axes.plot(np.arange(1, len(falling) + 1), falling / (falling[0] or 1.0), color=color, label=name)
    axes.axvline(n_select, color="black", linewidth=0.8, linestyle="--", label=f"{n_select} picks")
    axes.legend(frameon=False, fontsize=8)
    return figure


def contact_sheet(images: Float[np.ndarray, "k h w"] | Float[np.ndarray, "k h w c"]) -> "Figure":
    """Return the first picks as pictures in their order, `MOST_IMAGES` at most.

    Parameters
    ----------
    images
        (k, height, width) grey or (k, height, width, 3) in colour, any range, best pick first. The largest
        number is the brightest.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    shown = np.asarray(images[:MOST_IMAGES], np.float64)
    low, high = shown.min(), shown.max()
    shown = (shown - low) / (high - low if high > low else 1.0)
    n_rows = -(-len(shown) // IMAGES_IN_ROW)
    figure = new(0.4 + 0.8 * n_rows, 8.0)
    for rank, image in enumerate(shown, 1):
        axes = figure.add_subplot(n_rows, IMAGES_IN_ROW, rank)
        axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0.0, vmax=1.0)
        axes.set_title(str(rank), fontsize=7, pad=2)
        axes.axis("off")
    return figure
