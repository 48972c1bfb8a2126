"""Robust k-medoids of the inputs against a slow float64 greedy on the whole matrix of distances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from dual_jax.methods import METHODS
from dual_jax.methods.coverage.medoids import squashed
from dual_jax.numerics.statistics import MAX_INPUTS

medoids = METHODS["medoids"]
KEY, N, K = jax.random.key(0), 24, 7
X = np.random.default_rng(5).normal(size=(N, 4)).astype(np.float32)


def costs(x):
    rows = reference.robustly(np.float64(x))
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    u = rows * np.log1p(length) / length
    return np.linalg.norm(u[:, None] - u[None], axis=2) ** 0.5


def objective(d, chosen):
    return d[:, list(chosen)].min(1).sum()


def test_two_groups_on_a_line_give_their_middles_the_larger_one_first():
    x = jnp.array([[0.0], [1.0], [2.0], [3.0], [4.0], [200.0], [201.0], [202.0]])
    assert medoids(KEY, x, 2).indices.tolist() == [2, 6]


def test_picks_and_gains_are_those_of_the_slow_greedy():
    d, chosen = costs(X), []
    picks = medoids(KEY, X, K, pair_first=False)
    for j in picks.indices.tolist():
        values = [objective(d, [*chosen, i]) if i not in chosen else np.inf for i in range(N)]
        assert int(np.argmin(values)) == j
        chosen.append(j)
    falls = -np.diff([objective(d, chosen[:k]) for k in range(1, K + 1)])
    np.testing.assert_allclose(picks.scores[1:], falls, rtol=1e-5)  # float32 sums of 24 roots


def test_the_first_two_picks_cover_together_as_well_as_any_partner_of_either():
    d, (first, second) = costs(X), medoids(KEY, X, 2).indices.tolist()
    partners = [objective(d, [j, i]) for j in (first, second) for i in range(N) if i != j]
    assert objective(d, [first, second]) == pytest.approx(min(partners), rel=1e-6)


@pytest.mark.slow
def test_labelled_rows_cover_and_swaps_lower_the_objective():
    d, labeled = costs(X), np.isin(np.arange(N), [1, 2])
    greedy, swapped = (
        medoids(KEY, X, K, labeled=labeled, readout=readout).indices.tolist()
        for readout in ("greedy", "refine")
    )
    assert objective(d, [1, 2, *swapped]) <= objective(d, [1, 2, *greedy]) * (1 + 1e-6)  # float32 sums


def test_of_many_features_as_many_directions_as_the_network_sees_are_kept():
    x = jax.random.normal(KEY, (N, MAX_INPUTS + 1))
    u = squashed(KEY, x)
    assert u.shape == (N, MAX_INPUTS)
    np.testing.assert_allclose(  # 24 rows span 23 directions, so none is lost but by rounding
        np.linalg.norm(u[0] - u[1]), costs(x)[0, 1] ** 2, rtol=1e-4
    )


def test_an_unknown_read_out_is_refused():
    with pytest.raises(ValueError, match="readout='norms' is unknown: give one of greedy, chain, refine"):
        medoids(KEY, X, K, readout="norms")
