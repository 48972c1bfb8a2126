"""Time of one joint full-batch step beside PyTorch's and beside the floor of this machine.

    python -m venv .venv-bench
    .venv-bench/bin/pip install -e . torch
    .venv-bench/bin/python -m bench.step --out bench/results/step.json

The floor of a step is the time of the bytes that must move at this machine's copy bandwidth plus that of the
products at its matrix-product rate: 24 m n bytes and 6 m n p operations for free coefficients, 28 m n bytes
and 6 m n p + 12 m n q operations for the simplex. Both rates are measured in the same run, on large arrays.
All peers run in this one process, one after the other; without PyTorch they are recorded as absent.
"""

import argparse
import dataclasses
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dual_jax as dj
from bench.kmeans import machine

D, P, HIDDEN = 40, 32, (128, 64)
REPEATS = 15
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
    a = jnp.ones(1 << 26)
    copy = jax.jit(lambda a: a + 1.0)
    b, c = (jax.random.normal(jax.random.key(i), (3000, 3000)) for i in range(2))
    product = jax.jit(jnp.matmul)
    copied = seconds(lambda: copy(a).block_until_ready())["least_s"]
    multiplied = seconds(lambda: product(b, c).block_until_ready())["least_s"]
    return {"bytes_per_s": 2 * a.nbytes / copied, "operations_per_s": 2 * 3000**3 / multiplied}


def floor(objective: str, n: int, rate: dict[str, float]) -> dict[str, float]:
    """Return the least that a step moves and computes, and its time at these rates."""
    q = {"free": 0, "simplex": D + P}[objective]
    n_bytes = {"free": 24, "simplex": 28}[objective] * n * n
    operations = 6 * n * n * P + 12 * n * n * q
    at_rates = n_bytes / rate["bytes_per_s"] + operations / rate["operations_per_s"]
    return {"bytes": n_bytes, "operations": operations, "floor_s": at_rates}


def pool(n: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (n, D))


def ours(objective: str, n: int) -> dict[str, Any]:
    """Return the time of our step and of compiling it, and what the compiler keeps beside C and moments."""
    x, config = pool(n), CONFIGURATIONS[objective]
    config = dataclasses.replace(config, block_rows=config.rows_in_block(n, n), dictionary_size=n)
    state = dj.init(jax.random.key(1), x, config)
    state = dj.start_selection(jax.random.key(2), state, x, config)
    start = time.perf_counter()
    compiled = dj.train_step.lower(state, x, config).compile()
    compile_s = time.perf_counter() - start
    temporaries = compiled.memory_analysis().temp_size_in_bytes

    def run() -> None:
        nonlocal state
        state, terms = dj.train_step(state, x, config)
        jax.block_until_ready(terms)

    return {
        **seconds(run),
        "compile_s": compile_s,
        "temporaries_of_4mn": temporaries / (4 * n * n),
        "n_blocks": len(state.params.C),
    }


def peers(n: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the time of the free objective's step in PyTorch: eager, fused Adam, and compiled."""
    try:
        import torch
    except ImportError as error:
        yield "PyTorch", {"absent": f"{error}; pip install torch"}
        return
    for name, is_fused, is_compiled in (
        ("PyTorch eager, Adam", False, False),
        ("PyTorch eager, fused Adam", True, False),
        ("PyTorch compiled, Adam", False, True),
        ("PyTorch compiled, fused Adam", True, True),
    ):
        try:
            yield name, {"version": torch.__version__, **seconds(torch_step(n, is_fused, is_compiled))}
        except Exception as error:  # a compiler may be missing: that is a finding, not the end of the run
            yield name, {"failed": str(error).splitlines()[0]}


def torch_step(n: int, is_fused: bool, is_compiled: bool) -> Callable[[], None]:
    """Return one step of the same loss in PyTorch, written as its users would."""
    import torch
    from torch import nn

    def dense(widths: tuple[int, ...]) -> nn.Module:
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    config = CONFIGURATIONS["free"]
    torch.manual_seed(0)
    x = torch.from_numpy(np.array(pool(n)))
    encoder, decoder = dense((D, *HIDDEN, P)), dense((P, *reversed(HIDDEN), D))
    c = nn.Parameter(torch.randn(n, n) / n**0.5)
    p = nn.Parameter(torch.randn(config.n_clusters or 1, n) / n**0.5)
    centroids = torch.randn(len(p), P)
    parameters = [c, p, *encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=is_fused)
    off_diagonal = 1.0 - torch.eye(n)

    def loss() -> torch.Tensor:
        z, masked = encoder(x), c * off_diagonal
        rebuilt = masked @ z
        top = ((rebuilt - z) ** 2).sum() + config.gamma * masked.square().sum(0).add(1e-12).sqrt().sum()
        bottom = ((p @ z - centroids) ** 2).sum() + config.eta * p.square().sum(0).add(1e-12).sqrt().sum()
        return ((decoder(rebuilt) - x) ** 2).sum() + config.alpha * top + config.beta * bottom

    forward = torch.compile(loss) if is_compiled else loss

    def run() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--without-peers", action="store_true", help="only our own steps and the floor")
    args = parser.parse_args()
    rate, records = rates(), []
    for n in args.sizes:
        for objective in CONFIGURATIONS:
            record = {"objective": objective, "n": n, "m": n, "p": P, **floor(objective, n, rate)}
            record["ours"] = ours(objective, n)
            record["times_floor"] = record["ours"]["median_s"] / record["floor_s"]
            if objective == "free" and not args.without_peers:
                record["peers"] = dict(peers(n))
                record["times_faster"] = {
                    name: peer["median_s"] / record["ours"]["median_s"]
                    for name, peer in record["peers"].items()
                    if "median_s" in peer
                }
            records.append(record)
            print(json.dumps(record, indent=2), flush=True)
    result = {"machine": machine(), "load": os.getloadavg()[0], "rates": rate, "records": records}
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
