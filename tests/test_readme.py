"""What the README shows works as it is written."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dual_jax.cli import main

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


COMMANDS = [
    part.strip() for block in blocks("sh") for part in re.split(r"\n|&&", block) if "dual-jax " in part
]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    rows = [f"r{i},{a:.4f},{b:.4f}" for i, (a, b) in enumerate(draw.normal(size=(120, 2)))]
    labelled = [f"{row},{'uv'[i % 2]}" for i, row in enumerate(rows)]
    Path("pool.csv").write_text("\n".join(["id,a,b", *rows]))
    Path("done.csv").write_text("id\nr3\n")
    Path("labelled.csv").write_text("\n".join(["id,a,b,y", *labelled]))
    assert main(shlex.split(command)[1:]) == 0


def test_the_main_command_is_first():
    assert COMMANDS[0] == "dual-jax select digits -n 50"


def test_its_tables_are_those_of_the_result_files():
    from bench.readme import PAGES, filled

    assert [page.name for page in PAGES if filled(page.read_text()) != page.read_text()] == []
