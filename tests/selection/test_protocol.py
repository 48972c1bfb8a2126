"""Which rows may be picked, and the rule that near ties go to the lower position."""

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.selection.protocol import TIE, first_best, pickable, top

ALL = jnp.ones(5, bool)


def slow_top(scores, is_open, n_select):
    """Take the best row left and all within TIE of it, by position, until nothing is left."""
    left, order = [i for i in range(len(scores)) if is_open[i]], []
    while left:
        best = max(scores[i] for i in left)
        tied = [i for i in left if scores[i] >= best - np.float32(TIE) * abs(best)]
        order += tied
        left = [i for i in left if i not in tied]
    return order[:n_select]


def test_candidates_without_a_label_may_be_picked():
    labeled, candidates = np.arange(5) < 1, np.arange(5) < 3
    assert pickable(5).all()
    assert pickable(5, labeled, candidates).tolist() == [False, True, True, False, False]


def test_the_best_rows_come_first_and_closed_rows_never():
    picks = top(jnp.array([1.0, 9.0, 3.0, 2.0, 3.0]), ALL.at[1].set(False), 3)
    assert picks.indices.tolist() == [2, 4, 3]
    assert picks.scores.tolist() == [3.0, 3.0, 2.0]


def test_scores_that_differ_by_rounding_are_ties_and_the_lower_position_wins():
    scores = jnp.array([1.0, 1.0 + 4e-7, 1.0 + 1e-5, 0.5, 1.0])
    assert top(scores, ALL, 4).indices.tolist() == [2, 0, 1, 4]
    assert first_best(scores, ALL.at[2].set(False)) == 0


@pytest.mark.parametrize("step", [2e-7, 7e-7, 1.0])
def test_a_long_run_of_near_ties_does_not_become_one_tie(step):
    draw = np.random.default_rng(0)
    scores = ((1 + step * draw.integers(0, 30, 100)) * draw.choice([-1, 1], 100)).astype(np.float32)
    is_open = draw.random(100) < 0.9
    picks = top(jnp.asarray(scores), jnp.asarray(is_open), is_open.sum())
    assert picks.indices.tolist() == slow_top(scores, is_open, is_open.sum())
