"""Which samples should be labelled? Deep Unsupervised Active Learning (DUAL) in JAX.

``DUALSelector`` is the scikit-learn estimator, ``Selector`` that of every other method, and ``PoolEncoder``
turns a frame of any columns into rows of numbers for them; ``init``, ``pretrain_step``, ``start_selection``,
``train_step``, ``rank`` and ``fit`` are the functional core.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dual_jax.devices.mesh import make_mesh
    from dual_jax.dual.config import DualConfig
    from dual_jax.dual.fitting import fit
    from dual_jax.dual.network import Module, dense
    from dual_jax.dual.plan import Plan, plan
    from dual_jax.dual.ranking import rank
    from dual_jax.dual.state import TrainState
    from dual_jax.dual.steps import init, pretrain_step, start_selection, train_step
    from dual_jax.dual.streaming import stream
    from dual_jax.dual.trained import coefficients
    from dual_jax.estimators.archive import export, load
    from dual_jax.estimators.dual_selector import DUALSelector
    from dual_jax.estimators.pool_encoder import PoolEncoder
    from dual_jax.estimators.query_strategy import QueryStrategy
    from dual_jax.estimators.selector import Selector
    from dual_jax.methods import METHODS
    from dual_jax.numerics.kmeans import KMeansResult, kmeans
    from dual_jax.numerics.scaling import beside
    from dual_jax.selection.explanation import Explanation, explain
    from dual_jax.selection.limits import Limits
    from dual_jax.selection.protocol import Selection

_HOMES = {
    "devices.mesh": ("make_mesh",),
    "dual.config": ("DualConfig",),
    "dual.fitting": ("fit",),
    "dual.network": ("Module", "dense"),
    "dual.plan": ("Plan", "plan"),
    "dual.ranking": ("rank",),
    "dual.state": ("TrainState",),
    "dual.steps": ("init", "pretrain_step", "start_selection", "train_step"),
    "dual.streaming": ("stream",),
    "dual.trained": ("coefficients",),
    "estimators.archive": ("export", "load"),
    "estimators.dual_selector": ("DUALSelector",),
    "estimators.pool_encoder": ("PoolEncoder",),
    "estimators.query_strategy": ("QueryStrategy",),
    "estimators.selector": ("Selector",),
    "methods": ("METHODS",),
    "numerics.kmeans": ("KMeansResult", "kmeans"),
    "numerics.scaling": ("beside",),
    "selection.explanation": ("Explanation", "explain"),
    "selection.limits": ("Limits",),
    "selection.protocol": ("Selection",),
}
_HOME_OF = {name: f"dual_jax.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "METHODS",
    "DUALSelector",
    "DualConfig",
    "Explanation",
    "KMeansResult",
    "Limits",
    "Module",
    "Plan",
    "PoolEncoder",
    "QueryStrategy",
    "Selection",
    "Selector",
    "TrainState",
    "beside",
    "coefficients",
    "dense",
    "explain",
    "export",
    "fit",
    "init",
    "kmeans",
    "load",
    "make_mesh",
    "plan",
    "pretrain_step",
    "rank",
    "start_selection",
    "stream",
    "train_step",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``dual-jax --help`` needs no JAX."""
    if name == "__version__":
        return import_module("importlib.metadata").version("dual-jax")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dual_jax' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *__all__})
