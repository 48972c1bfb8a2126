"""Eight devices on the CPU for every test, quick compilation, and memory for thousands of programs.

Most tests compile a program to run it once, on a handful of numbers, so the compiler's optimisations are off
(and fusions, which take half of its time) unless ``JAX_DISABLE_MOST_OPTIMIZATIONS=0`` asks for them, as the
full run does. What is compiled is kept for the run in a temporary folder, for the other workers, for child
processes and for later tests; ``JAX_COMPILATION_CACHE_DIR`` names another folder, which outlives the run.
Flags and variables must be set before JAX is imported.
"""

import atexit
import builtins
import os
import shutil
import tempfile
from importlib.metadata import version

import pytest

FLAGS = ["--xla_force_host_platform_device_count=8"]
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    FLAGS += ["--xla_cpu_parallel_codegen_split_count=1"]
    # A newer one refuses flags that it does not know.
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12):
        FLAGS += ["--xla_cpu_use_fusion_emitters=false"]
MANY = 50  # programs, some dozens of memory mappings each, between two looks at how many there are
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS]).strip()
os.environ.setdefault("DUAL_JAX_NO_COMPILE_CACHE", "1")  # a cache would outlive the test of a command
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # the first process of the run; workers inherit it
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="dual_jax_programs_")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(scope="session")
def _programs():
    """Return a list that grows with every program that is compiled."""
    import jax

    found = []

    def listen(event, _, **__):
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


@pytest.fixture(autouse=True)
def _forget_when_there_are_many(_programs):
    """Free compiled programs between two tests when there are many; to count them takes milliseconds."""
    from dual_jax.devices.machine import forget_programs_if_many

    if len(_programs) >= MANY:
        _programs.clear()
        forget_programs_if_many()


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Let every import of matplotlib fail."""
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
