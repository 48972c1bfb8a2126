"""``dual-jax data``: the built-in data sets."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from dual_jax.cli.options import Work, add_common


def add(commands: Any) -> None:
    """Add the command to the parser."""
    data = commands.add_parser("data", help="built-in data sets").add_subparsers(
        metavar="COMMAND", required=True
    )
    parser = data.add_parser("list", help="show them, and which have their files here")
    add_common(parser)
    parser.set_defaults(prepare=_prepare_list)


def _prepare_list(args: argparse.Namespace, command: str) -> Work:
    """Return the listing of built-in data sets, after looking whether its folder exists."""
    if args.data_dir is not None and not args.data_dir.is_dir():
        raise ValueError(f"--data-dir {args.data_dir} is no folder: give the one that holds the data sets")
    return partial(_list, args.data_dir)


def _list(data_dir: Path | None) -> None:
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
