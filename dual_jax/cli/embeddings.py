"""The pool's embedding: a table with a row for each of its rows, read, computed from them or learnt."""

import argparse
import hashlib
import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dual_jax.data.errors import InputError

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool
    from dual_jax.estimators.prepared import Deferred

VIEWS, SPECTRAL = "views", "spectral"
UNSTABLE = 0.25  # agreement of two seeds below which the code is not to be trusted
FEWEST = 200  # samples from which that agreement says anything


class Embedding(NamedTuple):
    """An embedding of the pool, and where it comes from, for the receipt.

    One that is learnt adds to ``about`` how that went, and puts the encoder and what it knows of the rows
    into ``learnt``.
    """

    table: "np.ndarray | Deferred"
    about: dict[str, Any]
    learnt: dict[str, Any] = {}  # noqa: RUF012


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = (
        "a table with a row for each of the pool's, concatenated with it; or an embedder of its text or "
        "pictures, such as module:function, model2vec:DIR or jimm:DIR; or "
        f"{VIEWS!r}, learnt from images or series, which is picked in alone; or {SPECTRAL!r}, log power in "
        "frequency bands of series"
    )
    parser.add_argument("--embedding", metavar=f"FILE|{VIEWS}|{SPECTRAL}|EMBEDDER", help=text)
    text = "pick in the embedding alone: where the rows of the pool tell a learner nothing, as raw series do"
    parser.add_argument("--embedding-alone", action="store_true", help=text)
    text = f"pick in the pool's rows too, with --embedding {VIEWS}"
    parser.add_argument("--with-inputs", action="store_true", help=text)
    add_of_views(parser)


def add_of_views(parser: argparse.ArgumentParser) -> None:
    """Add the options of a code that is learnt."""
    text = f"mirror images show the same, for --embedding {VIEWS}: true of photographs, false of digits"
    parser.add_argument("--flip", action="store_true", help=text)
    text = f"move the object to the middle first, for --embedding {VIEWS}: for one object on a plain ground"
    parser.add_argument("--centre", action="store_true", help=text)
    text = "what a row is: HEIGHTxWIDTH[xCOLOURS] of an image, or [CHANNELSx]LENGTH of a series"
    parser.add_argument("--sample-shape", type=_shape, metavar="SHAPE", help=text)


def add_features(parser: argparse.ArgumentParser) -> None:
    """Add the option of a file of what was learnt."""
    text = (
        f"write what --embedding {VIEWS} knows of each row (.npz): code, closed-form code and fixed "
        "features, and the encoder for new rows"
    )
    parser.add_argument("--features", type=Path, metavar="FILE", help=text)


def _shape(text: str) -> tuple[int, ...]:
    """Return a shape; argparse turns the error into its own."""
    sizes = text.split("x")
    if len(sizes) > 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 28x28, 32x32x3 or 2x500")
    return tuple(map(int, sizes))


def prepare(args: argparse.Namespace, pool: "Pool") -> Embedding | None:
    """Return the embedding that is asked for, or None, after checking the request for it.

    A pool of pictures or recordings is picked in the learnt code, or in the embedding that is given, alone.
    """
    if pool.media and args.embedding is None:
        args.embedding = VIEWS
    _check_flags(args)
    if args.embedding is None:
        return None
    from dual_jax.views.embedders import is_embedder

    if args.embedding == VIEWS:
        args.embedding_alone = not args.with_inputs
        embedding = _views(args, pool)
    elif args.embedding == SPECTRAL:
        embedding = _spectral(pool.x, _n_channels(args, pool))
    elif is_embedder(args.embedding):
        args.embedding_alone = args.embedding_alone or bool(pool.media)
        embedding = _by_embedder(args, pool)
    else:
        args.embedding_alone = args.embedding_alone or bool(pool.media)
        embedding = _from_file(args.embedding, pool)
    if args.embedding_alone and embedding.table.shape[1] < 2:
        raise InputError("--embedding-alone needs two columns or more to pick in, and this has one")
    return embedding


def _by_embedder(args: argparse.Namespace, pool: "Pool") -> Embedding:
    """Return what an embedder gives for the pool's texts or pictures."""
    values, what = embed_cells(args, args.embedding, pool)
    return Embedding(values, _computed(args.embedding, values, column=what))


def embed_cells(args: argparse.Namespace, name: str, pool: "Pool") -> tuple[np.ndarray, str]:
    """Return what an embedder gives for the pool's texts or pictures, and where these are from.

    A picture of a table that cannot be read has the mean of the others.
    """
    from dual_jax.cli.columns import features_of, folder_of
    from dual_jax.views.embedders import embed, find_embedder
    from dual_jax.views.files import embed_files, read_column_files

    cells, column, are_files = cells_to_embed(args, name, pool)
    if not are_files:
        return embed(find_embedder(name), cells, "rows"), column
    folder, unread = folder_of(pool), pool.unread
    if unread is None:
        unread = ~read_column_files(features_of(args, pool)[0], column, "image", folder).is_read
    return embed_files(find_embedder(name), folder, cells, ~unread), column


def cells_to_embed(args: argparse.Namespace, name: str, pool: "Pool") -> tuple[list[Any], str, bool]:
    """Return the texts, or the pictures, that an embedder reads, where they are from, and which they are.

    The pictures of a table are paths below its folder, or the files themselves; they may be unreadable.

    Raises
    ------
    InputError
        When the pool has neither.
    """
    from dual_jax.cli.columns import column_to_embed, features_of, folder_of
    from dual_jax.views.columns import sort
    from dual_jax.views.files import files_of
    from dual_jax.views.text import texts

    if pool.media and pool.ids is not None:
        folder = pool.source if os.path.isdir(pool.source) else folder_of(pool)
        return [os.path.join(folder, path) for path in pool.ids], "the files", False
    if pool.table is not None:
        table, kinds = features_of(args, pool)
        columns = sort(table, kinds, folder_of(pool))
        if (column := column_to_embed(name, table, columns)) is not None:
            is_picture = {c.name: c.kind for c in columns}[column] == "image"
            cells = files_of(table, column) if is_picture else texts(table[column])
            return cells, column, is_picture
    raise InputError(
        f"{name} embeds texts or pictures, and {pool.source} has no column of text: say which it is by "
        "--as NAME=text"
    )


def _from_file(path: str, pool: "Pool") -> Embedding:
    from dual_jax.data.checks import check_embedding
    from dual_jax.data.tables import read_embedding

    table = read_embedding(path, pool)
    try:
        values = np.asarray(check_embedding(table.x, len(pool.x)))
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    return Embedding(values, {"source": table.source, "sha256": table.sha256, "shape": values.shape})


def _check_flags(args: argparse.Namespace) -> None:
    """Refuse options that say something of an embedding which is not asked for."""
    of_any, of_views = ("sample_shape", "embedding_alone"), ("with_inputs", "flip", "centre", "features")
    wrong = [name for name in of_any if getattr(args, name) and args.embedding is None]
    wrong += [name for name in of_views if getattr(args, name) and args.embedding != VIEWS]
    if wrong:
        wanted = f"--embedding {VIEWS}" if wrong[0] in of_views else "an --embedding"
        raise InputError(f"--{wrong[0].replace('_', '-')} says something of {wanted}: give one")
    if args.embedding == VIEWS and args.with_inputs and args.embedding_alone:
        raise InputError("--with-inputs and --embedding-alone exclude each other: give one of them")


def _views(args: argparse.Namespace, pool: "Pool") -> Embedding:
    from dual_jax.estimators.prepared import Deferred
    from dual_jax.views.encoder import code_width

    kind, shape = _kind(args, pool)
    about: dict[str, Any] = {}
    learnt: dict[str, Any] = {}
    samples = pool.x.reshape(len(pool.x), *shape)
    is_read = np.ones(len(samples), bool) if pool.unread is None else ~pool.unread
    if is_read.sum() < 2:
        raise InputError(f"{pool.source} has {is_read.sum()} sample to learn from: give two or more")
    learn = partial(_learn, samples, is_read, kind, args, about, learnt)
    return Embedding(Deferred(learn, (len(samples), code_width(int(is_read.sum())))), about, learnt)


def _learn(
    samples: np.ndarray,
    is_read: np.ndarray,
    kind: str,
    args: argparse.Namespace,
    about: dict[str, Any],
    learnt: dict[str, Any],
) -> np.ndarray:
    """Return the codes that are learnt from images or series.

    ``about`` gets how that went, and ``learnt`` the encoder and what it knows of each row.
    """
    import jax
    import jax.numpy as jnp

    from dual_jax.estimators import progress
    from dual_jax.views import encoder, keeping

    known = samples if is_read.all() else samples[is_read]
    how = {"kind": kind, "flip": args.flip, "centre": args.centre}
    key, key_stability = (jax.random.fold_in(jax.random.key(args.seed), place) for place in (1, 2))
    with progress.callback(int(not args.quiet)) as report:
        found = encoder.learn(key, known, callbacks=[report] if report else [], **how)
    features = encoder.features(found, samples)
    values = np.asarray(features.code)
    values = np.where(is_read[:, None], values, values[is_read].mean(axis=0))
    learnt |= {"encoder": found, "features": features._replace(code=jnp.asarray(values))}
    stability = None
    if len(known) >= FEWEST:
        stability = keeping.stability(key_stability, known, n_compared=keeping.N_QUICK, **how)
    about |= _computed(VIEWS, values, n_steps=len(found.losses), stability=stability, **how)
    return values


def summary(embedding: Embedding | None) -> Iterator[str]:
    """Give a line on how far a learnt code can be trusted, and a warning where that is not far."""
    stability = embedding.about.get("stability") if embedding else None
    if stability is None:
        return
    yield f"code: two seeds agree by {stability:.2f} (1: the same clusters, 0: chance)"
    if stability < UNSTABLE:
        yield (
            f"warning: below {UNSTABLE} what is learnt depends on the seed: the changes in views may not "
            "suit these samples, see --flip and --centre. Of photographs an embedding by a pretrained "
            "network is the better space: give one with --embedding FILE"
        )


def write_features(path: Path, embedding: Embedding, pool: "Pool") -> None:
    """Write what was learnt of each row of a pool, with its id, and the encoder."""
    from dual_jax.data.owncolumns import list_ids
    from dual_jax.views import keeping

    learnt = embedding.learnt
    keeping.save(learnt["encoder"], path, rows=learnt["features"], ids=list_ids(pool))


def _kind(args: argparse.Namespace, pool: "Pool") -> tuple[str, tuple[int, ...]]:
    """Return whether rows are images or series, and their shape."""
    from dual_jax.views.preparation import kind_of_shape

    if pool.media:
        if args.sample_shape:
            raise InputError("--sample-shape is for rows of numbers; pictures and recordings have their own")
        return pool.media, pool.sample_shape
    shape = args.sample_shape or pool.sample_shape
    if not shape:
        raise InputError(
            f"--embedding {VIEWS} is for images and series, and the shape of a row is not known: give "
            "--sample-shape HEIGHTxWIDTH[xCOLOURS] or [CHANNELSx]LENGTH"
        )
    _check_size(shape, pool)
    return kind_of_shape(shape), shape


def _spectral(x: np.ndarray, n_channels: int) -> Embedding:
    from dual_jax.views.spectra import log_spectra

    values = log_spectra(x, n_channels=n_channels)
    return Embedding(values, _computed(SPECTRAL, values, n_channels=n_channels))


def _computed(source: str, values: np.ndarray, **about: Any) -> dict[str, Any]:
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return {"source": source, "sha256": digest, "shape": values.shape, **about}


def _n_channels(args: argparse.Namespace, pool: "Pool") -> int:
    """Return in how many channels a row comes; a row of unknown shape is one series."""
    shape = args.sample_shape or pool.sample_shape or pool.x.shape[1:]
    if len(shape) > 2 or pool.media == "images":
        raise InputError(
            f"--embedding {SPECTRAL} is for series, not for rows of shape {shape}: give --sample-shape "
            "CHANNELSxLENGTH"
        )
    _check_size(shape, pool)
    return shape[0] if len(shape) == 2 else 1


def _check_size(shape: tuple[int, ...], pool: "Pool") -> None:
    if math.prod(shape) != pool.x.shape[1]:
        text = "x".join(map(str, shape))
        raise InputError(
            f"--sample-shape {text} is {math.prod(shape):,} numbers, but a row of {pool.source} has "
            f"{pool.x.shape[1]:,}"
        )
