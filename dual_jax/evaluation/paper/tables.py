"""From records to the tables of a reproduction, in Markdown, and the numbers that its figures share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from dual_jax.evaluation.figures import shown, spelled
from dual_jax.evaluation.paper import figures
from dual_jax.evaluation.paper.protocols import CONFIGS, VIEWS
from dual_jax.evaluation.records import Record
from dual_jax.evaluation.standings import (
    RANDOM,
    Standings,
    best_of,
    by_data,
    complete,
    critical_difference,
    curves,
    firsts,
    friedman,
    gains,
    mean_ranks,
    name_of,
    only,
    standings,
    wins,
)
from dual_jax.plots.page import markdown

METRICS = {"2": "accuracy", "3": "auc"}  # by the number of their figure


def cells_of(records: Sequence[Record]) -> list[Record]:
    """Return the records of cells, without the notes."""
    return [record for record in records if "kind" not in record]


def is_grid(records: Sequence[Record]) -> bool:
    """Return whether the records are only those of DUAL's grid and of random."""
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

    Without compilation, and the least over splits: other work on the machine can only add to a time.
    """
    largest: dict[str, int] = defaultdict(int)
    for record in records:
        largest[record["data"]] = max(largest[record["data"]], record["budget"])
    result: dict[str, dict[str, float]] = defaultdict(dict)
    for record in records:
        name, method = record["data"], record["method"]
        if record["budget"] == largest[name]:
            own = max(record["seconds"] - record["compile_seconds"], 0.0)
            result[method][name] = min(own, result[method].get(name, own))
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
        parts += [_latent_table(records), _ablation_table(records), _sensitivity_table(records)]
        parts.append(times_table(seconds(compared(records))))
    parts += [_skipped(records), _convergence(records)]
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
        for r in {r["data"]: r for r in records if r.get("kind") == "data"}.values()
    ]
    return "## Data sets (Table 1)\n\n" + markdown(head, rows) + "\n" if rows else ""


def standings_table(table: Standings, metric: str) -> str:
    """Return the standings of the methods: data sets, gain over random, ranks, blocks won and lost."""
    whole = complete(table)
    of_data = by_data(whole, whole.values)
    places = zip(mean_ranks(of_data), mean_ranks(whole.values), firsts(whole.values), strict=True)
    ranks = dict(zip(whole.methods, places, strict=True))
    means, above = by_data(table, table.values), by_data(table, gains(table))
    spread = by_data(table, table.spreads)
    counts = dict(zip(table.methods, wins(table), strict=True))
    order = sorted(range(len(table.methods)), key=lambda i: -np.nan_to_num(above[i].mean(), nan=-9.0))
    rows = []
    for i in order:
        method = table.methods[i]
        of_sets = [_points(m, s) for m, s in zip(means[i], spread[i], strict=True)]
        gain = f"{100 * above[i].mean():+.2f}" if method in ranks else "-"
        rank, of_blocks, first = ranks.get(method, (np.nan, np.nan, "-"))
        standing = [f"{r:.1f}" if method in ranks else "-" for r in (rank, of_blocks)]
        won = "-".join(map(str, counts[method]))
        rows.append((shown(method), *of_sets, gain, *standing, str(first), won))
    head = ("method", *table.data, "gain", "mean rank", "of blocks", "first in", "wins-losses")
    text = (
        f"## Points of {spelled(metric)}: mean over budgets of mean ± deviation over splits (random: a run's)"
        + "\n\n"
        + markdown(head, rows)
        + f"\n\nGain: over random, mean over data sets. Mean rank: of {len(whole.methods)} methods over data "
        + f"sets, and over the {len(table.blocks)} blocks (data set and budget). First in: blocks in which "
        + "no other of these is better. Wins and losses: blocks above and below random.\n"
    )
    if len(whole.methods) > 2 and of_data.shape[1] > 1:
        text += (
            f"Over the {of_data.shape[1]} data sets, Friedman's test that all methods are alike has "
            f"p = {friedman(of_data):.1g}, and mean ranks differ beyond chance (Nemenyi, 5 %) from "
            f"{critical_difference(*of_data.shape):.1f} on; blocks of a data set are not independent.\n"
        )
    return text


def _points(mean: float, spread: float) -> str:
    return f"{100 * mean:.1f} ± {100 * spread:.1f}" if np.isfinite(mean) else "-"


def times_table(seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Return the time that each method takes to pick, the quickest first, from `seconds`.

    Examples
    --------
    >>> print(times_table({"ted": {"iris": 0.5, "wine": 1.25}, "random": {"iris": 0.001}}))
    ## Seconds to pick, up to the largest budget, without compiling
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
    head = "## Seconds to pick, up to the largest budget, without compiling\n\n"
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
        "## Accuracy of an SVM on codes of the pre-trained encoder\n\n"
        + markdown(("method", *table.data), rows)
        + "\n"
    )


def _ablation_table(records: Sequence[Record]) -> str:
    """Return the numbers of Figure 4: the gain of the cluster branch, half of the pool picked."""
    rows = []
    for name in dict.fromkeys(record["data"] for record in figures.of(records, "dual_paper", "beta=0.0")):
        here = [record for record in records if record["data"] == name]
        for title, _, *pair in figures.PAIRS:
            scores = [figures.at_half(figures.of(here, *member)) for member in pair]
            if len(scores[0]) == len(scores[1]) > 0:
                means = [f"{score.mean():.3f}" for score in scores]
                rows.append((f"{name}, {title}", *means, paired(scores[0] - scores[1])))
    head = ("data set, recipe", "with clusters", "without", "difference ± s.e.")
    return "## The cluster branch (Figure 4)\n\n" + markdown(head, rows) + "\n" if rows else ""


def _sensitivity_table(records: Sequence[Record]) -> str:
    """Return the numbers of Figure 6: each setting and the default that ran in the same program."""
    rows = []
    for method, config in CONFIGS.items():
        default = f"alpha={float(config().alpha)}"
        base = figures.at_half(figures.of(records, method, default))
        settings = dict.fromkeys(record["settings"] for record in figures.of(records, method))
        varied = [text for text in settings if figures.is_varied(text) and text != default]
        for text in ["", *varied] if len(base) else ():
            score = figures.at_half(figures.of(records, method, text))
            if len(score) == len(base):
                name = text or "default, trained alone"
                rows.append((shown(method), name, f"{score.mean():.3f}", paired(score - base)))
    head = ("recipe", "setting", "accuracy", "above the default ± s.e.")
    return "## One setting changed at a time (Figure 6)\n\n" + markdown(head, rows) + "\n" if rows else ""


def paired(differences: Float[np.ndarray, " splits"]) -> str:
    """Return a mean over splits and its standard error."""
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.nan
    return f"{differences.mean():+.3f} ± {error:.3f}"


def cells_and_chance(
    records: Sequence[Record], data: str, view: str
) -> tuple[Float[np.ndarray, "splits cells"], Float[np.ndarray, "splits orders"]]:
    """Return the mean accuracy over budgets of each cell of DUAL's grid and of each random order."""
    here = [record for record in records if record.get("data") == data]
    cells, chance = (
        np.array(list(curves(figures.of(here, method), "accuracy", view=view).values())).mean(axis=2)
        for method in ("dual_paper", RANDOM)
    )
    return cells, chance


def best_a_split(runs: Float[np.ndarray, "splits runs"]) -> Float[np.ndarray, " splits"]:
    """Return the metric of the best of 16 runs on each split; its expectation if there are more runs."""
    return np.array([best_of(run, figures.N_CELLS) @ run for run in runs])


def _freedom_table(records: Sequence[Record], view: str) -> str:
    """Return the gain of choosing among 16 on the test set, for DUAL's cells and for random orders.

    "Fixed" is one choice for all splits; the other columns choose on each split.
    """
    rows = []
    for name in figures.whole_grids(records, view):
        cells, chance = cells_and_chance(records, name, view)
        fixed = [best_a_split(runs.mean(axis=0, keepdims=True)) for runs in (chance, cells)]
        best = [best_a_split(runs) for runs in (chance, cells)]
        rows.append(
            (
                name,
                f"{chance.mean():.3f}",
                f"{cells.mean():.3f}",
                paired(cells.mean(axis=1) - chance.mean(axis=1)),
                *(f"{values.mean():.3f}" for values in (*fixed, *best)),
                paired(best[1] - best[0]),
            )
        )
    head = (
        *("data set", "random", "mean of cells", "difference ± s.e."),
        *("best fixed of 16 random", "best fixed cell"),
        *("best of 16 random a split", "best cell a split", "difference ± s.e."),
    )
    return (
        f"## Accuracy with weights chosen on the test set, {view} features\n\n" + markdown(head, rows) + "\n"
    )


def _skipped(records: Sequence[Record]) -> str:
    """Return which methods were left out on which data sets, and why."""
    done = {(record["data"], name_of(record)) for record in cells_of(records)}
    notes = [record for record in records if record.get("kind") == "skipped"]
    reasons = {(note["data"], name_of(note)): note["reason"] for note in notes}
    left = [
        f"- {data}: {name} ({why})\n" for (data, name), why in reasons.items() if (data, name) not in done
    ]
    return "## Left out\n\n" + "".join(left) if left else ""


def _convergence(records: Sequence[Record]) -> str:
    """Return how many fits of the SVM stopped at the cap on iterations, and where."""
    fits = [record for record in cells_of(records) if record["judge"] == "svm"]
    found: dict[tuple[str, str], dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for record in fits:
        found[record["data"], record["view"]][record["budget"]].append(not record["is_converged"])
    if not fits:
        return ""
    total = sum(not record["is_converged"] for record in fits)
    rows = [
        (", ".join(where), ", ".join(f"{b}: {np.mean(of):.0%}" for b, of in sorted(own.items()) if any(of)))
        for where, own in found.items()
        if any(map(any, own.values()))
    ]
    text = f"## Fits that did not converge\n\n{total:,} of {len(fits):,} stopped at the cap on iterations.\n"
    return text + ("\n" + markdown(("data set, features", "share by picks"), rows) + "\n" if rows else "")
