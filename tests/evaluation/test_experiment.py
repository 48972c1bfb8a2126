"""The record runner: every cell once, none again, labels for judges alone."""

import dataclasses

import jax
import numpy as np
import pytest

from dual_jax.data.datasets import Dataset
from dual_jax.evaluation import judges as evaluation
from dual_jax.evaluation.experiment import Cell, Entry, cells, encoded, finished, order_key, pick, run
from dual_jax.evaluation.judges import JUDGES, halve
from dual_jax.evaluation.records import append, read
from dual_jax.methods import METHODS
from dual_jax.selection.protocol import Selection

RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2
DATA = Dataset("forty", RNG.normal(size=(40, 3)) + 2 * LABELS[:, None], LABELS, ("a", "b"), None, "")
SPLIT = halve(DATA, 0)
VIEWS = {"raw": lambda: (SPLIT.pool, SPLIT.test)}
KEY = jax.random.key(0)
BUDGETS = (2, 5, 10)


def test_a_run_gives_and_writes_a_record_for_each_cell(tmp_path):
    entry, path = Entry("random", n_orders=2), tmp_path / "records.jsonl"
    wanted = cells("test", SPLIT, entry, BUDGETS, judges=("svm", "nearest"))

    records = run(entry, wanted, SPLIT, VIEWS, KEY, path)

    assert len(wanted) == len(set(wanted)) == 2 * 2 * 3
    assert records == read(path)
    assert list(finished(records)) == wanted
    assert all(0 <= record["accuracy"] <= 1 and record["seconds"] >= 0 for record in records)


def test_a_run_that_was_cut_off_is_finished_by_the_same_records(tmp_path):
    entry, whole, cut = Entry("random", n_orders=2), tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    wanted = cells("test", SPLIT, entry, BUDGETS)
    expected = {
        cell: r["accuracy"] for cell, r in finished(run(entry, wanted, SPLIT, VIEWS, KEY, whole)).items()
    }
    for record in read(whole)[:4]:
        append(cut, record)

    left = [cell for cell in wanted if cell not in finished(read(cut))]
    again = run(entry, left, SPLIT, VIEWS, KEY, cut)

    assert len(again) == 2
    assert {cell: r["accuracy"] for cell, r in finished(read(cut)).items()} == expected


def test_records_are_on_the_disk_before_a_later_cell_fails(tmp_path, monkeypatch):
    real, path = JUDGES["svm"], tmp_path / "records.jsonl"

    def fail_late(picked, *rest):
        return real(picked, *rest) if len(picked.y) < 10 else 1 / 0

    monkeypatch.setitem(JUDGES, "svm", fail_late)
    entry = Entry("random")

    with pytest.raises(ZeroDivisionError):
        run(entry, cells("test", SPLIT, entry, BUDGETS), SPLIT, VIEWS, KEY, path)

    assert [record["budget"] for record in read(path)] == [2, 5]


def test_what_solvers_warn_of_is_in_the_records_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_ITER", 1)
    entry = Entry("random")

    records = run(entry, cells("test", SPLIT, entry, [10]), SPLIT, VIEWS, KEY, tmp_path / "records.jsonl")

    assert not records[0]["is_converged"]


@pytest.mark.parametrize(("is_nested", "n_runs"), [(True, 1), (False, 3)])
def test_nested_methods_run_once_and_the_others_at_every_budget(monkeypatch, is_nested, n_runs):
    asked = []

    def first(key, x, n_select, **masks):
        asked.append(n_select)
        return Selection(np.arange(n_select), np.zeros(n_select))

    random = METHODS["random"]
    monkeypatch.setattr("dual_jax.methods.random.random", first)
    facts = random.facts._replace(nested=is_nested, function="random")
    monkeypatch.setitem(METHODS, "first", dataclasses.replace(random, name="first", facts=facts))

    picked = pick(Entry("first"), KEY, SPLIT.pool.x, BUDGETS)

    assert len(asked) == n_runs
    assert [len(picked[budget].indices) for budget in BUDGETS] == list(BUDGETS)


def test_refined_picks_are_no_prefix():
    assert Entry("dual").is_nested
    assert not Entry("dual", {"readout": "refine"}).is_nested


@pytest.mark.slow
def test_what_is_read_out_for_each_budget_is_trained_once(monkeypatch):
    knobs = {"readout": "refine", "pretrain_steps": 20, "steps": 5}
    trainings, method = [], METHODS["dual"]
    read = method.reader

    def reader(*given, **knobs):
        trainings.append(knobs)
        return read(*given, **knobs)

    monkeypatch.setattr("dual_jax.methods.dual.dual_reader", reader)

    picked = pick(Entry("dual", knobs), KEY, SPLIT.pool.x, (3, 6))

    assert len(trainings) == 1
    for budget in (3, 6):
        assert picked[budget].indices.tolist() == method(KEY, SPLIT.pool.x, budget, **knobs).indices.tolist()


def test_each_split_and_each_order_has_a_key_of_its_own():
    keys = [order_key(KEY, split, order) for split in range(3) for order in range(3)]

    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 9


def test_a_judge_sees_the_picks_in_its_own_view(tmp_path):
    blank = [table._replace(x=np.zeros_like(table.x)) for table in (SPLIT.pool, SPLIT.test)]
    views = VIEWS | {"blank": lambda: tuple(blank)}
    entry = Entry("random", views=("raw", "blank"))

    records = finished(
        run(entry, cells("test", SPLIT, entry, [10]), SPLIT, views, KEY, tmp_path / "records.jsonl")
    )

    accuracy = {cell.view: record["accuracy"] for cell, record in records.items()}
    assert accuracy["raw"] > 0.8 > 0.6 > accuracy["blank"]


def test_settings_are_part_of_a_cell():
    entry = Entry("ted", {"regularization": 0.1})

    (cell,) = cells("test", SPLIT, entry, [2])

    assert cell == Cell("test", "forty", 0, "ted", "regularization=0.1", 0, "raw", "svm", 2)
    assert entry.title == "ted (regularization=0.1)"


def test_records_of_other_kinds_are_no_cells():
    assert finished([{"kind": "data", "data": "forty"}]) == {}


def test_codes_are_the_encoders_and_keep_their_classes():
    class Config:
        @staticmethod
        def modules(x):
            double = type("Encoder", (), {"apply": staticmethod(lambda params, rows: params * rows)})
            return type("Modules", (), {"encoder": double})

    pool, test = encoded(SPLIT, 2.0, Config)

    np.testing.assert_allclose(pool.x, 2 * SPLIT.pool.x)
    assert np.array_equal(test.y, SPLIT.test.y)
