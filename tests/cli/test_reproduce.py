"""``dual-jax reproduce``: the time is told first, work goes on where it stopped, mistakes cost none."""

import gzip
from pathlib import Path

import pytest

from dual_jax.cli import main, options
from dual_jax.evaluation.records import append, read_folder

SMALL = ["reproduce", "--quick", "--data", "iris", "--methods", "random,kcenter,dcs", "--figure", "2"]


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """An empty folder, no files of data, no cache of compiled programs."""
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.delenv("DUAL_JAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_a_run_tells_the_time_first_and_leaves_records_figures_and_tables(tmp_path, capsys):
    assert main([*SMALL, "--out", "out"]) == 0

    said = capsys.readouterr().out.splitlines()
    assert said[2].startswith("In all about ")
    assert said.index(next(line for line in said if line.startswith("[1/"))) > 2
    assert len(read_folder("out/records")) == 1 + 2 * 3 * (20 + 1 + 1)
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {
        "quick-figure-2-accuracy.png",
        "quick-gains-accuracy.png",
        "quick-ranks-accuracy.png",
        "summary.md",
    } <= found

    path = tmp_path / "out" / "records" / "quick-iris.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    Path(f"{path}.gz").write_bytes(gzip.compress(b"".join(lines[:50])))  # as in bench/results
    path.write_bytes(b"".join(lines[50:]))
    again = main([*SMALL, "--out", "out"])

    assert again == 0
    assert "[1/" not in capsys.readouterr().out
    assert len(read_folder("out/records")) == 1 + 2 * 3 * (20 + 1 + 1)


def test_drawing_only_runs_nothing_and_needs_no_data(tmp_path, capsys):
    (tmp_path / "out" / "records").mkdir(parents=True)
    note = {
        "kind": "skipped",
        "protocol": "fair",
        "data": "gesture",
        "method": "llr",
        "settings": "",
        "reason": "slow",
    }
    append(tmp_path / "out" / "records" / "fair-gesture.jsonl", note)

    assert main(["reproduce", "--draw-only", "--out", "out"]) == 0

    assert capsys.readouterr().out.split() == ["out/summary.md"]
    assert "llr (slow)" in (tmp_path / "out" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--figure", "7"], "--figure '7' is not known here: choose from 2, 3, 4, 5, 6, all, check"),
        (["--figure", ","], "--figure ','"),
        (["--quick", "--data", "urban"], "--data 'urban' is not known here: choose from wine"),
        (["--quick", "--methods", "tde"], "--methods 'tde' is not known here: choose from random"),
        (["--quick", "--methods", "alnr"], "--methods 'alnr' is not known here"),
        (["--draw-only", "--methods", "dual"], "leave --data and --methods out"),
        (["--quick", "--protocol", "paper"], "--quick is a small run of protocol fair"),
        (["--protocol", "paper", "--figure", "2,4"], "protocol paper has figures 2 and 3"),
        (["--figure", "check", "--draw-only"], "--figure check stands alone"),
        (["--figure", "check,2"], "--figure check stands alone"),
        (["--figure", "check", "--quick"], "--figure check stands alone"),
        (["--draw-only"], "holds no records"),
        (["--data", "urban"], "urban_land_cover/training.csv is"),
        (["--quick", "--limit", "0"], "--limit 0.0"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(words, told, capsys, tmp_path):
    assert main(["reproduce", *words, "--out", "out"]) == 2

    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert main([*SMALL, "--out", "file"]) == 2
    assert main([*SMALL, "--out", "no/such"]) == 2

    said = capsys.readouterr().err
    assert "is a file: give a folder" in said
    assert "does not exist; create it first" in said


def test_a_folder_of_another_seed_is_refused(tmp_path, capsys):
    (tmp_path / "out" / "records").mkdir(parents=True)
    append(tmp_path / "out" / "records" / "quick-iris.jsonl", {"kind": "data", "seed": 3})

    assert main([*SMALL, "--out", "out"]) == 2

    assert "seed 3" in capsys.readouterr().err
