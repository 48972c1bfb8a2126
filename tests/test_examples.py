"""The examples of docstrings run; those of the methods in the test of their contract."""

import doctest
import importlib
import pkgutil

import pytest

import dual_jax

NAMES = [module.name for module in pkgutil.walk_packages(dual_jax.__path__, "dual_jax.")]
FINDER = doctest.DocTestFinder()


def examples():
    """Give every example of the package."""
    for name in NAMES:
        if not name.endswith("__main__") and not name.startswith("dual_jax.methods."):
            yield from (test for test in FINDER.find(importlib.import_module(name)) if test.examples)


@pytest.mark.parametrize("example", list(examples()), ids=lambda example: example.name)
def test_examples_show_what_happens(example):
    assert doctest.DocTestRunner().run(example).failed == 0
