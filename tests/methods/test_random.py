"""Random selection: counts."""

import jax
import jax.numpy as jnp
import numpy as np

from dual_jax.methods import METHODS

random = METHODS["random"]
X = jnp.zeros((6, 1))
KEYS = jax.random.split(jax.random.key(0), 3000)


def test_every_ordered_pair_of_open_rows_is_equally_likely():
    is_open = jnp.array([True, True, False, True, True, True])
    labeled = jnp.arange(6) == 5
    draw = jax.vmap(lambda key: random(key, X, 2, labeled=labeled, candidates=is_open).indices)
    first, second = np.asarray(draw(KEYS)).T
    counts = np.bincount(6 * first + second, minlength=36).reshape(6, 6)[np.ix_([0, 1, 3, 4], [0, 1, 3, 4])]
    assert counts.sum() == len(KEYS)
    # 12 pairs, 250 each: 5 standard deviations of a binomial count are 76.
    assert np.abs(counts[~np.eye(4, dtype=bool)] - 250).max() < 76
    assert not counts[np.eye(4, dtype=bool)].any()


def test_a_larger_budget_continues_the_same_order():
    few, all_rows = random(KEYS[0], X, 3), random(KEYS[0], X, 6)
    assert sorted(all_rows.indices.tolist()) == list(range(6))
    np.testing.assert_array_equal(few.indices, all_rows.indices[:3])
    assert (jnp.diff(all_rows.scores) < 0).all()
