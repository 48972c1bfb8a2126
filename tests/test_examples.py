"""The examples of docstrings run; those of the methods in the test of their contract."""

import doctest
import importlib
import pkgutil

import pytest

import dual_jax

NAMES = [module.name for module in pkgutil.walk_packages(dual_jax.__path__, "dual_jax.")]
FINDER = doctest.DocTestFinder()
FITS = {  # that take seconds
    "dual_jax.dual.checkpoint.Checkpoint",
    "dual_jax.dual.grid.select",
    "dual_jax.dual.streaming.stream",
    "dual_jax.estimators.archive.export",
    "dual_jax.selection.chain.chain",
    "dual_jax.views.encoder.learn",
}


def examples():
    """Give every example of the package."""
    for name in NAMES:
        if not name.endswith("__main__") and not name.startswith("dual_jax.methods."):
            for test in FINDER.find(importlib.import_module(name)):
                if test.examples:
                    marks = [pytest.mark.slow] if test.name in FITS else []
                    yield pytest.param(test, marks=marks, id=test.name)


@pytest.mark.parametrize("example", list(examples()))
def test_examples_show_what_happens(example):
    assert doctest.DocTestRunner().run(example).failed == 0
