"""From a few labels to a guess for every row: label spreading or a linear classifier, whichever fits better.

Spreading learns from the unlabelled rows too. It is far better where classes are clusters and labels are few;
a linear classifier overtakes it where clusters hold several classes. Leaving each label out in turn shows
which of the two a pool is.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression

from dual_jax.numerics.scaling import check_spread
from dual_jax.numerics.spreading import Graph, neighbor_graph, spread

SPREADING, LINEAR = "spreading", "linear"
MAX_LEFT_OUT = 200  # labels that are left out in turn; of more, as many at even steps
UNITS = 32  # of them at a time
MAX_ITER = 10_000  # of the solver of the linear classifier, which converges in far fewer
MAX_NEXT = 1_000  # rows that are named as candidates for the next round


class LeftOut(NamedTuple):
    """Of ``n`` labels, each guessed from all others: how many each method gets right.

    Labels that are the only one of their class are not judged.
    """

    n: int
    spreading: int
    linear: int

    @property
    def better(self) -> str:
        """The method that gets more of them right; of equals spreading."""
        return LINEAR if self.linear > self.spreading else SPREADING


class Guesses(NamedTuple):
    """A class for every row.

    Attributes
    ----------
    classes
        The guessed class; that of the label where a row has one.
    confidence
        The share of the guessed class among all, from 1 / classes to 1; 1 for labels. It orders rows by how
        sure a guess is and is no probability.
    is_spread
        Rows that were guessed by spreading; others by the linear classifier.
    next_rank
        From 1, of rows to label next; 0 for others.
    left_out
        What decided between the methods.
    n_unreached
        Rows in parts of the neighbour graph without a label; spreading says nothing of them.
    """

    classes: Int[np.ndarray, " n"]
    confidence: Float[np.ndarray, " n"]
    is_spread: Bool[np.ndarray, " n"]
    next_rank: Int[np.ndarray, " n"]
    left_out: LeftOut
    n_unreached: int


def guess_classes(
    x: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], n_classes: int, *, method: str | None = None
) -> Guesses:
    """Return a class for every row of a pool, from the labels of some.

    By label spreading over the graph of the 10 nearest neighbours with alpha = 0.99, where all labels of a
    class weigh as much as those of any other, or by logistic regression (C = 1). Sources: Zhou et al.,
    NeurIPS 2003; the equal weight of classes is as in Zhu et al., ICML 2003.

    Parameters
    ----------
    x
        (n, d) rows, scaled: in these, near means alike.
    labels
        (n,) classes as numbers from 0, -1 for rows without a label; two classes or more.
    n_classes
        Each of them has a label.
    method
        ``"spreading"`` or ``"linear"``; by default the one that guesses more labels right from the others.

    Examples
    --------
    >>> x = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> guess_classes(x, np.array([0, -1, -1, -1, -1, 1]), 2).classes.tolist()
    [0, 0, 0, 1, 1, 1]
    """
    x = np.asarray(x, np.float32)
    check_spread(x)
    graph = neighbor_graph(jnp.asarray(x))
    marks = _marks(labels, n_classes)
    weights = np.asarray(spread(graph, jnp.asarray(marks)))
    linear = _fit(x[labels >= 0], labels[labels >= 0])
    left_out = _leave_out(x, labels, graph, weights, linear)
    totals = weights.sum(axis=1, keepdims=True)
    is_reached = totals[:, 0] > 0
    shares = np.divide(weights, totals, out=np.full_like(weights, 1 / n_classes), where=totals > 0)
    by_linear = linear.predict_proba(x)
    is_spread = is_reached & ((method or left_out.better) == SPREADING)
    chosen = np.where(is_spread[:, None], shares, by_linear)
    is_given = labels >= 0
    return Guesses(
        np.where(is_given, labels, chosen.argmax(axis=1)),
        np.where(is_given, 1.0, chosen.max(axis=1)),
        is_spread,
        next_rows(shares, by_linear, is_given, np.asarray(graph.neighbors)),
        left_out,
        int((~is_reached).sum()),
    )


def _marks(labels: Int[np.ndarray, " n"], n_classes: int) -> Float[np.ndarray, "n c"]:
    """Return one column for each class, in which its labels share a weight of 1."""
    marks = (labels[:, None] == np.arange(n_classes)).astype(np.float32)
    return marks / marks.sum(axis=0)


def _fit(x: Float[np.ndarray, "m d"], y: Int[np.ndarray, " m"]) -> LogisticRegression:
    return LogisticRegression(max_iter=MAX_ITER, warm_start=True).fit(x, y)


def _leave_out(
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    graph: Graph,
    weights: Float[np.ndarray, "n c"],
    linear: LogisticRegression,
) -> LeftOut:
    """Return how well both methods guess each label from all others."""
    counts = np.bincount(labels[labels >= 0])
    rows = np.flatnonzero((labels >= 0) & (counts[labels] > 1))
    if len(rows) > MAX_LEFT_OUT:
        rows = rows[np.linspace(0, len(rows) - 1, MAX_LEFT_OUT).astype(int)]
    if not len(rows):
        return LeftOut(0, 0, 0)
    y = labels[rows]
    others = weights[rows]
    # A row's own label gave it G_ii / m in its class of m labels, where G is the solution for unit marks.
    own = (counts[y] * others[np.arange(len(rows)), y] - _own_weights(graph, rows)) / (counts[y] - 1)
    others[np.arange(len(rows)), y] = np.maximum(own, 0.0)
    by_spreading = (others.argmax(axis=1) == y) & (others.max(axis=1) > 0)
    return LeftOut(len(rows), int(by_spreading.sum()), _count_linear(x, labels, rows, linear))


def _own_weights(graph: Graph, rows: Int[np.ndarray, " r"]) -> Float[np.ndarray, " r"]:
    """Return what each row gets of a mark on itself: the diagonal of the inverse, a few columns at a time."""
    found = []
    for start in range(0, len(rows), UNITS):
        part = np.resize(rows[start : start + UNITS], UNITS)
        units = jnp.zeros((len(graph.neighbors), UNITS)).at[part, jnp.arange(UNITS)].set(1.0)
        found.append(np.asarray(spread(graph, units)[part, jnp.arange(UNITS)]))
    return np.concatenate(found)[: len(rows)]


def _count_linear(
    x: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, " n"],
    rows: Int[np.ndarray, " r"],
    linear: LogisticRegression,
) -> int:
    """Return how many labels a classifier of all others gets right; each fit starts from that of all."""
    is_given = labels >= 0
    n_right = 0
    for row in rows:
        is_used = is_given.copy()
        is_used[row] = False
        model = LogisticRegression(max_iter=MAX_ITER, warm_start=True)
        model.classes_, model.coef_, model.intercept_ = linear.classes_, linear.coef_, linear.intercept_
        n_right += int(model.fit(x[is_used], labels[is_used]).predict(x[row : row + 1])[0] == labels[row])
    return n_right


def next_rows(
    shares: Float[np.ndarray, "n c"],
    by_linear: Float[np.ndarray, "n c"],
    is_given: Bool[np.ndarray, " n"],
    neighbors: Int[np.ndarray, "n k"],
) -> Int[np.ndarray, " n"]:
    """Return the rank of rows to label next, from 1; 0 for those that have a label or are not named.

    Rows are ordered by how unsure both methods are: by the higher of their two places in the order of the
    margins between the two best classes, lowest first. Of rows that are neighbours only the first is named,
    and of all at most 1,000. Ours.
    """
    places = np.maximum(*(_places(_margins(part), is_given) for part in (shares, by_linear)))
    ranks = np.zeros(len(is_given), np.int32)
    is_near = is_given.copy()
    n_named = 0
    for row in np.argsort(places, kind="stable"):
        if is_near[row]:
            continue
        n_named += 1
        ranks[row] = n_named
        is_near[neighbors[row]] = True
        is_near[row] = True
        if n_named == MAX_NEXT:
            break
    return ranks


def _margins(shares: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
    best = np.partition(shares, -2, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0]


def _places(margins: Float[np.ndarray, " n"], is_given: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the place of each row in the order of the margins, those with a label last."""
    places = np.empty(len(margins), int)
    places[np.argsort(np.where(is_given, np.inf, margins), kind="stable")] = np.arange(len(margins))
    return places
