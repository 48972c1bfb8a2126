"""Pictures of a selection: the pool as a map of two dimensions, and the picks on it in their order.

Figures do not use pyplot's global state, so they work without a display and in threads.
"""

import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from sklearn.decomposition import PCA

from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.data.storage import write_atomically

MAPS = ("pca", "tsne", "umap")
NEEDS_UMAP = "a map by UMAP needs umap-learn: pip install umap-learn"

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.2  # inches, of a page's text
SUFFIXES = (".png", ".svg", ".pdf")
MAX_SHOWN = 20_000  # rows drawn; more only make the cloud darker and the file larger
MAX_NUMBERED = 20  # picks that have their number on the map
NEEDS_MATPLOTLIB = 'drawing needs matplotlib: pip install "dual-jax[plot]"'
CLUSTERS = ("#a6cee3", "#b2df8a", "#fdbf6f", "#cab2d6", "#fb9a99", "#b5b5b5", "#99d8c9", "#f6d8ae", "#c7d0ee")
POOL, LABELED = "#c3c7cd", "#d55e00"  # vermilion differs from viridis with any colour vision
LETTER, LINE = 6.0, 9.0  # width of a digit and height of a number, in points
DIRECTIONS = np.array([(1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1.4), (1.4, 0), (0, -1.4), (-1.4, 0)])
DISTANCES = (7.0, 13.0, 20.0, 28.0)  # of a number from its pick, in points


class Placed(NamedTuple):
    """Rows of a pool in two dimensions: their positions, ascending, their places, and the axes' names."""

    rows: Int[np.ndarray, " m"]
    places: Float[np.ndarray, "m 2"]
    names: tuple[str, str]


def check_suffix(path: str | PathLike[str]) -> None:
    """Raise an error if no figure can be written to this file.

    Raises
    ------
    ValueError
        If the name ends in none of `SUFFIXES`.
    ImportError
        When matplotlib is missing.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot draw {path}: its name must end in {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(NEEDS_MATPLOTLIB) from error


def write(figure: "Figure", path: str | PathLike[str]) -> None:
    """Write a figure in the format of its suffix, so that a killed run leaves no incomplete file.

    Raises
    ------
    ValueError
        If the name ends in none of `SUFFIXES`, or its folder does not exist.
    """
    check_suffix(path)
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix.lower()[1:])
    write_atomically(path, picture.getvalue())


def new(height: float, width: float = WIDTH, dpi: int = 200) -> "Figure":
    """Return an empty figure of a page's width, without pyplot's global state.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(NEEDS_MATPLOTLIB) from error
    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def frame(axes: "Axes", title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Set the title and the labels of a panel, and leave only the spines that carry a scale."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7)
    axes.set_title(title, fontsize=8)
    axes.set_xlabel(xlabel, fontsize=7)
    axes.set_ylabel(ylabel, fontsize=7)


def pool_map(
    x: Float[np.ndarray, "n d"],
    picks: Int[np.ndarray, " k"],
    *,
    labeled: Bool[np.ndarray, " n"] | None = None,
    clusters: Int[np.ndarray, " n"] | None = None,
    how: str = "pca",
    title: str = "",
    placed: Placed | None = None,
) -> "Figure":
    """Return a picture of the pool in two dimensions, with the picks in order.

    Parameters
    ----------
    x : (n, d) array
        The pool as the method used it (scaled), d >= 2; above `MAX_SHOWN` rows a sample of it is drawn.
    picks : (k,) int array
        Picked rows, best first. Their colour is their rank; the first `MAX_NUMBERED` carry it as a number.
    labeled : (n,) bool array, optional
        Rows that had a label before, drawn as crosses.
    clusters : (n,) int array, optional
        The cluster of each row, for the colours of the pool; colours repeat if there are more than
        `CLUSTERS`.
    how : {"pca", "tsne", "umap"}
        The first two principal components (default), t-SNE, or UMAP if umap-learn is installed; the last
        two keep neighbours together and distort distances.
    title : str
        Above the picture.
    placed : Placed, optional
        What `place` returned for all of these rows, when that is known already; ``how`` is not used then.

    Raises
    ------
    ImportError
        If matplotlib is missing, or umap-learn for ``how="umap"``.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(30, 3))
    >>> figure = pool_map(x, np.array([4, 7]), title="thirty points")
    >>> figure.axes[0].get_title()
    'thirty points'
    """
    n = len(x)
    placed = place(x, np.union1d(sample(n), picks), how) if placed is None else placed
    places, names = np.full((n, 2), np.nan), placed.names
    places[placed.rows] = placed.places
    picked = places[np.asarray(picks)]
    figure = new(6.5, 8.0, dpi=150)
    axes = figure.add_subplot(title=title, xlabel=names[0], ylabel=names[1])
    axes.spines[["top", "right"]].set_visible(False)
    colors = None if clusters is None else np.array(CLUSTERS)[np.asarray(clusters) % len(CLUSTERS)]
    _draw_pool(axes, places, np.zeros(n, bool) if labeled is None else np.asarray(labeled), colors)
    _draw_picks(axes, picked)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.draw_without_rendering()  # fixes the layout, on which the distances of the numbers depend
    _number_picks(axes, picked)
    return figure


def sample(n: int, n_rows: int = MAX_SHOWN) -> Int[np.ndarray, " m"]:
    """Return the rows of a pool that are drawn: all, or a sample; a larger one contains a smaller one."""
    return np.sort(np.random.default_rng(0).permutation(n)[:n_rows])


def place(x: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " m"], how: str = "pca") -> Placed:
    """Return places of some rows in two dimensions; see `pool_map` for the ways.

    Raises
    ------
    ValueError
        If there is no such map.
    ImportError
        If umap-learn is missing for ``how="umap"``.
    """
    x = np.asarray(x)
    if how == "pca":
        pca = PCA(2, random_state=0).fit(x)
        shares = pca.explained_variance_ratio_
        first, second = (
            f"principal component {i + 1} ({share:.1%} of the variance)" for i, share in enumerate(shares)
        )
        return Placed(rows, pca.transform(x[rows]), (first, second))
    if how == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max(len(rows) / 4, 1.0))  # scikit-learn's default needs more rows
        places = TSNE(perplexity=perplexity, random_state=0).fit_transform(x[rows])
        return Placed(rows, places, ("t-SNE 1", "t-SNE 2"))
    if how != "umap":
        raise InputError(f"how={how!r} is no map: use one of {', '.join(MAPS)}")
    try:
        from umap import UMAP
    except ImportError as error:
        raise MissingPackageError(NEEDS_UMAP) from error
    places = UMAP(random_state=0, n_jobs=1).fit_transform(x[rows])
    return Placed(rows, places, ("UMAP 1", "UMAP 2"))


def _draw_pool(
    axes: "Axes",
    places: Float[np.ndarray, "n 2"],
    is_labeled: Bool[np.ndarray, " n"],
    colors: Shaped[np.ndarray, " n"] | None,
) -> None:
    """Draw the rows without a label pale and those with one as crosses; a sample of them when many."""
    n, is_shown = len(places), np.zeros(len(places), bool)
    is_shown[sample(n)] = True
    label = "pool" if n <= MAX_SHOWN else f"pool ({MAX_SHOWN:,} of {n:,} rows shown)"
    if colors is not None:
        label += ", coloured by cluster"
    size = float(np.clip(20_000 / is_shown.sum(), 4, 16))
    is_pool = is_shown & ~is_labeled
    x, y = places[is_pool].T
    color = POOL if colors is None else colors[is_pool].tolist()
    axes.scatter(x, y, s=size, c=color, alpha=0.7, linewidths=0, rasterized=True, label=label)
    if is_labeled.any():
        x, y = places[is_shown & is_labeled].T
        axes.scatter(
            x, y, s=22, c=LABELED, marker="x", linewidths=1.1, rasterized=True, label="labelled before"
        )


def _draw_picks(axes: "Axes", places: Float[np.ndarray, "k 2"]) -> None:
    """Draw the picks coloured by rank, the first on top, and a colour bar when there are several."""
    ranks = np.arange(len(places), 0, -1)
    x, y = places[::-1].T
    dots = axes.scatter(
        x,
        y,
        c=ranks,
        s=np.where(ranks <= MAX_NUMBERED, 42.0, np.clip(4000 / len(places), 12, 42)),
        cmap="viridis",
        edgecolors="black",
        linewidths=0.6,
        label="picked",
        zorder=3,
    )
    if len(places) > 1:
        ticks = np.unique(np.linspace(1, len(places), min(len(places), 6)).round())
        bar = axes.figure.colorbar(dots, ax=axes, label="rank (1 is picked first)", ticks=ticks, pad=0.02)
        bar.ax.invert_yaxis()


def _number_picks(axes: "Axes", places: Float[np.ndarray, "k 2"]) -> None:
    """Write the ranks of the first picks next to them, where they cover least."""
    from matplotlib import patheffects

    dots = axes.transData.transform(places) * 72 / axes.figure.dpi
    box = axes.bbox.get_points() * 72 / axes.figure.dpi
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for rank, (place, offset) in enumerate(zip(places, _offsets(dots, box), strict=False), 1):
        line = {"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2, "color": "black"}
        axes.annotate(
            str(rank),
            (place[0], place[1]),
            (offset[0], offset[1]),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            path_effects=halo,
            arrowprops=line if np.hypot(*offset) > DISTANCES[1] else None,
            zorder=4,
        )


def _offsets(dots: Float[np.ndarray, "k 2"], box: Float[np.ndarray, "2 2"]) -> list[Float[np.ndarray, " 2"]]:
    """Return the place of each of the first numbers relative to its dot: the nearest one that covers least.

    All in points; ``box`` holds the lower left and the upper right corner of the picture.
    """
    offsets: list[Float[np.ndarray, " 2"]] = []
    taken = [(dot, np.array([LINE, LINE]) / 2) for dot in dots]  # centres and half sizes
    around = np.concatenate([DIRECTIONS * distance for distance in DISTANCES])
    for rank, dot in enumerate(dots[:MAX_NUMBERED], 1):
        half = np.array([LETTER * len(str(rank)), LINE]) / 2
        centres = dot + around
        covered = sum(np.all(np.abs(centres - at) < half + size, axis=1) for at, size in taken)
        is_outside = np.any((centres < box[0]) | (centres > box[1]), axis=1)
        best = int(np.argmin(covered + len(taken) * is_outside))
        taken.append((centres[best], half))
        offsets.append(around[best])
    return offsets
