"""The tournament runs in pieces, says what is left, and draws from its records."""

import inspect
import sys

import pytest

from bench import embedding, quality
from dual_jax.evaluation.records import read_folder
from dual_jax.methods import METHODS


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["quality", "--out", str(tmp_path), *words])
        assert quality.main() == 0
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_what_has_a_record_is_not_done_again_and_the_tables_come_from_the_records(run, tmp_path):
    words = ("--data", "iris", "--splits", "1", "--methods", "random,kcenter,medoids")
    assert run(*words).startswith("4 pieces, about ")
    before = len(read_folder(tmp_path / "records"))

    assert run(*words).startswith("0 pieces")

    assert len(read_folder(tmp_path / "records")) == before
    text = (tmp_path / "summary.md").read_text()
    assert "| medoids (readout=refine) |" in text
    assert "## small network, recall: points over random" in text
    assert (tmp_path / "ranks-svm.png").exists()


@pytest.mark.parametrize("name", quality.GENERATED)
def test_generated_sets_are_the_same_each_time_and_within_the_cap(name):
    first, again = quality.capped(name, None), quality.capped(name, None)
    assert (first.x == again.x).all()
    assert len(first.x) <= quality.MOST_ROWS
    assert len(first.class_names) == len(set(first.y.tolist()))


def test_budgets_run_from_the_number_of_classes_to_half_of_the_pool():
    assert quality.tournament("iris", 1).budgets(3, 100) == (3, 6, 12, 25, 50)


@pytest.mark.slow
def test_the_ladder_is_climbed_on_splits_that_the_tournament_does_not_see(run, tmp_path, monkeypatch):
    greedy = [entry for entry in quality.LADDER if entry.is_nested]  # others compile for every budget
    monkeypatch.setattr(quality, "LADDER", greedy)
    assert "random, split 0" in run(
        "--ladder", "--data", "iris", "--splits", "1", "--methods", "random,medoids"
    )
    records = read_folder(tmp_path / "records")
    assert {record["seed"] for record in records if record.get("kind") == "data"} == {quality.DEV_SEED}
    settings = {record["settings"] for record in records if record.get("method") == "medoids"}
    assert settings == {"", "pair_first=False"}


@pytest.mark.parametrize(
    "entry",
    [*quality.LADDER, *quality.VARIANTS, *embedding.METHODS.values()],
    ids=lambda entry: entry.title,
)
def test_every_knob_that_is_compared_is_one_of_its_method(entry):
    assert entry.knobs.keys() <= inspect.signature(METHODS[entry.method].select).parameters.keys()


def test_settings_are_told_beside_the_default_with_the_error_over_data_sets():
    shared = {"split": 0, "budget": 5, "view": "raw"}
    points = {
        ("random", ""): (50, 60),
        ("dual", ""): (54, 66),
        ("dual", "steps=0"): (55, 70),
    }
    records = [
        {**shared, "data": data, "method": method, "settings": settings, "judge": judge, "accuracy": p / 100}
        for judge in ("svm", "nearest")
        for (method, settings), values in points.items()
        for data, p in zip("ab", values, strict=True)
    ]
    lines = quality.differences(records).splitlines()
    assert "| +7.50 | +2.50 ± 1.50 | +7.50 | +2.50 ± 1.50 |" in lines[2]
    assert lines[3].endswith("| +5.00 |  | +5.00 |  |")
