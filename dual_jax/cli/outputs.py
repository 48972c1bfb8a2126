"""What ``dual-jax select`` writes: picks, receipt, map and page, and the summary that it prints."""

import argparse
import os
import time
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.cli import budgets, embeddings, exchange
from dual_jax.cli.options import check_writable
from dual_jax.cli.picked import Picked
from dual_jax.cli.report import place_rows, pool_picture, report, title
from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.data.storage import as_json, versions, write_atomically

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool

SHOWN_NAMES = 8  # columns named in the summary


def check(args: argparse.Namespace) -> None:
    """Refuse outputs that cannot be written, or that would replace an input."""
    exchange.check(args)
    outputs = [*args.out, exchange.receipt_path(args.out)]
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
    if args.features is not None:
        if args.features.suffix.lower() != ".npz":
            raise InputError(f"--features {args.features} must end in .npz")
        outputs.append(args.features)
    for path in outputs:
        check_writable(path)
        for given in filter(None, (args.pool, *args.labeled, *args.forbid, args.embedding)):
            if path.exists() and os.path.exists(given) and path.samefile(given):
                raise InputError(f"{path} would replace the input of that name: choose another --out")
        _check_replaced(path, args)


def _check_replaced(path: Path, args: argparse.Namespace) -> None:
    """Refuse to replace a file that is neither picks, receipt, picture nor page of an earlier run."""
    from dual_jax.data.exports import is_ours
    from dual_jax.data.receipt import is_receipt

    if not path.is_file() or not path.stat().st_size:
        return
    receipt = exchange.receipt_path(args.out)
    if path == receipt:
        is_known = is_receipt(path)
    elif path == args.features:
        is_known = _are_features(path)
    else:
        is_known = is_ours(path, receipt) if path in args.out else _is_picture_or_page(path)
    if not is_known:
        raise InputError(
            f"{path} is there and was not written by dual-jax: move it, or give another name with --out, "
            "--plot, --report or --features"
        )


def _are_features(path: Path) -> bool:
    """Return whether a file is of features that were learnt; new ones may replace it."""
    from dual_jax.views.keeping import load

    try:
        load(path)
    except InputError:
        return False
    return True


def _is_picture_or_page(path: Path) -> bool:
    """Return whether a file is a picture or a page as its suffix says; a new one may replace it."""
    begins = {
        ".png": b"\x89PNG",
        ".pdf": b"%PDF",
        ".svg": b"<?xml",
        ".html": b"<!doctype",
        ".htm": b"<!doctype",
    }
    with open(path, "rb") as file:
        return file.read(16).lower().startswith(begins.get(path.suffix.lower(), b"").lower())


def write(
    args: argparse.Namespace, picked: Picked, about: dict[str, str], times: dict[str, float], clock: float
) -> None:
    """Write picks, receipt, map and page, in this order, and print the summary.

    ``about`` opens the receipt; ``times`` are the seconds of each phase so far, and ``clock`` is the time at
    which the command began.
    """
    begun = time.perf_counter()
    picks = exchange.gather(args, picked, dict(_columns(picked, args.explain)))
    sums = exchange.write_tables(args, picks)
    now = time.perf_counter()
    times = times | {"write": now - begun, "total": now - clock}
    receipt = as_json(about | {"batch": picks.batch} | _receipt(args, picked, sums, times))
    write_atomically(exchange.receipt_path(args.out), receipt)
    exchange.write_tasks(args, picked, picks, receipt)
    if args.features is not None and (embedding := picked.source.embedding) is not None:
        embeddings.write_features(args.features, embedding, picked.source.pool)
    if args.plot is not None or args.report is not None:
        _draw(args, picked, receipt)
    if not args.quiet:
        print(_summary(args, picked, times))


def _draw(args: argparse.Namespace, picked: Picked, receipt: str) -> None:
    """Draw the map once, for its own file and for the page."""
    from dual_jax.plots import maps

    placed = place_rows(args, picked)
    picture = pool_picture(args, picked, placed)
    if args.plot is not None:
        maps.write(picture, args.plot)
    if args.report is not None:
        page = report(args, picked, placed, picture, _columns(picked, True), receipt)
        write_atomically(args.report, page)


def _columns(picked: Picked, with_why: bool) -> list[tuple[str, Any]]:
    """Return the columns of a file of picks; numbers in the fewest digits that give the same float32."""
    ids = picked.source.pool.ids
    name = (lambda index: index) if ids is None else ids.__getitem__
    columns: list[tuple[str, Any]] = [
        ("rank", range(1, len(picked.indices) + 1)),
        ("index", picked.indices),
        ("id", [*map(name, picked.indices)]),
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


def _receipt(
    args: argparse.Namespace, picked: Picked, sums: dict[str, str | None], times: dict[str, float]
) -> dict[str, Any]:
    """Return how the picks were made."""
    from dual_jax.data import receipt

    last = [stage for stage in picked.history.values() if stage]
    return {
        "arguments": {name: value for name, value in vars(args).items() if name != "run"},
        "method": args.method,
        "is_nested": picked.is_nested,
        "knobs": picked.knobs,
        "seed": args.seed,
        "limits": budgets.as_receipt(args, picked),
        "configuration": picked.settings,
        "input": _input(args, picked),
        "picks": {
            "file": args.out[0].name,
            "sha256": sums[args.out[0].name],
            "n": len(picked.indices),
            "files": sums,
        },
        "steps": {stage: len(next(iter(terms.values()), ())) for stage, terms in picked.history.items()},
        "final_terms": {name: terms[-1] for name, terms in last[-1].items()} if last else {},
        "devices": receipt.devices(),
        "peak_memory": receipt.peak_memory(),
        "seconds": {phase: round(value, 3) for phase, value in times.items()},
        "versions": versions(),
    }


def _input(args: argparse.Namespace, picked: Picked) -> dict[str, Any]:
    """Return what was read, and how it was made into rows of numbers."""
    source = picked.source
    pool = source.pool
    return {
        "source": pool.source,
        "sha256": pool.sha256,
        "shape": pool.x.shape,
        "dropped": pool.dropped,
        "columns": source.columns,
        "note": pool.note,
        "guesses": pool.guesses,
        "skipped": pool.skipped,
        "id_column": pool.id_name,
        "imputed_cells": source.n_imputed,
        "scaling": args.scale,
        "embedding": source.embedding.about if source.embedding else None,
        "n_labeled": int(source.is_labeled.sum()),
        "n_skipped": int(source.labels.is_skipped.sum()),
        "n_forbidden": int(source.is_forbidden.sum()),
        "labels": [count._asdict() for count in source.labels.counts],
    }


def _summary(args: argparse.Namespace, picked: Picked, times: dict[str, float]) -> str:
    """Return the closing lines: what was picked, from what, how long it took."""
    source = picked.source
    lines = [
        title(picked),
        *_used(args, picked),
        *embeddings.summary(source.embedding),
        *taken(source.pool, source.columns),
        *([f"filled: {source.n_imputed:,} cells by the column's median"] if args.impute else []),
        *budgets.summary(args, picked),
        *exchange.summary(args, picked),
        f"picks: {', '.join(map(str, args.out))}   receipt: {exchange.receipt_path(args.out)}"
        + (f"   map: {args.plot}" if args.plot else "")
        + (f"   report: {args.report}" if args.report else "")
        + (f"   features: {args.features}" if args.features else ""),
        f"time: {times['total']:.1f} s, of which {times['compile']:.1f} s to compile",
    ]
    return "\n".join(lines)


def _used(args: argparse.Namespace, picked: Picked) -> list[str]:
    """Return the features that were picked in."""
    pool, embedding = picked.source.pool, picked.source.embedding
    names = f" ({_listed(pool.feature_names)})" if pool.feature_names else ""
    embedded = f"{embedding.table.shape[1]:,} features ({args.embedding})" if embedding else ""
    if args.embedding_alone:
        n, m = len(pool.x), picked.settings.get("n_places", len(pool.x))
        few = f", with C of {m:,} of {n:,} rows (--knob dictionary_size={n} for all)" if m < n else ""
        return [f"used: {embedded} alone{few}"]
    inputs = f"used: {pool.x.shape[1]:,} features{names}"
    return [inputs, *([f"beside them: {embedded}"] if embedded else [])]


def taken(pool: "Pool", columns: Mapping[str, str]) -> list[str]:
    """Return lines on what was guessed of a pool, what its columns were taken for, and what was left out."""
    return [
        *(f"taken as: {guess}" for guess in pool.guesses),
        *(f"column {name}: {what}" for name, what in columns.items()),
        *(f"left out: {name} ({reason})" for name, reason in pool.dropped.items() if name not in columns),
        *_skipped(pool.skipped),
    ]


def _skipped(skipped: Mapping[str, str]) -> list[str]:
    """Return a line for each of the first files that could not be read, after one with their number."""
    if not skipped:
        return []
    shown = [f"  {name or 'an empty cell'}: {reason}" for name, reason in [*skipped.items()][:SHOWN_NAMES]]
    rest = ["  ... (the receipt names all)"] if len(skipped) > SHOWN_NAMES else []
    return [f"skipped: {len(skipped):,} of the files cannot be read", *shown, *rest]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
