"""The pool's embedding: a table with a row for each of its rows, read, computed from them or learnt."""

import argparse
import hashlib
import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dual_jax.data.errors import InputError

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool
    from dual_jax.estimators.prepared import Deferred

CONTRASTIVE, SPECTRAL = "contrastive", "spectral"


class Embedding(NamedTuple):
    """An embedding of the pool, and where it comes from, for the receipt; a learnt one adds to that."""

    table: "np.ndarray | Deferred"
    about: dict[str, Any]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = (
        "used beside the pool, so that picks depend on both: a table with a row for each of its rows, or "
        f"{CONTRASTIVE!r}, learnt from images, or {SPECTRAL!r}, log power in frequency bands of series"
    )
    parser.add_argument("--embedding", metavar=f"FILE|{CONTRASTIVE}|{SPECTRAL}", help=text)
    text = "pick in the embedding alone: where the rows of the pool tell a learner nothing, as raw series do"
    parser.add_argument("--embedding-alone", action="store_true", help=text)
    text = "what a row is: HEIGHTxWIDTH[xCOLOURS] of an image, or [CHANNELSx]LENGTH of a series"
    parser.add_argument("--sample-shape", type=_shape, metavar="SHAPE", help=text)


def _shape(text: str) -> tuple[int, ...]:
    """Return a shape; argparse turns the error into its own."""
    sizes = text.split("x")
    if len(sizes) > 3 or not all(size.isdecimal() and int(size) for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 28x28, 32x32x3 or 2x500")
    return tuple(map(int, sizes))


def prepare(args: argparse.Namespace, pool: "Pool") -> Embedding | None:
    """Return the embedding that is asked for, or None, after checking the request for it."""
    if args.embedding is None:
        for flag in ("sample_shape", "embedding_alone"):
            if getattr(args, flag):
                raise InputError(f"--{flag.replace('_', '-')} says something of an --embedding: give one")
        return None
    if args.embedding == CONTRASTIVE:
        embedding = _contrastive(pool.x, _image_shape(args, pool), args.seed, int(not args.quiet))
    elif args.embedding == SPECTRAL:
        embedding = _spectral(pool.x, _n_channels(args, pool))
    else:
        embedding = _from_file(args.embedding, pool)
    if args.embedding_alone and embedding.table.shape[1] < 2:
        raise InputError("--embedding-alone needs two columns or more to pick in, and this has one")
    return embedding


def _from_file(path: str, pool: "Pool") -> Embedding:
    from dual_jax.data.checks import check_embedding
    from dual_jax.data.tables import read_embedding

    table = read_embedding(path, pool)
    try:
        values = np.asarray(check_embedding(table.x, len(pool.x)))
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error
    return Embedding(values, {"source": table.source, "sha256": table.sha256, "shape": values.shape})


def _contrastive(x: np.ndarray, image_shape: tuple[int, ...], seed: int, verbose: int) -> Embedding:
    from dual_jax.estimators.prepared import Deferred
    from dual_jax.views.contrastive import LATENT_DIM

    about: dict[str, Any] = {}
    learn = partial(_learn, x.reshape(len(x), *image_shape), seed, verbose, about)
    return Embedding(Deferred(learn, (len(x), LATENT_DIM)), about)


def _learn(images: np.ndarray, seed: int, verbose: int, about: dict[str, Any]) -> np.ndarray:
    """Return the embedding that is learnt from images, and put into ``about`` how that went."""
    import jax

    from dual_jax.estimators import progress
    from dual_jax.views import contrastive

    with progress.callback(verbose) as report:
        callbacks = [report] if report else []
        key = jax.random.fold_in(jax.random.key(seed), 1)  # the fit has the seed's own
        embedder = contrastive.learn(key, images, callbacks=callbacks)
    values = np.asarray(contrastive.embed(embedder, images))
    about |= _computed(CONTRASTIVE, values, n_steps=len(embedder.losses), loss=embedder.losses[-1])
    return values


def _spectral(x: np.ndarray, n_channels: int) -> Embedding:
    from dual_jax.views.spectra import log_spectra

    values = log_spectra(x, n_channels=n_channels)
    return Embedding(values, _computed(SPECTRAL, values, n_channels=n_channels))


def _computed(source: str, values: np.ndarray, **about: Any) -> dict[str, Any]:
    digest = hashlib.sha256(values.tobytes()).hexdigest()
    return {"source": source, "sha256": digest, "shape": values.shape, **about}


def _image_shape(args: argparse.Namespace, pool: "Pool") -> tuple[int, ...]:
    """Return height and width of the pool's images, and colours where they have any."""
    shape = args.sample_shape or pool.sample_shape
    if len(shape) not in (2, 3):
        seen = f"rows of shape {shape} are none" if shape else "their shape is not known"
        raise InputError(
            f"--embedding {CONTRASTIVE} is for images, and {seen}: give --sample-shape HEIGHTxWIDTH[xCOLOURS]"
        )
    _check_size(shape, pool)
    return shape


def _n_channels(args: argparse.Namespace, pool: "Pool") -> int:
    """Return in how many channels a row comes; a row of unknown shape is one series."""
    shape = args.sample_shape or pool.sample_shape or pool.x.shape[1:]
    if len(shape) > 2:
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
