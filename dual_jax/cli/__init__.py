"""The command line, ``dual-jax COMMAND``: a file a command.

A command first finds every mistake of its caller and then returns the work that is left, so that no mistake
costs a training run. What is heavy to import is imported by the command that needs it.
"""

import argparse
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from dual_jax import __version__
from dual_jax.cli import compare, data, plan, reproduce, select
from dual_jax.data.checks import LateMistake

MISTAKES = (ValueError, TypeError, ImportError, OSError)  # before the work; during it they are failures
OK, FAILURE, MISTAKE, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """argparse, with one line for a mistake."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and leave with status 2."""
        self.exit(MISTAKE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 for a failure, 2 for a mistake, 130 for Ctrl-C.

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
    try:
        args = _parser().parse_args(words)
    except SystemExit as stop:
        return int(stop.code or OK)
    mistakes: tuple[type[Exception], ...] = MISTAKES
    try:
        work = args.prepare(args, shlex.join(["dual-jax", *words]))
        mistakes = (LateMistake,)
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("dual-jax: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        status = MISTAKE if isinstance(error, mistakes) else FAILURE
        _complain(error, status, args.traceback)
        return status
    return OK


def _complain(error: Exception, status: int, with_traceback: bool) -> None:
    """Say in one line on standard error what went wrong, below the traceback if that is asked for."""
    if with_traceback:
        traceback.print_exception(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if status == MISTAKE:
        text = " ".join(lines)
    elif isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        text = f"out of memory: use a smaller pool or a device with more memory ({lines[0]})"
    else:
        text = f"{lines[0]} ({type(error).__name__}; --traceback shows where)"
    print(f"dual-jax: error: {text}", file=sys.stderr)


def _parser() -> Parser:
    parser = Parser("dual-jax", description="Say which samples of an unlabelled pool to label.")
    parser.add_argument("--version", action="version", version=f"dual-jax {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (select, compare, plan, reproduce, data):
        command.add(commands)
    return parser
