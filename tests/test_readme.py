"""What the README shows works as it is written."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run(code):
    exec(compile(code, "README.md", "exec"), {})


def test_the_main_command_is_one_the_command_line_knows():
    from dual_jax.cli import main

    commands = [line for block in blocks("sh") for line in block.splitlines() if "dual-jax select" in line]
    assert commands[0].endswith("dual-jax select digits -n 50")
    assert main(["select", "--help"]) == 0


def test_its_tables_are_those_of_the_result_files():
    from bench.readme import PAGES, filled

    assert [page.name for page in PAGES if filled(page.read_text()) != page.read_text()] == []
