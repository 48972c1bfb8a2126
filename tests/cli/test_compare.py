"""``dual-jax compare``: tables and curves of a labelled table, kept for another run, mistakes first."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from dual_jax.cli import main, options
from dual_jax.evaluation.records import read_folder

QUICK = ("--methods", "kcenter", "--repeats", "2", "--budgets", "3,9")


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table():
    """A CSV of half of iris, with an id and a class."""
    iris = load_iris()
    lines = ["id,a,b,c,d,kind"]
    for i in range(0, 150, 2):
        cells = [f"r{i}", *map(str, iris.data[i]), str(iris.target_names[iris.target[i]])]
        lines.append(",".join(cells))
    with open("flowers.csv", "w") as file:
        file.write("\n".join(lines) + "\n")
    return "flowers.csv"


def test_a_labelled_table_gives_curves_tables_and_words(table, tmp_path, capsys):
    words = ["compare", table, "--label-column", "kind", "--id-column", "id", *QUICK, "--out", "out"]
    assert main(words) == 0

    said = capsys.readouterr().out
    assert "kcenter is" in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("summary.md", "curves.csv", "curves.png", "curves.svg", "records")
    }
    n_records = len(read_folder("out/records"))
    assert n_records == 1 + 2 * 2 * (20 + 1)

    assert main(words) == 0

    assert "[1/" not in capsys.readouterr().out
    assert len(read_folder("out/records")) == n_records


def test_a_built_in_set_brings_its_own_labels(capsys):
    assert main(["compare", "iris", *QUICK, "--out", "out"]) == 0
    assert "# Methods on iris" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["flowers.csv"], "needs labels to compare by"),
        (["flowers.csv", "--label-column", "nope"], "nope"),
        (["flowers.csv", "--label-column", "id"], "look like numbers, not classes"),
        (["iris", "--methods", "tedd"], "--methods 'tedd' is not known"),
        (["iris", "--budgets", "3,many"], "is no list of numbers"),
        (["iris", "--budgets", "0"], "a budget is at least 1"),
        (["iris", "--budgets", "76"], "76 picks, and a pool, half of the table, has 75"),
        (["iris", "--repeats", "1"], "one half cannot tell what is chance"),
        (["iris", "--labels", "short.npy"], "wanted (150,)"),
        (["iris", "--labels", "same.npy"], "needs two classes"),
        (["iris", "--labels", "none.npy"], "row 0 has no label ('none' means a missing cell"),
    ],
)
def test_mistakes_are_found_before_any_work(words, complaint, table, tmp_path, capsys):
    np.save("short.npy", np.arange(3))
    np.save("same.npy", np.zeros(150))
    np.save("none.npy", np.repeat(["none", "mild"], 75))
    assert main(["compare", *words, "--out", "out"]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_of_another_table_are_left_alone(table, capsys):
    assert main(["compare", "iris", *QUICK, "--out", "out"]) == 0
    assert main(["compare", "iris", *QUICK, "--scale", "none", "--out", "out"]) == 2
    assert "results of another table or scaling" in capsys.readouterr().err


def test_results_of_a_table_of_another_name_are_left_alone(table, tmp_path, capsys):
    assert main(["compare", "iris", *QUICK, "--out", "out"]) == 0
    assert main(["compare", "wine", *QUICK, "--out", "out"]) == 2
    assert "results of another table or scaling" in capsys.readouterr().err


def test_a_later_run_with_fewer_halves_shows_those_alone(table, tmp_path):
    for repeats in ("3", "2"):
        assert main(["compare", "iris", *QUICK, "--repeats", repeats, "--out", "out"]) == 0
    rows = (tmp_path / "out" / "curves.csv").read_text().splitlines()[1:]
    assert {row.split(",")[6] for row in rows} == {"2"}


@pytest.mark.parametrize("words", [["compare", "iris", *QUICK], ["reproduce", "--quick"]])
def test_a_summary_that_no_run_of_ours_wrote_is_kept(words, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.md").write_text("my notes")

    assert main([*words, "--out", "out"]) == 2

    assert "holds summary.md and no records of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.md").read_text() == "my notes"
