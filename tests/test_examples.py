"""The examples of docstrings run."""

import doctest

import pytest

from dual_jax import ahead, augmentation, contrastive, convolution, explanation, grid, records, standings
from dual_jax.data import checks, datasets, evaluation, scaling, spectra

MODULES = [
    ahead,
    augmentation,
    checks,
    contrastive,
    convolution,
    datasets,
    evaluation,
    explanation,
    grid,
    records,
]
MODULES += [scaling, spectra, standings]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_show_what_happens(module):
    found = doctest.testmod(module)

    assert found.attempted > 0
    assert found.failed == 0
