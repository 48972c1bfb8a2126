"""The page "Which method when" knows every method, and says truly which are nested."""

from pathlib import Path

import dual_jax.methods
from dual_jax.methods import METHODS

PAGE = (Path(dual_jax.methods.__file__).parent / "README.md").read_text()


def rows():
    """Cells of each row of the first table below its head."""
    lines = [line.replace(r"\|", "").strip("|") for line in PAGE.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [cells for cells in table if cells[0].strip("`") in METHODS and len(cells) == 7]


def test_the_table_has_a_row_for_each_method_in_order():
    assert [cells[0] for cells in rows()] == [f"`{name}`" for name in METHODS]


def test_the_table_says_which_methods_are_nested():
    assert {cells[0].strip("`"): cells[2] == "yes" for cells in rows()} == {
        name: method.is_nested for name, method in METHODS.items()
    }


def test_no_cell_is_empty():
    assert all(all(cells) for cells in rows())
