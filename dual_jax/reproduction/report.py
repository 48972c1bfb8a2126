"""From records to the figures and the tables of a reproduction; nothing is computed anew."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dual_jax import figures as drawn
from dual_jax.experiment import finished
from dual_jax.page import markdown
from dual_jax.plots import write
from dual_jax.records import Record, read_folder
from dual_jax.reproduction import figures
from dual_jax.reproduction.protocols import PROTOCOLS, VIEWS
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
from dual_jax.store import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = "records"  # the folder of records in that of the results
METRICS = {"2": "accuracy", "3": "auc"}


def report(out: Path, asked: Set[str]) -> list[Path]:
    """Draw the figures that are asked for and that have records, write ``summary.md``, and return the files.

    Parameters
    ----------
    out
        The folder of the results, with the records in ``records/``.
    asked
        Of ``"2"`` to ``"6"``.

    Raises
    ------
    ValueError
        When there are no records, or a file of them is damaged.
    """
    records = read_folder(out / RECORDS)
    if not records:
        raise ValueError(f"{out / RECORDS} holds no records: run dual-jax reproduce --out {out} first")
    by_protocol: dict[str, list[Record]] = defaultdict(list)
    notes = [record for record in records if "kind" in record]
    for record in sorted([*notes, *finished(records).values()], key=_place):
        by_protocol[record["protocol"]].append(record)
    written = []
    for protocol, own in sorted(by_protocol.items()):
        for name, draw in _figures(own, asked):
            written.append(out / f"{protocol}-{name}.png")
            write(draw(), written[-1])
    written.append(out / "summary.md")
    texts = [_summary(protocol, own) for protocol, own in sorted(by_protocol.items())]
    write_atomically(written[-1], "\n".join(texts))
    return written


def _place(record: Record) -> int:
    """Return the place of a record's data set in its protocol."""
    data = PROTOCOLS[record["protocol"]].data if record["protocol"] in PROTOCOLS else ()
    return data.index(record["data"]) if record["data"] in data else len(data)


def _cells(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if "kind" not in record]


def _is_grid(records: Sequence[Record]) -> bool:
    """Return whether the records are those of DUAL's grid and random, and of no comparison."""
    return any(record["settings"].startswith("p_q=") for record in _cells(records))


def compared(records: Sequence[Record]) -> list[Record]:
    """Return the records of the comparison: every method with its defaults."""
    return [record for record in _cells(records) if not record["settings"]]


def _figures(records: list[Record], asked: Set[str]) -> Iterator[tuple[str, Callable[[], "Figure"]]]:
    """Give names of figures that the records of a protocol allow, and what draws each."""
    metrics = {number: METRICS[number] for number in sorted(asked & set(METRICS))}
    if _is_grid(records):
        for number, metric in metrics.items():
            for view in filter(partial(figures.whole_grids, records), VIEWS):
                yield f"figure-{number}-{metric}-{view}", partial(figures.grid_curves, records, metric, view)
        return
    own = compared(records)
    for number, metric in metrics.items():
        table = _comparable(standings(own, metric))
        if table.methods:
            yield f"figure-{number}-{metric}", partial(drawn.learning_curves, table, metric)
            yield f"gains-{metric}", partial(drawn.gain_map, table, metric)
        if len(complete(table).methods) > 2:
            yield f"ranks-{metric}", partial(drawn.rank_diagram, table, metric)
    if "2" in asked and own:
        yield "seconds", partial(drawn.times, seconds(own))
    yield from _own_figures(records, asked)


def _own_figures(records: list[Record], asked: Set[str]) -> Iterator[tuple[str, Callable[[], "Figure"]]]:
    """Give Figures 4 to 6 where there are records for them."""
    without = {record["data"] for record in figures.of(records, "dual_wo")}
    released = {record["data"] for record in figures.of(records, "dual_paper", "beta=0.0")}
    if "4" in asked and (both := sorted(without & released)):
        yield "figure-4-ablation", partial(figures.ablation, records, both)
    maps = [record for record in records if record.get("kind") == "map"]
    if "5" in asked and maps:
        yield "figure-5-map", partial(figures.picks_map, maps[-1])
    varied = sorted({record["data"] for record in _cells(records) if record["settings"].startswith("K=")})
    if "6" in asked and varied:
        yield "figure-6-sensitivity", partial(figures.sensitivity, records, varied[0])


def _comparable(table: Standings) -> Standings:
    """Return the blocks that random has, and the methods that have all blocks of some data set."""
    if RANDOM not in table.methods:
        return Standings((), (), np.empty((0, 0)), np.empty((0, 0)))
    known = np.isfinite(table.row(RANDOM))
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


def _summary(protocol: str, records: list[Record]) -> str:
    """Return the tables of a protocol in Markdown."""
    parts = [f"# Protocol `{protocol}`\n", _data_table(records)]
    if _is_grid(records):
        parts += [_freedom_table(records, view) for view in VIEWS]
    else:
        for metric in METRICS.values():
            table = _comparable(standings(compared(records), metric))
            parts += [_standings_table(table, metric)] if table.methods else []
        parts += [_latent_table(records), _skipped(records)]
    parts.append(_convergence(records))
    return "\n".join(filter(None, parts))


def _data_table(records: Sequence[Record]) -> str:
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


def _standings_table(table: Standings, metric: str) -> str:
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
        rows.append((drawn.shown(method), *of_sets, gain, rank, "-".join(map(str, counts[method]))))
    head = ("method", *table.data, "gain", "mean rank", "wins-losses")
    text = (
        f"## Points of {drawn.spelled(metric)}: mean over budgets of mean ± deviation over splits\n\n"
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


def _latent_table(records: Sequence[Record]) -> str:
    """Return accuracy in the codes of the pre-trained encoder, for the methods that are judged in both."""
    table = standings(compared(records), view="latent")
    if not table.methods:
        return ""
    means, spread = by_data(table, table.values), by_data(table, table.spreads)
    rows = [
        (drawn.shown(method), *(_points(m, s) for m, s in zip(means[i], spread[i], strict=True)))
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
    done = {(record["data"], name_of(record)) for record in _cells(records)}
    notes = [record for record in records if record.get("kind") == "skipped"]
    reasons = {(note["data"], name_of(note)): note["reason"] for note in notes}
    left = [
        f"- {data}: {name} ({why})\n" for (data, name), why in reasons.items() if (data, name) not in done
    ]
    return "## Left out\n\n" + "".join(left) if left else ""


def _convergence(records: Sequence[Record]) -> str:
    """Return how many fits of the SVM stopped at the cap on iterations."""
    fits = [record for record in _cells(records) if record["judge"] == "svm"]
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
