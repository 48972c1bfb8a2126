"""The remaining work on a data set, in pieces: a method on a split, a grid of settings, a map.

Each piece writes its records while it runs, and can be stopped at any time.
"""

import functools
import time
from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from dual_jax.data.receipt import compile_seconds, devices
from dual_jax.data.storage import versions
from dual_jax.devices.machine import forget_programs_if_many
from dual_jax.dual import grid
from dual_jax.evaluation.experiment import Cell, Entry, Picked, cells, judge, pick, run
from dual_jax.evaluation.paper import protocols
from dual_jax.evaluation.paper.costs import DUAL_COMPILE, Costs, dual_seconds, measure, network_seconds
from dual_jax.evaluation.paper.protocols import CONFIGS, Settings
from dual_jax.evaluation.paper.study import Study, views
from dual_jax.evaluation.records import Record, append

ROWS_PER_PICK = 25  # of Figure 5
MAPPED = ("dual", "kmeans")
MAP_SECONDS = 0.02  # of t-SNE, a row and view


class Job(NamedTuple):
    """A piece of work: its data set, title, predicted seconds, and the function that does it."""

    data: str
    title: str
    seconds: float
    run: Callable[[], list[Record]]


def jobs(study: Study, figures: Set[str], is_asked: Callable[[str], bool], limit: float) -> list[Job]:
    """Return the remaining work for some figures; if that may be long, after a small run.

    Parameters
    ----------
    study
        From `open_study`.
    figures
        Of ``"2"`` to ``"6"``.
    is_asked
        Whether a method, by its name, is wanted.
    limit
        Seconds that picking on all splits may take for a method; above it the method is left out.
    """
    name = study.data.name
    methods = [
        (e, _missing(study, [e], budgets)) for e, budgets in _methods(study, figures) if is_asked(e.method)
    ]
    grids = [
        (settings, _missing(study, [entry for entry, _ in settings], budgets))
        for settings, budgets in _grids(study, figures)
        if is_asked(settings[0][0].method)
    ]
    if not study.has("data"):
        _describe(study)  # before any cell, so that another seed is found
    work: list[Job] = []
    if any(wanted for _, wanted in (*methods, *grids)):
        costs = measure(study, [entry for entry, wanted in methods if wanted], limit)
        forget_programs_if_many()
        work += [job for entry, wanted in methods for job in _method_jobs(study, entry, wanted, costs)]
        work += [job for settings, wanted in grids for job in _grid_jobs(study, settings, wanted, costs)]
    if "5" in figures and name == study.protocol.mapped and not study.has("map"):
        work.append(Job(name, "map", 2 * MAP_SECONDS * study.n_pool, functools.partial(_map, study)))
    return work


def _methods(study: Study, figures: Set[str]) -> list[tuple[Entry, Sequence[int]]]:
    """Return the methods that figures need, with their budgets; random first."""
    protocol = study.protocol
    asked: list[tuple[Entry, Sequence[int]]] = []
    if figures & {"2", "3"}:
        asked += [(entry, study.budgets) for entry in protocol.entries()]
    known = {entry.title for entry, _ in asked}
    if "4" in figures and study.data.name in protocol.ablated:
        asked += [(entry, (study.half,)) for entry in protocols.ablation() if entry.title not in known]
    return asked


def _grids(study: Study, figures: Set[str]) -> list[tuple[list[Settings], Sequence[int]]]:
    """Return the settings that figures need, a list for each program, with their budgets."""
    protocol = study.protocol
    asked: list[tuple[list[Settings], Sequence[int]]] = []
    if not protocol.methods and figures & {"2", "3"}:
        asked.append((protocols.grid(), study.budgets))
    if "6" in figures and study.data.name == protocol.varied:
        asked += [(settings, (study.half,)) for m in CONFIGS for settings in protocols.variations(m)]
    return asked


def _missing(study: Study, entries: Sequence[Entry], budgets: Sequence[int]) -> list[Cell]:
    """Return the cells of entries that have no record."""
    return [
        cell
        for split in study.splits
        for entry in entries
        for cell in cells(study.protocol.name, split, entry, budgets, study.protocol.judges)
        if cell not in study.done
    ]


def _method_jobs(study: Study, entry: Entry, wanted: Sequence[Cell], costs: Costs) -> list[Job]:
    """Return the remaining work of a method, one job per split; or a job that records why it is left out."""
    if not wanted:
        return []
    if reason := costs.too_long(entry):
        return [] if _is_left_out(study, entry) else [_leave_out(study, entry, reason)]
    work = []
    for i, split in enumerate(study.splits):
        if own := [cell for cell in wanted if cell.split == i and cell not in study.done]:
            act = functools.partial(run, entry, own, split, views(study, i), study.key, study.path)
            seconds = costs.of_run(entry) + costs.of_fits(len(own))
            work.append(Job(study.data.name, f"{entry.title}, split {i}", seconds, act))
    return work


def _grid_jobs(study: Study, settings: Sequence[Settings], wanted: Sequence[Cell], costs: Costs) -> list[Job]:
    """Return the remaining work of settings that one program trains on all splits, or why it is left out."""
    if not wanted:
        return []
    (entry, config), n_runs = settings[0], len({(cell.split, cell.settings) for cell in wanted})
    shape = study.n_pool, study.pools.shape[2]
    seconds = DUAL_COMPILE + n_runs * dual_seconds(*shape, config)
    seconds += len(study.splits) * config.pretrain_steps * network_seconds(*shape, config)
    if reason := costs.above_limit(seconds):
        return [] if _is_left_out(study, entry) else [_leave_out(study, entry, reason)]
    title = f"{entry.method} with {entry.settings}" + (
        f" and {len(settings) - 1} more" if len(settings) > 1 else ""
    )
    act = functools.partial(_run_grid, study, settings, wanted)
    return [Job(study.data.name, title, seconds + costs.of_fits(len(wanted)), act)]


def _run_grid(study: Study, settings: Sequence[Settings], wanted: Sequence[Cell]) -> list[Record]:
    """Train settings together and judge their picks, program after program."""
    names, method = [entry.settings for entry, _ in settings], settings[0][0].method
    by_place: dict[tuple[int, int], list[Cell]] = {}
    for cell in wanted:
        by_place.setdefault((cell.split, names.index(cell.settings)), []).append(cell)
    programs = grid.select(
        study.keys,
        study.networks(method),
        study.pools,
        [config for _, config in settings],
        max(cell.budget for cell in wanted),
        cells=list(by_place),
    )
    records, start, compiled = [], time.perf_counter(), compile_seconds()
    for outcomes in programs:
        seconds = (time.perf_counter() - start) / len(outcomes)
        compiling = (compile_seconds() - compiled) / len(outcomes)
        for place, config, picks, _ in outcomes:
            tasks = [
                (cell, Picked(picks[: cell.budget], seconds, compiling)) for cell in by_place[place, config]
            ]
            records += judge(tasks, study.splits[place], views(study, place), study.path)
        start, compiled = time.perf_counter(), compile_seconds()
    return records


def _is_left_out(study: Study, entry: Entry) -> bool:
    skipped = [record for record in study.records if record.get("kind") == "skipped"]
    return any((record["method"], record["settings"]) == (entry.method, entry.settings) for record in skipped)


def _leave_out(study: Study, entry: Entry, reason: str) -> Job:
    """Return the job that records why a method is left out."""
    what = {"method": entry.method, "settings": entry.settings, "reason": reason}
    note = functools.partial(_note, study, "skipped", **what)
    return Job(study.data.name, f"{entry.title} is left out: {reason}", 0.0, note)


def _describe(study: Study) -> list[Record]:
    """Record the row of Table 1: the data set as it is in its files, how it is used, and the versions."""
    rows, sizes = study.data.x, np.bincount(study.data.y)
    return _note(
        study,
        "data",
        rows=len(rows),
        features=rows.shape[1],
        classes=len(sizes),
        class_sizes=[int(sizes.min()), int(sizes.max())],
        distinct_rows=len(np.unique(rows, axis=0)),
        n_pool=study.n_pool,
        n_splits=len(study.splits),
        budgets=list(study.budgets),
        scale=study.protocol.scale,
        note=study.data.note,
        versions=versions(),
        devices=devices(),
    )


def _map(study: Study) -> list[Record]:
    """Record t-SNE's places for the pool of split 0, raw and as codes, and the picks of two methods on it."""
    from sklearn.manifold import TSNE

    pool = study.splits[0].pool
    n_select = min(study.budgets, key=lambda budget: abs(budget - study.n_pool // ROWS_PER_PICK))
    perplexity = min(30.0, study.n_pool / 4)  # scikit-learn's, which asks for more rows than that
    places = {
        name: TSNE(perplexity=perplexity, random_state=0).fit_transform(view()[0].x).round(2).tolist()
        for name, view in views(study, 0).items()
    }
    budgets = (n_select, study.budgets[-1])  # with the largest, the program of the comparison serves here too
    picked = {method: pick(Entry(method), study.keys[0], study.pools[0], budgets) for method in MAPPED}
    return _note(
        study,
        "map",
        places=places,
        picks={method: found[n_select].indices.tolist() for method, found in picked.items()},
        classes=pool.y.tolist(),
    )


def _note(study: Study, kind: str, **values: Any) -> list[Record]:
    """Write a record that is not a cell, and return it."""
    of = {"kind": kind, "protocol": study.protocol.name, "data": study.data.name, "seed": study.seed}
    record = {**of, **values}
    append(study.path, record)
    return [record]
