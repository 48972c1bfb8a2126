"""Eight devices on the CPU for every test, and quick compilation; both must be set before JAX is imported.

Most tests compile a program to run it once, on a handful of numbers, so the compiler's optimisations are off
unless ``JAX_DISABLE_MOST_OPTIMIZATIONS=0`` asks for them, as the full run does.
"""

import os

FLAG = "--xla_force_host_platform_device_count=8"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
