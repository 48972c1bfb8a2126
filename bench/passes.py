"""Passes over C, kernels, temporaries and compile time of DUAL's programs, by compilers for devices not here.

    pip install -e ".[tpu]"; pip install --no-deps jax-cuda12-plugin jax-cuda12-pjrt  # of jax's version
    JAX_PLATFORMS=cpu python -m bench.passes --out bench/results/passes.json
    JAX_PLATFORMS=cpu python -m bench.passes --program v5e:1x1 free 4000 chunk

C is full (m = n), with the sizes that the fit itself uses on such a device. A pass reads or writes four bytes
an entry of C in main memory: six are the least of a step that updates C and Adam's two moments, and a
seventh reads C to rebuild the targets. "chunk" is the program that a fit runs, up to 50 steps in a loop:
its counts inside the loop are those of a step, those outside come once a chunk. CPU seconds are of tracing,
lowering and compiling in one process.
"""

import argparse
import json
import math
import time
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import dual_jax as dj
from bench.hlo import total
from bench.record import apart, save
from dual_jax.data.errors import MissingPackageError
from dual_jax.devices.hardware import platform_name
from dual_jax.devices.mesh import make_mesh
from dual_jax.dual.ahead import devices_for, lower
from dual_jax.dual.trial import tried

D = 64  # features of a row
TARGETS = Path(__file__).parent / "targets"  # of GPUs, as their compiler reads them
CONFIGURATIONS = {"free": dj.DualConfig.paper, "simplex": dj.DualConfig}
PROGRAMS = (
    ("h100:1", "free", 4096, "step"),
    ("h100:1", "free", 10_000, "step"),
    ("h100:1", "simplex", 4096, "step"),
    ("v5e:1x1", "free", 4000, "chunk"),
    ("v5e:1x1", "free", 10_000, "step"),
    ("v5e:1x1", "free", 20_000, "step"),
    ("v5e:1x1", "simplex", 4000, "step"),
    ("v5e:1x1", "simplex", 20_000, "step"),
)
LIMIT = 3600.0  # seconds of one program


def device_of(devices: str) -> Any:
    """Return a device to compile for: as `devices_for`, or a GPU that is not here."""
    kind = devices.split(":")[0]
    target = TARGETS / f"{kind}.txtpb"
    if not target.exists():
        return devices_for(devices)[0]
    if find_spec("jax_cuda12_plugin") is None and find_spec("jax_cuda13_plugin") is None:
        raise MissingPackageError("compiling for a GPU needs jax-cuda12-plugin and jax-cuda12-pjrt")
    description = partial(topologies.get_topology_desc, "any", platform="cuda", topology="1x1x1")
    return description(target_config=target.read_text()).devices[0]


def lowered(
    devices: str, objective: str, n: int, program: str, **settings: Any
) -> tuple[Any, tuple[int, ...]]:
    """Return a program of a fit to n rows, ready to be compiled, and the shape of its target blocks."""
    device = device_of(devices)
    config = CONFIGURATIONS[objective](dictionary_size=n, **settings)
    sizes = tried(config.sizes(n, platform=platform_name(device)), config, make_mesh([device]))
    if program == "chunk":
        return lower((n, D), config, [device])["train"], (sizes.block_rows, sizes.n_columns)

    def placed(tree: Any) -> Any:
        place = SingleDeviceSharding(device)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=place), tree)

    key, x = jax.eval_shape(jax.random.key, 0), placed(jax.ShapeDtypeStruct((n, D), jnp.float32))
    fresh = placed(jax.eval_shape(dj.init, key, x, config))
    start = partial(dj.start_selection, sizes=sizes)
    if program == "start":
        return start.func.lower(key, fresh, x, config, sizes=sizes), (sizes.block_rows, sizes.n_columns)
    begun = placed(jax.eval_shape(start, key, fresh, x, config))
    return dj.train_step.lower(begun, x, config, kernel=sizes.kernel), begun.params.C[0].shape


def measured(devices: str, objective: str, n: int, program: str, **settings: Any) -> dict[str, Any]:
    """Return what a compiler says of one program."""
    begun = time.process_time()
    lowering, block = lowered(devices, objective, n, program, **settings)
    compiled = lowering.compile()
    cpu_s = time.process_time() - begun
    memory, text = compiled.memory_analysis(), compiled.as_text()
    kernels = partial(total, text, n * n, math.prod(block))
    entries = n * n
    inside, outside = kernels(in_loop=True), kernels(in_loop=False)
    step = inside if program == "chunk" else outside
    record = {"devices": devices, "objective": objective, "n": n, "program": program}
    record |= {"block": list(block), "n_blocks": -(-n // block[0]), "passes": round(step.passes, 2)}
    has_own = "tpu_custom_call" in text  # kernels of our own, whose cycles are not told
    record |= {"kernels": step.kernels, "copies": step.copies, "own": has_own}
    if step.cycles and not has_own:  # of a TPU, in units of one vector register: 8 x 128 entries
        record["cycles_per_register"] = round(1024 * step.cycles / entries, 1)
    if program == "chunk":
        record["once_a_chunk"] = {"passes": round(outside.passes, 2), "copies": outside.copies}
    record["temporaries_of_c"] = round(memory.temp_size_in_bytes / (4 * entries), 3)
    record["compile_cpu_s"] = round(cpu_s, 1)
    return record


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="JSON; its records of other programs are kept")
    parser.add_argument("--program", nargs=4, metavar=("DEVICES", "OBJECTIVE", "N", "PROGRAM"))
    parser.add_argument("--block-rows", type=int, help="instead of the device's own rule")
    args = parser.parse_args(argv)
    programs = [(*args.program[:2], int(args.program[2]), args.program[3])] if args.program else PROGRAMS
    if not args.out and args.program:
        settings = {} if args.block_rows is None else {"block_rows": args.block_rows}
        print(json.dumps(measured(*programs[0], **settings)))
        return
    names = ("devices", "objective", "n", "program")
    known = json.loads(args.out.read_text())["records"] if args.out and args.out.exists() else []
    records = {tuple(record[name] for name in names): record for record in known}
    versions = {name: version(name) for name in ("jax", "jaxlib", "libtpu")}
    for program in programs:
        found = apart("bench.passes", ["--program", *map(str, program)], LIMIT)
        records[program] = {**dict(zip(names, program, strict=True)), **found}
        print(records[program], flush=True)
        if args.out:
            save(args.out, {"versions": versions, "d": D, "records": list(records.values())})


if __name__ == "__main__":
    main()
