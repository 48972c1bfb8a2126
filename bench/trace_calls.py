"""Count the files that one command enters: ``python -m bench.trace_calls``.

Runs ``dual-jax select pool.csv -n 100`` on a table of 500 x 8 with a few steps, under ``sys.setprofile``, and
prints how many files of the package were entered and how often a call or a return led from one to another.
What runs while a module is imported is not counted.
"""

import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import dual_jax
from dual_jax.cli import main

ROOT = f"{Path(dual_jax.__file__).parent}{os.sep}"
STEPS = ("--knob", "pretrain_steps=50", "--knob", "steps=10")
WORDS = ("select", "pool.csv", "-n", "100", "--quiet", "--no-compile-cache", *STEPS)


class Trace:
    """A profiler that keeps the files of the package that frames run in, in their order."""

    def __init__(self) -> None:
        self.entered: Counter[str] = Counter()  # calls by file
        self.n_changes = 0
        self._last = ""

    def __call__(self, frame: Any, event: str, _: Any) -> None:
        """Note a call."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(ROOT) or code.co_name == "<module>":
            return
        file = code.co_filename.removeprefix(ROOT)
        self.entered[file] += 1
        self.n_changes += file != self._last
        self._last = file


@contextlib.contextmanager
def in_empty_folder() -> Iterator[None]:
    """Run a block in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def trace(words: Sequence[str] = WORDS) -> Trace:
    """Return what a command enters, in a folder that holds ``pool.csv``."""
    calls = Trace()
    with in_empty_folder():
        rows = np.random.default_rng(0).normal(size=(500, 8)).round(4)
        np.savetxt("pool.csv", rows, "%.4f", ",", header=",".join("abcdefgh"), comments="")
        sys.setprofile(calls)
        try:
            status = main(words)
        finally:
            sys.setprofile(None)
    if status:
        raise SystemExit(f"the command ended with status {status}")
    return calls


if __name__ == "__main__":
    found = trace(sys.argv[1:] or WORDS)
    print(f"{len(found.entered)} files, {found.n_changes} changes of file, {found.entered.total()} calls")
    for name, n_calls in found.entered.most_common():
        print(f"{n_calls:7,}  {name}")
