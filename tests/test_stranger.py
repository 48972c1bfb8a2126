"""A stranger adds a method, a data set and a view by copying what tests/README.md prints, and uses them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dual_jax

PAGE = Path(__file__).parent / "README.md"
USE = {
    "method": """
import jax, numpy as np, dual_jax as dj
from dual_jax.cli import main
np.save("pool.npy", np.float32([[0, 0], [1, 0], [-9, 0], [3, 0]]))
assert main(["select", "pool.npy", "-n", "2", "--method", "extremes", "--scale", "none"]) == 0
assert open("picks.csv").read().splitlines()[1].startswith("1,2,")
assert dj.Selector("extremes", n_to_select=3).fit(np.load("pool.npy")).select(1).tolist() == [2]
""",
    "data set": """
from pathlib import Path
from dual_jax.cli import main
from dual_jax.data.datasets import load
Path("seeds").mkdir()
Path("seeds/seeds.csv").write_text("1,2,0\\n3,4,1\\n5,6,0\\n7,8,1\\n9,10,0\\n")
assert load("seeds", ".").x.shape == (5, 2)
assert main(["select", "seeds", "-n", "2", "--method", "kcenter", "--data-dir", "."]) == 0
""",
    "view": """
import numpy as np, dual_jax as dj
from dual_jax.views.halves import halves
series = np.random.default_rng(0).normal(size=(30, 8))
assert len(dj.Selector("kcenter", n_to_select=4).fit(series, embedding=halves).sample_indices_) == 4
""",
}


def printed(what):
    """Return the blocks of code of one section: file, place in it, lines."""
    section = PAGE.read_text().partition(f"## Add a {what}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n# (\S+?)(?:, (in|above) (\w+))?\n(.*?)```", section, flags=re.DOTALL)


def add(folder, file, where, name, code):
    """Write a new file, or put lines into an entry of a file or above it."""
    path = folder / file
    if not where:
        path.write_text(code)
        return
    text = path.read_text()
    (entry,) = re.finditer(rf"^{name}\b.*\n", text, flags=re.MULTILINE)
    place = entry.end() if where == "in" else entry.start()
    path.write_text(text[:place] + code + text[place:])


@pytest.mark.parametrize("what", USE)
def test_what_the_page_prints_in_under_30_lines_is_enough(what, tmp_path):
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(dual_jax.__file__).parent, tmp_path / "dual_jax", ignore=unwanted)
    blocks = printed(what)
    for block in blocks:
        add(tmp_path, *block)
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", USE[what]], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert blocks
    assert sum(code.count("\n") for *_, code in blocks) < 30
