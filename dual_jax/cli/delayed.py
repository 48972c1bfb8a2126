"""Packages that are imported once something of them is used."""

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def delay(*names: str) -> None:
    """Let modules be imported when they are first used, and not when others import them.

    scikit-learn imports pandas, and the whole of ``scipy.stats`` for one function: a second together. A
    module is made by hand because `importlib.util.LazyLoader` loads it at the next ``import``.
    """
    for name in names:
        _delay(name)


def _delay(name: str) -> None:
    spec = None if name in sys.modules else find_spec(name)
    if spec is None:
        return
    module = module_from_spec(spec)

    def load(attribute: str) -> Any:
        if sys.modules.get(name) is module and spec.loader is not None:
            del vars(module)["__getattr__"]
            spec.loader.exec_module(module)
        return getattr(module, attribute)

    vars(module)["__getattr__"] = load
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if isinstance(package := sys.modules.get(parent), ModuleType):
        setattr(package, own, module)
