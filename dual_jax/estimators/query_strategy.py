"""A query strategy for active-learning loops that speak scikit-activeml's interface."""

import numbers
import warnings
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, Shaped
from sklearn.base import BaseEstimator

from dual_jax.data.checks import as_mask
from dual_jax.data.errors import InputError
from dual_jax.estimators.dual_selector import DUALSelector
from dual_jax.estimators.prepared import as_dense
from dual_jax.estimators.selector import Selector


class QueryStrategy(BaseEstimator):
    """Answer ``query(X, y, ...)`` like a pool-based strategy of scikit-activeml, by any method here.

    What has a label counts as picked already, so each query complements the ones before. Of labels only
    whether there is one matters; no classifier is asked. The library itself is not needed.

    Parameters
    ----------
    method : str
        A name in `dual_jax.METHODS`; "dual" trains its network again for each query, others take no training.
    knobs : dict, optional
        Settings of the method; for "dual" parameters of `dual_jax.DUALSelector`.
    scale : {"standard", "global", "l2", "none"}
        Scaling of the inputs.
    missing_label : object
        What stands in ``y`` where there is no label: NaN by default, None, or a value.
    random_state : int, RandomState or None
        The same integer gives the same picks.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris().data, np.full(150, np.nan)
    >>> y[[3, 60]] = [0, 1]
    >>> len(QueryStrategy("facility").query(X, y, batch_size=4))
    4
    """

    def __init__(
        self,
        method: str = "dual",
        knobs: dict[str, Any] | None = None,
        *,
        scale: str = "standard",
        missing_label: Any = np.nan,
        random_state: Any = 0,
    ):
        self.method = method
        self.knobs = knobs
        self.scale = scale
        self.missing_label = missing_label
        self.random_state = random_state

    def query(
        self,
        X: Any,
        y: Any,
        candidates: Any = None,
        batch_size: int = 1,
        return_utilities: bool = False,
    ) -> Any:
        """Return the rows to label next, best first.

        Parameters
        ----------
        X : (n, d) array-like or sparse matrix
            All samples.
        y : (n,) array-like
            Their labels, of any type, ``missing_label`` where there is none.
        candidates : None, (m,) int array or (m, d) array-like
            Which rows may be picked: those without a label (default), these positions, or these samples,
            which need not be in ``X``.
        batch_size : int
            How many; of fewer candidates all are returned, with a warning.
        return_utilities : bool
            Whether to return also a row of utilities for each pick: 1 for the first of the ranking, falling
            with the rank to 0 for what is not ranked; NaN for what is no candidate or picked already.

        Returns
        -------
        query_indices : (batch_size,) int array
            Positions in ``X``, or in ``candidates`` where these are samples.
        utilities : (batch_size, n) or (batch_size, m) array
            With ``return_utilities``.

        Raises
        ------
        ValueError, TypeError
            The samples, the labels or the number of picks cannot be used.
        """
        X = _dense(X)
        is_labeled = ~_is_missing(y, self.missing_label)
        if is_labeled.shape != (len(X),):
            raise InputError(f"y has shape {is_labeled.shape}, wanted ({len(X)},): one for each sample")
        offset, is_open = 0, ~is_labeled
        if candidates is not None:
            candidates = _dense(candidates)
            if candidates.ndim == 1:
                is_open = as_mask(candidates, len(X), name="candidates")
                is_labeled = is_labeled & ~is_open  # a row that is asked for by name may be labelled again
            else:
                offset = len(X)
                X = np.concatenate([X, candidates])
                is_labeled = np.concatenate([is_labeled, np.zeros(len(candidates), bool)])
                is_open = np.arange(len(X)) >= offset
        batch_size = _batch(batch_size, int(is_open.sum()))
        ranking = self._ranking(X, is_labeled, is_open, batch_size)
        picks = ranking[:batch_size] - offset
        if not return_utilities:
            return picks
        return picks, _utilities(ranking - offset, is_open[offset:], batch_size)

    def _ranking(
        self, X: Shaped[np.ndarray, "n d"], is_labeled: Any, is_open: Any, batch_size: int
    ) -> Int[np.ndarray, " k"]:
        knobs = self.knobs or {}
        selector: DUALSelector | Selector
        if self.method == "dual":
            selector = DUALSelector(batch_size, scale=self.scale, random_state=self.random_state, **knobs)
        else:
            selector = Selector(
                self.method, batch_size, scale=self.scale, random_state=self.random_state, **knobs
            )
        return selector.fit(X, labeled=is_labeled, candidates=is_open).ranking_


def _dense(rows: Any) -> np.ndarray:
    """Return rows as an array; a sparse matrix is made dense, as the estimators do."""
    return as_dense(rows) if scipy.sparse.issparse(rows) else np.asarray(rows)


def _batch(batch_size: Any, n_open: int) -> int:
    """Return how many rows are picked: what is asked for, or with a warning what is left."""
    if n_open == 0:
        raise InputError("there is no candidate left: every sample has a label or is not among candidates")
    if isinstance(batch_size, int | np.integer) and batch_size > n_open:
        warnings.warn(
            f"batch_size={batch_size} exceeds the {n_open} candidates: all are picked", stacklevel=3
        )
        return n_open
    return batch_size


def _is_missing(y: Any, missing_label: Any) -> Bool[np.ndarray, " n"]:
    """Return which labels are missing: NaN of any kind, None, or what equals ``missing_label``."""
    labels = y.tolist() if hasattr(y, "tolist") else list(y)
    if missing_label is None:
        return np.array([label is None for label in labels], bool)
    if missing_label != missing_label:  # NaN, of whatever type
        return np.array([isinstance(label, numbers.Real) and label != label for label in labels], bool)
    return np.array([label == missing_label for label in labels], bool)


def _utilities(ranking: Int[np.ndarray, " k"], is_open: Any, batch_size: int) -> Float[np.ndarray, "batch n"]:
    """Return utilities whose best entry in row t is pick t."""
    falling = np.where(is_open, 0.0, np.nan)
    falling[ranking] = 1.0 - np.arange(len(ranking)) / len(ranking)
    utilities = np.tile(falling, (batch_size, 1))
    for t in range(batch_size):
        utilities[t, ranking[:t]] = np.nan
    return utilities
