"""``dual-jax data``: the built-in data sets, and how to get them."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from dual_jax.cli.options import add_common
from dual_jax.data.errors import InputError


def add(commands: Any) -> None:
    """Add the command to the parser."""
    data = commands.add_parser("data", help="built-in data sets").add_subparsers(
        metavar="COMMAND", required=True
    )
    listing = data.add_parser("list", help="show them, and where each comes from")
    listing.set_defaults(run=_list)
    fetching = data.add_parser("fetch", help="download them into the cache, or into --data-dir")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as in `dual-jax data list`")
    fetching.set_defaults(run=_fetch)
    for parser in (listing, fetching):
        add_common(parser)


def _fetch(args: argparse.Namespace, command: str) -> None:
    """Download each data set that is not there, after a check that all of them can be."""
    from dual_jax.data.fetch import downloader
    from dual_jax.data.published import cache_dir, check_name

    for name in args.names:
        check_name(name)
    downloader()
    _check_folder(args.data_dir)
    folder = args.data_dir or cache_dir()
    _make_writable(folder)
    _download(args.names, folder)


def _check_folder(data_dir: Path | None) -> None:
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"--data-dir {data_dir} is no folder: give the one that holds the data sets")


def _make_writable(folder: Path) -> None:
    """Make a folder for downloads, or raise ValueError when none can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        is_writable = False
    if not is_writable:
        raise InputError(f"cannot write into {folder}: choose another folder with --data-dir")


def _list(args: argparse.Namespace, command: str) -> None:
    """Print each built-in data set with its size and where it comes from."""
    from dual_jax.data import datasets

    _check_folder(args.data_dir)
    print(f"{'name':<15} {'rows':>7} {'features':>8} {'classes':>7}  from")
    for name in datasets.names():
        rows, features, classes, place = datasets.describe(name, args.data_dir)
        origin = place or f"missing: dual-jax data fetch {name}"
        print(f"{name:<15} {rows:>7,} {features:>8,} {classes:>7}  {origin}")


def _download(names: list[str], folder: Path) -> None:
    """Download each data set that is not there, one after another, also when one fails."""
    from dual_jax.data.fetch import fetch

    errors = {}
    for name in names:
        try:
            written = fetch(name, folder)
        except OSError as error:
            print(error, file=sys.stderr)
            errors[name] = error
        else:
            print(f"{name}: {'fetched into' if written else 'already in'} {folder}")
    if errors:
        first = next(iter(errors.values()))
        raise OSError(f"{len(errors)} of {len(names)} data sets not fetched: {', '.join(errors)}") from first
