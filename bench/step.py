"""Time of one joint full-batch step beside PyTorch's and beside the floor of this machine.

    python -m venv .venv-bench
    .venv-bench/bin/pip install -e . torch
    .venv-bench/bin/python -m bench.step --out bench/results/step.json

The floor of a step is the time of the bytes that must move at this machine's copy bandwidth plus that of the
products at its matrix-product rate (on a GPU, which does both at once, the larger of the two): 24 m n bytes
and 6 m n p operations for free coefficients, 28 m n bytes and 6 m n p + 12 m n q operations for the simplex.
Both rates are measured in the same run, on large arrays.
Our steps run first, in a process that ends before the peers begin, so that these have the device to
themselves; the file is written after each. Without PyTorch they are recorded as absent.
"""

import argparse
import dataclasses
import gc
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import dual_jax as dj
from bench.record import as_size, save, write
from dual_jax.devices.hardware import host
from dual_jax.devices.machine import calibrated

D, P, HIDDEN = 40, 32, (128, 64)
REPEATS = 15
EAGER = "PyTorch eager, Adam"
SIZES = ((1000, 1000), (2000, 2000), (4000, 4000))
CONFIGURATIONS = {"free": dj.DualConfig.paper(), "simplex": dj.DualConfig()}


def seconds(run: Callable[[], Any], repeats: int = REPEATS) -> dict[str, float]:
    """Return the median and least time of a call that waits for its result, after two that do not count."""
    times = []
    for _ in range(2 + repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"median_s": float(np.median(times[2:])), "least_s": min(times[2:])}


def rates() -> dict[str, float]:
    """Return bytes a second of a copy that no cache holds (read and written), and operations of a product."""
    device = calibrated(host())
    return {"bytes_per_s": device.bandwidth, "operations_per_s": device.rate}


def floor(objective: str, n: int, m: int, rate: dict[str, float]) -> dict[str, float]:
    """Return the least that a step moves and computes, and its time at these rates.

    A processor does one after the other; a GPU moves and computes at once.
    """
    q = {"free": 0, "simplex": D + P}[objective]
    n_bytes = {"free": 24, "simplex": 28}[objective] * m * n
    operations = 6 * m * n * P + 12 * m * n * q
    times = n_bytes / rate["bytes_per_s"], operations / rate["operations_per_s"]
    at_rates = sum(times) if jax.default_backend() == "cpu" else max(times)
    return {"bytes": n_bytes, "operations": operations, "floor_s": at_rates}


def pool(n: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (n, D))


def ours(objective: str, n: int, m: int) -> dict[str, Any]:
    """Return the time of our step and of compiling it, and the memory that it takes, by the compiler.

    Beside them the time of a step of the network alone, which the floor leaves out.
    """
    x = pool(n)
    config = dataclasses.replace(CONFIGURATIONS[objective], dictionary_size=m, n_targets=n)
    state = dj.init(jax.random.key(1), x, config)

    def pretrain() -> None:
        nonlocal state
        state, terms = dj.pretrain_step(state, x, config)
        jax.block_until_ready(terms)

    network = seconds(pretrain)
    state = dj.start_selection(jax.random.key(2), state, x, config)
    start = time.perf_counter()
    compiled = dj.train_step.lower(state, x, config).compile()
    compile_s = time.perf_counter() - start
    memory = compiled.memory_analysis()

    def run() -> None:
        nonlocal state
        state, terms = compiled(state, x, config)
        jax.block_until_ready(terms)

    return {
        **seconds(run),
        "network_s": network["median_s"],
        "compile_s": compile_s,
        "memory_bytes": memory.argument_size_in_bytes + memory.temp_size_in_bytes,
        "temporaries_of_4mn": memory.temp_size_in_bytes / (4 * m * n),
        "n_blocks": len(state.params.C),
    }


def peers(n: int, device: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the time of the free objective's step in PyTorch: eager, fused Adam, and compiled."""
    try:
        import torch
    except ImportError as error:
        yield "PyTorch", {"absent": f"{error}; pip install torch"}
        return
    for name, is_fused, is_compiled in (
        (EAGER, False, False),
        ("PyTorch eager, fused Adam", True, False),
        ("PyTorch compiled, Adam", False, True),
        ("PyTorch compiled, fused Adam", True, True),
    ):
        try:
            found = seconds(torch_step(n, is_fused, is_compiled, device))
            yield name, {"version": torch.__version__, **found}
        except Exception as error:  # a compiler may be missing: that is a finding, not the end of the run
            yield name, {"failed": (str(error).splitlines() or [type(error).__name__])[0]}
        if device == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def torch_step(n: int, is_fused: bool, is_compiled: bool, device: str) -> Callable[[], None]:
    """Return one step of the same loss in PyTorch, written as its users would.

    Zeros are written on the diagonal after each step: a mask would be as large as C.
    """
    import torch
    from torch import nn

    def dense(widths: tuple[int, ...]) -> nn.Module:
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    config = CONFIGURATIONS["free"]
    torch.set_default_device(device)
    torch.manual_seed(0)
    x = torch.randn(n, D)
    encoder, decoder = dense((D, *HIDDEN, P)), dense((P, *reversed(HIDDEN), D))
    c = nn.Parameter((torch.randn(n, n) / n**0.5).fill_diagonal_(0.0))
    p = nn.Parameter(torch.randn(config.n_clusters or 1, n) / n**0.5)
    centroids = torch.randn(len(p), P)
    parameters = [c, p, *encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=is_fused)

    def loss() -> torch.Tensor:
        z = encoder(x)
        rebuilt = c @ z
        top = ((rebuilt - z) ** 2).sum() + config.gamma * c.norm(dim=0).sum()
        bottom = ((p @ z - centroids) ** 2).sum() + config.eta * p.norm(dim=0).sum()
        return ((decoder(rebuilt) - x) ** 2).sum() + config.alpha * top + config.beta * bottom

    forward = torch.compile(loss) if is_compiled else loss

    def run() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()
        c.data.fill_diagonal_(0.0)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def measure(objective: str, n: int, m: int, rate: dict[str, float]) -> dict[str, Any]:
    """Return the record of one size: the floor and our step."""
    record: dict[str, Any] = {"objective": objective, "n": n, "m": m, "p": P, **floor(objective, n, m, rate)}
    record["ours"] = ours(objective, n, m)
    record["times_floor"] = record["ours"]["median_s"] / record["floor_s"]
    return record


def add_peers(out: Path) -> None:
    """Add PyTorch's times to the records of a file where C is full and free; no device of JAX is touched."""
    result = json.loads(out.read_text())
    device = "cpu" if result["machine"]["device"] == "cpu" else "cuda"
    for record in result["records"]:
        if record["objective"] != "free" or record["m"] != record["n"]:
            continue
        record |= {"peers": {}, "times_faster": {}}
        for name, peer in peers(record["n"], device):
            record["peers"][name] = peer
            if "median_s" in peer:
                record["times_faster"][name] = peer["median_s"] / record["ours"]["median_s"]
            save(out, result)


def rows_and_places(text: str) -> tuple[int, int]:
    """Return n and m of ``ROWSxDICTIONARY``, or of ``ROWS`` alone for a full C."""
    size = as_size(text)
    return size[0], size[-1]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where to write the JSON")
    parser.add_argument(
        "--sizes",
        type=rows_and_places,
        nargs="+",
        default=SIZES,
        help="ROWS, or ROWSxDICTIONARY where C is not full",
    )
    parser.add_argument("--objectives", nargs="+", choices=CONFIGURATIONS, default=tuple(CONFIGURATIONS))
    parser.add_argument("--without-peers", action="store_true", help="only our own steps and the floor")
    argv = sys.argv[1:] if argv is None else argv
    args = parser.parse_args(argv)
    if not args.without_peers:  # a process that ends gives back the memory that JAX keeps
        subprocess.run([sys.executable, "-m", "bench.step", *argv, "--without-peers"], check=True)
        add_peers(args.out)
        return
    rate, records = rates(), []
    for n, m in args.sizes:
        for objective in args.objectives:
            records.append(measure(objective, n, m, rate))
            write(args.out, records, rates=rate)


if __name__ == "__main__":
    main()
