"""From records to the tables of a reproduction, in Markdown, and the numbers that its figures share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from dual_jax.figures import shown, spelled
from dual_jax.page import markdown
from dual_jax.records import Record
from dual_jax.reproduction import figures
from dual_jax.reproduction.protocols import VIEWS
from dual_jax.standings import (
    RANDOM,
    Standings,
    by_data,
    complete,
    critical_difference,
    curves,
    friedman,
    gains,
    mean_ranks,
    name_of,
    only,
    standings,
    wins,
)

METRICS = {"2": "accuracy", "3": "auc"}  # by the number of their figure


def cells_of(records: Sequence[Record]) -> list[Record]:
    """Return the records of cells, without the notes."""
    return [record for record in records if "kind" not in record]


def is_grid(records: Sequence[Record]) -> bool:
    """Return whether the records are those of DUAL's grid and random, and of no comparison."""
    return any(record["settings"].startswith("p_q=") for record in cells_of(records))


def compared(records: Sequence[Record]) -> list[Record]:
    """Return the records of the comparison: every method with its defaults."""
    return [record for record in cells_of(records) if not record["settings"]]


def comparable(table: Standings) -> Standings:
    """Return the blocks of random that others share, and the methods that have all of some data set."""
    if RANDOM not in table.methods:
        return Standings((), (), np.empty((0, 0)), np.empty((0, 0)))
    known = np.isfinite(table.row(RANDOM))
    shared = known & (np.isfinite(table.values).sum(axis=0) > 1)
    known = shared if shared.any() else known
    blocks = tuple(block for block, is_known in zip(table.blocks, known, strict=True) if is_known)
    table = Standings(table.methods, blocks, table.values[:, known], table.spreads[:, known])
    return only(table, np.isfinite(by_data(table, table.values)).any(axis=1))


def seconds(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return how long each method takes to pick, up to the largest budget, on each data set.

    The least over splits: the first one's time has the compilation in it.
    """
    largest: dict[str, int] = defaultdict(int)
    for record in records:
        largest[record["data"]] = max(largest[record["data"]], record["budget"])
    result: dict[str, dict[str, float]] = defaultdict(dict)
    for record in records:
        name, method = record["data"], record["method"]
        if record["budget"] == largest[name]:
            result[method][name] = min(record["seconds"], result[method].get(name, record["seconds"]))
    return dict(result)


def summary(protocol: str, records: list[Record]) -> str:
    """Return the tables of a protocol in Markdown."""
    parts = [f"# Protocol `{protocol}`\n", data_table(records)]
    if is_grid(records):
        parts += [_freedom_table(records, view) for view in VIEWS]
    else:
        for metric in METRICS.values():
            table = comparable(standings(compared(records), metric))
            parts += [standings_table(table, metric)] if table.methods else []
        parts += [_latent_table(records), _skipped(records), times_table(seconds(compared(records)))]
    parts.append(_convergence(records))
    return "\n".join(filter(None, parts))


def data_table(records: Sequence[Record]) -> str:
    """Return Table 1, as the files say."""
    head = (
        "data set",
        "rows",
        "features",
        "classes",
        "class sizes",
        "distinct",
        "pool",
        "splits",
        "budgets",
        "note",
    )
    rows = [
        (
            r["data"],
            f"{r['rows']:,}",
            f"{r['features']:,}",
            str(r["classes"]),
            f"{r['class_sizes'][0]:,} to {r['class_sizes'][1]:,}",
            f"{r['distinct_rows']:,}",
            f"{r['n_pool']:,}",
            str(r["n_splits"]),
            ", ".join(map(str, r["budgets"])),
            r["note"],
        )
        for r in records
        if r.get("kind") == "data"
    ]
    return "## Data sets (Table 1)\n\n" + markdown(head, rows) + "\n" if rows else ""


def standings_table(table: Standings, metric: str) -> str:
    """Return where the methods stand: data sets, gain over random, rank, wins and losses."""
    whole = complete(table)
    ranks = dict(zip(whole.methods, mean_ranks(whole.values), strict=True))
    means, above = by_data(table, table.values), by_data(table, gains(table))
    spread = by_data(table, table.spreads)
    counts = dict(zip(table.methods, wins(table), strict=True))
    order = sorted(range(len(table.methods)), key=lambda i: -np.nan_to_num(above[i].mean(), nan=-9.0))
    rows = []
    for i in order:
        method = table.methods[i]
        of_sets = [_points(m, s) for m, s in zip(means[i], spread[i], strict=True)]
        gain = f"{100 * above[i].mean():+.2f}" if method in ranks else "-"
        rank = f"{ranks[method]:.1f}" if method in ranks else "-"
        rows.append((shown(method), *of_sets, gain, rank, "-".join(map(str, counts[method]))))
    head = ("method", *table.data, "gain", "mean rank", "wins-losses")
    text = (
        f"## Points of {spelled(metric)}: mean over budgets of mean ± deviation over splits\n\n"
        + markdown(head, rows)
        + "\n"
        + "\nGain: over random, mean over data sets. Wins and losses: against random, of "
        + f"{len(table.blocks)} blocks (data set and budget).\n"
    )
    if len(whole.methods) > 2:
        text += (
            f"Friedman's test that all methods are alike: p = {friedman(whole.values):.1g}; critical "
            f"difference of mean ranks (Nemenyi, 5 %) {critical_difference(*whole.values.shape):.1f}, or "
            f"{critical_difference(len(whole.methods), len(whole.data)):.1f} over data sets alone.\n"
        )
    return text


def _points(mean: float, spread: float) -> str:
    return f"{100 * mean:.1f} ± {100 * spread:.1f}" if np.isfinite(mean) else "-"


def times_table(seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Return how long each method takes to pick, the quickest first, from `seconds`.

    Examples
    --------
    >>> print(times_table({"ted": {"iris": 0.5, "wine": 1.25}, "random": {"iris": 0.001}}))
    ## Seconds to pick, up to the largest budget, once compiled
    <BLANKLINE>
    | method | iris | wine |
    | --- | ---: | ---: |
    | random | 0.00 | - |
    | ted | 0.50 | 1.25 |
    <BLANKLINE>
    """
    data = list(dict.fromkeys(name for of in seconds.values() for name in of))
    rows = [
        (shown(method), *(f"{of[name]:.2f}" if name in of else "-" for name in data))
        for method, of in sorted(seconds.items(), key=lambda item: max(item[1].values()))
    ]
    if not rows:
        return ""
    head = "## Seconds to pick, up to the largest budget, once compiled\n\n"
    return head + markdown(("method", *data), rows) + "\n"


def _latent_table(records: Sequence[Record]) -> str:
    """Return accuracy in the codes of the pre-trained encoder, for the methods that are judged in both."""
    table = standings(compared(records), view="latent")
    if not table.methods:
        return ""
    means, spread = by_data(table, table.values), by_data(table, table.spreads)
    rows = [
        (shown(method), *(_points(m, s) for m, s in zip(means[i], spread[i], strict=True)))
        for i, method in enumerate(table.methods)
    ]
    return (
        "## Accuracy where the SVM sees codes of the pre-trained encoder\n\n"
        + markdown(("method", *table.data), rows)
        + "\n"
    )


def _freedom_table(records: Sequence[Record], view: str) -> str:
    """Return what choosing among 16 on the test set is worth, for DUAL's cells and for random orders."""
    rows = []
    for name in figures.whole_grids(records, view):
        here = [record for record in records if record["data"] == name]
        lines = figures.freedom(here, "accuracy", view)
        cells = np.array(list(curves(figures.of(here, "dual_paper"), "accuracy", view=view).values())).mean(
            axis=2
        )
        chance = np.array(list(curves(figures.of(here, RANDOM), "accuracy", view=view).values())).mean(axis=2)
        above = cells.mean(axis=1) - chance.mean(axis=1)
        error = above.std(ddof=1) / np.sqrt(len(above)) if len(above) > 1 else np.nan
        found = {style.group: line.mean() for style, line in lines.items()}
        rows.append(
            (
                name,
                f"{found[figures.MEAN_CHANCE.group]:.3f}",
                f"{found[figures.MEAN_CELL.group]:.3f}",
                f"{above.mean():+.3f} ± {error:.3f}",
                f"{cells.mean(axis=0).max():.3f}",
                f"{found[figures.BEST_CELL.group]:.3f}",
                f"{found[figures.BEST_CHANCE.group]:.3f}",
            )
        )
    head = (
        "data set",
        "random",
        "mean of cells",
        "difference ± s.e.",
        "best fixed cell",
        "best cell a split",
        "best of 16 random",
    )
    return (
        f"## Accuracy with weights chosen on the test set, {view} features\n\n" + markdown(head, rows) + "\n"
    )


def _skipped(records: Sequence[Record]) -> str:
    """Return which methods were left out where, and why."""
    done = {(record["data"], name_of(record)) for record in cells_of(records)}
    notes = [record for record in records if record.get("kind") == "skipped"]
    reasons = {(note["data"], name_of(note)): note["reason"] for note in notes}
    left = [
        f"- {data}: {name} ({why})\n" for (data, name), why in reasons.items() if (data, name) not in done
    ]
    return "## Left out\n\n" + "".join(left) if left else ""


def _convergence(records: Sequence[Record]) -> str:
    """Return how many fits of the SVM stopped at the cap on iterations."""
    fits = [record for record in cells_of(records) if record["judge"] == "svm"]
    stopped: dict[str, int] = defaultdict(int)
    for record in fits:
        stopped[record["data"]] += not record["is_converged"]
    named = ", ".join(f"{name} {count:,}" for name, count in stopped.items() if count)
    if not fits:
        return ""
    total = sum(stopped.values())
    return (
        f"{total:,} of {len(fits):,} fits stopped at the cap on iterations{': ' + named if named else ''}.\n"
    )
