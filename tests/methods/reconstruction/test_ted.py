"""Greedy experimental design against the objective that it lowers, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS
from dual_jax.numerics.kernels import kernel_matrix

TED = METHODS["ted"]
KEY, N, MU = jax.random.key(0), 40, 0.01
X = np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)
LABELED, CANDIDATES = np.arange(N) < 3, np.arange(N) < 30


def gram(x, kernel):
    if kernel == "rbf":
        return np.float64(jax.jit(kernel_matrix, static_argnums=2)(x, x, "rbf"))
    x = np.float64(x)
    return x @ x.T / (x**2).sum(1).mean()


def error(k, rows):
    """T(S), by its definition."""
    if not len(rows):
        return np.trace(k)
    return np.trace(k - k[:, rows] @ np.linalg.solve(k[np.ix_(rows, rows)] + MU * np.eye(len(rows)), k[rows]))


def drops(k, rows, j):
    return error(k, rows) - error(k, [*rows, j])


@pytest.mark.slow
def test_the_ends_of_two_directions_come_before_what_lies_between():
    x = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.5], [1.0, 0.1]])
    assert TED(KEY, x, 2).indices.tolist() == [1, 3]


@pytest.mark.parametrize(("kernel", "x"), [("linear", X), ("rbf", X), ("linear", X[:4])])
def test_each_score_is_the_drop_of_the_objective_and_the_best_there_is(kernel, x):
    k, n = gram(x, kernel), len(x)
    picks = TED(KEY, x, n, kernel=kernel)
    rows = []
    for pick, score in zip(picks.indices.tolist(), np.asarray(picks.scores), strict=True):
        best = max(drops(k, rows, j) for j in range(n) if j not in rows)
        # float32 against drops that fall to 1e-4 of the first
        assert score == pytest.approx(drops(k, rows, pick), rel=1e-3)
        assert drops(k, rows, pick) >= best * (1 - 1e-3)
        rows.append(pick)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.slow
def test_labelled_rows_deflate_first_and_forbidden_rows_are_only_targets(kernel):
    k, labeled = gram(X, kernel), [0, 1, 2]
    picks = TED(KEY, X, 27, kernel=kernel, labeled=LABELED, candidates=CANDIDATES)
    expected = max(range(3, 30), key=lambda j: drops(k, labeled, j))
    assert picks.indices[0] == expected
    assert picks.scores[0] == pytest.approx(drops(k, labeled, expected), rel=1e-3)
    assert sorted(picks.indices.tolist()) == list(range(3, 30))


@pytest.mark.slow
def test_the_unit_of_the_features_does_not_matter():
    np.testing.assert_allclose(TED(KEY, 30 * X, 7).scores, TED(KEY, X, 7).scores, rtol=1e-4)


@pytest.mark.slow
def test_copies_of_open_rows_come_after_all_others():
    twice = np.concatenate([X[:20], X[:20]])
    assert sorted(TED(KEY, twice, N).indices[:20].tolist()) == list(range(20))


@pytest.mark.slow
def test_several_regularizations_are_one_vmap():
    mus = jnp.array([0.01, 10.0])
    many = jax.vmap(lambda mu: TED(KEY, jnp.asarray(X), 7, regularization=mu).indices)(mus)
    assert many[1].tolist() == TED(KEY, X, 7, regularization=10.0).indices.tolist()
