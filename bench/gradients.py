"""Time a training step with the gradients of C by hand and by JAX: ``python -m bench.gradients --out FILE``.

`dual_jax.dual.objectives` writes the gradient of a block of C by hand. Here JAX derives it instead, with the
inputs under ``stop_gradient``, and both steps run in turn. CPU seconds change less on a busy machine than
seconds of the clock.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dual_jax as dj
from bench.record import write
from dual_jax.dual.objectives import free, simplex
from dual_jax.dual.objectives.notation import Space
from dual_jax.numerics.arithmetic import matmul

SIZES = (600, 4000)
CONFIGS = {"free": dj.DualConfig.paper(), "simplex": dj.DualConfig()}
ROUNDS = 9
BY_HAND = free.combine, simplex.attend


def _combine(raw: Any, z: Any, is_free: Any, own: Any) -> Any:
    """Do as `free.combine`, with a gradient by JAX."""
    c = jnp.where(is_free, raw, 0.0)
    return matmul(c, z), jnp.sum(c**2, axis=0)


def _attend(raw: Any, dictionary: Space, targets: Space, is_free: Any, weights: Any, sharpness: Any) -> Any:
    """Do as `simplex.attend`, with a gradient by JAX."""
    fixed = jax.lax.stop_gradient
    dictionary, targets = (of._replace(inputs=fixed(of.inputs)) for of in (dictionary, targets))
    return simplex._attend_forward(raw, dictionary, targets, is_free, fixed(weights), fixed(sharpness))[0]


def compiled(
    config: dj.DualConfig, x: Any, gradients: tuple[Callable[..., Any], ...]
) -> tuple[dj.TrainState, Any]:
    """Return a state at the start of stage 3 and a compiled step with these gradients."""
    free.combine, simplex.attend = gradients
    try:
        state = dj.start_selection(jax.random.key(2), dj.init(jax.random.key(1), x, config), x, config)
        step = jax.jit(lambda state: dj.train_step.__wrapped__(state, x, config), donate_argnums=0)
        return state, step.lower(state).compile()
    finally:
        free.combine, simplex.attend = BY_HAND


def measure(n: int, objective: str) -> dict[str, Any]:
    """Return the CPU milliseconds and temporaries of both steps, and the ratio of rounds in turn."""
    x, config = jax.random.normal(jax.random.key(0), (n, 64)), CONFIGS[objective]
    n_steps = max(2, 20_000 // n)
    runs = {"hand": compiled(config, x, BY_HAND), "jax": compiled(config, x, (_combine, _attend))}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (state, step) in runs.items():
            start = time.process_time()
            for _ in range(n_steps):
                state, _ = step(state)
            jax.block_until_ready(state.params)
            cpu[name].append(1e3 * (time.process_time() - start) / n_steps)
            runs[name] = state, step
    ratio = np.divide(cpu["jax"], cpu["hand"])
    return {
        **{"n": n, "objective": objective, "ratio": float(np.median(ratio)), "ratios": ratio.tolist()},
        **{f"{name}_cpu_ms": float(np.median(values)) for name, values in cpu.items()},
        **{
            f"{name}_temporaries": step.memory_analysis().temp_size_in_bytes / (4 * n**2)
            for name, (_, step) in runs.items()
        },
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="rows of the pools")
    args = parser.parse_args(argv)
    records = []
    for n in args.sizes:
        for objective in CONFIGS:
            records.append(measure(n, objective))
            write(args.out, records)
            print(records[-1], flush=True)


if __name__ == "__main__":
    main()
