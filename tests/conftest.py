"""Eight devices on the CPU for every test, quick compilation, and a fresh start for every file.

Most tests compile a program to run it once, on a handful of numbers, so the compiler's optimisations are off
unless ``JAX_DISABLE_MOST_OPTIMIZATIONS=0`` asks for them, as the full run does. Flags and variables must be
set before JAX is imported.
"""

import os

import pytest

FLAG = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """Free a file's compiled programs: thousands in one process exhaust its memory mappings."""
    yield
    import jax

    jax.clear_caches()
