"""What DUAL's network brings, by kind of data: DUAL over ``medoids``, which has its read-out and no network.

Also the sentences of the README that give such numbers.

From the records of the tournament alone, which were made with 1,000 steps of stage 1 and 300 of stage 3.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.quality import GENERATED, JUDGES, STUDIED, in_order, of_capped
from dual_jax.evaluation.records import Record
from dual_jax.evaluation.standings import by_data, complete, gains, standings
from dual_jax.plots.page import markdown

RESULTS = Path(__file__).parent / "results" / "quality"
KINDS = {
    "tables": (
        *("iris", "wine", "urban", "breast_cancer", "mammographic"),
        *("plant_margin", "plant_shape", "plant_texture"),
    ),
    "pictures": ("digits", "mnist"),
    "series": ("waveform", "gesture", "semg"),
    "generated": tuple(GENERATED),
}
READOUTS = {"greedy": "", "swaps": "readout=refine"}


def over_medoids(records: Iterable[Record], judge: str, settings: str) -> dict[str, float]:
    """Return for each data set the points of accuracy of ``dual`` over ``medoids``, means over its cells."""
    cells: dict[tuple[str, int, int], dict[str, float]] = defaultdict(dict)
    for r in records:
        if r["judge"] == judge and r["settings"] == settings and r["method"] in ("dual", "medoids"):
            cells[r["data"], r["split"], r["budget"]][r["method"]] = 100 * r["accuracy"]
    of: dict[str, list[float]] = defaultdict(list)
    for (data, _, _), found in cells.items():
        if len(found) == 2:
            of[data].append(found["dual"] - found["medoids"])
    return {data: float(np.mean(values)) for data, values in of.items()}


def brings() -> str:
    """Return the README's sentence on the network: points by a linear SVM, the greedy read-out."""
    found = over_medoids(of_capped(in_order(RESULTS)), "svm", READOUTS["greedy"])
    points = []
    for kind in ("tables", "pictures", "series"):
        own = np.array([found[name] for name in KINDS[kind] if name in found])
        points.append(f"{own.mean():+.1f} ± {_error(own):.1f} on {kind}")
    link = "[brings](bench/results/quality/README.md#what-the-network-brings)"
    return f"After 300 joint steps the network {link} {', '.join(points)}, in points of accuracy."


def unseen() -> str:
    """Return the README's sentence on the data sets that no choice has looked at."""
    records = [record for record in of_capped(in_order(RESULTS)) if record["data"] not in STUDIED]
    table = complete(standings(records, "accuracy", judge="svm"))
    means = dict(zip(table.methods, 100.0 * by_data(table, gains(table)).mean(axis=1), strict=True))
    others = " and ".join(f"`{name}` {means[name]:.1f}" for name in ("facility", "medoids"))
    return (
        f"Our default was chosen with these sets in view; on {len(table.data)} others it gains "
        f"{means['dual']:.1f} points, {others}."
    )


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


def kinds() -> str:
    """Return points of DUAL over ``medoids`` by kind of data, with the standard error over data sets."""
    records = of_capped(in_order(RESULTS))
    columns = {
        f"{JUDGES[judge]}, {name}": over_medoids(records, judge, settings)
        for judge in ("svm", "nearest")
        for name, settings in READOUTS.items()
    }
    rows = []
    for kind, names in {**KINDS, "all": tuple(name for of in KINDS.values() for name in of)}.items():
        line = [kind, str(len(names))]
        for found in columns.values():
            own = np.array([found[name] for name in names if name in found])
            line.append(f"{own.mean():+.2f} ± {_error(own):.2f}")
        rows.append(line)
    return markdown(("kind of data", "sets", *columns), rows)


TABLES = {"network": kinds, "brings": brings, "unseen": unseen}
