"""What ``dual-jax select`` shows: the title of a selection, the pool as its method saw it, the page."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dual_jax.cli.picked import Picked, Task
    from dual_jax.plots.page import Picture

MIN_SIDE = 4  # pixels; what is narrower is a series in channels


def title(task: "Task") -> str:
    """Return what was picked from what, in a line."""
    n_labeled = task.is_labeled.sum()
    before = f", {n_labeled:,} labelled before" if n_labeled else ""
    return f"{Path(task.pool.source).name}: {task.n_select:,} of {len(task.x):,} rows picked{before}"


def seen(scale: str, x: np.ndarray, embedding: np.ndarray | None) -> np.ndarray:
    """Return the pool as the method saw it."""
    from dual_jax.numerics.scaling import apply, beside, fit_scaler

    scaled = np.asarray(apply(fit_scaler(x, scale), x))
    return scaled if embedding is None else np.asarray(beside(scaled, embedding))


def pool_picture(args: argparse.Namespace, task: "Task", shown: np.ndarray, picks: np.ndarray) -> "Figure":
    """Return the pool as a map, coloured by a few clusters, with the picks in order."""
    import jax

    from dual_jax.numerics.kmeans import kmeans
    from dual_jax.plots.maps import CLUSTERS, pool_map

    n_clusters = min(len(CLUSTERS), max(1, len(shown) // 3))
    clusters = np.asarray(kmeans(jax.random.key(args.seed), shown, n_clusters).labels)
    return pool_map(
        shown, picks, labeled=task.is_labeled, clusters=clusters, how=args.map or "pca", title=title(task)
    )


def report(
    args: argparse.Namespace,
    task: "Task",
    shown: np.ndarray,
    picked: "Picked",
    columns: list[tuple[str, Iterable[Any]]],
    receipt: str,
) -> str:
    """Return the selection as one page."""
    from dual_jax.plots.page import as_html

    rows = list(zip(*(values for _, values in columns), strict=True))
    pictures = list(_pictures(args, task, shown, picked))
    summary = f"Method {args.method}, seed {args.seed}, features scaled: {args.scale}."
    return as_html(title(task), summary, pictures, [name for name, _ in columns], rows, receipt)


def _pictures(
    args: argparse.Namespace, task: "Task", shown: np.ndarray, picked: "Picked"
) -> Iterator["Picture"]:
    """Give what there is to see of a selection."""
    from dual_jax.plots import diagnostics
    from dual_jax.plots.page import Picture

    shape = args.sample_shape or task.pool.sample_shape
    picture = pool_picture(args, task, shown, picked.indices)
    yield Picture(picture, "The pool, coloured by cluster, and the picks in their order.")
    if len(shape) in (2, 3) and min(shape[:2]) >= MIN_SIDE and shape[2:] in ((), (3,), (4,)):
        sheet = diagnostics.contact_sheet(task.x[picked.indices].reshape(-1, *shape))
        yield Picture(sheet, "The first picks, in their order.")
    before = np.flatnonzero(task.is_labeled)
    order = np.concatenate([before, picked.indices])
    targets = {"rows of the pool": shown, "centres of its clusters": _centers(shown, args.seed)}
    curves = {name: diagnostics.covered(shown, order, rows)[len(before) :] for name, rows in targets.items()}
    yield Picture(
        diagnostics.coverage_curve(curves),
        "What the first picks leave uncovered; 1 is the mean distance from the centre of the pool, which is "
        "no row. Where the curve is flat, more labels add little that is new.",
    )
    if picked.history:
        yield Picture(diagnostics.loss_curves(picked.history), "The terms of the objective during the fit.")
    if picked.norms:
        yield Picture(
            diagnostics.sorted_norms(picked.norms, task.n_select),
            "How strongly each row of the dictionary rebuilds the pool (C) and its clusters (P).",
        )


def _centers(shown: np.ndarray, seed: int) -> np.ndarray:
    """Return the centres of about as many clusters as the network is trained with."""
    import jax

    from dual_jax.dual.config import DualConfig
    from dual_jax.numerics.kmeans import kmeans

    return np.asarray(kmeans(jax.random.key(seed), shown, DualConfig().clusters(len(shown))).centroids)
