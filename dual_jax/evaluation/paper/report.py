"""From records to the figures and the tables of a reproduction; nothing is computed again."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dual_jax.data.errors import InputError
from dual_jax.data.storage import write_atomically
from dual_jax.evaluation import figures as drawn
from dual_jax.evaluation.experiment import finished
from dual_jax.evaluation.paper import figures
from dual_jax.evaluation.paper.protocols import PROTOCOLS, VIEWS
from dual_jax.evaluation.paper.tables import (
    METRICS,
    cells_of,
    comparable,
    compared,
    is_grid,
    seconds,
    summary,
)
from dual_jax.evaluation.records import Record, read_folder
from dual_jax.evaluation.standings import complete, standings
from dual_jax.plots.maps import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORDS = "records"  # the folder of records in that of the results


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
        If there are no records, or a file of them is damaged.
    """
    records = read_folder(out / RECORDS)
    if not records:
        raise InputError(f"{out / RECORDS} holds no records: run dual-jax reproduce --out {out} first")
    written, texts = [], []
    for protocol, own in by_protocol(records).items():
        for name, draw in pictures(own, asked):
            written.append(out / f"{protocol}-{name}.png")
            write(draw(), written[-1])
        texts.append(summary(protocol, own))
    written.append(out / "summary.md")
    write_atomically(written[-1], "\n".join(texts))
    return written


def by_protocol(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Return the notes and the records of cells, each cell once, by protocol, data sets in its order."""
    records, found = list(records), defaultdict(list)
    notes = [record for record in records if "kind" in record]
    for record in sorted([*notes, *finished(records).values()], key=_place):
        found[record["protocol"]].append(record)
    return {name: found[name] for name in sorted(found, key=[*PROTOCOLS, *sorted(found)].index)}


def _place(record: Record) -> int:
    """Return the place of a record's data set in its protocol."""
    data = PROTOCOLS[record["protocol"]].data if record["protocol"] in PROTOCOLS else ()
    return data.index(record["data"]) if record["data"] in data else len(data)


def pictures(records: list[Record], asked: Set[str]) -> Iterator[tuple[str, Callable[[], "Figure"]]]:
    """Give the names of figures that the records of a protocol allow, and a function that draws each.

    Parameters
    ----------
    records
        From `by_protocol`.
    asked
        Of ``"2"`` to ``"6"``.
    """
    metrics = {number: METRICS[number] for number in sorted(asked & set(METRICS))}
    if is_grid(records):
        for number, metric in metrics.items():
            for view in filter(partial(figures.whole_grids, records), VIEWS):
                yield f"figure-{number}-{metric}-{view}", partial(figures.grid_curves, records, metric, view)
        return
    own = compared(records)
    for number, metric in metrics.items():
        table = comparable(standings(own, metric))
        if table.methods:
            yield f"figure-{number}-{metric}", partial(drawn.learning_curves, table, metric)
            yield f"gains-{metric}", partial(drawn.gain_map, table, metric)
        if len(complete(table).methods) > 2:
            yield f"ranks-{metric}", partial(drawn.rank_diagram, table, metric)
    if "2" in asked and own:
        yield "seconds", partial(drawn.times, seconds(own))
    yield from _own_figures(records, asked)


def _own_figures(records: list[Record], asked: Set[str]) -> Iterator[tuple[str, Callable[[], "Figure"]]]:
    """Give Figures 4 to 6 if there are records for them."""
    without = {record["data"] for record in figures.of(records, "dual_wo")}
    released = {record["data"] for record in figures.of(records, "dual_paper", "beta=0.0")}
    if "4" in asked and (both := sorted(without & released)):
        yield "figure-4-ablation", partial(figures.ablation, records, both)
    maps = [record for record in records if record.get("kind") == "map"]
    if "5" in asked and maps:
        yield "figure-5-map", partial(figures.picks_map, maps[-1])
    varied = sorted({record["data"] for record in cells_of(records) if record["settings"].startswith("K=")})
    if "6" in asked and varied:
        yield "figure-6-sensitivity", partial(figures.sensitivity, records, varied[0])
