"""A guess for every row from the labels of some."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from dual_jax.evaluation import guesses
from dual_jax.evaluation.guesses import guess_classes, next_rows
from dual_jax.numerics.spreading import neighbor_graph, spread


def rings(n=120):
    """Return two rings, one within the other: clusters that no line divides."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, n)
    y = np.arange(n) % 2
    radius = np.where(y, 3.0, 1.0) + rng.normal(0, 0.05, n)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1).astype(np.float32), y


def halves(n=200):
    """Return noise that a line divides into two classes: one cluster, two classes."""
    x = np.random.default_rng(1).uniform(-1, 1, (n, 6)).astype(np.float32)
    return x, (x @ np.arange(1, 7) > 0).astype(int)


def some_labels(y, step):
    labels = np.full(len(y), -1)
    labels[::step] = y[::step]
    return labels


def left_out_by_hand(x, labels):
    """Return how many labels spreading and a classifier get right, each trained without it."""
    right = np.zeros(2, int)
    for row in np.flatnonzero(labels >= 0):
        others = labels.copy()
        others[row] = -1
        marks = np.eye(labels.max() + 1)[others] * (others >= 0)[:, None]
        weights = spread(neighbor_graph(jnp.asarray(x)), jnp.asarray(marks / marks.sum(axis=0), jnp.float32))
        right[0] += int(weights[row].argmax()) == labels[row]
        model = LogisticRegression(max_iter=1000).fit(x[others >= 0], others[others >= 0])
        right[1] += model.predict(x[row : row + 1])[0] == labels[row]
    return right.tolist()


@pytest.mark.parametrize(("draw", "step", "better"), [(rings, 7, "spreading"), (halves, 4, "linear")])
def test_leaving_labels_out_finds_the_method_that_fits_the_pool(draw, step, better):
    x, y = draw()
    labels = some_labels(y, step)

    found = guess_classes(x, labels, 2)

    assert found.left_out.better == better
    assert [found.left_out.spreading, found.left_out.linear] == left_out_by_hand(x, labels)
    assert found.is_spread.all() == (better == "spreading")
    forced = guess_classes(x, labels, 2, method={"spreading": "linear", "linear": "spreading"}[better])
    assert (found.classes == y).mean() > (forced.classes == y).mean() + 0.05


def test_labels_are_kept_and_confidence_is_the_share_of_the_guess():
    x, y = rings()
    labels = some_labels(y, 7)
    labels[7] = 1 - labels[7]  # a wrong label stays what its person said
    found = guess_classes(x, labels, 2)
    assert found.classes[labels >= 0].tolist() == labels[labels >= 0].tolist()
    assert found.confidence[labels >= 0].tolist() == [1.0] * (labels >= 0).sum()
    assert 0.5 <= found.confidence.min() <= found.confidence.max() <= 1.0


def test_the_order_of_rows_does_not_matter():
    x, y = rings()
    labels, order = some_labels(y, 7), np.random.default_rng(2).permutation(len(y))
    np.testing.assert_array_equal(
        guess_classes(x[order], labels[order], 2).classes, guess_classes(x, labels, 2).classes[order]
    )


def test_parts_of_the_pool_without_a_label_are_guessed_by_the_classifier_and_counted():
    x, y = rings()
    far = np.array([[50.0, 50.0]]) + np.random.default_rng(0).normal(size=(20, 2))
    found = guess_classes(np.concatenate([x, far]), np.append(some_labels(y, 7), np.full(20, -1)), 2)
    assert found.n_unreached == 20
    assert not found.is_spread[120:].any()
    assert found.is_spread[:120].all()


def test_a_class_of_one_label_is_guessed_but_not_judged():
    x, y = rings()
    labels = np.full(len(y), -1)
    labels[[0, 1]] = y[[0, 1]]
    found = guess_classes(x, labels, 2)
    assert found.left_out.n == 0
    assert found.left_out.better == "spreading"


def test_many_labels_are_judged_by_a_sample_of_them(monkeypatch):
    monkeypatch.setattr(guesses, "MAX_LEFT_OUT", 9)
    x, y = rings()
    assert guess_classes(x, some_labels(y, 3), 2).left_out.n == 9


def test_the_next_rows_are_those_of_which_both_are_unsure_and_no_neighbours_of_each_other():
    shares = np.array([[0.5, 0.5], [0.51, 0.49], [0.9, 0.1], [0.52, 0.48], [0.5, 0.5]])
    by_linear = np.array([[0.5, 0.5], [0.51, 0.49], [0.5, 0.5], [0.505, 0.495], [0.6, 0.4]])
    neighbors = np.array([[1], [0], [3], [2], [2]])
    is_given = np.array([False, False, False, False, True])
    assert next_rows(shares, by_linear, is_given, neighbors).tolist() == [1, 0, 0, 2, 0]
