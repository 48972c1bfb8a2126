"""What a GPU's compiler makes of a step, though no GPU is here: two wheels hold the compiler.

pip install --no-deps jax-cuda12-plugin jax-cuda12-pjrt  # of jax's version
"""

import importlib.util

import pytest

from bench.passes import measured

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None, reason="a GPU's compiler is not installed"
)


def test_the_free_objective_takes_nine_passes_and_few_kernels():
    found = measured("h100:1", "free", 4096, "step")
    assert found["n_blocks"] == 1
    assert found["passes"] <= 9.5  # one to rebuild the targets, one to sum squares, seven to update
    assert found["kernels"] <= 150
    assert found["temporaries_of_c"] <= 0.25


@pytest.mark.slow
def test_several_blocks_of_the_free_objective_take_as_few_passes():
    found = measured("h100:1", "free", 2048, "step", block_rows=512)
    assert found["passes"] <= 9.5
    assert found["kernels"] <= 200
