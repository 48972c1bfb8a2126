"""Votes of the parts of a code: what a map that forgets gets, and when the values of series count."""

import jax
import jax.numpy as jnp
import numpy as np

from dual_jax.views.directions import at_unit_length
from dual_jax.views.preparation import fit_preparation
from dual_jax.views.votes import map_vote, values_vote

RNG = np.random.default_rng(0)
ROWS = at_unit_length(jax.random.normal(jax.random.key(0), (300, 5)))
VIEWS = jnp.asarray(RNG.normal(size=(40, 1, 6)) + RNG.normal(size=(40, 3, 6)), jnp.float32)
TIMES = np.arange(50)


def values_vote_of(series):
    series = series[:, None].astype(np.float32)
    return float(values_vote(fit_preparation(series, "series"), series, VIEWS))


def test_a_map_that_keeps_neighbours_has_a_whole_vote_and_one_of_chance_none():
    assert float(map_vote(ROWS, ROWS[:, ::-1])) == 1.0
    assert float(map_vote(ROWS, ROWS[::-1])) == 0.0


def test_a_map_that_is_not_there_has_no_vote():
    assert float(map_vote(ROWS, ROWS[:, :0])) == 0.0


def test_values_count_where_the_times_of_series_correspond():
    wave = np.sin(TIMES / 5) + 0.3 * RNG.normal(size=(40, 50))
    moved = np.sin(TIMES / 5 + RNG.uniform(0, 6.3, (40, 1)))

    assert values_vote_of(wave) > 0.5
    assert values_vote_of(moved) < 0.1
