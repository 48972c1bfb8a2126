"""Float32 arithmetic whatever the caller's JAX configuration says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import jax
import jax.experimental
import jax.numpy as jnp

P, R = ParamSpec("P"), TypeVar("R")


@contextmanager
def float32_types() -> Iterator[None]:
    """Let JAX use 32-bit types and its standard type promotion within the block.

    With ``jax_enable_x64`` a ``jnp.zeros(())`` is a float64, which loops over float32 refuse; with strict
    promotion even Optax's Adam fails.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> with jax.numpy_dtype_promotion("strict"), float32_types():
    ...     (jnp.zeros((), bool) + jnp.ones(())).dtype.name
    'float32'
    """
    home = jax if hasattr(jax, "enable_x64") else jax.experimental  # before JAX 0.8
    with home.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` run with `float32_types`; inside `jax.jit` it acts while it is traced."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with float32_types():
            return function(*args, **kwargs)

    return run


def as_float32(tree: Any) -> Any:
    """Return a pytree with its float64 arrays, traced or not, as float32."""

    def cast(leaf: Any) -> Any:
        return leaf.astype(jnp.float32) if getattr(leaf, "dtype", None) == "float64" else leaf

    return jax.tree.map(cast, tree)
