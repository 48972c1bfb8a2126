"""What a budget may say: how many rows, or what they may cost, when to stop, and what picks must keep."""

import argparse
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.data.errors import InputError, input_errors

if TYPE_CHECKING:
    from dual_jax.cli.picked import Picked
    from dual_jax.data.owncolumns import PoolFile
    from dual_jax.data.tables import Pool
    from dual_jax.selection.limits import Limits

AMOUNT = re.compile(r"-?\d+(?:\.\d+)?%?")
OPTIONS = ("until", "min_distance", "per_group", "weight_column", "cost_column")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    text = "how many rows to pick, or a share of the candidates (10%%); with --cost-column their total cost"
    add("-n", "--n-to-select", type=_amount, metavar="N", help=text)
    text = "stop when the mean distance to the nearest pick has fallen to this share of its first value"
    add("--until", type=float, metavar="SHARE", help=text)
    text = (
        "no pick is nearer to another pick or a labelled row than this quantile of the distances from each "
        "row to its nearest other row, such as 0.05"
    )
    add("--min-distance", type=float, metavar="QUANTILE", help=text)
    text = "at most N rows of one group, such as patient=5; labelled rows count"
    add("--per-group", type=_group, metavar="COLUMN=N", help=text)
    add("--weight-column", metavar="NAME", help="how much each row counts in the objective, 0 or more")
    text = "what each row costs; rows are picked by gain per cost, and -n is what all may cost together"
    add("--cost-column", metavar="NAME", help=text)


def _amount(text: str) -> str:
    """Return a number of rows, a cost or a share as it was given; argparse turns the error into its own."""
    if not AMOUNT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows, such as 50 or 10%")
    return text


def _group(text: str) -> tuple[str, int]:
    """Return a column and a number of rows; argparse turns the error into its own."""
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMN=N such as patient=5, with N at least 1")
    return name, int(number)


def check(args: argparse.Namespace) -> None:
    """Turn -n into a number, or a share, of rows; refuse limits that are out of range or that no fit keeps.

    With ``--cost-column`` ``args.n_to_select`` is None, and ``args.total_cost`` is the cost or its share.
    """
    if args.n_to_select is None and args.cost_column:
        raise InputError("--cost-column is for picks within a total cost: give it by -n")
    if args.n_to_select is None and args.until is None:
        raise InputError("how many rows to pick is missing: give -n 50, -n 10% or --until 0.3")
    args.total_cost = None
    if args.cost_column:
        args.total_cost, args.n_to_select = _number(args.n_to_select, of_rows=False), None
    elif args.n_to_select is not None:
        args.n_to_select = _number(args.n_to_select, of_rows=True)
    if any(getattr(args, name) is not None for name in OPTIONS):
        _check_limits(args)


def _number(text: str, *, of_rows: bool) -> Any:
    """Return a count or a cost; a `Share` where it is a percentage."""
    number = text.removesuffix("%")
    if number != text:
        if not 0 < float(number) < 100:
            raise InputError(f"-n {text} is no share: give more than 0% and less than 100%")
        return Share(float(number) / 100)
    if of_rows and "." in number:
        raise InputError(f"-n {text} is no number of rows: give an integer, or a share such as 10%")
    return int(number) if of_rows else float(number)


class Share(float):
    """A part of all candidates, or of what they cost together."""


def _check_limits(args: argparse.Namespace) -> None:
    """Refuse limits that are out of range, or that the method does not keep, before anything is read."""
    from dual_jax.methods import METHODS
    from dual_jax.selection.limitchecks import check_limits
    from dual_jax.selection.limits import Limits

    total = args.total_cost if args.total_cost and not isinstance(args.total_cost, Share) else 1.0
    with input_errors():
        check_limits(Limits(args.until, args.min_distance), 0)
        if args.total_cost is not None and total <= 0:
            raise InputError(f"-n {args.total_cost} is no total cost: give a positive number")
        asked = Limits(
            args.until, args.min_distance, weights=args.weight_column, costs=args.cost_column
        )._replace(per_group=args.per_group)
        METHODS[args.method].check_keeps(asked, dict(args.knobs))


def columns_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the columns that limits are read from, and what each holds; they are no features."""
    found = {getattr(args, f"{of}_column", None): f"{of}s" for of in ("weight", "cost")}
    if per_group := getattr(args, "per_group", None):  # other commands have no limits
        found[per_group[0]] = "groups"
    return {name: what for name, what in found.items() if name is not None}


def name_columns(args: argparse.Namespace, pool: "Pool") -> "Pool":
    """Return the pool with the columns of limits named as what they are, and not as excluded."""
    named = columns_of(args)
    dropped = {name: named.get(name, reason) for name, reason in pool.dropped.items()}
    return pool._replace(dropped=dropped)


def read(args: argparse.Namespace, file: "PoolFile", is_open: np.ndarray) -> "Limits | None":
    """Return the limits, their columns read from the pool's file; None where nothing is asked.

    ``is_open`` are the candidates without a label: a share of the total cost is of theirs.

    Raises
    ------
    InputError
        The pool has no such column, or a cell of it cannot be used.
    """
    if all(getattr(args, name) is None for name in OPTIONS):
        return None
    from dual_jax.data.casts import texts_of
    from dual_jax.data.owncolumns import read_columns
    from dual_jax.selection.limits import Limits

    costs = _numbers(file, args.cost_column, "--cost-column", is_zero_fine=False)
    total = args.total_cost
    if costs is not None and isinstance(total, Share):
        total = float(total * costs[is_open].sum())
    name, most = args.per_group or (None, None)
    return Limits(
        until=args.until,
        min_distance=args.min_distance,
        groups=None if name is None else texts_of(read_columns(file, [name])[name]),
        per_group=most,
        weights=_numbers(file, args.weight_column, "--weight-column", is_zero_fine=True),
        costs=costs,
        total_cost=total,
    )


def _numbers(file: "PoolFile", name: str | None, option: str, *, is_zero_fine: bool) -> np.ndarray | None:
    """Return a column of weights or costs, each in range."""
    if name is None:
        return None
    from dual_jax.data.casts import is_textual, plain, text_as_numbers
    from dual_jax.data.owncolumns import read_columns

    column = plain(read_columns(file, [name])[name])
    if is_textual(column.type):
        cells, reason = text_as_numbers(column, file.decimal or _decimal_of(file))
        if cells is None:
            raise InputError(f"{option} {name} holds {reason}: give a column of numbers")
        column = cells
    try:
        numbers = np.asarray(column.to_numpy(), np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{option} {name} holds {column.type}: give a column of numbers") from None
    wanted = "at least 0" if is_zero_fine else "above 0"
    is_fine = np.isfinite(numbers) & ((numbers >= 0) if is_zero_fine else (numbers > 0))
    if not is_fine.all():
        row = int(is_fine.argmin())
        seen = "missing" if np.isnan(numbers[row]) else f"{numbers[row]:g}"
        raise InputError(f"{option} {name} is {seen} in row {row} (from 0): all must be numbers {wanted}")
    return numbers


def _decimal_of(file: "PoolFile") -> str:
    """Return the decimal mark that was found when the pool was read."""
    return "," if any("decimal comma" in guess for guess in file.pool.guesses) else "."


def as_receipt(args: argparse.Namespace, picked: "Picked") -> dict[str, Any] | None:
    """Return what the receipt says of the limits; None where nothing is asked."""
    limits = picked.source.limits
    if limits is None:
        return None
    spent = None if limits.costs is None else float(np.asarray(limits.costs)[picked.indices].sum())
    return {
        "until": limits.until,
        "min_distance": limits.min_distance,
        "per_group": limits.per_group,
        "columns": columns_of(args),
        "total_cost": limits.total_cost,
        "spent": spent,
        "end": picked.end,
    }


def summary(args: argparse.Namespace, picked: "Picked") -> Iterator[str]:
    """Give a line for how the picks ended, and for what they cost."""
    limits = picked.source.limits
    if limits is None:
        return
    if limits.costs is not None:
        spent = float(np.asarray(limits.costs)[picked.indices].sum())
        yield f"cost: {spent:g} of {limits.total_cost:g} ({args.cost_column})"
    if limits.per_group is not None:
        n_groups = len(np.unique(np.asarray(limits.groups)[picked.indices]))
        yield f"groups: rows of {n_groups:,}, at most {limits.per_group} of each ({args.per_group[0]})"
    if picked.end:
        yield f"limits: {picked.end}"
