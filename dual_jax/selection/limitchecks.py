"""The limits that a caller gives, checked and as arrays; and how many picks they allow at most."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from dual_jax.selection.limits import APART, ROUNDING, Limits

MAX_PICKS = 10_000  # where only `until` ends the picks


def check_limits(limits: Limits | None, n: int) -> Limits | None:
    """Return the limits as arrays for n rows, groups as numbers; None where nothing is asked.

    Raises
    ------
    ValueError
        When a number is out of range, a column has another length than n or a value that cannot be used, or
        one of two fields that belong together is missing.

    Examples
    --------
    >>> check_limits(Limits(), 3) is None
    True
    >>> check_limits(Limits(groups=["b", "a", None], per_group=1), 3).groups.tolist()
    [1, 0, -1]
    """
    if limits is None or all(field is None for field in limits):
        return None
    for name, other in (("groups", "per_group"), ("costs", "total_cost")):
        if (getattr(limits, name) is None) is not (getattr(limits, other) is None):
            raise ValueError(f"{name} and {other} belong together: give both or neither.")
    share, quantile = limits.until, limits.min_distance
    _check(share, lambda v: 0 < v < 1, f"until={share!r} is no share: give a number in (0, 1), such as 0.3.")
    _check(
        quantile,
        lambda v: 0 <= v <= 1,
        f"min_distance={quantile!r} is no quantile: give a number in [0, 1], such as 0.05.",
    )
    most = limits.per_group
    _check(most, lambda v: v >= 1 and v == int(v), f"per_group={most!r} is no count: give 1 or more.")
    total = limits.total_cost
    _check(total, lambda v: 0 < v < np.inf, f"total_cost={total!r} cannot be spent: give a positive number.")
    weights = _column(limits.weights, n, "weights", lambda v: v >= 0, "finite and at least 0")
    if weights is not None and not isinstance(weights, jax.core.Tracer) and not np.any(weights > 0):
        raise ValueError("every weight is 0: at least one row must count.")
    return Limits(
        until=share,
        min_distance=quantile,
        groups=_codes(limits.groups, n),
        per_group=most,
        weights=weights,
        costs=_column(limits.costs, n, "costs", lambda v: v > 0, "finite and above 0"),
        total_cost=total,
    )


def _check(value: Any, is_valid: Any, message: str) -> None:
    if value is None or isinstance(value, jax.core.Tracer):
        return
    try:
        is_fine = not isinstance(value, bool | str) and bool(is_valid(value))
    except (TypeError, ValueError, OverflowError):  # no number, or NaN as an integer
        is_fine = False
    if not is_fine:
        raise ValueError(message)


def _column(values: Any, n: int, name: str, is_valid: Any, wanted: str) -> Any:
    """Return a column of numbers, checked; None stays None."""
    if values is None:
        return None
    if not isinstance(values, jax.Array):
        values = np.asarray(values, np.float32)
    if values.shape != (n,):
        raise ValueError(f"{name} has shape {values.shape}, wanted ({n},): one number for each row.")
    if not isinstance(values, jax.core.Tracer):
        host = np.asarray(values)
        is_fine = np.isfinite(host) & is_valid(host)
        if not is_fine.all():
            row = int(is_fine.argmin())
            raise ValueError(f"{name} is {host[row]} in row {row} (from 0), wanted a number {wanted}.")
    return values.astype(jnp.float32)


def _codes(groups: Any, n: int) -> Any:
    """Return the groups as numbers from 0, -1 for a row without one; None stays None."""
    if groups is None:
        return None
    codes = groups if isinstance(groups, jax.core.Tracer) else _numbered(np.asarray(groups))
    if codes.shape != (n,):
        raise ValueError(f"groups has shape {codes.shape}, wanted ({n},): one group for each row.")
    return codes.astype(jnp.int32)


def _numbered(groups: np.ndarray) -> np.ndarray:
    """Return a number for each of the groups, which may be numbers, words or objects."""
    if groups.ndim != 1:
        return groups
    if groups.dtype.kind in "iufb":
        is_none = ~(groups >= 0)  # NaN is none
    else:
        is_none = np.array([group is None or group != group or str(group) == "" for group in groups])
        groups = groups.astype(str)
    codes = np.full(len(groups), -1)
    codes[~is_none] = np.unique(groups[~is_none], return_inverse=True)[1]
    return codes


def most_picks(limits: Limits, is_open: Bool[np.ndarray, " n"], is_labeled: Bool[np.ndarray, " n"]) -> int:
    """Return how many rows groups and costs allow at most, at least 0.

    On the host, from limits that `check_limits` returned.

    Examples
    --------
    >>> costs, nothing = check_limits(Limits(costs=[5.0, 1.0, 2.0], total_cost=3.0), 3), np.zeros(3, bool)
    >>> most_picks(costs, ~nothing, nothing)
    2
    """
    most = int(is_open.sum())
    if limits.costs is not None:
        spent = np.cumsum(np.sort(np.asarray(limits.costs, np.float64)[is_open]))
        most = min(most, int((spent <= limits.total_cost * (1 + ROUNDING)).sum()))
    if limits.per_group is not None:
        groups = np.asarray(limits.groups) + 1  # 0 is none
        n_codes = len(groups) + 1
        offered, used = (np.bincount(groups[rows], minlength=n_codes) for rows in (is_open, is_labeled))
        room = np.minimum(offered, np.maximum(int(limits.per_group) - used, 0))
        most = min(most, int(offered[0] + room[1:].sum()))
    return most


def say_end(limits: Limits | None, n_picks: int, n_most: int) -> str:
    """Return how limits ended the picks, in words; "" where there are as many as may be, and no ``until``.

    Examples
    --------
    >>> say_end(Limits(min_distance=0.1), 8, 10)
    '8 picks of at most 10: no other row is left that min_distance allows'
    """
    if limits is None:
        return ""
    share = f"for the mean distance to the nearest pick to fall to {limits.until} of its first value"
    if n_picks >= n_most:
        return f"{n_picks} picks are the most, and may be too few {share}" if limits.until else ""
    reasons = [f"enough {share}"] if limits.until else []
    others = [name for name in limits.asked() if name in APART]
    others += ["the total cost"] if limits.costs is not None else []
    verb = "allow" if len(others) > 1 else "allows"
    reasons += [f"no other row is left that {' and '.join(others)} {verb}"] if others else []
    return f"{n_picks} picks of at most {n_most}: {', or '.join(reasons)}"
