"""Packages that are imported once something of them is used."""

import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock
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

    lock = RLock()
    loading = False

    def load(attribute: str) -> Any:
        nonlocal loading
        # Other threads wait for the whole module; this one may meet it half made, as in any import.
        with lock:
            if loading:
                raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
            if vars(module).get("__getattr__") is load and spec.loader is not None:
                loading = True
                try:
                    spec.loader.exec_module(module)
                finally:
                    loading = False
                if vars(module).get("__getattr__") is load:
                    del vars(module)["__getattr__"]
        return getattr(module, attribute)

    vars(module)["__getattr__"] = load
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if isinstance(package := sys.modules.get(parent), ModuleType):
        setattr(package, own, module)
