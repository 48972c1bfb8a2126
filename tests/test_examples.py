"""The examples of docstrings run."""

import doctest

import pytest

from dual_jax import augmentation, contrastive, convolution, explanation, grid, records, standings
from dual_jax.data import checks, datasets, evaluation, scaling, spectra
from dual_jax.reproduction import tables

MODULES = [augmentation, checks, contrastive, convolution, datasets, evaluation, explanation, grid, records]
MODULES += [scaling, spectra, standings, tables]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_show_what_happens(module):
    found = doctest.testmod(module)

    assert found.attempted > 0
    assert found.failed == 0
