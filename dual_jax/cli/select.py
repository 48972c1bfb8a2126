"""``dual-jax select``: from a pool to a list of rows to label, its receipt and its map."""

import argparse
import ast
import dataclasses
import os
import time
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.cli import budgets, embeddings, exchange, outputs, pools
from dual_jax.cli.options import (
    AUTO,
    NO_CACHE,
    SCALE,
    SCALINGS,
    add_common,
    check_folder,
    keep_compiled_programs,
    seed_number,
)
from dual_jax.cli.picked import Picked, Source
from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.methods.facts import FACTS, listed

if TYPE_CHECKING:
    from dual_jax.dual.config import DualConfig

KEPT = ("dual", "dual_paper")  # methods whose fits show progress and can be kept
CODE_DICTIONARY = 1024  # rows of C where picks are made in a learnt code
IN_MEMORY = (
    "kinds",
    "impute",
    "embedding",
    "explain",
    "report",
    "plot",
    "resume",
    "log",
    *budgets.OPTIONS,
)  # options that --stream lacks

_SELECT = "Pick the rows to label; write them, best first, and beside them a receipt (.json) of how."


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("select", help="pick rows of a pool", description=_SELECT)
    add = parser.add_argument
    text = "a table, an array, a folder of pictures, .wav files or texts, or the name of a built-in data set"
    add("pool", metavar="POOL", help=text)
    budgets.add(parser)
    methods = f"{listed()}; inferred: not printed in the paper; default: %(default)s"
    add("--method", choices=FACTS, default="dual", metavar="NAME", help=methods)
    knobs = "a setting of the method, such as width=2; once for each"
    add("--knob", type=_knob, action="append", default=[], metavar="NAME=VALUE", dest="knobs", help=knobs)
    pools.add(parser)
    add("--scale", choices=SCALINGS, default=AUTO, help=SCALE)
    embeddings.add(parser)
    embeddings.add_features(parser)
    stream = "leave a .npy or .parquet pool on disk, read it in pieces, and train on a sample; for DUAL alone"
    add("--stream", action="store_true", help=stream)
    exchange.add(parser)
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
    add("--no-compile-cache", action="store_true", help=f"compile every program again, as with ${NO_CACHE}=1")
    parser.set_defaults(run=_run)


def _knob(text: str) -> tuple[str, Any]:
    """Return the name and the value of a knob; argparse turns the error into its own."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as width=2")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):  # a word without quotes
        return name, value


def _run(args: argparse.Namespace, command: str) -> None:
    """Check the request, read the pool, pick, write, and print what was done."""
    started, clock = datetime.now(UTC), time.perf_counter()
    _check(args)
    if not args.no_compile_cache and not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    from dual_jax.data.receipt import compile_seconds

    before, begun = compile_seconds(), time.perf_counter()
    source = _read(args)
    loaded = time.perf_counter()
    picked = _pick_from_disk(args, source) if args.stream else _pick(args, source)
    fitted, compiled = time.perf_counter(), compile_seconds() - before
    times = {"load": loaded - begun, "compile": compiled, "run": max(0.0, fitted - loaded - compiled)}
    about = {"command": command, "started": started.isoformat(timespec="seconds")}
    outputs.write(args, picked, about, times, clock)


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, and outputs that cannot be written."""
    budgets.check(args)
    outputs.check(args)
    if args.stream:
        asked = [f"--{name.replace('_', '-')}" for name in IN_MEMORY if getattr(args, name)]
        asked += [f"--method {args.method}"] if args.method != "dual" else []
        if asked:
            raise InputError(
                f"{', '.join(asked)} would need the whole pool in memory: leave that or --stream out"
            )
    if args.resume is not None and args.method not in KEPT:
        raise InputError(f"--resume keeps the long fits of {' and '.join(KEPT)}; {args.method} has none")
    if args.log is not None:
        _check_log(args)


def _check_log(args: argparse.Namespace) -> None:
    """Refuse curves of a method that has none, without what writes them, or in place of a file."""
    from dual_jax.estimators.logs import NEEDS_TENSORBOARD

    if args.method not in KEPT:
        raise InputError(f"--log writes the curves of {' and '.join(KEPT)}; {args.method} has none")
    if find_spec("tensorboardX") is None:
        raise MissingPackageError(NEEDS_TENSORBOARD)
    check_folder(args.log, "--log")


def _read(args: argparse.Namespace) -> Source:
    """Return the pool, its embedding, the rows with a label and those that are never picked."""
    from dual_jax.data.annotations import read_labels, read_rows
    from dual_jax.data.owncolumns import PoolFile

    as_read, pool, taken, n_imputed = pools.read(args)
    file = PoolFile(as_read, args.header, args.decimal)
    labels = read_labels(
        args.labeled,
        file,
        id_column=args.id_column,
        label_column=args.label_column,
        is_empty_labelled=args.empty_is_labeled,
    )
    is_forbidden = read_rows(args.forbid, file, args.id_column)
    if pool.unread is not None:
        is_forbidden = is_forbidden | pool.unread
    keep, payload = exchange.wanted_columns(args, file)
    limits = budgets.read(args, file, ~(is_forbidden | labels.is_skipped | labels.is_labelled))
    embedding = embeddings.prepare(args, pool)
    return Source(file, pool, n_imputed, embedding, labels, is_forbidden, keep, payload, taken, limits)


def _pick(args: argparse.Namespace, source: Source) -> Picked:
    """Return the picks of an estimator: prepared, which finds what is invalid, and then run."""
    table = source.embedding.table if source.embedding else None
    x, embedding = (table, None) if args.embedding_alone else (source.pool.x, table)
    if args.method in KEPT:
        return _pick_by_dual(args, source, x, embedding)
    from dual_jax.estimators.selector import Selector

    selector = Selector(
        args.method,
        args.n_to_select,
        scale=source.scale(args.scale, is_embedding_alone=args.embedding_alone),
        random_state=args.seed,
        **dict(args.knobs),
    )
    prepared = selector.prepare(
        x,
        embedding=embedding,
        labeled=source.is_labeled,
        candidates=source.candidates,
        limits=source.limits,
    )
    picks = selector.run(prepared).sample_indices_
    return Picked(
        source,
        picks,
        selector.scores_[picks],
        selector.is_nested_,
        prepared.settings.knobs,
        selector.knobs_,
        np.asarray(prepared.x),
        why=selector.explain() if args.explain or args.report else None,
        end=selector.end_,
    )


def _pick_by_dual(args: argparse.Namespace, source: Source, x: Any, embedding: Any) -> Picked:
    """Return DUAL's picks; its progress is shown, and its curves and the fit are kept where that is asked."""
    from dual_jax.data.storage import configuration
    from dual_jax.estimators.dual_selector import DUALSelector
    from dual_jax.estimators.logs import TensorBoard

    knobs = _checked_knobs(args)
    config = _config(args.method, knobs)
    if source.limits is None:
        config = _ordering_few(config, len(source.pool.x))
    selector = DUALSelector(
        args.n_to_select,
        scale=source.scale(args.scale, is_embedding_alone=args.embedding_alone),
        random_state=args.seed,
        config=config,
        verbose=int(not args.quiet),
    )
    prepared = selector.prepare(
        x,
        embedding=embedding,
        labeled=source.is_labeled,
        candidates=source.candidates,
        limits=source.limits,
        checkpoint_dir=args.resume,
    )
    with closing(TensorBoard(args.log)) if args.log else nullcontext() as board:
        selector.set_params(callbacks=[board] if board else []).run(prepared)
    picks, with_why = selector.sample_indices_, args.explain or args.report
    return Picked(
        source,
        picks,
        selector.scores_[picks],
        selector.is_nested_,
        knobs,
        configuration(prepared.settings.config) | selector.sizes_._asdict(),
        np.asarray(prepared.x),
        selector.history_,
        selector.explain() if with_why else None,
        selector.row_norms() if with_why else {},
        selector.end_,
    )


def _pick_from_disk(args: argparse.Namespace, source: Source) -> Picked:
    """Return DUAL's picks from a pool on disk: prepared, which finds what is invalid, and then run."""
    import jax

    from dual_jax.data.storage import configuration
    from dual_jax.dual import streaming
    from dual_jax.estimators import progress

    knobs = _checked_knobs(args)
    prepared = streaming.prepare(
        jax.random.key(args.seed),
        source.pool.x,
        args.n_to_select,
        _config(args.method, knobs),
        scale=args.scale,
        labeled=source.is_labeled,
        candidates=source.candidates,
    )
    with progress.callback(int(not args.quiet)) as show:
        found = streaming.run(prepared, callbacks=[show] if show else [])
    indices, scores = map(np.asarray, found.picks)
    settings = configuration(prepared.config) | found.sizes._asdict()
    return Picked(source, indices, scores, False, knobs, settings, history=found.history)


def _checked_knobs(args: argparse.Namespace) -> dict[str, Any]:
    """Return the knobs of DUAL in the types of its method's parameters.

    In a learnt code C has `CODE_DICTIONARY` rows unless another number is asked for: in bench/README.md so
    many rows give picks as good as all, at a fraction of the time.
    """
    own = {}
    if args.embedding == embeddings.VIEWS and args.embedding_alone and args.method == "dual":
        own = {"dictionary_size": CODE_DICTIONARY}
    if not args.knobs:
        return own
    from dual_jax.estimators.selector import check_knobs

    return own | check_knobs(args.method, dict(args.knobs))


def _config(method: str, knobs: dict[str, Any]) -> "DualConfig":
    from dual_jax.dual.config import DualConfig

    # Only the picks are written, so the read-out need not order more than these.
    return DualConfig.paper(n_exact=1, **knobs) if method == "dual_paper" else DualConfig(n_exact=1, **knobs)


def _ordering_few(config: "DualConfig", n_rows: int) -> "DualConfig":
    """Return a configuration that orders all rows of a small pool exactly.

    That takes no longer than to order the picks alone, and its program is smaller and serves every budget.
    """
    from dual_jax.dual.ranking import FEW_ROWS

    if n_rows > FEW_ROWS:
        return config
    return dataclasses.replace(config, n_exact=max(config.n_exact, n_rows))
