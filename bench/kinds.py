"""What DUAL's network brings, by kind of data: DUAL over ``medoids``, which has its read-out and no network.

From the records of the tournament alone, which were made with 1,000 steps of stage 1 and 300 of stage 3.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.quality import GENERATED, JUDGES, in_order, is_full
from dual_jax.evaluation.records import Record
from dual_jax.plots.page import markdown

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


def kinds(out: Path) -> str:
    """Return points of DUAL over ``medoids`` by kind of data, with the standard error over data sets."""
    records = [record for record in in_order(out) if not is_full(record["data"])]
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
            line.append(f"{own.mean():+.2f} ± {own.std(ddof=1) / len(own) ** 0.5:.2f}")
        rows.append(line)
    return markdown(("kind of data", "sets", *columns), rows)
