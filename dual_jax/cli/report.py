"""What ``dual-jax select`` shows: the title of a selection, its map, and its page."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dual_jax.cli.picked import Picked
    from dual_jax.plots.page import Picture

MIN_SIDE = 4  # pixels; what is narrower is a series in channels


def title(picked: "Picked") -> str:
    """Return what was picked from what, in a line."""
    pool, n_labeled = picked.source.pool, picked.source.is_labeled.sum()
    before = f", {n_labeled:,} labelled before" if n_labeled else ""
    return f"{Path(pool.source).name}: {len(picked.indices):,} of {len(pool.x):,} rows picked{before}"


def pool_picture(args: argparse.Namespace, picked: "Picked") -> "Figure":
    """Return the pool as a map, coloured by a few clusters, with the picks in order."""
    import jax

    from dual_jax.numerics.kmeans import kmeans
    from dual_jax.plots.maps import CLUSTERS, pool_map

    rows, labeled = picked.used, picked.source.is_labeled
    n_clusters = min(len(CLUSTERS), max(1, len(rows) // 3))
    clusters = np.asarray(kmeans(jax.random.key(args.seed), rows, n_clusters).labels)
    how = args.map or "pca"
    return pool_map(rows, picked.indices, labeled=labeled, clusters=clusters, how=how, title=title(picked))


def report(
    args: argparse.Namespace,
    picked: "Picked",
    picture: "Figure",
    columns: list[tuple[str, Iterable[Any]]],
    receipt: str,
) -> str:
    """Return the selection as one page; ``picture`` is its map."""
    from dual_jax.plots.page import as_html

    rows = list(zip(*(values for _, values in columns), strict=True))
    pictures = list(_pictures(args, picked, picture))
    summary = f"Method {args.method}, seed {args.seed}, features scaled: {args.scale}."
    return as_html(title(picked), summary, pictures, [name for name, _ in columns], rows, receipt)


def _pictures(args: argparse.Namespace, picked: "Picked", picture: "Figure") -> Iterator["Picture"]:
    """Give what there is to see of a selection."""
    from dual_jax.plots import diagnostics
    from dual_jax.plots.page import Picture

    pool, used = picked.source.pool, picked.used
    shape = args.sample_shape or pool.sample_shape
    yield Picture(picture, "The pool, coloured by cluster, and the picks in their order.")
    if len(shape) in (2, 3) and min(shape[:2]) >= MIN_SIDE and shape[2:] in ((), (3,), (4,)):
        sheet = diagnostics.contact_sheet(pool.x[picked.indices].reshape(-1, *shape))
        yield Picture(sheet, "The first picks, in their order.")
    before = np.flatnonzero(picked.source.is_labeled)
    order = np.concatenate([before, picked.indices])
    targets = {"rows of the pool": used, "centres of its clusters": _centers(used, args.seed)}
    curves = {name: diagnostics.covered(used, order, rows)[len(before) :] for name, rows in targets.items()}
    yield Picture(
        diagnostics.coverage_curve(curves),
        "What the first picks leave uncovered; 1 is the mean distance from the centre of the pool, which is "
        "no row. Where the curve is flat, more labels add little that is new.",
    )
    if picked.history:
        yield Picture(diagnostics.loss_curves(picked.history), "The terms of the objective during the fit.")
    if picked.norms:
        yield Picture(
            diagnostics.sorted_norms(picked.norms, len(picked.indices)),
            "How strongly each row of the dictionary rebuilds the pool (C) and its clusters (P).",
        )


def _centers(rows: np.ndarray, seed: int) -> np.ndarray:
    """Return the centres of about as many clusters as the network is trained with."""
    import jax

    from dual_jax.dual.config import DualConfig
    from dual_jax.numerics.kmeans import kmeans

    return np.asarray(kmeans(jax.random.key(seed), rows, DualConfig().clusters(len(rows))).centroids)
