"""The query strategy by scikit-activeml's rules, and in that library's own loop where it is installed."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_blobs

from dual_jax.estimators.query_strategy import QueryStrategy

X, CLASSES = make_blobs(60, 3, centers=3, random_state=0)
QUICK = {"pretrain_iter": 5, "max_iter": 3}


def labels(*rows):
    y = np.full(60, np.nan)
    y[list(rows)] = CLASSES[list(rows)]
    return y


@pytest.mark.parametrize(
    ("method", "knobs"), [("facility", None), pytest.param("dual", QUICK, marks=pytest.mark.slow)]
)
def test_each_query_complements_the_labels_that_are_there(method, knobs):
    strategy, y = QueryStrategy(method, knobs), labels(0)
    for _ in range(3):
        picks = strategy.query(X, y, batch_size=2)
        assert np.isnan(y[picks]).all()
        y[picks] = CLASSES[picks]
    assert np.isfinite(y).sum() == 7
    assert set(y[np.isfinite(y)]) == {0, 1, 2}


def test_the_best_utility_of_each_row_is_its_pick():
    picks, utilities = QueryStrategy("facility").query(X, labels(3, 4), batch_size=3, return_utilities=True)
    assert utilities.shape == (3, 60)
    assert np.nanargmax(utilities, axis=1).tolist() == picks.tolist()
    assert np.isnan(utilities[:, [3, 4]]).all()
    assert np.isnan(utilities[2, picks[:2]]).all()


def test_candidates_may_be_positions_or_samples_of_their_own():
    strategy = QueryStrategy("kcenter")
    assert set(strategy.query(X, labels(0), candidates=[5, 6, 7], batch_size=2)) < {5, 6, 7}
    picks, utilities = strategy.query(
        X, labels(0), candidates=X[40:50] + 0.1, batch_size=2, return_utilities=True
    )
    assert picks.max() < 10
    assert utilities.shape == (2, 10)


@pytest.mark.parametrize("missing", [None, -1, "none"])
def test_what_stands_for_no_label_is_a_choice(missing):
    y = np.array([missing] * 60, dtype=object)
    y[:2] = 1
    picks = QueryStrategy("kcenter", missing_label=missing).query(X, y, batch_size=58)
    assert sorted(picks) == list(range(2, 60))


def test_class_names_beside_nan_are_labels_and_nan_is_none():
    y = np.array([np.nan] * 58 + ["cat", "dog"], dtype=object)
    picks = QueryStrategy("kcenter").query(X, y, batch_size=58)
    assert sorted(picks) == list(range(58))


def test_nan_of_float32_stands_for_no_label():
    strategy = QueryStrategy("kcenter", missing_label=np.float32("nan"))
    assert 0 not in strategy.query(X, labels(0), batch_size=5)


def test_a_sparse_pool_gives_the_picks_of_the_dense_one():
    dense, sparse = (QueryStrategy("facility").query(x, labels(0), batch_size=3) for x in (X, csr_array(X)))
    assert sparse.tolist() == dense.tolist()


def test_of_fewer_candidates_than_the_batch_all_are_picked_with_a_warning():
    with pytest.warns(UserWarning, match="batch_size=9 exceeds the 2 candidates"):
        picks, utilities = QueryStrategy("kcenter").query(
            X, labels(0), candidates=[5, 6], batch_size=9, return_utilities=True
        )
    assert sorted(picks) == [5, 6]
    assert utilities.shape == (2, 60)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"y has shape \(59,\)"):
        QueryStrategy("kcenter").query(X, labels(0)[:59])


def test_it_serves_in_a_loop_of_scikit_activeml():
    pool = pytest.importorskip("skactiveml.pool")
    classifier = pytest.importorskip("skactiveml.classifier")
    from sklearn.linear_model import LogisticRegression

    y = np.full(60, np.nan)
    model = classifier.SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    start, then = QueryStrategy("facility"), pool.UncertaintySampling(random_state=0)
    for t in range(8):  # first rows that cover the pool, then those that the classifier doubts
        picks = start.query(X, y) if t < 4 else then.query(X, y, clf=model.fit(X, y))
        y[picks] = CLASSES[picks]
    assert model.fit(X, y).score(X, CLASSES) > 0.8
