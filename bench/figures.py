"""Pictures of what the benchmarks wrote: a function a result file, from its JSON to a figure.

A run may have been cut short: what its records lack stays out of a figure, and a panel may stay empty.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dual_jax.evaluation.figures import COLORS, MARKERS, log_scale
from dual_jax.plots.maps import frame, new, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = dict[str, Any]
Line = dict[float, float]  # from a place to a height
FLOOR = "floor"
OF = ("free", "simplex")  # objectives


def draw_all(folder: Path, suffix: str = "") -> list[Path]:
    """Draw ``NAME<suffix>.json`` of a folder, where it is, as ``NAME<suffix>.svg``; return what was drawn.

    What cannot be drawn is named on standard error and takes nothing else along.
    """
    drawn = []
    for name, draw in FIGURES.items():
        source = folder / f"{name}{suffix}.json"
        try:
            result = json.loads(source.read_text()) if source.exists() else {}
            if result.get("records") or result.get("imports"):
                write(draw(result), source.with_suffix(".svg"))
                drawn.append(source.with_suffix(".svg"))
        except Exception as error:  # records of another version, or no records at all
            print(f"{source} is not drawn: {type(error).__name__}: {error}", file=sys.stderr)
    return drawn


def step(result: Result) -> "Figure":
    """Return time and memory of a step against n, beside the floor and PyTorch."""
    records = [r for r in result["records"] if r["m"] == r["n"] and "ours" in r]
    figure, (left, middle, right) = panels(3)
    for axes, objective in ((left, "free"), (middle, "simplex")):
        own = [r for r in records if r["objective"] == objective]
        lines = {FLOOR: {r["n"]: r["floor_s"] for r in own}}
        lines["dual_jax"] = {r["n"]: r["ours"]["median_s"] for r in own}
        ran = [(name, r["n"], peer) for r in own for name, peer in r.get("peers", {}).items()]
        for name, n, peer in ran:
            if "median_s" in peer:
                lines.setdefault(name, {})[n] = peer["median_s"]
        draw(axes, lines, f"a step, {objective}", "rows n", "seconds")
    lines = {o: {r["n"]: r["ours"]["memory_bytes"] / 1e9 for r in records if r["objective"] == o} for o in OF}
    lines[FLOOR] = {r["n"]: 12 * r["n"] * r["m"] / 1e9 for r in records}
    draw(right, lines, "memory, and 12 n² bytes", "rows n", "GB")
    return figure


def dictionary(result: Result) -> "Figure":
    """Return time and memory of a step against m at the largest shared n, and against n at one m."""
    records = [r for r in result["records"] if "ours" in r]
    n, m = most_common([r["n"] for r in records]), most_common([r["m"] for r in records])
    figure, axes = panels(3)
    for place, along, fixed, value in ((0, "m", "n", n), (1, "n", "m", m)):
        own = [r for r in records if r[fixed] == value]
        lines = {o: {r[along]: r["ours"]["median_s"] for r in own if r["objective"] == o} for o in OF}
        title = f"a step at {fixed} = {value:,}"
        draw(axes[place], lines, title, {"m": "dictionary m", "n": "rows n"}[along], "seconds")
    own = [r for r in records if r["n"] == n]
    lines = {o: {r["m"]: r["ours"]["memory_bytes"] / 1e9 for r in own if r["objective"] == o} for o in OF}
    draw(axes[2], lines, f"memory at n = {n:,}", "dictionary m", "GB")
    return figure


def devices(result: Result) -> "Figure":
    """Return time and exchanged bytes of a step against the number of devices."""
    records = [r for r in result["records"] if "median_s" in r]
    figure, (left, middle, right) = panels(3)
    for axes, scaling, title in (
        (left, "strong", "one pool, n = {n:,}, m = {m:,}"),
        (middle, "weak", "n = {n:,} a device, m = {m:,}"),
    ):
        own = [r for r in records if r["scaling"] == scaling]
        if not own:
            frame(axes, f"{scaling} scaling: not measured")
            continue
        first = min(own, key=lambda r: r["devices"])
        share = {**first, "n": first["n"] // (first["devices"] if scaling == "weak" else 1)}
        lines = {"a step": {r["devices"]: r["median_s"] for r in own}}
        draw(axes, lines, title.format(**share), "devices", "seconds")
    own = [r for r in records if r["scaling"] == "strong" and r["devices"] > 1]
    lines = {"exchanged": {r["devices"]: r["exchanged_bytes"] / 1e6 for r in own}}
    lines["a device's share of C"] = {r["devices"]: 4 * r["n"] * r["m"] / r["devices"] / 1e6 for r in own}
    draw(right, lines, "exchange of a step", "devices", "MB")
    return figure


def grid(result: Result) -> "Figure":
    """Return the seconds of a grid of weights: as one program, in a loop, and in PyTorch."""
    ways = {
        "vmapped": "one vmap",
        "programs_of_one": "a program a cell",
        "one_after_another": "a call a cell",
        "pytorch": "PyTorch, a loop",
    }
    records = result["records"]
    figure, all_axes = panels(len(records))
    for axes, record in zip(all_axes, records, strict=True):
        ran = {name: record.get(way, {}) for way, name in ways.items()}
        known = {name: found["seconds"] for name, found in ran.items() if "seconds" in found}
        axes.barh(list(known), list(known.values()), color=COLORS[: len(known)])
        axes.invert_yaxis()
        title = f"{record['cells']} cells, {record['n']:,} x {record['d']:,}"
        frame(axes, title, "seconds, once compiled")
    return figure


def start(result: Result) -> "Figure":
    """Return the seconds of importing, and of tracing, compiling and running a fit."""
    figure, (left, *rest) = panels(1 + len(result["records"]))
    if imports := result.get("imports"):
        left.bar(["jax, flax, optax", "dual_jax"], [imports["base_s"], imports["ours_s"]], color=COLORS[0])
        frame(left, f"import, ratio {imports['ratio']:.2f}", ylabel="seconds")
    for axes, record in zip(rest, result["records"], strict=True):
        parts = {"trace": "trace_s", "compile": "compile_s", "run": "fit_s"}
        known = {part: record[key] for part, key in parts.items() if key in record}
        axes.bar(list(known), list(known.values()), color=COLORS[1])
        frame(axes, f"a fit of {record['n']:,} x {record['d']:,}", ylabel="seconds")
    return figure


FIGURES: dict[str, Callable[[Result], "Figure"]] = {
    "step": step,
    "dictionary": dictionary,
    "devices": devices,
    "grid": grid,
    "start": start,
}


def panels(n: int) -> tuple["Figure", list["Axes"]]:
    """Return a figure with n panels side by side."""
    figure = new(2.6)
    return figure, [figure.add_subplot(1, n, i + 1) for i in range(n)]


def draw(axes: "Axes", lines: dict[str, Line], title: str, xlabel: str, ylabel: str) -> None:
    """Draw lines on two logarithmic axes, the floor dashed and black; nothing where there are none."""
    frame(axes, title, xlabel, ylabel)
    if not (everywhere := sorted({place for line in lines.values() for place in line})):
        return
    for (name, line), color, marker in zip(lines.items(), COLORS, MARKERS, strict=False):
        if not (places := sorted(line)):
            continue
        look = {"color": color, "marker": marker} if name != FLOOR else {"color": "black", "linestyle": "--"}
        axes.plot(places, [line[place] for place in places], label=name, markersize=3, linewidth=1, **look)
    axes.set_yscale("log")
    axes.tick_params(which="both", labelsize=6)
    axes.margins(y=0.4)  # room for the legend
    log_scale(axes, everywhere)
    axes.legend(frameon=False, fontsize=5)


def most_common(values: Iterable[int]) -> int:
    """Return the value that comes most often, the largest of several; 0 of none."""
    values = list(values)
    return max(set(values), key=lambda value: (values.count(value), value), default=0)
