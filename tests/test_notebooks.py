"""The cell that installs the package is the same in every notebook, and asks pip for what pip understands."""

import importlib.util
import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PIP = '%pip install --quiet "{REQUIREMENT}"'


def install_cell(notebook):
    cells = ("".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"])
    return next(cell for cell in cells if "%pip" in cell)


def asked_for(source):
    """Return what pip is asked for where the package is missing; None where it is not asked."""
    code = install_cell(NOTEBOOKS[0]).replace('SOURCE = ".."', f"SOURCE = {source!r}")
    asked = {}
    exec(code.replace(PIP, "asked = REQUIREMENT"), asked)
    return asked.get("asked")


def test_every_notebook_installs_in_the_same_way():
    assert len(NOTEBOOKS) == 7
    assert len({install_cell(notebook) for notebook in NOTEBOOKS}) == 1
    assert PIP in install_cell(NOTEBOOKS[0])


@pytest.mark.parametrize(
    "url", ["git+https://host.org/owner/dual_jax@v1", "https://host.org/dual_jax-0.1.0-py3-none-any.whl"]
)
def test_a_url_becomes_a_requirement_with_its_extra(url, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    wanted = Requirement(asked_for(url))
    assert (wanted.name, wanted.extras, wanted.url) == ("dual-jax", {"plot"}, url)


@pytest.mark.parametrize("path", ["..", "/content/dual_jax", "dual_jax-0.1.0-py3-none-any.whl"])
def test_a_checkout_or_a_wheel_is_named_with_its_extra(path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert asked_for(path) == f"{path}[plot]"


def test_nothing_is_installed_where_the_package_is():
    assert asked_for("..") is None
