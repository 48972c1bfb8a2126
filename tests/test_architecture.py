"""The eleven rooms: what each may import, no circle inside a room, and importing the package stays light."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dual_jax

ROOT = Path(dual_jax.__file__).parent
MAY_IMPORT = {
    "devices": set(),
    "numerics": {"devices"},
    "selection": {"numerics", "devices"},
    "data": set(),
    "dual": {"selection", "numerics", "devices", "data"},
    "methods": {"dual", "selection", "numerics", "devices"},
    "views": {"data", "dual", "numerics", "devices"},
    "estimators": {"views", "methods", "dual", "selection", "numerics", "devices", "data"},
    "plots": {"numerics", "data"},
    "evaluation": {"methods", "dual", "views", "selection", "numerics", "devices", "data", "plots"},
    "cli": {
        *("estimators", "evaluation", "plots", "views", "methods", "dual", "selection", "numerics"),
        *("devices", "data"),
    },
}
OF_DATA_IN_DUAL = {"checks", "errors", "storage"}
TOP = {"__init__", "__main__"}  # the package's front doors, which may import every room
BASE = "jax, flax.nnx, optax"
HEAVY = ["pandas", "pyarrow", "matplotlib", "orbax.checkpoint", "sklearn.svm", "pooch", "tensorboardX"]


def modules():
    """Return each module's dotted name below the package, with its file."""
    paths = {path.relative_to(ROOT).with_suffix(""): path for path in ROOT.rglob("*.py")}
    return {".".join(path.parts).removesuffix(".__init__"): file for path, file in paths.items()}


MODULES = modules()


def imports_of(path):
    """Return the modules below the package that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dual_jax":
            module = node.module.partition(".")[2]
            for alias in node.names:
                inside = f"{module}.{alias.name}".lstrip(".")
                yield inside if inside in MODULES else module
        elif isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] for a in node.names if a.name.startswith("dual_jax."))


def room_of(module):
    return module.partition(".")[0]


def test_there_are_eleven_rooms_and_the_front_doors():
    rooms = {room_of(module) for module in MODULES}
    assert rooms == {*MAY_IMPORT, *TOP}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_it_may(room):
    for module, path in MODULES.items():
        if room_of(module) == room:
            others = {room_of(target) for target in imports_of(path) if target} - {room}
            assert others <= MAY_IMPORT[room], f"{module} imports {others - MAY_IMPORT[room]}"


def test_dual_knows_of_data_only_checks_errors_and_storage():
    for module, path in MODULES.items():
        if room_of(module) == "dual":
            of_data = {t.partition(".")[2] for t in imports_of(path) if room_of(t) == "data"}
            assert of_data <= OF_DATA_IN_DUAL, f"{module} imports data.{of_data - OF_DATA_IN_DUAL}"


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_there_is_no_circle_inside_a_room(room):
    inside = {module: path for module, path in MODULES.items() if room_of(module) == room}
    graph = {module: {*imports_of(path)} & {*inside} - {module} for module, path in inside.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_importing_the_package_loads_nothing_heavy():
    core = "from dual_jax import DualConfig, dense, fit, kmeans, plan, rank, train_step"
    code = f"import sys; {core}; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_importing_the_package_loads_little_beside_what_it_is_built_on():
    core = "from dual_jax import DualConfig, dense, fit, kmeans, plan, rank, train_step"
    code = f"import sys, {BASE}; known = {{*sys.modules}}; {core}; print(*{{*sys.modules}} - known)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in loaded.stdout.split()} - sys.stdlib_module_names
    assert packages <= {"dual_jax", "jax", "jaxtyping", "wadler_lindig"}  # the last is jaxtyping's own


def test_every_public_name_can_be_imported():
    for name in dual_jax.__all__:
        assert getattr(dual_jax, name) is not None
