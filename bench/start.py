"""Time importing, tracing and compiling: ``python -m bench.start --out start.json``.

Importing is timed in fresh processes, in turn with importing what dual_jax is built on. Of a fit, tracing and
compiling its four programs are timed apart from running it; they are needed once a shape, not again for
another seed, weight or rate. Commands are run in fresh processes on tables of random numbers, first with an
empty cache of compiled programs and then again; their CPU seconds change little on a busy machine.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dual_jax as dj
from bench.record import as_size, peak_mib, write
from dual_jax.dual.ahead import lower

BASE, OURS = "jax, flax.nnx, optax", "dual_jax.dual.fitting"  # the package itself imports nothing
REPEATS = 3
# Settings of tests, without which a command keeps its programs and optimises them.
NOT_A_USERS = ("DUAL_JAX_NO_COMPILE_CACHE", "JAX_COMPILATION_CACHE_DIR", "JAX_DISABLE_MOST_OPTIMIZATIONS")
SIZES = ((1000, 40),)
TABLES = ((178, 13), (1797, 64))  # of the commands, in the sizes of wine and digits
MAX_RATIO = 1.2  # of importing dual_jax to importing its base


def import_seconds(modules: str) -> float:
    """Return how long a fresh process takes to import some modules."""
    code = f"import time; start = time.perf_counter(); import {modules}; print(time.perf_counter() - start)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(run.stdout)


def imports(repeats: int) -> dict[str, Any]:
    """Return the times of importing both in turn, and their ratio."""
    import_seconds(OURS)  # writes the bytecode
    pairs = np.array([(import_seconds(BASE), import_seconds(OURS)) for _ in range(repeats)])
    ratio = float(np.median(pairs[:, 1] / pairs[:, 0]))
    base, ours = np.median(pairs, axis=0).tolist()
    return {"base_s": base, "ours_s": ours, "ratio": ratio, "is_within_bar": ratio < MAX_RATIO}


def commands(tables: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Give wall and CPU seconds of the command's help, and of `select` on new tables and on known ones."""
    with tempfile.TemporaryDirectory() as folder:
        yield {"what": "help", **command_seconds(["--help"], folder)}
        for n, d in tables:
            np.save(Path(folder) / "pool.npy", np.random.default_rng(0).normal(size=(n, d)))
            for how in ("new", "cached"):
                words = ["select", "pool.npy", "-n", "12", "--quiet"]
                yield {"what": "select", "n": n, "d": d, "programs": how, **command_seconds(words, folder)}


def command_seconds(words: Sequence[str], folder: str) -> dict[str, float]:
    """Return wall and CPU seconds of ``dual-jax`` in a fresh process that keeps its programs in a folder."""
    root = str(Path(dj.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": root, "XDG_CACHE_HOME": folder, "XLA_FLAGS": ""}
    env = {name: value for name, value in env.items() if name not in NOT_A_USERS}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "dual_jax", *words]
    subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    return {"wall_s": wall, "cpu_s": sum(after[:2]) - sum(before[:2])}


def measure(n: int, d: int) -> Iterator[dict[str, float]]:
    """Give the seconds of tracing, of compiling the programs of a fit, and of two fits of other seeds.

    One part after the other, as each is done.
    """
    x, config = jax.random.normal(jax.random.key(0), (n, d)), dj.DualConfig(tolerance=0.0)
    yield {"n": n, "d": d, "m": config.sizes(n).n_places}
    start = time.perf_counter()
    programs = lower((n, d), config, jax.devices()[:1])
    yield {"trace_s": time.perf_counter() - start}
    start = time.perf_counter()
    for program in programs.values():
        program.compile()
    yield {"compile_s": time.perf_counter() - start}
    for seed, name in enumerate(("first_fit_s", "fit_s")):
        start = time.perf_counter()
        jax.block_until_ready(dj.fit(jax.random.key(seed), jnp.asarray(x), config).ranking.indices)
        yield {name: time.perf_counter() - start}
    yield {"peak_mib": peak_mib()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--sizes", type=as_size, nargs="*", default=SIZES, help="pools, as ROWSxFEATURES")
    parser.add_argument("--tables", type=as_size, nargs="*", default=TABLES, help="of the commands")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs of imports")
    args = parser.parse_args(argv)
    found, records, ran = imports(args.repeats), list[dict[str, float]](), list[dict[str, Any]]()
    for one in commands(args.tables):
        ran.append(one)
        write(args.out, records, imports=found, commands=ran)
    for size in args.sizes:
        records.append({})
        for part in measure(*size):
            records[-1] |= part
            write(args.out, records, imports=found, commands=ran)


if __name__ == "__main__":
    main()
