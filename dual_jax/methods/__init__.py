"""Every selection method under one signature: ``METHODS[name](key, x, n_select, *, labeled, ...)``.

A new method is one file with one function that keeps `dual_jax.selection.protocol`'s protocol, one entry in
`dual_jax.methods.facts`, and one test file. No method is imported before it is called, and no JAX before
``METHODS`` is used: the command line's help reads only `dual_jax.methods.facts`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dual_jax.methods.registry import METHODS, Method

__all__ = ["METHODS", "Method"]


def __getattr__(name: str) -> Any:
    """Import the registry when one of its names is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'dual_jax.methods' has no attribute {name!r}")
    from dual_jax.methods import registry

    return getattr(registry, name)
