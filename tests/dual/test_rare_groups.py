"""Rare groups that lie apart are among the first picks of the default: nobody has said that they exist."""

import numpy as np
import pytest

import dual_jax as dj

SHORT = {"max_iter": 20, "pretrain_iter": 50}  # with all steps they come as early
SCALES = (0.1, 0.3, 0.5, 0.8, 1.2)  # of the groups; the bulk's is 1


def planted(seed, n, sizes, distance):
    """Return a bulk and small groups around it in 10 dimensions, each of its own shape; and who is where."""
    draw = np.random.default_rng(seed)
    shapes = draw.normal(size=(len(sizes) + 1, 10, 10)) / np.sqrt(10)
    bulk = draw.normal(size=(n - sum(sizes), 10)) @ shapes[0]
    ways = draw.normal(size=(len(sizes), 10))
    groups = [
        distance * way / np.linalg.norm(way) + scale * draw.normal(size=(size, 10)) @ shape
        for way, scale, size, shape in zip(ways, SCALES, sizes, shapes[1:], strict=False)
    ]
    return np.concatenate([bulk, *groups]), np.repeat(range(len(sizes) + 1), [len(bulk), *sizes])


@pytest.mark.parametrize("seed", range(10))
def test_one_row_of_a_class_beside_ninety_nine_of_another_is_found(seed):
    """The paper's example. Random has it among 15 picks with 15 %; here it came as pick 7 to 12."""
    x, group = planted(seed, 100, [1], distance=20.0)

    picks = dj.DUALSelector(15, random_state=seed, **SHORT).fit(x).sample_indices_

    assert 1 in group[picks]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_five_groups_of_one_percent_each_are_found_within_six_percent(seed):
    """Random has 1.3 of the five among 30 picks on average; here all were found with 13 to 25."""
    x, group = planted(seed, 500, [5] * 5, distance=12.0)

    picks = dj.DUALSelector(30, random_state=seed, **SHORT).fit(x).sample_indices_

    assert set(group[picks]) == set(range(6))
