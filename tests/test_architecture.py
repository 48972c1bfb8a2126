"""The house: imports point down the floors, and importing the package stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import dual_jax

ROOT = Path(dual_jax.__file__).parent
FLOORS = [
    ["augmentation", "collectives", "numerics", "selection"],
    [
        "kernels",
        "graphs",
        "rowsparse",
        "grouplasso",
        "robustlasso",
        "kmeans",
        "coverage",
        "swaps",
        "explanation",
        "model",
        "convolution",
    ],
    ["readout", "config", "hardware", "sharding"],
    ["training", "layout", "plan", "fitting", "ahead", "grid", "contrastive"],
    ["methods"],
    ["store", "data"],
    [
        "progress",
        "logs",
        "plots",
        "diagnostics",
        "page",
        "receipt",
        "machine",
        "checkpoint",
        "streaming",
        "request",
        "estimator",
        "selector",
        "archive",
        "strategy",
    ],
    ["records", "experiment", "standings", "figures", "comparison", "reproduction"],
    ["cli", "__main__", "__init__"],
]
FLOOR = {name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)}
BASE = "jax, flax.nnx, optax"
HEAVY = ["pandas", "pyarrow", "matplotlib", "orbax.checkpoint", "sklearn.svm", "pooch", "tensorboardX"]


def imports_of(path):
    """Return the parts of dual_jax that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dual_jax"):
            rest = node.module.split(".")[1:]
            yield from [rest[0]] if rest else [alias.name for alias in node.names]


def test_imports_point_down_the_floors():
    for path in ROOT.rglob("*.py"):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for target in set(imports_of(path)) - {part, "__version__"}:
            assert FLOOR[target] < FLOOR[part], f"{path.name} imports {target}"


def test_importing_the_package_loads_nothing_heavy():
    code = f"import sys, dual_jax; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_importing_the_package_loads_little_beside_what_it_is_built_on():
    code = f"import sys, {BASE}; known = {{*sys.modules}}; import dual_jax; print(*{{*sys.modules}} - known)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in loaded.stdout.split()} - sys.stdlib_module_names
    assert packages <= {"dual_jax", "jax", "jaxtyping", "wadler_lindig"}  # the last is jaxtyping's own


def test_every_public_name_can_be_imported():
    for name in dual_jax.__all__:
        assert getattr(dual_jax, name) is not None
