"""The command line: ``dual-jax select`` and ``dual-jax data list``.

A command first finds every mistake of its caller and then returns the work that is left, so that no mistake
costs a training run. What is heavy to import is imported by the command that needs it.
"""

import argparse
import csv
import io
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from dual_jax import __version__
from dual_jax.store import sha256_of, write_atomically

if TYPE_CHECKING:
    from dual_jax.config import DualConfig
    from dual_jax.data.tables import Pool

METHODS = ("dual", "dual_paper")
SCALINGS = ("standard", "global", "l2", "none")
NO_CACHE = "DUAL_JAX_NO_COMPILE_CACHE"
MISTAKES = (ValueError, TypeError, ImportError, OSError)  # before the work; during it they are failures
OK, FAILURE, MISTAKE, INTERRUPTED = 0, 1, 2, 130
SHOWN_NAMES = 8  # columns named in the summary

Work = Callable[[], None]


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


class Parser(argparse.ArgumentParser):
    """argparse, with one line for a mistake."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and leave with status 2."""
        self.exit(MISTAKE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 for a failure, 2 for a mistake, 130 for Ctrl-C.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``dual-jax``; those of this process by default.

    Examples
    --------
    >>> main(["select", "iris", "-n", "0"])
    2
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        args = _parser().parse_args(words)
    except SystemExit as stop:
        return int(stop.code or OK)
    mistakes: tuple[type[Exception], ...] = MISTAKES
    try:
        work = args.prepare(args, shlex.join(["dual-jax", *words]))
        mistakes = ()
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("dual-jax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        status = MISTAKE if isinstance(error, mistakes) else FAILURE
        _complain(error, status, args.traceback)
        return status
    return OK


def _complain(error: Exception, status: int, with_traceback: bool) -> None:
    """Say in one line on standard error what went wrong, below the traceback if that is asked for."""
    if with_traceback:
        traceback.print_exception(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if status == MISTAKE:
        text = " ".join(lines)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        text = f"out of memory: use a smaller pool or a device with more memory ({lines[0]})"
    else:
        text = f"{lines[0]} ({type(error).__name__}; --traceback shows where)"
    print(f"dual-jax: error: {text}", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser("dual-jax", description="Say which samples of an unlabelled pool to label.")
    parser.add_argument("--version", action="version", version=f"dual-jax {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_select(commands.add_parser("select", help="pick rows of a pool", description=_SELECT))
    data = commands.add_parser("data", help="built-in data sets").add_subparsers(
        metavar="COMMAND", required=True
    )
    _add_data_list(data.add_parser("list", help="show them, and which have their files here"))
    return parser


_SELECT = "Pick the rows to label; write them, best first, and beside them a receipt (.json) of how."


def _add_select(parser: argparse.ArgumentParser) -> None:
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
    add("--seed", type=_seed, default=0, help="the same seed gives the same picks; default: %(default)s")
    _add_data_dir(parser)
    add("--quiet", action="store_true", help="no summary and no progress")
    add("--no-compile-cache", action="store_true", help=f"compile anew, as with ${NO_CACHE}=1")
    parser.set_defaults(prepare=_prepare_select)


def _add_data_list(parser: argparse.ArgumentParser) -> None:
    _add_data_dir(parser)
    parser.set_defaults(prepare=_prepare_data_list)


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="files of built-in sets")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")


def _seed(text: str) -> int:
    """Return a seed; argparse turns the error into its own."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no integer from 0 to 2^32 - 1")
    return int(text)


def _prepare_select(args: argparse.Namespace, command: str) -> Work:
    """Return the selection that is asked for, ready to run, after finding all mistakes in it."""
    started, clock = datetime.now(UTC), time.perf_counter()
    _check_outputs(args)
    from dual_jax.data.checks import check_n_select, check_pool
    from dual_jax.data.tables import read_labeled, read_pool

    if not args.no_compile_cache and not os.environ.get(NO_CACHE):
        _keep_compiled_programs()
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
        _check_writable(path)
        for given in filter(None, (args.pool, args.labeled)):
            if path.exists() and os.path.exists(given) and path.samefile(given):
                raise ValueError(f"{path} would replace the input of that name: choose another --out")


def _check_writable(path: Path) -> None:
    target = path.resolve()
    if target.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK) or (
        target.exists() and not os.access(target, os.W_OK)
    ):
        raise ValueError(f"cannot write {path}: permission denied; choose another folder or name")


def _receipt_path(out: Path) -> Path:
    return out.with_suffix(".json")


def _keep_compiled_programs() -> None:
    """Let JAX keep compiled programs in the user's cache folder, unless the user has chosen one or none fits.

    Whoever can write there can run code as the user, so the folder is for the user alone.
    """
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dual_jax" / "xla"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


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


def _prepare_data_list(args: argparse.Namespace, command: str) -> Work:
    """Return the listing of built-in data sets, after looking whether its folder exists."""
    if args.data_dir is not None and not args.data_dir.is_dir():
        raise ValueError(f"--data-dir {args.data_dir} is no folder: give the one that holds the data sets")
    return partial(_list_data, args.data_dir)


def _list_data(data_dir: Path | None) -> None:
    """Print each built-in data set with its size, and whether it can be loaded here."""
    from dual_jax.data import datasets

    print(f"{'name':<15} {'rows':>7} {'features':>8} {'classes':>7}  files")
    for name in datasets.names():
        source = datasets.SOURCES[name]
        rows, features = source.shape
        print(
            f"{name:<15} {rows:>7,} {features:>8,} {len(source.class_sizes):>7}  {_at_hand(name, data_dir)}"
        )


def _at_hand(name: str, data_dir: Path | None) -> str:
    """Return "ready", or what is missing or broken."""
    from dual_jax.data import datasets

    try:
        datasets.load(name, data_dir)
    except ValueError as error:
        return str(error).split(":")[0]
    return "ready"
