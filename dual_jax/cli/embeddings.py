"""What goes beside the pool: a table with a row for each of its rows."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool


class Beside(NamedTuple):
    """An embedding of the pool that can be had without mistakes.

    The work that is left, which returns it, its number of columns, and where it comes from.
    """

    make: Callable[[], np.ndarray]
    width: int
    about: dict[str, Any]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    text = "a table with a row for each row of the pool, used beside it: picks depend on both"
    parser.add_argument("--embedding", type=Path, metavar="FILE", help=text)


def prepare(args: argparse.Namespace, pool: "Pool") -> Beside | None:
    """Return the embedding that is asked for, or None, after finding all mistakes in it."""
    from dual_jax.data.checks import check_embedding
    from dual_jax.data.tables import read_embedding

    if args.embedding is None:
        return None
    table = read_embedding(args.embedding, pool)
    try:
        values = np.asarray(check_embedding(table.x, len(pool.x)))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{args.embedding}: {error}") from error
    about = {"source": table.source, "sha256": table.sha256, "shape": values.shape}
    return Beside(lambda: values, values.shape[1], about)
