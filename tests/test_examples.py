"""The examples of docstrings run."""

import doctest

import pytest

from dual_jax import grid, records, standings
from dual_jax.data import evaluation


@pytest.mark.parametrize("module", [grid, records, standings, evaluation], ids=lambda module: module.__name__)
def test_examples_show_what_happens(module):
    found = doctest.testmod(module)

    assert found.attempted > 0
    assert found.failed == 0
