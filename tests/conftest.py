"""Eight devices on the CPU for every test, quick compilation, and a fresh start for every file.

Most tests compile a program to run it once, on a handful of numbers, so the compiler's optimisations are off
unless ``JAX_DISABLE_MOST_OPTIMIZATIONS=0`` asks for them, as the full run does. Flags and variables must be
set before JAX is imported.
"""

import builtins
import os

import pytest

FLAG = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


MAX_PROGRAMS = 400  # compiled ones that are kept: thousands in one process exhaust its memory mappings


@pytest.fixture(scope="session")
def _compiled():
    """Count the programs that this process has compiled since they were last forgotten."""
    import jax

    events = []

    def note(event, duration, **_):
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    return events


@pytest.fixture(autouse=True, scope="module")
def _forget_after_a_file(_compiled):
    """Free a file's compiled programs."""
    yield
    _forget(_compiled)


@pytest.fixture(autouse=True)
def _forget_when_there_are_many(_compiled):
    """Free compiled programs between two tests of a file that has many."""
    if len(_compiled) > MAX_PROGRAMS:
        _forget(_compiled)


def _forget(compiled):
    import jax

    jax.clear_caches()
    compiled.clear()


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Let every import of matplotlib fail."""
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
