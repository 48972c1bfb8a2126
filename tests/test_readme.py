"""What README.md and the page of the command line show works as it is written."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dual_jax.cli import main

ROOT = Path(__file__).parent.parent
README, COMMAND_LINE = ROOT / "README.md", ROOT / "dual_jax" / "cli" / "README.md"
TRAINS = ("select digits", "labeled done.csv", "--methods dual")  # a network, with its full number of steps


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page):
    """Give the commands of a page; those that train a network at full length are slow."""
    for block in blocks(page, "sh"):
        for part in map(str.strip, re.split(r"\n|&&", block)):
            if part.startswith("dual-jax "):
                is_slow = any(words in part for words in TRAINS) and "--method medoids" not in part
                yield pytest.param(part, marks=[pytest.mark.slow] * is_slow)


@pytest.mark.parametrize("code", blocks(README, "python"))
def test_python_snippets_run(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("command", [*commands(README), *commands(COMMAND_LINE)])
def test_commands_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    rows = [f"r{i},{a:.4f},{b:.4f}" for i, (a, b) in enumerate(draw.normal(size=(120, 2)))]
    labelled = [f"{row},{'uv'[i % 2]}" for i, row in enumerate(rows)]
    Path("pool.csv").write_text("\n".join(["id,a,b", *rows]))
    Path("done.csv").write_text("id\nr3\n")
    Path("labelled.csv").write_text("\n".join(["id,a,b,y", *labelled]))
    assert main(shlex.split(command)[1:]) == 0


def test_the_page_of_the_command_line_has_every_option_of_select(capsys):
    main(["select", "--help"])
    options = re.findall(r"^  (?:-n N, )?(--[a-z-]+)", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(options) > 20
    assert [option for option in options if option not in COMMAND_LINE.read_text()] == []


def test_the_tables_of_the_pages_are_those_of_the_result_files():
    from bench.readme import PAGES, filled

    assert [page.name for page in PAGES if filled(page.read_text()) != page.read_text()] == []


def test_the_page_of_public_names_is_that_of_the_code():
    from bench.api import PAGE, page

    assert PAGE.read_text() == page()


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.md")])
def test_links_inside_the_repository_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
