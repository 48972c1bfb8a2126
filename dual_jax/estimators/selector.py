"""Any selection method with scikit-learn's contract: fit on a pool, read the picks."""

import difflib
import inspect
import math
import numbers
import os
import typing
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from dual_jax.data.checks import LateMistake, check_n_select
from dual_jax.data.storage import write_arrays
from dual_jax.dual.config import DualConfig
from dual_jax.estimators.request import ARCHIVE, fit_inputs, kept, read_request, restore, seed_from, set_picks
from dual_jax.methods import METHODS
from dual_jax.numerics.kmeans import kmeans
from dual_jax.selection.explanation import Explanation, explain
from dual_jax.selection.protocol import Selection

MAX_RANKED = 256  # candidates that any method ranks whole in about a second
WANTED = {bool: "True or False", int: "an integer", float: "a number", str: "a word"}


class _Task(NamedTuple):
    """All that picks depend on besides their number."""

    method: str
    knobs: dict[str, Any]
    seed: int
    x: Float[Array, "n d"]
    is_labeled: Bool[np.ndarray, " n"]
    is_open: Bool[np.ndarray, " n"]


POOL = ("x", "is_labeled", "is_open")  # the arrays of a task


class Selector(BaseEstimator):
    """Say which rows of an unlabelled pool to label, by any method of `dual_jax.METHODS`.

    It has no encoder and so no ``transform``; as the last step of a pipeline it picks from what the steps
    before it give. `dual_jax.DUALSelector` shows progress and spreads DUAL over devices; here "dual" is one
    compiled program on one device.

    Parameters
    ----------
    method : str
        A name in `dual_jax.METHODS`; "facility", the most robust of the simple ones, by default.
    n_to_select : int, optional
        How many rows to pick; half of the candidates by default.
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
        n_to_select: int | None = None,
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
        self, X: Any, y: Any = None, *, embedding: Any = None, labeled: Any = None, candidates: Any = None
    ) -> Self:
        """Pick from the pool.

        Parameters
        ----------
        X : (n, d) array, frame or sparse matrix
            The pool. A jax array stays on its device.
        y : ignored
            No label is ever read.
        embedding : (n, q) array, or function of ``X`` that returns one, optional
            What else is known of the rows, in a space where distances mean something: it is used beside ``X``
            and each has one vote, see `dual_jax.numerics.scaling.beside`.
        labeled, candidates : bool mask, positions, or for a frame its index labels instead, optional
            Rows that have a label already: they count as picked. Rows that may be picked: all by default.

        Raises
        ------
        ValueError, TypeError
            The method, a knob, the pool, its embedding, a mask or the number of picks cannot be used; the
            message says what to do.
        """
        knobs = check_knobs(self.method, self._knobs)
        request = read_request(self, X, embedding, labeled, candidates)
        x = jnp.asarray(fit_inputs(request, self.scale, embedding)[1])
        seed = seed_from(self.random_state)
        task = _Task(self.method, knobs, seed, x, request.is_labeled, request.is_open)
        self._set_task(task)
        n_open = int(request.is_open.sum())
        self.n_exact_ = n_open if self._is_nested_to(n_open) and n_open <= MAX_RANKED else request.n_select
        set_picks(self, request, _picks(task, self.n_exact_))
        return self

    @property
    def is_nested_(self) -> bool:
        """Whether the first picks are the same for every budget up to ``n_exact_``."""
        check_is_fitted(self)
        return self._is_nested_to(self.n_exact_)

    def _is_nested_to(self, n_select: int) -> bool:
        task = self._task
        return METHODS[task.method].is_nested_for(len(task.x), n_select, task.knobs)

    def _set_task(self, task: _Task) -> None:
        """Set the task and what follows from it alone."""
        self._task = task
        defaults = {name: knob.default for name, knob in _knobs_of(task.method).items()}
        self.knobs_ = defaults | task.knobs

    def select(self, n_select: int) -> Int[np.ndarray, " k"]:
        """Return the positions of the best ``n_select`` candidates from the same fit, best first.

        They are the first of ``ranking_`` as far as it goes where the method is nested; beyond it, and for
        other methods, they are computed anew.
        """
        check_is_fitted(self)
        n_select = check_n_select(n_select, int(self._task.is_open.sum()))
        if n_select == self.n_exact_ or (self.is_nested_ and n_select < self.n_exact_):
            return self.ranking_[:n_select]
        return np.asarray(_picks(self._task, n_select).indices)

    def explain(self) -> Explanation:
        """Return for each pick its gain, its cluster, whom it represents, and the nearest row before it.

        All of that in the scaled pool, beside its embedding where it has one; the clusters are those of
        k-means with ``min(2 sqrt(n), n / 3)`` centroids.
        """
        check_is_fitted(self)
        x, key = self._task.x, jax.random.key(self._task.seed)
        centroids = kmeans(key, x, DualConfig().clusters(len(x)), n_restarts=1).centroids
        picks = Selection(self.sample_indices_, self.scores_[self.sample_indices_])
        return explain(x, picks, centroids, labeled=self._task.is_labeled)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picks, and all that another budget needs, to a file that `dual_jax.load` reads.

        Raises
        ------
        ValueError
            When the file cannot be written.
        """
        check_is_fitted(self)
        about, picks = kept(self)
        about["parameters"] = {"method": self.method, "n_to_select": self.n_to_select, "scale": self.scale}
        about |= {"knobs": self._task.knobs, "seed": self._task.seed}
        pool = {name: getattr(self._task, name) for name in POOL}
        write_arrays(path, ARCHIVE, about, {"pool": pool, "picks": picks})

    @classmethod
    def _restored(cls, about: dict[str, Any], arrays: dict[str, np.ndarray], config: Any) -> Self:
        """Return the estimator that `save` wrote."""
        self = cls(**about["parameters"], random_state=about["seed"], **about["knobs"])
        x, *masks = (arrays[f"pool/{name}"] for name in POOL)
        knobs = check_knobs(self.method, self._knobs)
        self._set_task(_Task(self.method, knobs, about["seed"], jnp.asarray(x), *masks))
        restore(self, about, arrays)
        return self

    def __sklearn_tags__(self) -> Tags:
        """Say that sparse input is made dense."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


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
        raise ValueError(f"method={method!r} is unknown{hint}: use one of {', '.join(METHODS)}")
    known = _knobs_of(method)
    unknown = [name for name in knobs if name not in known]
    if unknown:
        hint = _hint(unknown[0], [*known, *Selector._get_param_names()])
        raise ValueError(f"{method} has no knob {unknown[0]!r}{hint}; it takes {', '.join(known) or 'none'}")
    return {name: _checked(value, known[name]) for name, value in knobs.items()}


def _picks(task: _Task, n_select: int) -> Selection:
    """Return the picks of a task, after checking that the method has kept to finite numbers."""
    picks = METHODS[task.method](
        jax.random.key(task.seed),
        task.x,
        n_select,
        labeled=jnp.asarray(task.is_labeled),
        candidates=jnp.asarray(task.is_open),
        **task.knobs,
    )
    if not np.isfinite(picks.scores).all():
        given = " with " + ", ".join(f"{k}={v!r}" for k, v in task.knobs.items()) if task.knobs else ""
        raise LateMistake(
            f"{task.method}{given} gave a score that is no finite number: scale the features "
            '(scale="standard") or change the knobs'
        )
    return picks


def _knobs_of(method: str) -> dict[str, inspect.Parameter]:
    """Return the keywords of a method that its protocol does not have."""
    parameters = inspect.signature(METHODS[method].select).parameters.values()
    keywords = [knob for knob in parameters if knob.kind is knob.KEYWORD_ONLY]
    return {knob.name: knob for knob in keywords if knob.name not in ("labeled", "candidates")}


def _checked(value: Any, knob: inspect.Parameter) -> Any:
    """Return a knob's value in the type of its default, or in the one that stands beside None."""
    choices = typing.get_args(knob.annotation)
    if knob.default is None and value is None:
        return None
    kind = type(knob.default) if knob.default is not None else int if int in choices else float
    accepted: Any = {bool: bool | np.bool_, int: numbers.Integral, float: numbers.Real, str: str}[kind]
    is_bool = isinstance(value, bool | np.bool_)
    if not isinstance(value, accepted) or is_bool is not (kind is bool):
        raise TypeError(f"{knob.name}={value!r} cannot be used: it must be {WANTED[kind]}")
    if kind is int and value < 1:
        raise ValueError(f"{knob.name}={value!r} is out of range: it must be at least 1")
    if kind is float and not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{knob.name}={value!r} is out of range: it must be finite and at least 0")
    return kind(value)


def _hint(name: Any, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), known)
    return f" (did you mean {' or '.join(close)}?)" if close else ""
