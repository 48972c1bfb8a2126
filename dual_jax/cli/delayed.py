"""Packages that are imported once something of them is used."""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def delay(name: str) -> None:
    """Let a module be imported when it is first used, and not when others import it.

    scikit-learn imports the whole of ``scipy.stats`` for one function, which takes a second. The module is
    made by hand because `importlib.util.LazyLoader` loads it at the next ``import``, before Python 3.14.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None:
        return
    module = module_from_spec(spec)

    def load(attribute: str) -> Any:
        if sys.modules.get(name) is module and spec.loader is not None:
            del module.__getattr__  # type: ignore[attr-defined]
            spec.loader.exec_module(module)
        return getattr(module, attribute)

    module.__getattr__ = load  # type: ignore[method-assign]
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if isinstance(package := sys.modules.get(parent), ModuleType):
        setattr(package, own, module)
