"""What ``dual-jax select`` shows: the title of a selection, its map, and its page."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dual_jax.cli.picked import Picked
    from dual_jax.plots.maps import Placed
    from dual_jax.plots.page import Picture


def title(picked: "Picked") -> str:
    """Return what was picked from what, in a line."""
    pool, n_labeled = picked.source.pool, picked.source.is_labeled.sum()
    before = f", {n_labeled:,} labelled before" if n_labeled else ""
    return f"{Path(pool.source).name}: {len(picked.indices):,} of {len(pool.x):,} rows picked{before}"


def place_rows(args: argparse.Namespace, picked: "Picked") -> "Placed":
    """Return the rows that the map and the page draw, and where."""
    from dual_jax.plots.hover import MAX_ROWS, rows_drawn
    from dual_jax.plots.maps import MAX_SHOWN, place, sample

    how = args.map or "pca"
    n_rows = MAX_ROWS if how == "pca" and args.report is not None else MAX_SHOWN
    rows = rows_drawn(sample(len(picked.used), n_rows), picked.indices, picked.source.is_labeled)
    return place(picked.used, rows, how)


def pool_picture(args: argparse.Namespace, picked: "Picked", placed: "Placed") -> "Figure":
    """Return the pool as a map, coloured by a few clusters, with the picks in order."""
    import jax

    from dual_jax.numerics.kmeans import kmeans
    from dual_jax.plots.maps import CLUSTERS, pool_map

    rows, labeled = picked.used, picked.source.is_labeled
    n_clusters = min(len(CLUSTERS), max(1, len(rows) // 3))
    clusters = np.asarray(kmeans(jax.random.key(args.seed), rows, n_clusters).labels)
    return pool_map(
        rows, picked.indices, labeled=labeled, clusters=clusters, title=title(picked), placed=placed
    )


def report(
    args: argparse.Namespace,
    picked: "Picked",
    placed: "Placed",
    picture: "Figure",
    columns: list[tuple[str, Iterable[Any]]],
    receipt: str,
) -> str:
    """Return the selection as one page; ``placed`` are the rows of its map, ``picture`` is it drawn."""
    from dual_jax.cli.showing import cards_of, cloud_of, find_looks
    from dual_jax.plots.page import as_html

    rows = list(zip(*(values for _, values in columns), strict=True))
    looks = find_looks(args, picked.source)
    return as_html(
        title(picked),
        [f"Method {args.method}, seed {args.seed}, features scaled: {args.scale}.", *_of_rounds(picked)],
        list(_pictures(args, picked, picture)),
        [name for name, _ in columns],
        rows,
        receipt,
        picks=cards_of(picked, looks),
        cloud=cloud_of(picked, placed, looks),
    )


def _of_rounds(picked: "Picked") -> list[str]:
    """Return in a sentence how old and new labels share the pool; nothing in a first round."""
    is_labeled, why = picked.source.is_labeled, picked.why
    if not is_labeled.any() or why is None:
        return []
    share = float(np.mean(is_labeled[why.representative]))
    return [
        f"{is_labeled.sum():,} rows were labelled before (crosses on the map). They are nearest to "
        f"{share:.0%} of the pool, the new picks to {1 - share:.0%}."
    ]


def _pictures(args: argparse.Namespace, picked: "Picked", picture: "Figure") -> Iterator["Picture"]:
    """Give what there is to see of a selection."""
    from dual_jax.cli.showing import is_image
    from dual_jax.plots import diagnostics
    from dual_jax.plots.page import Picture

    pool, used = picked.source.pool, picked.used
    yield Picture(picture, "The pool, coloured by cluster, and the picks in their order.")
    shape = args.sample_shape or pool.sample_shape
    if is_image(shape):
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
