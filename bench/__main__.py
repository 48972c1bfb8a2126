"""Run the benchmarks of speed and size, write their JSON, and draw it.

    python -m bench             # on a CPU, in under 10 minutes
    python -m bench --gpu       # everything that a GPU is needed for; the limits add up to half an hour
    python -m bench --draw-only
    python -m bench --only step,grid

Every piece runs in a separate process with its own time limit, so that a failure loses nothing else; its
records are written one by one. When this process is ended, so is the piece. The peers of the step and of the
grid need PyTorch and are recorded as absent without it. A GPU's files end in ``_gpu``.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.figures import draw_all

RESULTS = Path(__file__).parent / "results"


class Piece(NamedTuple):
    """A benchmark's module, the words of its command line, and its seconds at most."""

    module: str
    words: str
    limit: float
    variables: tuple[tuple[str, str], ...] = ()  # of its environment


GROWING = (("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),)  # leaves PyTorch its share of the GPU
WHOLE = (("XLA_PYTHON_CLIENT_MEM_FRACTION", ".95"),)


def dictionaries(n: int) -> str:
    """Return the words for several dictionaries at one n, and several n at one dictionary; free alone."""
    sizes = [f"{n}x{m}" for m in (512, 1024, 2048, 4096)]
    sizes += [f"{size}x1024" for size in (n // 2, 2 * n, 4 * n)]
    return f"--sizes {' '.join(sizes)} --objectives free --without-peers"


ON_CPU = {
    "step": Piece("bench.step", "--sizes 4000 2000 1000", 150.0),  # the largest first, in case time ends
    "dictionary": Piece("bench.step", dictionaries(10_000), 140.0),
    "devices": Piece("bench.devices", "", 110.0),
    "grid": Piece("bench.grid", "--sizes 84x147", 125.0),
    "start": Piece("bench.start", "", 70.0),
}
# On an H100 a program took up to 17 s to compile (free) and 104 s (simplex), and 100,000 rows do not fit.
ON_GPU = {
    "step_gpu": Piece("bench.step", "--sizes 50000 20000 10000 4000", 600.0, GROWING),
    "largest_gpu": Piece("bench.step", "--sizes 80000 --objectives free --without-peers", 180.0, WHOLE),
    "dictionary_gpu": Piece("bench.step", dictionaries(100_000), 240.0),
    "kmeans_gpu": Piece("bench.kmeans", "--repeats 3", 60.0),
    "grid_gpu": Piece("bench.grid", "--sizes 84x147", 240.0),
    "plan_gpu": Piece("bench.plan", "", 300.0),
    "start_gpu": Piece("bench.start", "--sizes 1000x40 100000x64 1000000x64", 240.0, WHOLE),
}


def run(name: str, piece: Piece, folder: Path) -> str:
    """Run a piece; return how it ended."""
    command = [sys.executable, "-m", piece.module, *piece.words.split()]
    out = folder / f"{name}.json"
    command += ["--out", str(out)]
    begun, before = time.perf_counter(), stamp(out)
    process = subprocess.Popen(
        command,
        env={**os.environ, **dict(piece.variables)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, complaints = process.communicate(timeout=piece.limit)
    except subprocess.TimeoutExpired:
        return f"stopped after {piece.limit:g} s; {left(out, before)}"
    finally:
        end(process)
    if process.returncode:
        said = (complaints.strip().splitlines() or ["without a word"])[-1]
        return f"failed: {said}; {left(out, before)}"
    return f"done in {time.perf_counter() - begun:.0f} s"


def end(process: subprocess.Popen[str]) -> None:
    """End a piece with all that it started, if anything of it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr:
        process.stderr.close()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn a signal that would end this process at once into an exit that ends the piece first."""
    signals = [signal.SIGTERM, signal.SIGHUP]
    former = [signal.signal(number, lambda number, _: sys.exit(128 + number)) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, former, strict=True):
            signal.signal(number, handler)


def stamp(out: Path) -> int:
    """Return when a file was written; 0 where there is none."""
    return out.stat().st_mtime_ns if out.exists() else 0


def left(out: Path, before: int) -> str:
    """Return what a piece that did not end well left in its file, which had the stamp ``before``."""
    if not stamp(out):
        return "nothing is written"
    is_new = stamp(out) != before
    return "what it had finished is written" if is_new else f"{out.name} IS OF AN EARLIER RUN"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="what needs a GPU, on this machine's")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder; default: bench/results")
    parser.add_argument("--only", help="pieces, with commas between them; default: all")
    parser.add_argument("--draw-only", action="store_true", help="draw what is there")
    args = parser.parse_args(argv)
    pieces = ON_GPU if args.gpu else ON_CPU
    wanted = args.only.split(",") if args.only else list(pieces)
    if unknown := set(wanted) - set(pieces):
        parser.error(f"there is no piece {min(unknown)!r}: use {', '.join(pieces)}")
    args.out.mkdir(parents=True, exist_ok=True)
    outcomes = {}
    with ended_by_signals():
        for name in () if args.draw_only else wanted:
            outcomes[name] = run(name, pieces[name], args.out)
            print(f"{name}: {outcomes[name]}", flush=True)
    for path in draw_all(args.out, "_gpu" if args.gpu else ""):
        print(path)
    return int(not all(outcome.startswith("done") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
