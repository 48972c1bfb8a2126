"""Explanations of picks, compared with a plain look at all distances."""

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.selection.explanation import explain, represented
from dual_jax.selection.protocol import Selection

U = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
PICKS = np.array([7, 31, 2, 18])
GAINS = np.array([4.0, 3.0, 2.0, 1.0], np.float32)
CENTROIDS = U[[2, 7, 20]] + np.float32(0.01)
NONE, SOME = np.zeros(40, bool), np.isin(np.arange(40), [0, 5])


def explained(labeled=None, u=U, picks=PICKS):
    return explain(
        jnp.asarray(u), Selection(jnp.asarray(picks), jnp.asarray(GAINS)), CENTROIDS, labeled=labeled
    )


def distances(a, b):
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)


def test_a_pick_has_its_gain_and_the_cluster_that_it_is_nearest_to():
    why = explained()

    assert why.gain.tolist() == GAINS.tolist()
    assert why.cluster.tolist() == distances(U[PICKS], CENTROIDS).argmin(1).tolist()


@pytest.mark.parametrize("labeled", [NONE, SOME], ids=["none labelled", "some labelled"])
def test_a_pick_represents_the_rows_that_no_other_pick_or_labelled_row_is_nearer_to(labeled):
    chosen = [*np.flatnonzero(labeled), *PICKS]

    counts = np.bincount(distances(U, U[chosen]).argmin(1), minlength=len(chosen))

    assert explained(labeled).n_represented.tolist() == counts[labeled.sum() :].tolist()


@pytest.mark.parametrize("labeled", [NONE, SOME], ids=["none labelled", "some labelled"])
def test_the_nearest_row_before_a_pick_was_picked_earlier_or_labelled(labeled):
    why, chosen = explained(labeled), [*np.flatnonzero(labeled), *PICKS]

    for i, pick in enumerate(PICKS):
        former = chosen[: labeled.sum() + i]
        if former:
            to_former = distances(U[[pick]], U[former])[0]
            assert int(why.nearest[i]) == former[to_former.argmin()]
            np.testing.assert_allclose(why.distance[i], to_former.min(), rtol=1e-5)  # a sum of three squares


@pytest.mark.parametrize("labeled", [NONE, SOME], ids=["none labelled", "some labelled"])
def test_every_row_has_the_nearest_pick_or_labelled_row_as_its_representative(labeled):
    why, chosen = explained(labeled), np.array([*np.flatnonzero(labeled), *PICKS])

    to_chosen = distances(U, U[chosen])

    assert why.representative.tolist() == chosen[to_chosen.argmin(1)].tolist()
    np.testing.assert_allclose(why.to_representative, to_chosen.min(1), rtol=1e-5, atol=1e-6)


def test_the_rows_of_a_pick_come_nearest_first_and_are_no_other_s():
    why = explained()

    rows = represented(why, 31, 3)

    mine = [row for row in np.flatnonzero(why.representative == 31) if row != 31]
    assert rows.tolist() == sorted(mine, key=lambda row: distances(U[[row]], U[[31]])[0, 0])[:3]
    assert len(rows) == 3


def test_nothing_is_near_the_first_pick_when_no_row_is_labelled():
    why = explained()

    assert int(why.nearest[0]) == -1
    assert np.isnan(why.distance[0])


def test_a_copy_of_an_earlier_pick_is_at_distance_0_and_represents_nobody():
    u = U.copy()
    u[18] = u[7]

    why = explained(u=u)

    assert (int(why.nearest[3]), float(why.distance[3]), int(why.n_represented[3])) == (7, 0.0, 0)
