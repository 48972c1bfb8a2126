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

VIEWS, SPECTRAL = "views", "spectral"
MIN_SIDE = 8  # of images; a narrower array is a series in channels


class Embedding(NamedTuple):
    """An embedding of the pool, and where it comes from, for the receipt; a learnt one adds to that."""

    table: "np.ndarray | Deferred"
    about: dict[str, Any]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    text = (
        "a table with a row for each of the pool's, concatenated with it; or "
        f"{VIEWS!r}, learnt from images or series, which is picked in alone; or {SPECTRAL!r}, log power in "
        "frequency bands of series"
    )
    parser.add_argument("--embedding", metavar=f"FILE|{VIEWS}|{SPECTRAL}", help=text)
    text = "pick in the embedding alone: where the rows of the pool tell a learner nothing, as raw series do"
    parser.add_argument("--embedding-alone", action="store_true", help=text)
    text = f"pick in the pool's rows too, with --embedding {VIEWS}"
    parser.add_argument("--with-inputs", action="store_true", help=text)
    text = f"mirror images show the same, for --embedding {VIEWS}: true of photographs, false of digits"
    parser.add_argument("--flip", action="store_true", help=text)
    text = f"move the object to the middle first, for --embedding {VIEWS}: for one object on a plain ground"
    parser.add_argument("--centre", action="store_true", help=text)
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
    _check_flags(args)
    if args.embedding is None:
        return None
    if args.embedding == VIEWS:
        args.embedding_alone = not args.with_inputs
        embedding = _views(args, pool)
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


def _check_flags(args: argparse.Namespace) -> None:
    """Refuse options that say something of an embedding which is not asked for."""
    of_any, of_views = ("sample_shape", "embedding_alone"), ("with_inputs", "flip", "centre")
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
    samples = pool.x.reshape(len(pool.x), *shape)
    learn = partial(_learn, samples, kind, args, about)
    return Embedding(Deferred(learn, (len(samples), code_width(len(samples)))), about)


def _learn(samples: np.ndarray, kind: str, args: argparse.Namespace, about: dict[str, Any]) -> np.ndarray:
    """Return the codes that are learnt from images or series, and put into ``about`` how that went."""
    import jax

    from dual_jax.estimators import progress
    from dual_jax.views import encoder

    with progress.callback(int(not args.quiet)) as report:
        key = jax.random.fold_in(jax.random.key(args.seed), 1)  # the fit has the seed's own
        learnt = encoder.learn(
            key,
            samples,
            kind=kind,
            flip=args.flip,
            centre=args.centre,
            callbacks=[report] if report else [],
        )
    values = np.asarray(encoder.encode(learnt, samples))
    about |= _computed(
        VIEWS, values, kind=kind, flip=args.flip, centre=args.centre, n_steps=len(learnt.losses)
    )
    return values


def _kind(args: argparse.Namespace, pool: "Pool") -> tuple[str, tuple[int, ...]]:
    """Return whether rows are images or series, and their shape."""
    shape = args.sample_shape or pool.sample_shape
    if not shape:
        raise InputError(
            f"--embedding {VIEWS} is for images and series, and the shape of a row is not known: give "
            "--sample-shape HEIGHTxWIDTH[xCOLOURS] or [CHANNELSx]LENGTH"
        )
    _check_size(shape, pool)
    is_image = len(shape) == 3 or (len(shape) == 2 and min(shape) >= MIN_SIDE)
    return ("images" if is_image else "series"), shape


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
