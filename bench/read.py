"""Time reading a large CSV beside pyarrow alone: ``python -m bench.read --out read.json``.

Both run in fresh processes, in turn. The peer is ``pyarrow.csv.read_csv``, which returns a table; ours
returns rows of float64, after finding out how the file is written, and its checksum. CPU seconds are those of
all threads; on a busy machine they say more than the clock.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.record import as_size, write

SIZES = ((1_000_000, 64),)
REPEATS = 3
MAX_RATIO, MAX_GIB = 2.0, 4.0
OURS = "from dual_jax.data.tables import read_pool; read = read_pool"
PEER = "from pyarrow import csv; read = csv.read_csv"
CODE = """
import resource, sys, time
{reader}
start, cpu = time.perf_counter(), time.process_time()
found = read(sys.argv[1])
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def make(path: Path, n: int, d: int) -> None:
    """Write a table of numbers with six digits, a block of rows at a time."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join(f"x{i}" for i in range(d)) + "\n")
        block = rng.normal(size=(min(n, 10_000), d))
        text = "\n".join(",".join(map("{:.6f}".format, row)) for row in block.tolist()) + "\n"
        for _ in range(n // len(block)):
            file.write(text)


def read(reader: str, path: Path) -> tuple[float, float, float]:
    """Return the seconds on the clock and of CPU, and the peak GiB, of a fresh process that reads a file."""
    command = [sys.executable, "-c", CODE.format(reader=reader), str(path)]
    seconds, cpu, gib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(cpu), float(gib)


def measure(n: int, d: int, repeats: int) -> dict[str, float | bool]:
    """Return the medians of reading one table by both, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pool.csv"
        make(path, n, d)
        runs = np.array([[read(PEER, path), read(OURS, path)] for _ in range(repeats)])
        size = path.stat().st_size
    (peer_s, peer_cpu_s, peer_gib), (ours_s, ours_cpu_s, ours_gib) = np.median(runs, axis=0).tolist()
    ratio, cpu_ratio = np.median(runs[:, 1, :2] / runs[:, 0, :2], axis=0).tolist()
    is_within_bar = ratio < MAX_RATIO and ours_gib < MAX_GIB
    return {
        **{"n": n, "d": d, "bytes": size, "peer_s": peer_s, "ours_s": ours_s, "ratio": ratio},
        **{"peer_cpu_s": peer_cpu_s, "ours_cpu_s": ours_cpu_s, "cpu_ratio": cpu_ratio},
        **{"peer_gib": peer_gib, "ours_gib": ours_gib, "is_within_bar": is_within_bar},
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--sizes", type=as_size, nargs="*", default=SIZES, help="tables, as ROWSxCOLUMNS")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs of readings")
    args = parser.parse_args(argv)
    records: list[dict[str, float | bool]] = []
    for size in args.sizes:
        records.append(measure(*size, args.repeats))
        write(args.out, records)


if __name__ == "__main__":
    main()
