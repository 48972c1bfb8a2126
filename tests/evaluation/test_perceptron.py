"""The small network that judges: each set of picks as if it were alone, padding without a say."""

import numpy as np
import pytest

from dual_jax.evaluation.experiment import PERCEPTRON, Cell, Picked, judge
from dual_jax.evaluation.judges import Split, Table
from dual_jax.evaluation.perceptron import perceptrons
from dual_jax.evaluation.records import read

DRAW = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], 20)
ROWS = Table(DRAW.normal(size=(60, 3)) + 6.0 * np.eye(3)[Y], Y)
FEW, MORE = (Table(ROWS.x[::step], ROWS.y[::step]) for step in (10, 5))


def test_far_groups_are_told_apart_from_two_rows_of_each():
    assert perceptrons([FEW], ROWS, 3, 12)[0].accuracy == 1.0


def test_sets_that_are_trained_side_by_side_do_not_see_one_another():
    together = perceptrons([FEW, MORE], ROWS, 3, 12)
    alone = [perceptrons([rows], ROWS, 3, 12)[0] for rows in (FEW, MORE)]
    assert [result.accuracy for result in together] == [result.accuracy for result in alone]
    assert together[0].auc == pytest.approx(alone[0].auc, abs=1e-3)  # of two programs' rounding in 200 steps


def test_a_class_without_a_row_is_never_predicted():
    result = perceptrons([Table(ROWS.x[:40:10], ROWS.y[:40:10])], ROWS, 3, 12)[0]
    assert result.recall == pytest.approx(2 / 3)


def test_the_runner_writes_its_records_beside_those_of_other_judges(tmp_path):
    split = Split("groups", 0, ROWS, ROWS, 3)
    picked = Picked(np.arange(0, 60, 10), 0.0, 0.0)
    tasks = [
        (Cell("p", "groups", 0, "random", "", 0, "raw", name, 6), picked) for name in ("svm", PERCEPTRON)
    ]
    judge(tasks, split, {"raw": lambda: (ROWS, ROWS)}, tmp_path / "records.jsonl")
    found = {record["judge"]: record["accuracy"] for record in read(tmp_path / "records.jsonl")}
    assert found == {"svm": 1.0, PERCEPTRON: 1.0}
