"""What it costs that picks do not depend on the devices: ``python -m bench.layouts --out layouts.json``.

The same pools are fitted on 1, 2, 4 and 8 devices of this CPU, each fit in a process of its own, and the
picks are compared with those of one device. JAX's thread pool grows with forced devices, so these processes
also differ in threads. ``--against FOLDER`` runs one device by turns with another checkout, such as one from
before a change. Seconds are those of the processor: other processes change them less.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

POOLS, DEVICES, REPEATS = (178, 603, 4000), (1, 2, 4, 8), 3
N_PICKS = 100


def pool(n: int) -> np.ndarray:
    """Return the first rows of digits, or of a larger pool of Gaussian groups."""
    if n < 1797:
        from sklearn.datasets import load_digits

        return load_digits().data[:n]
    draw = np.random.default_rng(0)
    return draw.normal(size=(40, 40))[draw.integers(40, size=n)] * 2.0 + draw.normal(size=(n, 40))


def seconds() -> float:
    """Return the seconds that the processor has worked for this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(n: int, n_devices: int, block_rows: int | None) -> dict[str, Any]:
    """Return picks, and the processor's seconds of a whole default fit and of its steps."""
    import jax

    jax.config.update("jax_num_cpu_devices", n_devices)
    import dual_jax as dj

    times: dict[str, list[tuple[int, float]]] = {}

    def note(chunk: Any) -> None:
        times.setdefault(chunk.stage, []).append((chunk.step, seconds()))

    config = dj.DualConfig(block_rows=block_rows)
    selector = dj.DUALSelector(N_PICKS, config=config, devices=jax.devices(), callbacks=[note])
    start = seconds()
    selector.fit(pool(n))
    found: dict[str, Any] = {"cpu_s": seconds() - start, "picks": selector.sample_indices_.tolist()}
    found["devices_used"] = len(selector.state_.params.C[0].devices())
    for stage in ("pretrain", "train"):
        (first, begin), (last, end) = times[stage][0], times[stage][-1]
        if last > first:  # else all steps were one chunk
            found[f"{stage}_step_cpu_s"] = (end - begin) / (last - first)
    return found


def child(folder: Path, n: int, n_devices: int, block_rows: int | None) -> dict[str, Any]:
    """Return what a process of its own measures with the package in a folder."""
    words = [str(Path(__file__).resolve()), "--here", str(n), str(n_devices), str(block_rows or 0)]
    environment = os.environ | {"PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=folder)
    return json.loads(done.stdout.splitlines()[-1])


def record(
    n: int, n_devices: int, block_rows: int | None, runs: list[dict[str, Any]], reference: list[int]
) -> Any:
    """Return one line of the table: medians of some runs, and the picks in common with one device."""
    names = (name for name in runs[0] if name.endswith("cpu_s"))
    medians = {name: float(np.median([run[name] for run in runs])) for name in names}
    common = len(set(runs[0]["picks"]) & set(reference))
    about = {"n": n, "devices": n_devices, "devices_used": runs[0]["devices_used"], "block_rows": block_rows}
    return about | medians | {"picks_in_common": common, "same_order": runs[0]["picks"] == reference}


def main(argv: list[str] | None = None) -> None:
    """Measure every pool and write a record for each number of devices and each checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--pools", type=int, nargs="+", default=POOLS)
    parser.add_argument("--devices", type=int, nargs="+", default=DEVICES)
    parser.add_argument("--block-rows", type=int, help="targets in a block of C; decided by default")
    parser.add_argument("--against", type=Path, help="another checkout of the project")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="runs of each on one device")
    parser.add_argument("--here", type=int, nargs=3, help="measure rows, devices, block rows in this process")
    args = parser.parse_args(argv)
    if args.here:
        n, n_devices, block_rows = args.here
        print(json.dumps(measure(n, n_devices, block_rows or None)))
        return
    own, records = Path(__file__).resolve().parents[1], []
    for n in args.pools:
        trees = {"now": own} | ({"before": args.against.resolve()} if args.against else {})
        turns = [
            {name: child(tree, n, 1, args.block_rows) for name, tree in trees.items()}
            for _ in range(args.repeats)
        ]
        reference = turns[0]["now"]["picks"]
        for name in trees:
            runs = [turn[name] for turn in turns]
            records.append({"package": name} | record(n, 1, args.block_rows, runs, reference))
        for n_devices in (count for count in args.devices if count > 1):
            runs = [child(own, n, n_devices, args.block_rows)]
            records.append({"package": "now"} | record(n, n_devices, args.block_rows, runs, reference))
        for line in records:
            if line["n"] == n:
                print(json.dumps(line), flush=True)
        if args.out:
            args.out.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
