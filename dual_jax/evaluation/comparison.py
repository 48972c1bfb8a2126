"""Methods compared on one labelled table: which are above random, at which budget, and by how much."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from dual_jax.data.errors import InputError
from dual_jax.evaluation.figures import CHANCE as RANDOM_LOOK
from dual_jax.evaluation.figures import COLORS, MARKERS, draw_line, frame, log_scale, new, shown, spelled
from dual_jax.evaluation.records import Record
from dual_jax.evaluation.standings import LEVEL, RANDOM, name_of
from dual_jax.plots.page import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Point(NamedTuple):
    """A method at a budget, over the splits.

    Attributes
    ----------
    mean, half_width
        Mean of the metric, and half of its confidence interval (Student's t over splits; NaN with one split).
    gain, gain_half_width
        The same for the difference to random on the same split.
    n_splits
        Number of splits.
    """

    method: str
    budget: int
    mean: float
    half_width: float
    gain: float
    gain_half_width: float
    n_splits: int

    @property
    def is_better(self) -> bool:
        """Whether the confidence interval of the gain over random is above 0."""
        return self.gain - self.gain_half_width > 0.0


def compare(records: Sequence[Record], metric: str = "accuracy") -> list[Point]:
    """Return every method at every budget, random first, from the records of one data set and judge.

    Orders of a split are averaged first, so that random's many orders do not count as many splits.

    Raises
    ------
    ValueError
        When random is not among the records.

    Examples
    --------
    >>> of = {"settings": "", "budget": 5}
    >>> found = [
    ...     {**of, "method": method, "split": split, "order": 0, "accuracy": value + 0.01 * split}
    ...     for method, value in (("random", 0.5), ("ted", 0.7))
    ...     for split in range(3)
    ... ]
    >>> [(point.method, round(point.gain, 2), point.is_better) for point in compare(found)]
    [('random', 0.0, False), ('ted', 0.2, True)]
    """
    values: dict[tuple[str, int], dict[int, list[float]]] = {}
    for record in records:
        at = name_of(record), record["budget"]
        values.setdefault(at, {}).setdefault(record["split"], []).append(record[metric])
    means = {at: {split: float(np.mean(v)) for split, v in of.items()} for at, of in values.items()}
    methods = dict.fromkeys(method for method, _ in means)
    if RANDOM not in methods:
        raise InputError("there are no records of random, with which methods are compared: run it too")
    points = []
    for method in [RANDOM, *(method for method in methods if method != RANDOM)]:
        for budget in sorted({budget for name, budget in means if name == method}):
            own, chance = means[method, budget], means.get((RANDOM, budget), {})
            both = sorted(own.keys() & chance.keys())
            above = np.array([own[split] - chance[split] for split in both])
            mean, gain = _interval(np.array(list(own.values()))), _interval(above)
            points.append(Point(method, budget, *mean, *gain, len(both)))
    return points


def _interval(values: Float[np.ndarray, " splits"]) -> tuple[float, float]:
    """Return the mean and half of its confidence interval."""
    if len(values) < 2:
        return (float(values.mean()) if len(values) else math.nan), math.nan
    quantile = stats.t.ppf(1.0 - LEVEL / 2.0, len(values) - 1)
    return float(values.mean()), float(quantile * values.std(ddof=1) / math.sqrt(len(values)))


def verdict(points: Sequence[Point]) -> list[str]:
    """Return a sentence for each method: at which budgets it is, and is not measurably, better than random.

    Examples
    --------
    >>> verdict([Point("ted", 5, 0.7, 0.1, 0.2, 0.1, 3), Point("ted", 9, 0.7, 0.1, 0.0, 0.1, 3)])
    ['ted is better than random with 5 picks; not measurably with 9.']
    """
    lines = []
    for method in dict.fromkeys(point.method for point in points if point.method != RANDOM):
        own = [point for point in points if point.method == method]
        better = ", ".join(str(point.budget) for point in own if point.is_better)
        others = ", ".join(str(point.budget) for point in own if not point.is_better)
        if not better:
            lines.append(f"{method} is not measurably better than random at any budget ({others} picks).")
        else:
            rest = f"; not measurably with {others}" if others else ""
            lines.append(f"{method} is better than random with {better} picks{rest}.")
    return lines


def as_markdown(points: Sequence[Point], metric: str) -> str:
    """Return a table of methods by budgets: per cent with the interval, a star where above random."""
    budgets = sorted({point.budget for point in points})
    found = {(point.method, point.budget): point for point in points}
    rows = [
        (shown(method), *(_cell(found.get((method, budget))) for budget in budgets))
        for method in dict.fromkeys(point.method for point in points)
    ]
    return markdown((f"{spelled(metric)}, %", *map(str, budgets)), rows) + "\n"


def _cell(point: Point | None) -> str:
    if point is None:
        return "-"
    width = "" if math.isnan(point.half_width) else f" ± {100 * point.half_width:.1f}"
    return f"{100 * point.mean:.1f}{width}{' *' if point.is_better else ''}"


def as_csv(points: Sequence[Point], metric: str) -> str:
    """Return the points as a table with a header."""
    head = f"method,budget,{metric},half_width,gain,gain_half_width,n_splits,is_better_than_random"
    rows = (
        f'"{p.method}",{p.budget},{p.mean:.6g},{p.half_width:.6g},{p.gain:.6g},{p.gain_half_width:.6g},'
        f"{p.n_splits},{str(p.is_better).lower()}"
        for p in points
    )
    return "\n".join([head, *rows]) + "\n"


def draw(points: Sequence[Point], metric: str, title: str) -> "Figure":
    """Return learning curves with a band of confidence around each.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    """
    figure = new(3.6)
    axes = figure.add_subplot()
    methods = list(dict.fromkeys(point.method for point in points))
    for i, method in enumerate(methods):
        own = [point for point in points if point.method == method]
        budgets, means = [p.budget for p in own], np.array([p.mean for p in own])
        color, marker = COLORS[(i - 1) % len(COLORS)], MARKERS[(i - 1) % len(MARKERS)]
        style = (
            RANDOM_LOOK if method == RANDOM else RANDOM_LOOK._replace(color=color, line="-", marker=marker)
        )
        draw_line(axes, budgets, means, style, is_named=True)
        axes.lines[-1].set_label(shown(method))
        widths = np.nan_to_num([p.half_width for p in own])
        axes.fill_between(budgets, means - widths, means + widths, color=style.color, alpha=0.12, linewidth=0)
    frame(axes, title, "picks", spelled(metric))
    log_scale(axes, sorted({point.budget for point in points}), 8)
    figure.legend(loc="outside right upper", frameon=False, fontsize=7)
    return figure
