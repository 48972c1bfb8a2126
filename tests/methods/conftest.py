"""The methods' oracles and contract take minutes of compilation: they belong to the full run."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if "methods" in item.path.parts:
            item.add_marker(pytest.mark.slow)
