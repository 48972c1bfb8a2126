"""Facility location against a slow float64 greedy on the whole similarity matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS

facility = METHODS["facility"]
KEY = jax.random.key(0)
X = np.random.default_rng(4).normal(size=(24, 4)).astype(np.float32)
WIDTH = 1.5


def rbf(x, width=WIDTH):
    x = np.asarray(x, np.float64)
    return np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / (2 * width**2))


def cosine(x):
    unit = np.float64(x) / np.linalg.norm(np.float64(x), axis=1, keepdims=True)
    return unit @ unit.T


def value(s, chosen):
    return s[:, list(chosen)].max(1).sum() if len(chosen) else 0.0


def slow_greedy(s, n_select, done=(), is_open=None):
    done, gains = list(done), []
    is_open = np.ones(len(s), bool) if is_open is None else is_open
    for _ in range(n_select):
        values = [value(s, [*done, j]) if is_open[j] and j not in done else -np.inf for j in range(len(s))]
        gains.append(max(values) - value(s, done))
        done.append(int(np.argmax(values)))
    return done[-n_select:], gains


@pytest.mark.slow
def test_three_groups_on_a_line_get_their_middle_rows():
    x = jnp.array([[0.0], [1.0], [2.0], [20.0], [21.0], [22.0], [50.0], [51.0]])

    assert facility(KEY, x, 3, width=1.0).indices.tolist() == [1, 4, 6]


@pytest.mark.parametrize(
    ("similarity", "s"), [("rbf", rbf(X)), pytest.param("cosine", cosine(X), marks=pytest.mark.slow)]
)
def test_picks_and_gains_are_those_of_the_slow_greedy(similarity, s):
    expected, gains = slow_greedy(s, 7)

    picks = facility(KEY, X, 7, similarity=similarity, width=WIDTH)

    assert picks.indices.tolist() == expected
    np.testing.assert_allclose(picks.scores, gains, rtol=1e-5, atol=1e-5)  # float32 sums of 24 similarities


@pytest.mark.slow
def test_labelled_rows_cover_and_forbidden_rows_want_cover():
    labeled, candidates = np.isin(np.arange(24), [1, 2, 3]), np.arange(24) < 18
    expected, gains = slow_greedy(rbf(X), 7, done=[1, 2, 3], is_open=candidates & ~labeled)

    picks = facility(KEY, X, 7, labeled=labeled, candidates=candidates, width=WIDTH)

    assert picks.indices.tolist() == expected
    np.testing.assert_allclose(picks.scores, gains, rtol=1e-4, atol=1e-5)  # gains are differences of sums


@pytest.mark.slow
def test_the_default_width_is_the_median_distance_so_that_units_do_not_matter():
    here, there = facility(KEY, X, 7), facility(KEY, 1000 * X, 7)

    assert here.indices.tolist() == there.indices.tolist()
    np.testing.assert_allclose(here.scores, there.scores, rtol=1e-4)  # a median of float32 distances


@pytest.mark.slow
def test_a_grid_of_widths_is_one_vmap():
    picks = jax.vmap(lambda width: facility(KEY, X, 7, width=width))(jnp.array([0.5, WIDTH]))

    assert picks.indices[0].tolist() == slow_greedy(rbf(X, 0.5), 7)[0]
    assert picks.indices[1].tolist() == slow_greedy(rbf(X), 7)[0]


def test_an_unknown_similarity_is_refused():
    with pytest.raises(ValueError, match="similarity='dot' is unknown: give one of rbf, cosine"):
        facility(KEY, X, 7, similarity="dot")
