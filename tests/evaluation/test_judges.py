"""Judges of picks: scikit-learn's own numbers, and sense where classes are missing."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import recall_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from dual_jax.data.datasets import Dataset, load
from dual_jax.evaluation import judges as evaluation
from dual_jax.evaluation.judges import Table, budgets, halve, nearest, quiet, svm

RNG = np.random.default_rng(0)
LABELS = np.arange(90) % 3
ROWS = (RNG.normal(size=(90, 4)) + LABELS[:, None]).astype(np.float32)
PICKED, TEST = Table(ROWS[:30], LABELS[:30]), Table(ROWS[30:], LABELS[30:])


def only(table, classes):
    kept = np.isin(table.y, classes)
    return Table(table.x[kept], table.y[kept])


def test_halves_share_no_row_and_are_scaled_by_the_pool():
    split = halve(load("wine"), 0)

    assert len(split.pool.y) == len(split.test.y) == 89
    assert len(np.unique(np.concatenate([split.pool.x, split.test.x]), axis=0)) == 178
    # 1e-5: float32 rounding of standardised values
    np.testing.assert_allclose(split.pool.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(split.pool.x.std(axis=0), 1, atol=1e-5)
    assert np.abs(split.test.x.mean(axis=0)).max() > 1e-3


def test_halves_depend_on_seed_and_number_alone():
    same, again = halve(load("iris"), 1, seed=5), halve(load("iris"), 1, seed=5)
    other = [halve(load("iris"), 2, seed=5), halve(load("iris"), 1, seed=6)]

    assert np.array_equal(same.pool.x, again.pool.x)
    assert not any(np.array_equal(same.pool.x, split.pool.x) for split in other)


def test_of_an_odd_number_the_test_set_gets_the_one_more():
    data = Dataset("five", ROWS[:5], LABELS[:5], ("a", "b", "c"), None, "")

    split = halve(data, 0, scale="none")

    assert (len(split.pool.y), len(split.test.y)) == (2, 3)
    assert {tuple(row) for row in split.pool.x} < {tuple(row) for row in ROWS[:5]}


@pytest.mark.parametrize(("n_classes", "n_pool"), [(9, 84), (2, 480), (100, 800), (5, 4936), (3, 7), (2, 2)])
def test_budgets_grow_from_the_number_of_classes_to_half_of_the_pool(n_classes, n_pool):
    found = budgets(n_classes, n_pool)

    assert 1 <= len(found) <= 8
    assert list(found) == sorted(set(found))
    assert found[0] == min(n_classes, n_pool // 2)
    assert found[-1] == n_pool // 2


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_the_svm_has_scikit_learns_accuracy_recall_and_auc(classes):
    picked, test = only(PICKED, classes), only(TEST, classes)
    model = SVC(C=100, kernel="linear").fit(picked.x, picked.y)
    margins = model.decision_function(test.x)
    margins = np.stack([-margins, margins], axis=1) if margins.ndim == 1 else margins
    truth = test.y[:, None] == np.array(classes)

    score = svm(picked, test, 3)

    assert score.accuracy == pytest.approx(model.score(test.x, test.y))
    assert score.recall == pytest.approx(recall_score(test.y, model.predict(test.x), average="macro"))
    if len(classes) == 3:  # with two classes the absent third one is ranked too
        assert score.auc == pytest.approx(roc_auc_score(truth, margins, average="micro"))
    assert score.is_converged


def test_predictions_are_scikit_learns_where_votes_are_tied():
    labels = RNG.integers(0, 12, 200)
    rows = RNG.normal(size=(200, 3))
    model = SVC(C=100, kernel="linear").fit(rows[:60], labels[:60])

    score = svm(Table(rows[:60], labels[:60]), Table(rows, labels), 12)

    assert score.accuracy == pytest.approx(model.score(rows, labels))


@pytest.mark.parametrize("judge", [svm, nearest])
def test_a_class_without_a_pick_has_the_lowest_score_everywhere(judge):
    seen = judge(only(PICKED, (0, 1)), only(TEST, (0, 1)), 2)
    with_third = judge(only(PICKED, (0, 1)), only(TEST, (0, 1)), 3)
    truth = only(TEST, (0, 1)).y[:, None] == np.arange(2)

    n, right, wrong = len(truth), len(truth), len(truth)
    # n right pairs beat the n pairs of the third class always, and the n wrong pairs as before
    expected = (seen.auc * right * wrong + right * n) / (right * (wrong + n))
    assert with_third.auc == pytest.approx(expected)
    assert with_third.accuracy == seen.accuracy


@pytest.mark.parametrize("judge", [svm, nearest])
def test_picks_of_one_class_give_the_constant_prediction(judge):
    score = judge(only(PICKED, (1,)), TEST, 3)

    assert score.accuracy == pytest.approx((TEST.y == 1).mean())
    assert score.recall == pytest.approx(1 / 3)
    assert score.auc == 0.5


def test_a_solver_that_stops_at_its_cap_is_counted_and_can_be_silenced(monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_ITER", 1)

    with quiet():
        score = svm(PICKED, TEST, 3)

    assert not score.is_converged
    with pytest.warns(ConvergenceWarning):
        svm(PICKED, TEST, 3)


def test_a_hundred_classes_of_a_pick_or_two_are_silent_too():
    labels = np.arange(150) % 100

    with quiet():
        score = svm(Table(RNG.normal(size=(150, 3)), labels), TEST._replace(x=TEST.x[:, :3]), 100)

    assert score.is_converged


def test_the_nearest_pick_decides():
    model = KNeighborsClassifier(1).fit(PICKED.x, PICKED.y)

    score = nearest(PICKED, TEST, 3)

    assert score.accuracy == pytest.approx(model.score(TEST.x, TEST.y))
    assert nearest(PICKED, PICKED, 3).auc > score.auc
