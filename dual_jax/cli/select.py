"""``dual-jax select``: from a pool to a list of rows to label, its receipt and its map."""

import argparse
import csv
import io
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dual_jax.cli.options import (
    NO_CACHE,
    SCALINGS,
    Work,
    add_common,
    check_writable,
    keep_compiled_programs,
    seed_number,
)
from dual_jax.store import sha256_of, write_atomically

if TYPE_CHECKING:
    from dual_jax.config import DualConfig
    from dual_jax.data.tables import Pool

METHODS = ("dual", "dual_paper")
SHOWN_NAMES = 8  # columns named in the summary


class Task(NamedTuple):
    """A selection that is ready to run: the pool, its checked numbers, who is labelled, how many to pick."""

    pool: "Pool"
    x: np.ndarray
    is_labeled: np.ndarray
    n_select: int


class Picked(NamedTuple):
    """What a method gives back: positions, their scores, its settings, and the terms of its loss a step."""

    indices: np.ndarray
    scores: np.ndarray
    config: "DualConfig"
    history: dict[str, dict[str, np.ndarray]]


_SELECT = "Pick the rows to label; write them, best first, and beside them a receipt (.json) of how."


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("select", help="pick rows of a pool", description=_SELECT)
    add = parser.add_argument
    add("pool", metavar="POOL", help=".npy, .npz, .csv, .tsv or .parquet file, or a built-in data set")
    add("-n", "--n-to-select", type=int, required=True, metavar="N", help="how many rows to pick")
    add("--method", choices=METHODS, default="dual", help="default: %(default)s")
    add("--labeled", type=Path, metavar="FILE", help="rows with a label: a column of ids, or 'index'")
    add("--id-column", metavar="NAME", help="the pool's column of ids")
    add("--scale", choices=SCALINGS, default="standard", help="of the inputs; default: %(default)s")
    add("--impute", choices=("median",), help="fill missing and infinite cells")
    add("--out", type=Path, default=Path("picks.csv"), metavar="FILE", help="default: %(default)s")
    add("--plot", type=Path, metavar="FILE", help="draw a map of the picks (.png, .svg or .pdf)")
    add(
        "--seed", type=seed_number, default=0, help="the same seed gives the same picks; default: %(default)s"
    )
    add_common(parser)
    add("--quiet", action="store_true", help="no summary and no progress")
    add("--no-compile-cache", action="store_true", help=f"compile anew, as with ${NO_CACHE}=1")
    parser.set_defaults(prepare=_prepare)


def _prepare(args: argparse.Namespace, command: str) -> Work:
    """Return the selection that is asked for, ready to run, after finding all mistakes in it."""
    started, clock = datetime.now(UTC), time.perf_counter()
    _check_outputs(args)
    from dual_jax.data.checks import check_n_select, check_pool
    from dual_jax.data.tables import read_labeled, read_pool

    if not args.no_compile_cache and not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    imported = time.perf_counter()
    pool = read_pool(args.pool, id_column=args.id_column, data_dir=args.data_dir)
    x = check_pool(pool.x, impute=args.impute, dtype=np.float64)
    is_labeled = np.zeros(len(x), bool)
    if args.labeled is not None:
        is_labeled[read_labeled(args.labeled, args.id_column, pool)] = True
    n_select = check_n_select(args.n_to_select, int((~is_labeled).sum()))
    load_seconds = time.perf_counter() - imported
    task = Task(pool, np.asarray(x), is_labeled, n_select)
    return partial(_select, args, task, command, started, clock, load_seconds)


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written, or that would replace an input."""
    if args.out.suffix.lower() != ".csv":
        raise ValueError(f"--out {args.out} must end in .csv; the receipt goes beside it as .json")
    outputs = [args.out, _receipt_path(args.out)]
    if args.plot is not None:
        from dual_jax.plots import check_suffix

        check_suffix(args.plot)
        outputs.append(args.plot)
    for path in outputs:
        check_writable(path)
        for given in filter(None, (args.pool, args.labeled)):
            if path.exists() and os.path.exists(given) and path.samefile(given):
                raise ValueError(f"{path} would replace the input of that name: choose another --out")


def _receipt_path(out: Path) -> Path:
    return out.with_suffix(".json")


def _select(
    args: argparse.Namespace, task: Task, command: str, started: datetime, clock: float, load_seconds: float
) -> None:
    """Pick, write the picks, the receipt and the picture in this order, and say what was done."""
    from dual_jax.receipt import as_json, compile_seconds

    compiled, began = compile_seconds(), time.perf_counter()
    picked = _pick(
        args.method,
        task.x,
        task.n_select,
        labeled=task.is_labeled,
        scale=args.scale,
        seed=args.seed,
        verbose=int(not args.quiet),
    )
    fitted, compiled = time.perf_counter(), compile_seconds() - compiled
    write_atomically(args.out, _csv(picked, task.pool.ids))
    seconds = {
        "load": load_seconds,
        "compile": compiled,
        "run": max(0.0, fitted - began - compiled),
        "write": time.perf_counter() - fitted,
        "total": time.perf_counter() - clock,
    }
    receipt = {"command": command, "started": started.isoformat(timespec="seconds")}
    write_atomically(_receipt_path(args.out), as_json(receipt | _receipt(args, task, picked, seconds)))
    if args.plot is not None:
        _draw(args, task, picked)
    if not args.quiet:
        print(_summary(args, task, seconds))


def _pick(
    method: str,
    x: np.ndarray,
    n_select: int,
    *,
    labeled: np.ndarray,
    scale: str,
    seed: int,
    verbose: int,
) -> Picked:
    """Return the picks of a method on a pool as read: the one place that knows methods."""
    from dual_jax.estimator import DUALSelector

    config = _config(method)
    selector = DUALSelector(
        n_select,
        max_iter=config.steps,
        pretrain_iter=config.pretrain_steps,
        latent_dim=config.latent_dim,
        readout=config.readout,
        scale=scale,
        random_state=seed,
        config=config,
        verbose=verbose,
    ).fit(x, labeled=labeled)
    picks = selector.sample_indices_
    return Picked(picks, selector.scores_[picks], selector.config_, selector.history_)


def _config(method: str) -> "DualConfig":
    from dual_jax.config import DualConfig

    # Only the picks are written, so the read-out need not order more than these.
    return DualConfig.paper(n_exact=1) if method == "dual_paper" else DualConfig(n_exact=1)


def _csv(picked: Picked, ids: np.ndarray | None) -> str:
    """Return the picks as comma-separated text; scores with the fewest digits that give the same float32."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("rank", "index", "id", "score"))
    for rank, (index, score) in enumerate(zip(picked.indices, picked.scores, strict=True), 1):
        writer.writerow((rank, index, index if ids is None else ids[index], score))
    return text.getvalue()


def _receipt(
    args: argparse.Namespace, task: Task, picked: Picked, seconds: dict[str, float]
) -> dict[str, Any]:
    """Return how the picks were made."""
    from dual_jax import receipt

    pool, last = task.pool, [stage for stage in picked.history.values() if stage]
    return {
        "arguments": {name: value for name, value in vars(args).items() if name != "prepare"},
        "method": args.method,
        "seed": args.seed,
        "configuration": receipt.configuration(picked.config),
        "input": {
            "source": pool.source,
            "sha256": pool.sha256,
            "shape": task.x.shape,
            "dropped": pool.dropped,
            "note": pool.note,
            "id_column": pool.id_name,
            "imputed_cells": _n_imputed(task),
            "scaling": args.scale,
            "n_labeled": int(task.is_labeled.sum()),
        },
        "picks": {"file": args.out.name, "sha256": sha256_of(args.out), "n": len(picked.indices)},
        "steps": {stage: len(next(iter(terms.values()), ())) for stage, terms in picked.history.items()},
        "final_terms": {name: terms[-1] for name, terms in last[-1].items()} if last else {},
        "devices": receipt.devices(),
        "peak_memory": receipt.peak_memory(),
        "seconds": {phase: round(value, 3) for phase, value in seconds.items()},
        "versions": receipt.versions(),
    }


def _n_imputed(task: Task) -> int:
    return int(task.pool.x.size - np.isfinite(task.pool.x).sum())


def _draw(args: argparse.Namespace, task: Task, picked: Picked) -> None:
    from dual_jax import plots
    from dual_jax.data.scaling import apply, fit_scaler

    scaled = np.asarray(apply(fit_scaler(task.x, args.scale), task.x))
    figure = plots.pool_map(scaled, picked.indices, labeled=task.is_labeled, title=_title(task))
    plots.write(figure, args.plot)


def _title(task: Task) -> str:
    n_labeled = task.is_labeled.sum()
    before = f", {n_labeled:,} labelled before" if n_labeled else ""
    return f"{Path(task.pool.source).name}: {task.n_select:,} of {len(task.x):,} rows picked{before}"


def _summary(args: argparse.Namespace, task: Task, seconds: dict[str, float]) -> str:
    """Return what a person wants to know at the end, in a few lines."""
    names, n_features = task.pool.feature_names, task.x.shape[1]
    lines = [
        _title(task),
        f"used: {n_features:,} features" + (f" ({_listed(names)})" if names else ""),
        *(f"left out: {name} ({reason})" for name, reason in task.pool.dropped.items()),
        *([f"filled: {_n_imputed(task):,} cells by the column's median"] if args.impute else []),
        f"picks: {args.out}   receipt: {_receipt_path(args.out)}"
        + (f"   map: {args.plot}" if args.plot else ""),
        f"time: {seconds['total']:.1f} s, of which {seconds['compile']:.1f} s to compile",
    ]
    return "\n".join(lines)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
