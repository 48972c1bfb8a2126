"""Pictures of records: which methods pick well, where, at what cost, and by more than chance.

They work in print and for the colour-blind: DUAL and random have their own lines, markers and names; the
others are grouped by family, in colours that the colour-blind can distinguish.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from dual_jax.evaluation.standings import (
    RANDOM,
    Standings,
    by_data,
    complete,
    critical_difference,
    gains,
    mean_ranks,
)
from dual_jax.methods.facts import FACTS, described
from dual_jax.plots.maps import frame, new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_NAMED = 2  # best of the other methods, which are named in a panel
N_LEVEL = 9  # names of data sets that fit side by side
MARGIN = 0.5  # least distance of two marks, in that of even ones
NAMES = {"dual": "DUAL", "dual_wo": "DUAL w/o clusters", "dual_paper": "DUAL, released"}
SPELLED = {"auc": "AUC", "recall": "macro recall"}
COLUMNS = 3  # of panels
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
MARKERS = "osD^vP*X"
MIN_SECONDS = 1e-3


class Look(NamedTuple):
    """How a method's line is drawn, and the group that the legend names."""

    color: str
    width: float
    line: Any
    marker: str  # on its line
    dot: str  # as a single point
    group: str


OURS = Look("#d55e00", 2.2, "-", "o", "o", "DUAL")
RELEASED = Look("#7b3294", 1.6, "-", "s", "s", "DUAL, released")
ABLATED = Look("#d55e00", 1.0, (0, (1, 1)), "", "o", "DUAL w/o clusters")
VARIED = Look("#d55e00", 1.0, ":", "", "P", "DUAL, other settings")
CHANCE = Look("#000000", 1.5, (0, (4, 2)), "", "s", "random")
GROUPS = {
    "reconstruction": Look("#0072b2", 0.7, "-", "", "v", "reconstruction and leverage"),
    "coverage": Look("#009e73", 0.7, (0, (5, 1, 1, 1)), "", "D", "coverage, density and clusters"),
    "other": Look("#777777", 0.7, ":", "", "P", "other"),
}


def look(method: str) -> Look:
    """Return how a method is drawn."""
    known = {"dual": OURS, "dual_paper": RELEASED, "dual_wo": ABLATED, RANDOM: CHANCE}
    if method in known:
        return known[method]
    facts = FACTS.get(method.split(" ")[0])
    family = facts.family if facts else "other"
    return VARIED if family == "deep" else GROUPS.get(family, GROUPS["other"])


def shown(method: str) -> str:
    """Return a method's name in a figure or a table: DUAL's in words, the others' as in `dual_jax.METHODS`.

    The name of a method with an inferred objective ends in "(inferred)".
    """
    name, _, rest = method.partition(" ")
    return " ".join(filter(None, (NAMES.get(name) or described(name), rest)))


def spelled(metric: str) -> str:
    """Return a metric's name on an axis."""
    return SPELLED.get(metric, metric)


def learning_curves(table: Standings, metric: str, *, title: str = "") -> "Figure":
    """Return one panel per data set: the metric against the number of picks, for every method.

    DUAL, random and the `N_NAMED` best of the others in a panel have their names next to their lines; the
    band is the deviation of DUAL over splits.

    Raises
    ------
    ImportError
        When matplotlib is missing.
    """
    figure, axes_of = panels(len(table.data), title)
    for axes, data in zip(axes_of, table.data, strict=True):
        columns = [i for i, (name, _) in enumerate(table.blocks) if name == data]
        budgets = np.array([table.blocks[i][1] for i in columns])
        lines = {
            method: values[columns]
            for method, values in zip(table.methods, table.values, strict=True)
            if np.isfinite(values[columns]).all()
        }
        named = _named(lines)
        if "dual" in lines:
            spread = table.spreads[table.methods.index("dual"), columns]
            band = lines["dual"] - spread, lines["dual"] + spread
            axes.fill_between(budgets, *band, color=OURS.color, alpha=0.12, linewidth=0)
        for method, values in sorted(lines.items(), key=lambda item: (item[0] in named, look(item[0]).width)):
            draw_line(axes, budgets, values, look(method), is_named=method in named)
        name_ends(
            axes, int(budgets[-1]), {shown(name): (lines[name][-1], look(name).color) for name in named}
        )
        frame(axes, data, "picks", spelled(metric))
        log_scale(axes, budgets.tolist(), 3)
    add_key(figure, axes_of, sorted(map(look, table.methods), key=lambda style: -style.width))
    return figure


def gain_map(table: Standings, metric: str) -> "Figure":
    """Return a coloured table: points above random of each method on each data set, best mean on top.

    Methods that lack a data set come last, below a line.
    """
    points = 100.0 * by_data(table, gains(table))
    mean = points.mean(axis=1)  # NaN for a method that lacks a data set
    order = np.lexsort((-np.nanmean(points, axis=1), np.isnan(mean)))
    cells = np.column_stack([points, mean])[order]
    limit = float(np.nanpercentile(np.abs(cells), 95))
    figure = new(0.7 + 0.2 * len(order))
    axes = figure.add_subplot()
    axes.imshow(cells, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        text = f"{round(value, 1) + 0.0:+.1f}" if np.isfinite(value) else "-"  # + 0.0: no "-0.0"
        color = "white" if abs(value) > 0.6 * limit else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    axes.axvline(len(table.data) - 0.5, color="black", linewidth=1)
    if np.isnan(mean).any():
        axes.axhline(np.isfinite(mean).sum() - 0.5, color="black", linewidth=1)
    frame(axes, f"{spelled(metric)}: points above random, mean over budgets")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(range(len(table.data) + 1), [*table.data, "mean"])
    if len(table.data) > N_LEVEL:
        for name in axes.get_xticklabels():
            name.set(rotation=40, ha="left", rotation_mode="anchor")
    _name_rows(axes, range(len(order)), [table.methods[i] for i in order])
    return figure


def rank_diagram(table: Standings, metric: str) -> "Figure":
    """Return the mean rank of each method over data sets, with bars of the critical difference.

    A data set counts by its mean over budgets. Two methods differ by more than chance (Nemenyi, 5 %) if their
    bars do not overlap; the band is the best method's. Methods that lack a block are left out and named.
    """
    partial = [method for method in table.methods if method not in complete(table).methods]
    table = complete(table)
    of_data = by_data(table, table.values)
    k, n = of_data.shape
    ranks, width = mean_ranks(of_data), critical_difference(k, n)
    order, low = np.argsort(-ranks), ranks.min() - width / 2
    figure = new(0.9 + 0.2 * k)
    axes = figure.add_subplot()
    axes.axvspan(low, low + width, color="#eeeeee", zorder=0)
    for place, i in enumerate(order):
        style, ends = look(table.methods[i]), (ranks[i] - width / 2, ranks[i] + width / 2)
        axes.plot(ends, (place, place), color=style.color, linewidth=2)
        axes.plot(ranks[i], place, marker=style.dot, color=style.color, markersize=5)
        axes.annotate(f"{ranks[i]:.1f}", (ranks[i], place), (0, 4), textcoords="offset points", fontsize=6)
    title = (
        f"{spelled(metric)}, {n} data sets: methods whose bars do not meet differ beyond chance "
        f"(Nemenyi, 5 %: {width:.1f})"
    )
    left_out = f"\nnot on all data sets, left out: {', '.join(map(shown, partial))}" if partial else ""
    frame(axes, title, f"mean rank, 1 is best{left_out}")
    _name_rows(axes, range(k), [table.methods[i] for i in order])
    return figure


def times(seconds: Mapping[str, Mapping[str, float]]) -> "Figure":
    """Return the seconds of picking, from method to data set: one row per method, one mark per data set."""
    data = list(dict.fromkeys(name for of in seconds.values() for name in of))
    order = sorted(seconds, key=lambda method: max(seconds[method].values()))
    figure = new(0.8 + 0.19 * len(order))
    axes = figure.add_subplot(xscale="log")
    for color, marker, name in zip(COLORS, MARKERS, data, strict=False):
        rows = [i for i, method in enumerate(order) if name in seconds[method]]
        at = [max(seconds[order[i]][name], MIN_SECONDS) for i in rows]
        axes.scatter(
            at, rows, color=color, marker=marker, s=20, edgecolors="black", linewidths=0.4, label=name
        )
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    frame(axes, "time to pick, up to half of the pool", "seconds, once compiled")
    _name_rows(axes, range(len(order)), order)
    figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure


def _name_rows(axes: "Axes", places: Sequence[int], methods: Sequence[str]) -> None:
    """Write the names of methods at their rows, in the colour of their group."""
    axes.set_yticks(places, [shown(method) for method in methods])
    for label, method in zip(axes.get_yticklabels(), methods, strict=True):
        label.set_color(look(method).color)


def panels(n: int, title: str = "") -> tuple["Figure", list["Axes"]]:
    """Return a figure with n panels in rows, with space for the key if a row is not full."""
    rows, columns = _layout(n)
    figure = new(0.5 + 2.0 * rows)
    figure.suptitle(title, fontsize=9)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(n)]


def _layout(n: int) -> tuple[int, int]:
    """Return rows and columns for n panels."""
    columns = min(COLUMNS, n + 1)
    return -(-n // columns), columns


def log_scale(axes: "Axes", values: Sequence[float], n_ticks: int = 4) -> None:
    """Make the horizontal axis logarithmic and mark some of the values themselves, as plain numbers.

    The largest is marked, and others whose numbers would not overlap.
    """
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    places = np.unique(np.linspace(0, len(values) - 1, n_ticks).round().astype(int))
    axes.xaxis.set_minor_locator(NullLocator())
    apart = (values[-1] / values[0]) ** (MARGIN / (n_ticks - 1))
    marks = [values[-1]]
    for value in [values[i] for i in places[-2::-1]]:
        if marks[-1] / value >= apart:
            marks.append(value)
    axes.set_xticks(marks, [f"{value:g}" for value in marks])


def draw_line(axes: "Axes", x: Any, y: Any, style: Look, *, is_named: bool) -> None:
    """Draw a method's line: bold if it is named, else thin and pale behind the named ones."""
    is_crowd = style in GROUPS.values()
    axes.plot(
        x,
        y,
        color=style.color,
        linestyle=style.line,
        linewidth=1.4 if is_crowd and is_named else style.width,
        alpha=1.0 if is_named or not is_crowd else 0.4,
        marker=style.marker,
        markersize=3,
        zorder=3 if is_named else 2,
    )


def name_ends(axes: "Axes", x: float, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write names right of their lines' ends, in their colours, moved apart if they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.075 * (high - low)
    names = sorted(ends, key=lambda name: ends[name][0])
    places = _apart(np.array([ends[name][0] for name in names]), gap, high)
    for name, place in zip(names, places, strict=True):
        value, color = ends[name]
        axes.annotate(
            name,
            (x, value),
            (1.08, float((place - low) / (high - low))),
            textcoords="axes fraction",
            color=color,
            fontsize=6.5,
            va="center",
            annotation_clip=False,
            arrowprops={  # to the left end of the name, so that it crosses no other
                **{"arrowstyle": "-", "color": color, "linewidth": 0.5},
                **{"relpos": (0.0, 0.5), "shrinkA": 1, "shrinkB": 1},
            },
        )


def add_key(figure: "Figure", axes: Sequence["Axes"], looks: Iterable[Look]) -> None:
    """Write the key of lines after the last panel, or below the panels if they fill the rows."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=style.color,
            linestyle=style.line,
            linewidth=max(style.width, 1.2),
            marker=style.marker,
            markersize=4,
            label=style.group,
        )
        for style in dict.fromkeys(looks)
    ]
    rows, columns = _layout(len(axes))
    if len(axes) == rows * columns:
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=7)
        return
    place = figure.add_subplot(rows, columns, len(axes) + 1)
    place.axis("off")
    place.legend(handles=handles, loc="center left", frameon=False, fontsize=7, handlelength=3)


def _apart(places: Float[np.ndarray, " n"], gap: float, high: float) -> Float[np.ndarray, " n"]:
    """Return sorted places moved as little as needed to be ``gap`` apart, none above ``high``."""
    moved = places.copy()
    for _ in range(50):
        push = np.maximum(gap - np.diff(moved), 0.0) / 2
        moved[:-1] -= push
        moved[1:] += push
    return moved - max(moved[-1] - high, 0.0)


def _named(lines: Mapping[str, Float[np.ndarray, " b"]]) -> list[str]:
    """Return DUAL, the released recipe and random if present, and the best of the others."""
    always = [name for name in ("dual", "dual_paper", RANDOM) if name in lines]
    others = sorted(set(lines) - {*always, "dual_wo"}, key=lambda name: -lines[name].mean())
    return always + others[:N_NAMED]
