"""The k-means baseline: groups on a line, labelled rows as fixed centres, distinct picks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from dual_jax.methods import METHODS

kmeans = METHODS["kmeans"]
KEY = jax.random.key(0)
LINE = jnp.array([0.0, 1.0, 2.0, 3.0, 4.0, 50.0, 51.0, 52.0, 90.0])[:, None]
ALL = jnp.ones(9, bool)
NONE = jnp.zeros(9, bool)


def test_the_largest_cluster_comes_first_and_gives_its_middle():
    picks = kmeans(KEY, LINE, 3, labeled=NONE, candidates=ALL)
    assert picks.indices.tolist() == [2, 6, 8]
    assert picks.scores.tolist() == [5.0, 3.0, 1.0]


def test_forbidden_rows_are_clustered_and_their_neighbours_picked():
    picks = kmeans(KEY, LINE, 3, labeled=NONE, candidates=ALL.at[jnp.array([2, 5, 6])].set(False))
    assert picks.indices.tolist() == [1, 7, 8]


@pytest.mark.slow
def test_a_labelled_row_holds_its_group():
    picks = kmeans(KEY, LINE, 2, labeled=NONE.at[6].set(True), candidates=ALL)
    assert picks.indices.tolist() == [2, 8]
    assert picks.scores.tolist() == [5.0, 1.0]


@pytest.mark.slow
def test_labelled_rows_that_hold_all_leave_distinct_rows():
    copies = jnp.repeat(jnp.array([[0.0], [5.0], [9.0]]), 3, axis=0)
    labeled = NONE.at[jnp.array([0, 3, 6])].set(True)
    picks = kmeans(KEY, copies, 3, labeled=labeled, candidates=ALL)
    assert len({0, 3, 6, *picks.indices.tolist()}) == 6
    assert picks.scores.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("n_select", [1, 9])
@pytest.mark.slow
def test_fewer_distinct_rows_than_clusters_still_give_distinct_picks(n_select):
    copies = jnp.repeat(jnp.array([[0.0], [5.0], [9.0]]), 3, axis=0)
    picks = kmeans(KEY, copies, n_select, labeled=NONE, candidates=ALL)
    assert len(set(picks.indices.tolist())) == n_select
    assert picks.scores.sum() == 9.0


@pytest.mark.slow
def test_clusters_are_as_tight_as_those_of_scikit_learn():
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    picks = kmeans(KEY, x, 6)
    reference = KMeans(6, n_init=4, random_state=0).fit(x)
    nearest = ((x[:, None] - reference.cluster_centers_) ** 2).sum(-1).argmin(0)

    def inertia(rows):
        return ((x[:, None] - x[np.asarray(rows)]) ** 2).sum(-1).min(1).sum()

    assert inertia(picks.indices) < 1.1 * inertia(nearest)  # two local optima of one problem


@pytest.mark.slow
def test_the_key_decides():
    x = jax.random.normal(jax.random.key(1), (60, 3))
    once, again, other = kmeans(KEY, x, 6), kmeans(KEY, x, 6), kmeans(jax.random.key(2), x, 6)
    np.testing.assert_array_equal(once.indices, again.indices)
    assert set(once.indices.tolist()) != set(other.indices.tolist())
