"""Compiled programs in a folder, found by what they are asked for: known ones are loaded and not traced.

JAX's own cache is asked for a program by its text, which takes as long to trace and to write as a small
program takes to run. Here a program's name is made of everything that its text depends on: the source of
this package, versions, settings of JAX, the processor, and the types of the arguments.
"""

import functools
import hashlib
import io
import json
import os
import pickle
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.experimental.serialize_executable import deserialize_and_load, serialize

PACKAGE = Path(__file__).parents[1]
VERSIONED = {"dual_jax", "jax", "jaxlib", "optax", "flax", "numpy", "builtins", "collections"}  # by version
VERSIONS = "jax", "jaxlib", "optax", "flax", "numpy"
UNUSED_S = 30 * 86400  # programs that were not loaded for so long are removed

_folder: Path | None = None
_loaded: dict[str, Any] = {}


def keep_in(folder: Path | None) -> None:
    """Keep programs in a folder that only the user can write to: loading one runs what is in it."""
    global _folder
    _folder = folder
    _loaded.clear()


def run(function: Any, name: str, arguments: tuple, static: tuple[int, ...]) -> Any:
    """Return what a compiled function returns, whose program is loaded if it is known, else kept.

    Parameters
    ----------
    function
        From `jax.jit`.
    name
        Which function it is, and how it is compiled.
    arguments
        All positional.
    static
        Positions of those that are static.
    """
    dynamic = tuple(value for i, value in enumerate(arguments) if i not in static)
    is_ours = name.partition(".")[0] in VERSIONED  # whose source is part of a name
    folder = _folder if is_ours else None
    found = _name_of(name, dynamic, [arguments[i] for i in static]) if folder else None
    if folder is None or found is None:
        return function(*arguments)
    if found in _loaded:
        return _loaded[found](*dynamic)
    path = folder / found
    if (program := _load(path)) is not None:
        try:
            result = program(*dynamic)
        except jax.errors.JaxRuntimeError:  # one that was written without some of its functions
            program = None
        else:
            _loaded[found] = program
            return result
    _loaded[found] = _made(function, arguments, path)
    return _loaded[found](*dynamic)


def known(name: str, settings: tuple, make: Callable[[], Any]) -> tuple[int, ...]:
    """Return the whole numbers that ``make`` returns, kept beside the programs: tracing may have found them.

    Parameters
    ----------
    name
        What they are.
    settings
        All that they depend on.
    make
        Called where they are not known.
    """
    folder = _folder
    found = _name_of(name, (), [*settings]) if folder else None
    if folder is None or found is None:
        return tuple(make())
    path = folder / f"{found}.json"
    try:
        return tuple(json.loads(path.read_text()))
    except (OSError, ValueError):
        numbers = tuple(map(int, make()))
    _write(path, json.dumps(numbers).encode())
    return numbers


def _name_of(name: str, dynamic: tuple, static: list[Any]) -> str | None:
    """Return the file name of a program; None for one that cannot be kept."""
    leaves, structure = jax.tree.flatten(dynamic)
    if not all(map(_is_plain, leaves)):
        return None
    types = [(str(kind := jax.typeof(leaf)), getattr(kind, "weak_type", False)) for leaf in leaves]
    text = io.BytesIO()
    try:
        _Names(text).dump((name, static, structure))
    except (pickle.PicklingError, AttributeError, TypeError, ValueError):
        return None
    whole = repr((_surroundings(), sorted(jax.config.values.items()), types)).encode()
    return hashlib.sha256(whole + text.getvalue()).hexdigest()


def _is_plain(leaf: Any) -> bool:
    """Return whether an argument is on the host, or on JAX's first device alone."""
    if not isinstance(leaf, jax.Array | jax.core.Tracer):
        return isinstance(leaf, np.ndarray | np.generic | float | int)
    return not isinstance(leaf, jax.core.Tracer) and leaf.sharding.device_set == {jax.devices()[0]}


class _Names(pickle.Pickler):
    """Writes functions by name, and refuses those whose source no version identifies."""

    def reducer_override(self, value: Any) -> Any:
        """Refuse functions and classes of others."""
        if callable(value) and getattr(value, "__module__", "").partition(".")[0] not in VERSIONED:
            raise pickle.PicklingError("a function of the user's")
        return NotImplemented


@functools.lru_cache
def _surroundings() -> tuple[Any, ...]:
    """Return what a program depends on besides its arguments and JAX's settings."""
    source = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        source.update(str(path.relative_to(PACKAGE)).encode() + path.read_bytes())
    device = jax.devices()[0]
    return (
        source.hexdigest(),
        [version(package) for package in VERSIONS],
        (sys.version, platform.platform(), os.cpu_count(), _features()),
        (device.platform, device.device_kind, device.client.platform_version, jax.device_count()),
        os.environ.get("XLA_FLAGS", ""),
    )


def _features() -> list[str]:
    """Return what Linux says of the processor; of another system its name is in the platform."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    return sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})


def _load(path: Path) -> Callable[..., Any] | None:
    """Return the program in a file; None if there is none, or one that cannot be loaded."""
    try:
        text, taken, given = pickle.loads(path.read_bytes())
        program = deserialize_and_load(text, taken, given, execution_devices=jax.devices()[:1])
        os.utime(path)
    except FileNotFoundError:
        return None
    except Exception:  # a file cut short raises anything; the program is then made again
        return None
    return program


def _made(function: Any, arguments: tuple, path: Path) -> Callable[..., Any]:
    """Return a compiled program, kept in a file where that is possible."""
    with _without_jax_cache():
        program = function.lower(*arguments).compile()
    try:
        text = pickle.dumps(serialize(program))
    except Exception:  # of JAX's own, which differ: then it is made again next time
        return program
    _write(path, text)
    return program


def _write(path: Path, text: bytes) -> None:
    """Write a file whole, if the folder takes it, and remove those that were not loaded for long."""
    own = path.with_suffix(f".{os.getpid()}")
    try:
        own.write_bytes(text)
        own.replace(path)
        for other in path.parent.iterdir():
            if other.stat().st_mtime < time.time() - UNUSED_S:
                other.unlink(missing_ok=True)
    except OSError:
        pass


@contextmanager
def _without_jax_cache() -> Iterator[None]:
    """Let JAX compile: what XLA:CPU loads from JAX's cache it writes without some of its functions."""
    name = "jax_enable_compilation_cache"
    was = jax.config.values[name]
    try:
        jax.config.update(name, False)
        reset_cache()
        yield
    finally:
        jax.config.update(name, was)
        reset_cache()
