"""How good were the picks? This is the first place that uses labels.

The protocol of Li et al., IJCAI 2020, section 4.1: half of a data set, drawn at random, is the pool that a
method picks from, the other half is the test set; a linear SVM is trained on the picks and their labels and
judged on the test set.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances, roc_auc_score
from sklearn.svm import SVC

from dual_jax.data.datasets import Dataset
from dual_jax.numerics.scaling import apply, fit_scaler

PENALTY = 100.0  # C of the released code
MAX_ITER = 300_000  # of libsvm for a pair of classes: on some sets it does not converge in millions
MAX_BUDGETS = 8


class Table(NamedTuple):
    """Rows and the class of each, as numbers from 0."""

    x: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]


class Split(NamedTuple):
    """A pool to pick from and a test set, both scaled by the pool's moments."""

    data: str
    number: int
    pool: Table
    test: Table
    n_classes: int


class Score(NamedTuple):
    """Of a classifier on the test set: shares from 0 to 1.

    Attributes
    ----------
    accuracy
        Of the test rows, the share that gets its class.
    recall
        The same for each class of the test set, averaged: a rare class counts as much as a common one.
    auc
        Area under the ROC curve, one-vs-rest, micro-averaged: over all pairs of a row and a class.
    is_converged
        False where the solver stopped at its cap on iterations.
    """

    accuracy: float
    recall: float
    auc: float
    is_converged: bool


def halve(data: Dataset, number: int, *, seed: int = 0, scale: str = "standard") -> Split:
    """Return the split of that number: a random half as the pool, the other half as the test set.

    Parameters
    ----------
    data : Dataset
        At least 2 rows; of an odd number, the test set gets one row more.
    number : int
        Which repeat; the same ``(seed, number)`` gives the same halves.
    scale : {"standard", "global", "l2", "none"}
        Of the features, fitted on the pool.

    Examples
    --------
    >>> from dual_jax.data.datasets import load
    >>> split = halve(load("wine"), 0)
    >>> split.pool.x.shape, split.test.x.shape, split.n_classes
    ((89, 13), (89, 13), 3)
    """
    order = np.random.default_rng([seed, number]).permutation(len(data.x))
    pool, test = np.split(order, [len(order) // 2])
    scaler = fit_scaler(data.x[pool], scale)
    on_pool, on_test = (Table(np.asarray(apply(scaler, data.x[rows])), data.y[rows]) for rows in (pool, test))
    return Split(data.name, number, on_pool, on_test, len(data.class_names))


def budgets(n_classes: int, n_pool: int, n_budgets: int = MAX_BUDGETS) -> tuple[int, ...]:
    """Return at most ``n_budgets`` numbers of picks, evenly in their logarithm, up to half of the pool.

    The first is the number of classes: with fewer picks no classifier can know all classes.

    Examples
    --------
    >>> budgets(9, 84)
    (9, 11, 14, 17, 22, 27, 34, 42)
    """
    half = max(n_pool // 2, 1)
    steps = np.geomspace(min(max(n_classes, 2), half), half, n_budgets)
    return tuple(int(budget) for budget in np.unique(steps.round()))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings of scikit-learn that a record replaces: the cap was reached, a class has one pick.

    Filters of warnings belong to the whole process, so this is entered around threads, not inside them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        yield


def svm(picked: Table, test: Table, n_classes: int) -> Score:
    """Return the score of a linear SVM with C = 100, one-vs-one, trained on the picks.

    It warns if the solver stops at its cap, or most classes have one pick: `quiet` silences both.
    If all picks are of one class it is the constant prediction. A class that is not among the picks has
    the lowest score for every row. Source: Li et al., IJCAI 2020, section 4.1, and the released code; the
    cap on iterations is ours.

    Examples
    --------
    >>> rows = Table(np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, 1]))
    >>> svm(rows, rows, 2)
    Score(accuracy=1.0, recall=1.0, auc=1.0, is_converged=True)
    """
    classes = np.unique(picked.y)
    scores = np.full((len(test.y), n_classes), -np.inf)
    if len(classes) == 1:
        scores[:, classes] = 0.0
        return score(np.repeat(classes, len(test.y)), scores, test.y)
    model = SVC(C=PENALTY, kernel="linear", decision_function_shape="ovo", max_iter=MAX_ITER)
    model.fit(picked.x, picked.y)
    margins = model.decision_function(test.x)
    # Of two classes scikit-learn gives one column, positive for the second class; of more, for the first.
    margins = -margins[:, None] if len(classes) == 2 else margins
    votes, scores[:, classes] = _from_pairs(margins, len(classes))
    return score(classes[votes.argmax(axis=1)], scores, test.y, is_converged=model.fit_status_ == 0)


def _from_pairs(
    margins: Float[np.ndarray, "n pairs"], n_classes: int
) -> tuple[Float[np.ndarray, "n classes"], Float[np.ndarray, "n classes"]]:
    """Return how many pairs each class wins, and the same plus a part below 1/3 for the margins.

    These are scikit-learn's votes and one-vs-rest scores, as products: its loop over pairs takes most of the
    time when there are a hundred classes.
    """
    first, second = np.triu_indices(n_classes, 1)
    of_first, of_second = np.eye(n_classes)[first], np.eye(n_classes)[second]
    votes = (margins > 0) @ of_first + (margins <= 0) @ of_second
    lead = margins @ (of_first - of_second)
    return votes, votes + lead / (3.0 * (np.abs(lead) + 1.0))


def nearest(picked: Table, test: Table, n_classes: int) -> Score:
    """Return the score of the 1-nearest-neighbour rule.

    A class scores minus the distance to its nearest pick.

    Examples
    --------
    >>> rows = Table(np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, 1]))
    >>> nearest(rows, rows, 2).accuracy
    1.0
    """
    distances = pairwise_distances(test.x, picked.x)
    scores = np.full((len(test.y), n_classes), -np.inf)
    for label in np.unique(picked.y):
        scores[:, label] = -distances[:, picked.y == label].min(axis=1)
    return score(scores.argmax(axis=1), scores, test.y)


JUDGES: dict[str, Callable[[Table, Table, int], Score]] = {"svm": svm, "nearest": nearest}


def score(
    predicted: Int[np.ndarray, " n"],
    scores: Float[np.ndarray, "n classes"],
    y: Int[np.ndarray, " n"],
    is_converged: bool = True,
) -> Score:
    """Return the score of predictions; a class without a pick has the score -inf."""
    recalls = [(predicted[y == label] == label).mean() for label in np.unique(y)]
    return Score(float((predicted == y).mean()), float(np.mean(recalls)), _auc(scores, y), is_converged)


def _auc(scores: Float[np.ndarray, "n classes"], y: Int[np.ndarray, " n"]) -> float:
    is_known = np.isfinite(scores).any(axis=0)
    if is_known.sum() < 2:
        return 0.5
    known = scores[:, is_known]
    truth = np.arange(scores.shape[1]) == y[:, None]
    filled = np.where(is_known, scores, known.min() - 1.0)
    return float(roc_auc_score(truth.ravel(), filled.ravel()))
