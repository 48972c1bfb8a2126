"""The command line, ``dual-jax COMMAND``: one file for each command.

A command checks its whole request before it trains anything. What is invalid in a request is an
`dual_jax.data.errors.InputError`, wherever it is found: one line and exit status 2. Any other exception is a
failure: exit status 1. Heavy packages are imported by the command that needs them.
"""

import argparse
import io
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from dual_jax.cli import compare, data, embed, plan, reproduce, select, spread
from dual_jax.cli.delayed import delay
from dual_jax.data.errors import InputError

OK, FAILURE, INVALID, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """argparse, with one line for an invalid request."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and leave with status 2."""
        self.exit(INVALID, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 for a failure, 2 for an invalid request, 130 for Ctrl-C.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``dual-jax``; those of this process by default.

    Examples
    --------
    >>> main(["select", "iris", "-n", "0"])
    2
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if argv is None:  # a notebook's shell passes on its kernel's backend, which this environment may lack
        os.environ["MPLBACKEND"] = "agg"
    _print_any_text()
    try:
        args = _parser().parse_args(words)
    except SystemExit as stop:
        return int(stop.code or OK)
    delay("scipy.stats", "pandas")
    try:
        args.run(args, shlex.join(["dual-jax", *words]))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("dual-jax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        status = INVALID if isinstance(error, InputError) else FAILURE
        _complain(error, status, args.traceback)
        return status
    return OK


def _print_any_text() -> None:
    """Let letters that the terminal's encoding lacks be printed as ``?``, not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _complain(error: Exception, status: int, with_traceback: bool) -> None:
    """Say in one line on standard error what went wrong, below the traceback if that is asked for."""
    if with_traceback:
        traceback.print_exception(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if status == INVALID:
        text = " ".join(lines)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        text = f"out of memory: use a smaller pool or a device with more memory ({lines[0]})"
    else:
        text = f"{lines[0]} ({type(error).__name__}; --traceback shows where)"
    print(f"dual-jax: error: {text}", file=sys.stderr)


class _Version(argparse.Action):
    """Show the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from dual_jax import __version__

        print(f"dual-jax {__version__}")
        parser.exit()


def _parser() -> Parser:
    parser = Parser("dual-jax", description="Say which samples of an unlabelled pool to label.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (select, embed, spread, compare, plan, reproduce, data):
        command.add(commands)
    return parser
