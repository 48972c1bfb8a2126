"""Any selection method with scikit-learn's contract: fit on a pool, read the picks."""

import difflib
import inspect
import math
import numbers
import typing
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from sklearn.utils.validation import check_is_fitted

from dual_jax.data.errors import InputError, InputTypeError, input_errors
from dual_jax.dual.config import DualConfig
from dual_jax.estimators.picker import Picker, has_costs, kept_limits, warn_of_end
from dual_jax.estimators.prepared import Prepared, Request, prepare
from dual_jax.methods import METHODS, Method
from dual_jax.numerics.kmeans import kmeans
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection

MAX_RANKED = 256  # candidates that any method ranks whole in about a second
WANTED = {bool: "True or False", int: "an integer", float: "a number", str: "a word"}


class Task(NamedTuple):
    """What picks depend on besides the pool: the method and its knobs, and how many rows it ranks."""

    method: str
    knobs: dict[str, Any]
    n_exact: int


POOL = ("x", "is_labeled", "is_open")  # the arrays of a prepared pool that a file keeps


class Selector(Picker):
    """Say which rows of an unlabelled pool to label, by any method of `dual_jax.METHODS`.

    It has no encoder and so no ``transform``; as the last step of a pipeline it picks from what the steps
    before it give. `dual_jax.DUALSelector` shows progress and spreads DUAL over devices; here "dual" is one
    compiled program on one device.

    Parameters
    ----------
    method : str
        A name in `dual_jax.METHODS`; "facility", the most robust of the simple ones, by default.
    n_to_select : int or float, optional
        How many rows to pick, or a share of the candidates in (0, 1); half of them by default.
    scale : {"standard", "global", "l2", "none"}
        Scaling of the inputs: each feature, the whole table by one number, each row to unit length, or as is.
    random_state : int, RandomState or None
        The same integer gives the same picks.
    **knobs
        Settings of the method, by the names in its docstring. They are parameters like any other, for
        ``get_params``, ``set_params`` and ``clone``, and are checked by ``fit``.

    Attributes
    ----------
    sample_indices_ : (k,) int array
        Picked positions, best first.
    sample_ids_ : (k,) array
        Their labels in the frame's index; the positions when the pool has none.
    support_ : (n,) bool array
        Whether a row was picked.
    ranking_ : (n_exact_,) int array
        The order that was computed, best first: all candidates where the method is nested and they are at
        most 256, otherwise the picks.
    scores_ : (n,) float array
        The method's score of each row in the ranking, NaN for all others.
    n_exact_ : int
        Rows in the ranking.
    end_ : str
        Why the limits gave another number of picks than was asked for; "" where they did not.
    is_nested_ : bool
        Whether the first picks are the same for every budget up to ``n_exact_``.
    knobs_ : dict
        Every knob of the method with its value; None where a rule of the method stands in.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> selector = Selector("ted", 5, kernel="rbf", width=2.0).fit(load_iris().data)
    >>> len(selector.sample_indices_)
    5
    """

    def __init__(
        self,
        method: str = "facility",
        n_to_select: float | None = None,
        *,
        scale: str = "standard",
        random_state: Any = 0,
        **knobs: Any,
    ):
        self.method = method
        self.n_to_select = n_to_select
        self.scale = scale
        self.random_state = random_state
        self._knobs = knobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, knobs among them."""
        return super().get_params(deep) | self._knobs

    def set_params(self, **params: Any) -> Self:
        """Set parameters; a name that is none of the estimator's own is a knob of the method."""
        own = {name: value for name, value in params.items() if name in self._get_param_names()}
        self._knobs = self._knobs | {name: value for name, value in params.items() if name not in own}
        return super().set_params(**own)

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        embedding: Any = None,
        labeled: Any = None,
        candidates: Any = None,
        limits: Limits | None = None,
    ) -> Self:
        """Pick from the pool: `run` on what `prepare` returns, which see.

        ``y`` is ignored: no label is ever read.
        """
        masks = {"labeled": labeled, "candidates": candidates}
        self.run(self.prepare(X, embedding=embedding, **masks, limits=limits))
        warn_of_end(self)
        return self

    def prepare(
        self,
        X: Any,
        *,
        embedding: Any = None,
        labeled: Any = None,
        candidates: Any = None,
        limits: Limits | None = None,
    ) -> Prepared:
        """Return the pool ready for `run`: checked and scaled, and the knobs checked by the method itself.

        Nothing is picked, and the estimator stays as it is.

        Parameters
        ----------
        X, embedding, labeled, candidates, limits
            As in `dual_jax.DUALSelector.prepare`.

        Raises
        ------
        InputError
            The method, a knob, the pool, its embedding, a mask, the number of picks or a limit cannot be
            used, or the method does not keep the limit; the message says what to do. It is a ValueError, and
            a TypeError where a type is wrong.
        """
        return prepare(self, X, embedding, labeled, candidates, self._decide, limits)

    def _decide(self, request: Request) -> Task:
        """Return the method, its knobs after their check, and how many rows to rank."""
        knobs, n = check_knobs(self.method, self._knobs), request.shape[0]
        method, n_open = METHODS[self.method], int(request.is_open.sum())
        if request.limits is not None:
            with input_errors():
                method.check_keeps(request.limits, knobs)
        is_whole = (
            not has_costs(request.limits) and n_open <= MAX_RANKED and method.is_nested_for(n, n_open, knobs)
        )
        n_exact = n_open if is_whole else request.n_select
        if knobs:
            with input_errors():
                _check_by_method(method, knobs, request.shape, n_exact)
        return Task(self.method, knobs, n_exact)

    def run(self, prepared: Prepared) -> Self:
        """Pick from a prepared pool."""
        task: Task = prepared.settings
        ranking = _picks(prepared, task.n_exact)
        self._prepared = prepared
        self._set_task(task)
        self.n_exact_ = len(ranking.indices)
        self._set_picks(prepared, ranking)
        return self

    @property
    def is_nested_(self) -> bool:
        """Whether the first picks are the same for every budget up to ``n_exact_``."""
        check_is_fitted(self)
        task: Task = self._prepared.settings
        is_for_all = METHODS[task.method].is_nested_for(len(self.scores_), self.n_exact_, task.knobs)
        return is_for_all and not has_costs(self._prepared.limits)

    def _begins_with(self, n_select: int) -> bool:
        task: Task = self._prepared.settings
        is_order = METHODS[task.method].is_order_for(len(self.scores_), self.n_exact_, task.knobs)
        return is_order and not has_costs(self._prepared.limits)

    def _ranked_again(self, n_select: int) -> Int[np.ndarray, " k"]:
        return np.asarray(_picks(self._prepared, n_select).indices)

    def _clustered(self) -> tuple[Float[Any, "n q"], Float[Any, "k q"]]:
        x, key = self._prepared.x, jax.random.key(self._prepared.seed)
        return x, kmeans(key, x, DualConfig().clusters(len(x)), n_restarts=1).centroids

    def _set_task(self, task: Task) -> None:
        """Set the attributes that follow from the task alone."""
        self.n_exact_ = task.n_exact
        defaults = {name: knob.default for name, knob in _knobs_of(task.method).items()}
        self.knobs_ = defaults | task.knobs

    def _contents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        parameters = {"method": self.method, "n_to_select": self.n_to_select, "scale": self.scale}
        prepared = self._prepared
        about = {"parameters": parameters, "knobs": prepared.settings.knobs, "seed": prepared.seed}
        return about, {"pool": {name: getattr(prepared, name) for name in POOL}}

    @classmethod
    def _restored(
        cls, about: dict[str, Any], arrays: dict[str, np.ndarray], config: DualConfig | None
    ) -> Self:
        """Return the estimator that `save` wrote."""
        self = cls(**about["parameters"], random_state=about["seed"], **about["knobs"])
        self._restore_picks(about, arrays)
        x, is_labeled, is_open = (arrays[f"pool/{name}"] for name in POOL)
        limits = kept_limits(arrays)
        task = Task(self.method, check_knobs(self.method, self._knobs), self.n_exact_)
        budget, seed = len(self.sample_indices_), about["seed"]
        self._prepared = Prepared(
            jnp.asarray(x), None, is_labeled, is_open, budget, seed, None, {}, task, limits
        )
        self._set_task(task)
        return self


def check_knobs(method: str, knobs: dict[str, Any]) -> dict[str, Any]:
    """Return the knobs of a method, each in the type of its default.

    Raises
    ------
    TypeError
        When a value is of another type.
    ValueError
        When there is no such method or knob, an integer is below 1, or a number is infinite or below 0.

    Examples
    --------
    >>> check_knobs("ted", {"width": 2})
    {'width': 2.0}
    """
    if not isinstance(method, str) or method not in METHODS:
        hint = _hint(method, METHODS)
        raise InputError(f"method={method!r} is unknown{hint}: use one of {', '.join(METHODS)}")
    known = _knobs_of(method)
    unknown = [name for name in knobs if name not in known]
    if unknown:
        hint = _hint(unknown[0], [*known, *Selector._get_param_names()])
        raise InputError(f"{method} has no knob {unknown[0]!r}{hint}; it takes {', '.join(known) or 'none'}")
    return {name: _checked(value, known[name]) for name, value in knobs.items()}


def _check_by_method(method: Method, knobs: dict[str, Any], shape: tuple[int, int], n_exact: int) -> None:
    """Let a method check its knobs, before any work; what it traces for that is cached for the run."""
    if method.facts.family == "deep":
        DualConfig(**knobs).check()
        return
    x, mask = jax.ShapeDtypeStruct(shape, np.float32), jax.ShapeDtypeStruct(shape[:1], bool)
    key = jax.eval_shape(jax.random.key, 0)
    jax.eval_shape(partial(method, n_select=n_exact, **knobs), key, x, labeled=mask, candidates=mask)


def _picks(prepared: Prepared, n_select: int) -> Selection:
    """Return the picks of a method, after checking that it has kept to finite numbers."""
    task: Task = prepared.settings
    picks = METHODS[task.method](
        jax.random.key(prepared.seed),
        prepared.x,
        n_select,
        labeled=jnp.asarray(prepared.is_labeled),
        candidates=jnp.asarray(prepared.is_open),
        limits=prepared.limits,
        **task.knobs,
    )
    if not np.isfinite(picks.scores).all():
        given = " with " + ", ".join(f"{k}={v!r}" for k, v in task.knobs.items()) if task.knobs else ""
        raise InputError(
            f"{task.method}{given} gave a score that is no finite number: scale the features "
            '(scale="standard") or change the knobs'
        )
    return picks


def _knobs_of(method: str) -> dict[str, inspect.Parameter]:
    """Return the keywords of a method that its protocol does not have."""
    parameters = inspect.signature(METHODS[method].select).parameters.values()
    keywords = [knob for knob in parameters if knob.kind is knob.KEYWORD_ONLY]
    return {knob.name: knob for knob in keywords if knob.name not in ("labeled", "candidates", "limits")}


def _checked(value: Any, knob: inspect.Parameter) -> Any:
    """Return a knob's value in the type of its default, or in the one that stands beside None."""
    choices = typing.get_args(knob.annotation)
    if knob.default is None and value is None:
        return None
    kind = type(knob.default) if knob.default is not None else int if int in choices else float
    accepted: Any = {bool: bool | np.bool_, int: numbers.Integral, float: numbers.Real, str: str}[kind]
    is_bool = isinstance(value, bool | np.bool_)
    if not isinstance(value, accepted) or is_bool is not (kind is bool):
        raise InputTypeError(f"{knob.name}={value!r} cannot be used: it must be {WANTED[kind]}")
    if kind is int and value < 1:
        raise InputError(f"{knob.name}={value!r} is out of range: it must be at least 1")
    if kind is float and not (math.isfinite(value) and value >= 0):
        raise InputError(f"{knob.name}={value!r} is out of range: it must be finite and at least 0")
    return kind(value)


def _hint(name: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), known)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
