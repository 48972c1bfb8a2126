"""The paper's own figures beyond the comparison: ablation, map, sensitivity, and the gain of the grid."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from dual_jax.evaluation.figures import (
    CHANCE,
    COLORS,
    MARKERS,
    OURS,
    RELEASED,
    Look,
    add_key,
    draw_line,
    frame,
    log_scale,
    new,
    panels,
    shown,
    spelled,
)
from dual_jax.evaluation.paper.protocols import PROTOCOLS
from dual_jax.evaluation.records import Record
from dual_jax.evaluation.standings import RANDOM, best_of, curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_CELLS = 16  # of the released grid
PAIRS = (  # with and without the cluster branch
    ("DUAL", "#d55e00", ("dual", ""), ("dual_wo", "")),
    ("DUAL, released", "#7b3294", ("dual_paper", ""), ("dual_paper", "beta=0.0")),
)
VARIED = ("alpha", "beta", "gamma", "K")
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # under a number, over lines
BEST_CELL = RELEASED._replace(width=2.0, group="best of 16 cells, a split")
MEAN_CELL = Look("#7b3294", 1.2, (0, (1, 1)), "", "s", "mean of 16 cells")
BEST_CHANCE = CHANCE._replace(width=2.0, line="-", group="best of 16 random orders")
MEAN_CHANCE = CHANCE._replace(group="random, mean")


def of(records: Sequence[Record], method: str, settings: str | None = None) -> list[Record]:
    """Return the records of a method, of all its settings or of one."""
    found = [record for record in records if record.get("method") == method and "accuracy" in record]
    return [record for record in found if settings is None or record["settings"] == settings]


def at_half(records: Sequence[Record], metric: str = "accuracy") -> Float[np.ndarray, " splits"]:
    """Return a metric of one method at half of the pool, in the raw features, for each split."""
    half = [record for record in records if record["budget"] == max(record["n_pool"] // 2, 1)]
    return np.array([runs[:, 0].mean() for runs in curves(half, metric, view="raw").values()])


def ablation(records: Sequence[Record], data: Sequence[str]) -> "Figure":
    """Return Figure 4: accuracy with and without the cluster branch, half of the pool picked."""
    figure, axes_of = panels(len(data), "With and without the cluster branch, half of the pool picked")
    for axes, name in zip(axes_of, data, strict=True):
        here = [record for record in records if record.get("data") == name]
        for place, (_, color, *pair) in enumerate(PAIRS):
            scores = [at_half(of(here, *member)) for member in pair]
            if len(scores[0]) == len(scores[1]) > 0:
                _pair(axes, 4 * place, np.array(scores), color)
        if len(chance := at_half(of(here, RANDOM))):
            axes.axhline(chance.mean(), color=CHANCE.color, linestyle=CHANCE.line, linewidth=1)
        frame(axes, name, ylabel="accuracy")
        axes.set_xlim(-1.2, 6.2)
        axes.set_xticks([0, 1, 4, 5], ["with", "w/o"] * 2)
    _share_span(axes_of)
    add_key(figure, axes_of, [OURS, RELEASED, MEAN_CHANCE])
    return figure


def _pair(axes: "Axes", left: float, scores: Float[np.ndarray, "2 splits"], color: str) -> None:
    """Draw one line per split, from with to without clusters, and the two means as bars."""
    axes.plot([left, left + 1], scores, color=color, linewidth=0.7, marker="o", markersize=3, alpha=0.6)
    for side, score in enumerate(scores.mean(axis=1)):
        axes.plot([left + side - 0.2, left + side + 0.2], [score, score], color=color, linewidth=2.5)
        beside, align = (left + 1.25, "left") if side else (left - 0.25, "right")
        axes.text(beside, score, f"{score:.3f}", ha=align, va="center", fontsize=6, bbox=PAPER, zorder=3)


def _share_span(axes_of: Sequence["Axes"]) -> None:
    """Give all panels a vertical axis of one length, so that small effects look small."""
    half = max(high - low for low, high in (axes.get_ylim() for axes in axes_of)) / 2
    for axes in axes_of:
        middle = sum(axes.get_ylim()) / 2
        axes.set_ylim(middle - half, middle + half)


def picks_map(record: Record) -> "Figure":
    """Return Figure 5: the pool by t-SNE, from raw features and from codes, and what two methods pick."""
    views = {"raw": "raw features", "latent": "codes of the autoencoder"}
    classes, n = np.array(record["classes"]), len(record["classes"])
    figure = new(6.4)
    figure.suptitle(f"{record['data']}: picks on a t-SNE map of the pool ({n:,} rows)", fontsize=9)
    for row, (view, text) in enumerate(views.items()):
        places = np.array(record["places"][view])
        for column, (method, picks) in enumerate(record["picks"].items()):
            axes = figure.add_subplot(2, 2, 2 * row + column + 1)
            _map(axes, places, np.array(picks), classes)
            frame(axes, f"{shown(method)}: {len(picks)} picks; {text}")
            axes.spines[:].set_visible(False)
            axes.set(xticks=[], yticks=[])
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    return figure


def _map(
    axes: "Axes",
    places: Float[np.ndarray, "n 2"],
    picks: Int[np.ndarray, " k"],
    classes: Int[np.ndarray, " n"],
) -> None:
    """Draw the pool pale and the picks with an edge; colour and marker are the class."""
    for label in np.unique(classes):
        color, marker = COLORS[label % len(COLORS)], MARKERS[label % len(MARKERS)]
        x, y = places[classes == label].T
        axes.scatter(x, y, s=4, color=color, alpha=0.35, linewidths=0, rasterized=True)
        x, y = places[picks[classes[picks] == label]].T
        name = f"class {label}, picked"
        axes.scatter(x, y, s=22, color=color, marker=marker, edgecolors="black", linewidths=0.7, label=name)


def is_varied(settings: str) -> bool:
    """Return whether settings are of Figure 6: one changed, and not to 0, which is Figure 4."""
    name, _, value = settings.partition("=")
    return name in VARIED and float(value) > 0


def sensitivity(records: Sequence[Record], data: str) -> "Figure":
    """Return Figure 6: accuracy with half of the pool picked, against each weight and against K."""
    here = [record for record in records if record.get("data") == data]
    figure, axes_of = panels(len(VARIED), f"{data}: one setting changed at a time, half of the pool picked")
    chance = at_half(of(here, RANDOM))
    for axes, name in zip(axes_of, VARIED, strict=True):
        ticks: set[float] = set()
        for method, style in (("dual", OURS), ("dual_paper", RELEASED)):
            known = {r["settings"] for r in of(here, method) if r["settings"].startswith(f"{name}=")}
            values = sorted((float(text.partition("=")[2]), text) for text in known if is_varied(text))
            ticks |= {value for value, _ in values}
            scores = [at_half(of(here, method, text)) for _, text in values]
            x = np.array([value for value, _ in values]) * (1.03 if method == "dual" else 0.97)
            spreads = [score.std(ddof=1) if len(score) > 1 else 0.0 for score in scores]
            axes.errorbar(
                x,
                [score.mean() for score in scores],
                spreads,
                color=style.color,
                linestyle=style.line,
                marker=style.marker,
                markersize=4,
                linewidth=1.4,
                elinewidth=0.7,
                capsize=2,
            )
        if len(chance):
            axes.axhline(chance.mean(), color=CHANCE.color, linestyle=CHANCE.line, linewidth=1)
        frame(axes, xlabel="gamma = eta" if name == "gamma" else name, ylabel="accuracy")
        if ticks:
            log_scale(axes, sorted(ticks), n_ticks=5)
    limits = [limit for axes in axes_of for limit in axes.get_ylim()]
    for axes in axes_of:
        axes.set_ylim(min(limits), max(limits))  # one scale, so that small effects look flat
    add_key(figure, axes_of, [OURS, RELEASED, MEAN_CHANCE])
    return figure


def grid_curves(records: Sequence[Record], metric: str, view: str) -> "Figure":
    """Return one panel per data set: the best of 16 cells on the test set, and of 16 random orders."""
    names, protocol = whole_grids(records, view), PROTOCOLS[records[0]["protocol"]]
    scaled = "unscaled, " if protocol.scale == "none" else ""
    figure, axes_of = panels(
        len(names), f"Chosen by test accuracy, beside random with the same freedom ({scaled}{view} features)"
    )
    for axes, name in zip(axes_of, names, strict=True):
        here = [record for record in records if record["data"] == name]
        budgets = sorted({record["budget"] for record in of(here, RANDOM)})
        for style, line in freedom(here, metric, view).items():
            draw_line(axes, budgets, line, style, is_named=True)
        frame(axes, name, "picks", spelled(metric))
        log_scale(axes, budgets)
    add_key(figure, axes_of, [BEST_CELL, BEST_CHANCE, MEAN_CELL, MEAN_CHANCE])
    return figure


def whole_grids(records: Sequence[Record], view: str) -> list[str]:
    """Return the data sets that have all cells, and enough random orders, on each of the same splits."""
    names = dict.fromkeys(record["data"] for record in records if "kind" not in record)
    whole = []
    for name in names:
        here = [record for record in records if record["data"] == name]
        cells, chance = (curves(of(here, method), "accuracy", view=view) for method in ("dual_paper", RANDOM))
        is_whole = all(len(runs) >= N_CELLS for found in (cells, chance) for runs in found.values())
        whole += [name] if is_whole and cells and cells.keys() == chance.keys() else []
    return whole


def freedom(records: Sequence[Record], metric: str, view: str) -> dict[Look, Float[np.ndarray, " budgets"]]:
    """Return the curves of the grid and of random, averaged over splits: the mean run and the best of 16.

    Best is by mean accuracy over budgets on the test set, on each split, as the released code sums it.
    """
    lines = {}
    for method, mean, best in (("dual_paper", MEAN_CELL, BEST_CELL), (RANDOM, MEAN_CHANCE, BEST_CHANCE)):
        found = curves(of(records, method), metric, view=view)
        chosen_by = curves(of(records, method), "accuracy", view=view)
        chances = {split: best_of(runs.mean(axis=1), N_CELLS) for split, runs in chosen_by.items()}
        lines[mean] = np.mean([runs.mean(axis=0) for runs in found.values()], axis=0)
        lines[best] = np.mean([chances[split] @ runs for split, runs in found.items()], axis=0)
    return lines
