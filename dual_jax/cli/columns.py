"""Pools with columns that are no numbers: what each column is taken for, and the rows that come of it."""

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.data.errors import InputError

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool

OF_NUMBERS = ("number", "exclude", "id")  # columns that `dual_jax.data.columns` knows what to do with
NOT_FEATURES = ("the id column", "excluded", "class labels", "the saved index", "row ids", "row numbers")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    text = "what columns are: number, date, category, string (short text), text, vector, id or exclude"
    parser.add_argument("--as", metavar="NAME=KIND,...", type=_kinds, default={}, dest="kinds", help=text)


def _kinds(text: str) -> dict[str, str]:
    """Return kinds by name; argparse turns the error into its own."""
    pairs = [pair.rpartition("=") for pair in text.split(",") if pair]
    if not all(name and kind for name, _, kind in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=KIND,... such as city=category,notes=text")
    return {name: kind for name, _, kind in pairs}


def use_ids(args: argparse.Namespace) -> None:
    """Take a column that is an id by ``--as`` for the id column."""
    names = [name for name, kind in args.kinds.items() if kind == "id"]
    if len(names) > 1 or (names and args.id_column not in (None, names[0])):
        raise InputError(
            f"one column holds the ids, and {', '.join([*names, args.id_column or ''])} are several"
        )
    args.id_column = names[0] if names else args.id_column


def encode(args: argparse.Namespace, pool: "Pool") -> tuple["Pool", dict[str, str]]:
    """Return the pool with all its columns as features, and what each was taken for and why.

    A pool of numbers alone, or of vectors, stays as it is, and then nothing is returned of its columns; so
    does one whose rows an embedding is computed from.
    """
    if args.kinds and pool.table is None:
        raise InputError(f"--as is for tables with names of columns, and {pool.source} has none")
    if pool.table is None or args.embedding in ("views", "spectral"):
        return pool, {}
    from dual_jax.views.columns import sort

    known = {name for name, reason in pool.dropped.items() if reason in NOT_FEATURES}
    table = pool.table.drop_columns([name for name in known if name not in args.kinds])
    kinds = {name: kind for name, kind in args.kinds.items() if name != pool.id_name}
    if args.use:
        kinds = {name: "number" for name in args.use.split(",") if name} | kinds
    features = {pool.vectors, *(pool.feature_names or ())}
    found = [column.kind in OF_NUMBERS or column.name in features for column in sort(table, kinds)]
    if not args.kinds and (pool.vectors or all(found)):
        if not pool.x.shape[1]:
            lines = "; ".join(f"{name}: {reason}" for name, reason in [*pool.dropped.items()][:5])
            raise InputError(f"{pool.source} has no column that is a feature ({lines})")
        return pool, {}
    return _encoded(args, pool, table, kinds)


def _encoded(
    args: argparse.Namespace, pool: "Pool", table: Any, kinds: dict[str, str]
) -> tuple["Pool", dict[str, str]]:
    from dual_jax.estimators.pool_encoder import PoolEncoder
    from dual_jax.views.columns import USED

    encoder = PoolEncoder(kinds, scale=args.scale, random_state=args.seed)
    rows = encoder.fit_transform(table)
    dropped = {name: reason for name, reason in pool.dropped.items() if name not in table.column_names}
    dropped |= {name: reason for name, kind, reason in encoder.columns_ if kind not in USED}
    names = tuple(map(str, encoder.get_feature_names_out()))
    columns = {name: f"{kind} ({reason})" for name, kind, reason in encoder.columns_}
    encoded = pool._replace(
        x=np.asarray(rows), feature_names=names, dropped=dropped, vectors=None, sample_shape=()
    )
    return encoded, columns
