"""``dual-jax select``: from a pool to a list of rows to label, its receipt and its map."""

import argparse
import ast
import csv
import dataclasses
import io
import os
import time
import warnings
from collections.abc import Iterable
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.cli import embeddings
from dual_jax.cli.embeddings import Embedded
from dual_jax.cli.options import (
    METHODS,
    NO_CACHE,
    SCALINGS,
    Work,
    add_common,
    check_folder,
    check_writable,
    keep_compiled_programs,
    seed_number,
)
from dual_jax.cli.picked import Picked, Task
from dual_jax.cli.report import pool_picture, report, seen, title
from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.data.storage import sha256_of, write_atomically

if TYPE_CHECKING:
    from dual_jax.dual.config import DualConfig

KEPT = ("dual", "dual_paper")  # methods whose fits show progress and can be kept
SHOWN_NAMES = 8  # columns named in the summary


_SELECT = "Pick the rows to label; write them, best first, and beside them a receipt (.json) of how."


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("select", help="pick rows of a pool", description=_SELECT)
    add = parser.add_argument
    add("pool", metavar="POOL", help=".npy, .npz, .csv, .tsv or .parquet file, or a built-in data set")
    add("-n", "--n-to-select", type=int, required=True, metavar="N", help="how many rows to pick")
    methods = f"one of {', '.join(METHODS)}; default: %(default)s"
    add("--method", choices=METHODS, default="dual", metavar="NAME", help=methods)
    knobs = "a setting of the method, such as width=2; once for each"
    add("--knob", type=_knob, action="append", default=[], metavar="NAME=VALUE", dest="knobs", help=knobs)
    add("--labeled", type=Path, metavar="FILE", help="rows with a label: a column of ids, or 'index'")
    add("--id-column", metavar="NAME", help="the pool's column of ids")
    add("--exclude", metavar="NAME,...", help="columns that are no features, such as a label")
    add("--scale", choices=SCALINGS, default="standard", help="of the inputs; default: %(default)s")
    add("--impute", choices=("median",), help="fill missing and infinite cells")
    embeddings.add(parser)
    stream = "leave a .npy or .parquet pool on disk, read it in pieces, and train on a sample; for DUAL alone"
    add("--stream", action="store_true", help=stream)
    add("--out", type=Path, default=Path("picks.csv"), metavar="FILE", help="default: %(default)s")
    why = "columns that say why: cluster, rows that a pick represents, nearest row picked before, distance"
    add("--explain", action="store_true", help=why)
    add("--report", type=Path, metavar="FILE", help="pictures, picks and receipt as one page (.html)")
    add("--map", choices=("pca", "tsne", "umap"), help="how --plot and --report place the rows; default: pca")
    add("--plot", type=Path, metavar="FILE", help="draw a map of the picks (.png, .svg or .pdf)")
    add(
        "--seed", type=seed_number, default=0, help="the same seed gives the same picks; default: %(default)s"
    )
    add("--resume", type=Path, metavar="DIR", help="keep the fit there, and go on with the one that is there")
    add_common(parser)
    add("--log", type=Path, metavar="DIR", help="curves of DUAL's fit for TensorBoard")
    add("--quiet", action="store_true", help="no summary and no progress")
    add("--no-compile-cache", action="store_true", help=f"compile anew, as with ${NO_CACHE}=1")
    parser.set_defaults(prepare=_prepare)


def _knob(text: str) -> tuple[str, Any]:
    """Return the name and the value of a knob; argparse turns the error into its own."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as width=2")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):  # a word without quotes
        return name, value


def _prepare(args: argparse.Namespace, command: str) -> Work:
    """Return the selection that is asked for, ready to run, after finding all mistakes in it."""
    started, clock = datetime.now(UTC), time.perf_counter()
    _check_outputs(args)
    from dual_jax.data.checks import check_n_select, check_pool
    from dual_jax.data.tables import map_pool, read_labeled, read_pool

    if args.stream:
        _check_stream(args)
    if args.resume is not None and args.method not in KEPT:
        raise InputError(f"--resume keeps the long fits of {' and '.join(KEPT)}; {args.method} has none")
    if args.log is not None:
        _check_log(args)
    knobs = _checked_knobs(args.method, dict(args.knobs)) if args.knobs else {}
    if not args.no_compile_cache and not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    imported = time.perf_counter()
    exclude = [name for name in (args.exclude or "").split(",") if name]
    if args.stream:
        pool = map_pool(args.pool, args.id_column, exclude)
        x = pool.x
    else:
        pool = read_pool(args.pool, id_column=args.id_column, exclude=exclude, data_dir=args.data_dir)
        x = np.asarray(check_pool(pool.x, impute=args.impute, dtype=np.float64))
    is_labeled = np.zeros(len(x), bool)
    if args.labeled is not None:
        is_labeled[read_labeled(args.labeled, args.id_column, pool)] = True
    n_select = check_n_select(args.n_to_select, int((~is_labeled).sum()))
    beside = embeddings.prepare(args, pool, x)
    load_seconds = time.perf_counter() - imported
    task = Task(pool, x, beside, is_labeled, n_select, knobs)
    n_features = (0 if args.embedding_alone else x.shape[1]) + (beside.width if beside else 0)
    if knobs:
        _rehearse(args.method, task, n_features)
    if args.method in KEPT:
        _check_room(args, task, n_features)
    return partial(_select, args, task, command, started, clock, load_seconds)


def _check_log(args: argparse.Namespace) -> None:
    """Refuse curves of a method that has none, without what writes them, or in place of a file."""
    from dual_jax.estimators.logs import NEEDS_TENSORBOARD

    if args.method not in KEPT:
        raise InputError(f"--log writes the curves of {' and '.join(KEPT)}; {args.method} has none")
    if find_spec("tensorboardX") is None:
        raise MissingPackageError(NEEDS_TENSORBOARD)
    check_folder(args.log, "--log")


def _checked_knobs(method: str, knobs: dict[str, Any]) -> dict[str, Any]:
    from dual_jax.estimators.selector import check_knobs

    return check_knobs(method, knobs)


def _rehearse(method: str, task: Task, n_features: int) -> None:
    """Let the method look at its knobs and at the shape of what it will see, without any work."""
    import jax

    from dual_jax.methods import METHODS

    shape = jax.ShapeDtypeStruct((len(task.x), n_features), np.float32)
    jax.eval_shape(partial(METHODS[method], n_select=task.n_select, **task.knobs), jax.random.key(0), shape)


def _check_stream(args: argparse.Namespace) -> None:
    """Refuse what needs the whole pool in memory."""
    whole = ("impute", "embedding", "explain", "report", "plot", "resume", "log")
    asked = [f"--{name}" for name in whole if getattr(args, name)]
    asked += [f"--method {args.method}"] if args.method != "dual" else []
    if asked:
        raise InputError(
            f"{', '.join(asked)} would need the whole pool in memory: leave that or --stream out"
        )


def _check_room(args: argparse.Namespace, task: Task, n_features: int) -> None:
    """Refuse a fit of DUAL that memory does not hold, as the estimator would when it begins."""
    from dual_jax.dual.machine import with_room
    from dual_jax.dual.streaming import SAMPLE
    from dual_jax.estimators.dual_selector import mesh_for

    n, config = len(task.x), dataclasses.replace(_config(args.method, task.knobs), n_exact=task.n_select)
    config.check()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit will say it
        if args.stream:
            with_room((min(n, SAMPLE), n_features), min(n, SAMPLE), config, None)
        else:
            with_room((n, n_features), n, config, mesh_for(n))


def _check_outputs(args: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written, or that would replace an input."""
    if args.out.suffix.lower() != ".csv":
        raise InputError(f"--out {args.out} must end in .csv; the receipt goes beside it as .json")
    outputs = [args.out, _receipt_path(args.out)]
    if args.plot is not None:
        from dual_jax.plots.maps import check_suffix

        check_suffix(args.plot)
        outputs.append(args.plot)
    if args.report is not None:
        from dual_jax.plots.maps import check_suffix

        check_suffix("picture.png")
        if args.report.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"--report {args.report} must end in .html")
        outputs.append(args.report)
    if args.map and args.plot is None and args.report is None:
        raise InputError(f"--map {args.map} is for a picture: give --plot or --report too")
    if args.map == "umap" and find_spec("umap") is None:
        from dual_jax.plots.maps import NEEDS_UMAP

        raise MissingPackageError(NEEDS_UMAP)
    for path in outputs:
        check_writable(path)
        for given in filter(None, (args.pool, args.labeled, args.embedding)):
            if path.exists() and os.path.exists(given) and path.samefile(given):
                raise InputError(f"{path} would replace the input of that name: choose another --out")


def _receipt_path(out: Path) -> Path:
    return out.with_suffix(".json")


def _select(
    args: argparse.Namespace, task: Task, command: str, started: datetime, clock: float, load_seconds: float
) -> None:
    """Pick, write the picks, the receipt and the picture in this order, and say what was done."""
    from dual_jax.data.receipt import compile_seconds
    from dual_jax.data.storage import as_json

    compiled, began = compile_seconds(), time.perf_counter()
    embedded = task.beside.make() if task.beside else None
    rows, embedding = embeddings.rows_and_beside(task.x, embedded, args.embedding_alone)
    picked = _pick(args, task._replace(x=rows), embedding)
    fitted, compiled = time.perf_counter(), compile_seconds() - compiled
    write_atomically(args.out, _csv(_columns(picked, task.pool.ids, args.explain)))
    seconds = {
        "load": load_seconds,
        "compile": compiled,
        "run": max(0.0, fitted - began - compiled),
        "write": time.perf_counter() - fitted,
        "total": time.perf_counter() - clock,
    }
    receipt = {"command": command, "started": started.isoformat(timespec="seconds")}
    receipt |= _receipt(args, task, embedded, picked, seconds)
    write_atomically(_receipt_path(args.out), as_json(receipt))
    if args.plot is not None:
        from dual_jax.plots.maps import write

        write(pool_picture(args, task, seen(args.scale, rows, embedding), picked.indices), args.plot)
    if args.report is not None:
        columns, shown = _columns(picked, task.pool.ids, True), seen(args.scale, rows, embedding)
        write_atomically(args.report, report(args, task, shown, picked, columns, as_json(receipt)))
    if not args.quiet:
        print(_summary(args, task, seconds))


def _pick(args: argparse.Namespace, task: Task, embedding: np.ndarray | None) -> Picked:
    """Return the picks of a method on a pool as read: the one place that knows methods."""
    if args.stream:
        return _pick_streamed(args, task)
    with_why = args.explain or args.report is not None
    if args.method in KEPT:
        return _pick_by_dual(args, task, embedding, with_why)
    from dual_jax.estimators.selector import Selector

    selector = Selector(args.method, task.n_select, scale=args.scale, random_state=args.seed, **task.knobs)
    picks = selector.fit(task.x, embedding=embedding, labeled=task.is_labeled).sample_indices_
    why = selector.explain() if with_why else None
    return Picked(picks, selector.scores_[picks], selector.knobs_, selector.is_nested_, {}, why, {})


def _pick_by_dual(
    args: argparse.Namespace, task: Task, embedding: np.ndarray | None, with_why: bool
) -> Picked:
    """Return DUAL's picks, with its progress shown, its loss kept, and the fit itself where that is asked."""
    from dual_jax.data.storage import configuration
    from dual_jax.dual.readout import is_nested
    from dual_jax.estimators.dual_selector import DUALSelector
    from dual_jax.estimators.logs import TensorBoard

    config, verbose = _config(args.method, task.knobs), int(not args.quiet)
    selector = DUALSelector(
        task.n_select, scale=args.scale, random_state=args.seed, config=config, verbose=verbose
    )
    with closing(TensorBoard(args.log)) if args.log else nullcontext() as board:
        selector.set_params(callbacks=[board] if board else [])
        selector.fit(task.x, embedding=embedding, labeled=task.is_labeled, checkpoint_dir=args.resume)
    picks = selector.sample_indices_
    settings, nested = configuration(selector.config_), is_nested(config.readout, len(task.x), task.n_select)
    why = selector.explain() if with_why else None
    norms = selector.row_norms() if with_why else {}
    return Picked(picks, selector.scores_[picks], settings, nested, selector.history_, why, norms)


def _pick_streamed(args: argparse.Namespace, task: Task) -> Picked:
    """Return DUAL's picks from a pool on disk."""
    import jax

    from dual_jax.data.storage import configuration
    from dual_jax.dual.steps import started
    from dual_jax.dual.streaming import stream
    from dual_jax.estimators import progress

    config = _config(args.method, task.knobs)
    with progress.callback(int(not args.quiet)) as show:
        found = stream(
            jax.random.key(args.seed),
            task.x,
            task.n_select,
            config,
            scale=args.scale,
            labeled=task.is_labeled,
            callbacks=[show] if show else [],
        )
    picks = np.asarray(found.picks.indices), np.asarray(found.picks.scores)
    used = found.config.for_pool(len(found.sample), len(started(found.state).dictionary))
    return Picked(*picks, configuration(used), False, found.history, None, {})


def _config(method: str, knobs: dict[str, Any]) -> "DualConfig":
    from dual_jax.dual.config import DualConfig

    # Only the picks are written, so the read-out need not order more than these.
    return DualConfig.paper(n_exact=1, **knobs) if method == "dual_paper" else DualConfig(n_exact=1, **knobs)


def _columns(picked: Picked, ids: np.ndarray | None, with_why: bool) -> list[tuple[str, Iterable[Any]]]:
    """Return the columns of picks.csv; numbers in the fewest digits that give the same float32."""
    name = (lambda index: index) if ids is None else ids.__getitem__
    columns: list[tuple[str, Iterable[Any]]] = [
        ("rank", range(1, len(picked.indices) + 1)),
        ("index", picked.indices),
        ("id", map(name, picked.indices)),
        ("score", picked.scores),
    ]
    if with_why and (why := picked.why) is not None:
        is_first = why.nearest < 0
        columns += [
            ("cluster", why.cluster),
            ("represents", why.n_represented),
            ("nearest_id", np.where(is_first, "", [name(index) for index in why.nearest])),
            ("distance", np.where(is_first, "", why.distance.astype(str))),
        ]
    return columns


def _csv(columns: list[tuple[str, Iterable[Any]]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(title for title, _ in columns)
    writer.writerows(zip(*(values for _, values in columns), strict=True))
    return text.getvalue()


def _receipt(
    args: argparse.Namespace, task: Task, embedded: Embedded | None, picked: Picked, seconds: dict[str, float]
) -> dict[str, Any]:
    """Return how the picks were made."""
    from dual_jax.data import receipt
    from dual_jax.data.storage import versions

    pool, last = task.pool, [stage for stage in picked.history.values() if stage]
    return {
        "arguments": {name: value for name, value in vars(args).items() if name != "prepare"},
        "method": args.method,
        "is_nested": picked.is_nested,
        "knobs": task.knobs,
        "seed": args.seed,
        "configuration": picked.settings,
        "input": {
            "source": pool.source,
            "sha256": pool.sha256,
            "shape": task.x.shape,
            "dropped": pool.dropped,
            "note": pool.note,
            "id_column": pool.id_name,
            "imputed_cells": _n_imputed(task) if args.impute else 0,
            "scaling": args.scale,
            "embedding": embedded.about if embedded else None,
            "n_labeled": int(task.is_labeled.sum()),
        },
        "picks": {"file": args.out.name, "sha256": sha256_of(args.out), "n": len(picked.indices)},
        "steps": {stage: len(next(iter(terms.values()), ())) for stage, terms in picked.history.items()},
        "final_terms": {name: terms[-1] for name, terms in last[-1].items()} if last else {},
        "devices": receipt.devices(),
        "peak_memory": receipt.peak_memory(),
        "seconds": {phase: round(value, 3) for phase, value in seconds.items()},
        "versions": versions(),
    }


def _n_imputed(task: Task) -> int:
    return int(task.pool.x.size - np.isfinite(task.pool.x).sum())


def _summary(args: argparse.Namespace, task: Task, seconds: dict[str, float]) -> str:
    """Return what a person wants to know at the end, in a few lines."""
    lines = [
        title(task),
        *_used(args, task),
        *(f"left out: {name} ({reason})" for name, reason in task.pool.dropped.items()),
        *([f"filled: {_n_imputed(task):,} cells by the column's median"] if args.impute else []),
        f"picks: {args.out}   receipt: {_receipt_path(args.out)}"
        + (f"   map: {args.plot}" if args.plot else "")
        + (f"   report: {args.report}" if args.report else ""),
        f"time: {seconds['total']:.1f} s, of which {seconds['compile']:.1f} s to compile",
    ]
    return "\n".join(lines)


def _used(args: argparse.Namespace, task: Task) -> list[str]:
    """Return the features that were picked in."""
    names, beside = task.pool.feature_names, task.beside
    inputs = f"{task.x.shape[1]:,} features" + (f" ({_listed(names)})" if names else "")
    embedded = f"{beside.width:,} features ({args.embedding})" if beside else ""
    if args.embedding_alone:
        return [f"used: {embedded} alone"]
    return [f"used: {inputs}", *([f"beside them: {embedded}"] if embedded else [])]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
