"""Which samples should be labelled? Deep Unsupervised Active Learning (DUAL) in JAX.

``DUALSelector`` is the scikit-learn estimator, ``Selector`` that of every other method, and ``PoolEncoder``
turns a frame of any columns into rows of numbers for them; ``init``, ``pretrain_step``, ``start_selection``,
``train_step``, ``rank`` and ``fit`` are the functional core.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dual_jax.devices.mesh import make_mesh
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import fit
from dual_jax.dual.network import Module, dense
from dual_jax.dual.plan import Plan, plan
from dual_jax.dual.ranking import rank
from dual_jax.dual.state import TrainState
from dual_jax.dual.steps import init, pretrain_step, start_selection, train_step
from dual_jax.dual.trained import coefficients
from dual_jax.numerics.kmeans import KMeansResult, kmeans
from dual_jax.numerics.scaling import beside
from dual_jax.selection.explanation import Explanation, explain
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection

if TYPE_CHECKING:
    from dual_jax.dual.streaming import stream
    from dual_jax.estimators.archive import export, load
    from dual_jax.estimators.dual_selector import DUALSelector
    from dual_jax.estimators.pool_encoder import PoolEncoder
    from dual_jax.estimators.query_strategy import QueryStrategy
    from dual_jax.estimators.selector import Selector
    from dual_jax.methods import METHODS

_LAZY = {
    "DUALSelector": "dual_jax.estimators.dual_selector",
    "METHODS": "dual_jax.methods",
    "PoolEncoder": "dual_jax.estimators.pool_encoder",
    "QueryStrategy": "dual_jax.estimators.query_strategy",
    "export": "dual_jax.estimators.archive",
    "load": "dual_jax.estimators.archive",
    "Selector": "dual_jax.estimators.selector",
    "stream": "dual_jax.dual.streaming",
}

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
    """Import what needs scikit-learn only when it is asked for, and look up the version likewise."""
    if name == "__version__":
        return import_module("importlib.metadata").version("dual-jax")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dual_jax' has no attribute {name!r}")
