"""``dual-jax plan``: what a fit takes, before it runs."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from dual_jax.data.errors import InputError, input_errors

if TYPE_CHECKING:
    from dual_jax.devices.hardware import Device
    from dual_jax.dual.ahead import Memory
    from dual_jax.dual.plan import Plan

_PLAN = "Say what memory and time DUAL takes on a pool, on this machine or on another, before it runs."


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("plan", help="memory and time before a run", description=_PLAN)
    add = parser.add_argument
    add("--pool-size", type=int, required=True, metavar="N", help="rows of the pool")
    add("--features", type=int, required=True, metavar="D", help="numbers in a row")
    add("--devices", default="cpu:1", metavar="KIND:N", help="cpu, h200, ... v6e; default: %(default)s")
    add("--method", choices=("dual", "dual_paper"), default="dual", help="default: %(default)s")
    add("--dictionary-size", type=int, metavar="M", help="rows that may rebuild others; N is the paper's")
    add("--compile", action="store_true", help="ask the compiler what memory it takes; minutes when large")
    add("--calibrate", action="store_true", help="measure the rates of this machine for a second")
    add("--traceback", action="store_true", help="show where an error comes from")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, command: str) -> None:
    """Check the whole request, then print the plan."""
    from dual_jax.devices.hardware import parse_devices
    from dual_jax.devices.machine import free_memory
    from dual_jax.dual.ahead import in_child, memory_of_fit
    from dual_jax.dual.config import DualConfig
    from dual_jax.dual.plan import plan

    config = DualConfig.paper() if args.method == "dual_paper" else DualConfig()
    config = dataclasses.replace(config, dictionary_size=args.dictionary_size)
    with input_errors():
        expected = plan(args.pool_size, args.features, config, args.devices)
    if parse_devices(args.devices)[0] == "cpu":
        free = free_memory() / expected.n_devices
        expected = expected.on(expected.device._replace(memory=free, preset=free))
    if args.calibrate:
        _check_is_here(expected.device)
    compiled: dict[str, Memory | None] = {}
    if args.compile:
        compiled = in_child(memory_of_fit, expected.shape, config, args.devices)
    _show(args, expected, compiled)


def _check_is_here(device: "Device") -> None:
    import jax

    if jax.default_backend() != device.platform:
        raise InputError(
            f"--calibrate measures this machine, which has a {jax.default_backend()}: leave it out, or plan "
            "for a device that is here"
        )


def _show(args: argparse.Namespace, expected: "Plan", compiled: dict[str, "Memory | None"]) -> None:
    if args.calibrate:
        from dual_jax.devices.machine import calibrated

        expected = expected.on(calibrated(expected.device, expected.n_devices))
    print(_table(args, expected, compiled))


def _table(args: argparse.Namespace, expected: "Plan", compiled: dict[str, "Memory | None"]) -> str:
    """Return the plan as a person reads it."""
    stages = list(expected.stages.values())
    arrays = list(dict.fromkeys(name for stage in stages for name in stage.arrays))
    rows: list[tuple[str, ...]] = [("on each device", *expected.stages)]
    rows += [(name, *(_amount(stage.arrays.get(name, 0.0), "B") for stage in stages)) for name in arrays]
    rows.append(("all arrays", *(_amount(stage.n_bytes, "B") for stage in stages)))
    if compiled:
        found = [compiled[name] for name in expected.stages]
        rows.append(("by the compiler", *(_amount(m.total, "B") if m else "too much" for m in found)))
    rows += [
        ("steps", *(f"{stage.n_steps:,}" for stage in stages)),
        ("a step moves", *(_amount(stage.cost.traffic, "B") for stage in stages)),
        ("a step receives", *(_amount(stage.cost.exchanged, "B") for stage in stages)),
        ("a step computes", *(_amount(stage.cost.operations, "op") for stage in stages)),
        ("a step takes", *(_amount(stage.seconds, "s") for stage in stages)),
    ]
    lines = [f"{row[0]:<24}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
    return "\n".join([_title(args, expected), "", *lines, "", *_verdict(args, expected)])


def _title(args: argparse.Namespace, expected: "Plan") -> str:
    n, sizes = args.pool_size, expected.sizes
    return (
        f"{n:,} x {args.features:,} on {args.devices}, {args.method}: a dictionary of "
        f"{sizes.n_places:,} rows, {sizes.n_clusters:,} clusters, target blocks of "
        f"{min(sizes.block_rows, n):,} rows"
    )


def _verdict(args: argparse.Namespace, expected: "Plan") -> list[str]:
    memory = f"{_amount(expected.n_bytes, 'B')} of {_amount(expected.device.memory, 'B')}"
    advice = f": {expected.advice}" if expected.advice else ""
    known = "typical rates" if expected.device.platform == "cpu" else "formula only, data sheet's rates"
    source = "measured rates" if args.calibrate else known
    return [
        f"memory: {'fits' if expected.fits else 'DOES NOT FIT'}, {memory}{advice}",
        f"time: {_amount(expected.seconds, 's')} at most, without compilation ({source})",
    ]


def _amount(value: float, unit: str) -> str:
    """Return a number with three digits and the prefix of a power of thousand.

    Examples
    --------
    >>> _amount(16_900_000_000, "B"), _amount(0.0042, "s"), _amount(0, "B")
    ('16.9 GB', '4.2 ms', '-')
    """
    if value == 0:
        return "-"
    if unit == "s" and value >= 60:
        return f"{value / 60:,.1f} min"
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3)):
        if value >= 0.9995 * size:  # what three digits round up to it
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value * 1e6:.3g} u{unit}"
