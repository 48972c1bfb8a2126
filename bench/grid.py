"""Time a grid of weights as one vmapped program: ``python -m bench.grid --out bench/results/grid.json``.

Beside it stand the same runs one after another in JAX (each trains its own autoencoder, as calling the method
does), the same cells in programs of one (the autoencoder shared, as in the vmapped grid), and a plain PyTorch
loop where torch is installed. Steps are a tenth of the released recipe's; times are linear in them. The share
of picks that the vmapped program and the runs one after another have in common tells whether they agree.
"""

import argparse
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.kmeans import mixture
from bench.record import as_size, kept, write
from dual_jax.dual import grid
from dual_jax.dual.config import DualConfig
from dual_jax.evaluation.paper.protocols import grid as released_grid
from dual_jax.methods import METHODS

PRETRAIN_STEPS, STEPS = 500, 250
SIZES = ((84, 147), (480, 5), (800, 64))  # half of Urban, Mammographic, Plant
N_SPLITS = 2


def configs() -> list[DualConfig]:
    """Return the 16 cells of the released grid, shortened."""
    shorter = {"pretrain_steps": PRETRAIN_STEPS, "steps": STEPS}
    return [dataclasses.replace(config, **shorter) for _, config in released_grid()]


Picks = list[np.ndarray]  # of each pool with each configuration


def twice(function: Callable[[], Picks]) -> tuple[dict[str, float], Picks]:
    """Return the seconds of the first call, which compiles, and of the second; and the picks."""
    times = []
    for _ in range(2):
        start, busy = time.perf_counter(), time.process_time()
        picks = function()
        times.append((time.perf_counter() - start, time.process_time() - busy))
    return {"first_call_s": times[0][0], "seconds": times[1][0], "cpu_seconds": times[1][1]}, picks


def vmapped(keys: jax.Array, pools: jax.Array, n_select: int, max_bytes: float | None = None) -> Picks:
    cells = configs()
    networks = grid.pretrain(keys, pools, cells[0])
    programs = grid.select(keys, networks, pools, cells, n_select, max_bytes=max_bytes)
    return [outcome.picks for program in programs for outcome in program]


def one_after_another(keys: jax.Array, pools: jax.Array, n_select: int) -> Picks:
    found = []
    for key, pool in zip(keys, pools, strict=True):
        for cell in configs():
            weights = {name: getattr(cell, name) for name in ("alpha", "beta", "gamma", "eta")}
            picks = METHODS["dual_paper"](
                key, pool, n_select, pretrain_steps=PRETRAIN_STEPS, steps=STEPS, **weights
            )
            found.append(np.asarray(picks.indices))
    return found


def shared(ours: Picks, theirs: Picks) -> float:
    """Return the share of picks that two ways to run the cells have in common."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(ours, theirs, strict=True)]))


def pytorch(pools: np.ndarray, n_select: int) -> Picks:
    """Train and rank every cell as the released code does: one full-batch loop after another."""
    import torch
    from sklearn.cluster import KMeans
    from torch import nn

    def network(widths: tuple[int, ...]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def step(optimizer: Any, loss: Any) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    found = []
    for pool in pools:
        x, n, d = torch.tensor(pool), *pool.shape
        encoder, decoder = network((d, 128, 64, 32)), network((32, 64, 128, d))
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
        for _ in range(PRETRAIN_STEPS):
            step(optimizer, ((decoder(encoder(x)) - x) ** 2).mean())
        start = [{k: v.clone() for k, v in module.state_dict().items()} for module in (encoder, decoder)]
        codes = encoder(x).detach().numpy()
        centroids = torch.tensor(KMeans(5, n_init=1, random_state=0).fit(codes).cluster_centers_)
        for cell in configs():
            for module, state in zip((encoder, decoder), start, strict=True):
                module.load_state_dict(state)
            c = nn.Parameter(nn.init.xavier_normal_(torch.empty(n, n)))
            p = nn.Parameter(nn.init.xavier_normal_(torch.empty(5, n)))
            optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), c, p], 1e-3)
            for _ in range(STEPS):
                z = encoder(x)
                rebuilt = c @ z
                top = ((rebuilt - z) ** 2).sum() + cell.gamma * c.norm(dim=0).sum()
                bottom = ((p @ z - centroids) ** 2).sum() + cell.eta * p.norm(dim=0).sum()
                error = ((decoder(rebuilt) - x) ** 2).sum()
                step(optimizer, error + cell.alpha * top + cell.beta * bottom)
            scores = [(s - s.min()) / (s.max() - s.min()) for s in (c.norm(dim=0), p.norm(dim=0))]
            found.append((-sum(scores)).argsort()[:n_select].numpy())
    return found


def measure(n: int, d: int) -> Iterator[dict[str, Any]]:
    """Give the record of one size after each way to run it."""
    rows = mixture(N_SPLITS * n, d, 9)
    pools = rows.reshape(N_SPLITS, n, d)
    keys, on_device = jax.random.split(jax.random.key(0), N_SPLITS), jnp.asarray(pools)
    n_cells, half = N_SPLITS * len(configs()), n // 2
    programs = -(-n_cells // grid.cells_at_once(n_cells, (n, d), configs()[0]))
    record: dict[str, Any] = {"n": n, "d": d, "cells": n_cells, "programs": programs}
    record |= {"pretrain_steps": PRETRAIN_STEPS, "steps": STEPS, "load": os.getloadavg()[0]}
    record["vmapped"], picks = twice(lambda: vmapped(keys, on_device, half))
    yield record
    record["pytorch"] = peer(pools, half)
    yield record
    record["programs_of_one"], _ = twice(lambda: vmapped(keys, on_device, half, 1.0))
    yield record
    record["one_after_another"], picks_alone = twice(lambda: one_after_another(keys, on_device, half))
    yield record | {"same_picks": shared(picks, picks_alone)}


def peer(pools: np.ndarray, n_select: int) -> dict[str, Any]:
    """Return the seconds of the PyTorch loop with its version and threads, or what to install for it."""
    try:
        import torch
    except ImportError as error:
        return {"absent": f"{error}; pip install torch"}
    times, _ = twice(lambda: pytorch(pools, n_select))
    return {"version": torch.__version__, "threads": torch.get_num_threads(), **times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="the JSON; sizes that it has from before are kept")
    parser.add_argument("--sizes", type=as_size, nargs="+", default=SIZES, help="pools, as ROWSxFEATURES")
    args = parser.parse_args()
    records = kept(args.out, "n", "d")
    for size in args.sizes:
        for record in measure(*size):
            records[size] = record
            write(args.out, list(records.values()))


if __name__ == "__main__":
    main()
