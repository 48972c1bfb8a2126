"""What both estimators share: the attributes that say what was picked, another budget, reasons, saving."""

import os
import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import jax
import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from dual_jax.data.checks import check_n_select
from dual_jax.data.errors import InputError
from dual_jax.data.ids import text_of_id
from dual_jax.data.storage import write_arrays
from dual_jax.dual.config import DualConfig
from dual_jax.estimators.prepared import NONE_WITHIN, Prepared
from dual_jax.selection.explanation import Explanation, explain
from dual_jax.selection.limitchecks import say_end
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection

ARCHIVE = "estimator"  # the kind of file that keeps one
PICKS = ("ranking_", "scores_", "sample_indices_", "sample_ids_", "support_")


class Picker(BaseEstimator, ABC):
    """An estimator that picks rows: ``fit`` is ``prepare``, which checks, and ``run``, which picks."""

    _prepared: Prepared
    end_: str
    n_exact_: int
    n_features_in_: int

    @abstractmethod
    def run(self, prepared: Prepared) -> Self:
        """Pick from a prepared pool."""

    @abstractmethod
    def _begins_with(self, n_select: int) -> bool:
        """Return whether the picks of a budget below ``n_exact_`` are the first of ``ranking_``."""

    @abstractmethod
    def _ranked_again(self, n_select: int) -> Int[np.ndarray, " k"]:
        """Return the picks of a budget that the ranking does not hold."""

    @abstractmethod
    def _clustered(self) -> tuple[Float[Any, "n q"], Float[Any, "k q"]]:
        """Return the rows of the pool in the space where picks are explained, and its centroids."""

    @abstractmethod
    def _contents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what `_restored` needs besides the picks, as JSON and as a pytree of arrays."""

    @classmethod
    @abstractmethod
    def _restored(
        cls, about: dict[str, Any], arrays: dict[str, np.ndarray], config: DualConfig | None
    ) -> Self:
        """Return the estimator from its `_contents`."""

    def select(self, n_select: float) -> Int[np.ndarray, " k"]:
        """Return the positions of the best ``n_select`` candidates from the same fit, best first.

        They are the first of ``ranking_`` as far as its exact order goes, up to ``n_exact_``, where that is
        an order that can be cut. Otherwise, as for the read-out "refine", which is for one budget, they are
        computed again. The read-out "chain" is for the budget of the fit and for smaller ones; beyond it
        `dual_jax.DUALSelector` continues the order greedily, and other methods compute a new one. A float in
        (0, 1) is a share of the candidates. The limits of the fit hold.

        Raises
        ------
        InputError
            When there are not as many candidates, or the limits do not allow as many.
        """
        check_is_fitted(self)
        n_select = check_n_select(n_select, int(self._prepared.is_open.sum()))
        if n_select == self.n_exact_ or (n_select < self.n_exact_ and self._begins_with(n_select)):
            return self.ranking_[:n_select]
        picks = self._ranked_again(n_select)
        if len(picks) < n_select:
            raise InputError(say_end(self._prepared.limits, len(picks), n_select))
        return picks

    def explain(self) -> Explanation:
        """Return for each pick its gain, its cluster, the rows it represents, and the nearest row before it.

        Distances and clusters are those of the learnt space for DUAL, with the clusters that the network was
        trained with. For any other method they are those of the scaled pool, joined with its embedding where
        it has one, with the clusters of k-means for ``min(2 sqrt(n), n / 3)`` centroids.
        """
        check_is_fitted(self)
        rows, centroids = self._clustered()
        picks: Any = self.sample_indices_, self.scores_[self.sample_indices_]
        return explain(rows, Selection(*picks), centroids, labeled=self._prepared.is_labeled)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit to a file that `dual_jax.load` reads: arrays and JSON, nothing that runs.

        Devices, callbacks and functions of one's own (an encoder, an optimiser) are left out. Of several
        processes all must call, and the first one writes.

        Raises
        ------
        ValueError
            When the file cannot be written.
        """
        check_is_fitted(self)
        about, tree = self._contents()
        about |= {
            "class": type(self).__name__,
            "n_exact": self.n_exact_,
            "n_features": self.n_features_in_,
            "end": self.end_,
            "feature_names": [*map(str, getattr(self, "feature_names_in_", ()))],
        }
        limits = self._prepared.limits or Limits()
        tree["limits"] = {name: value for name, value in limits._asdict().items() if value is not None}
        tree["picks"] = {name: _without_objects(getattr(self, name)) for name in PICKS}
        if jax.process_index() == 0:
            write_arrays(path, ARCHIVE, about, tree)

    def _restore_picks(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Set the attributes that `save` wrote."""
        self.n_exact_, self.n_features_in_ = about["n_exact"], about["n_features"]
        self.end_ = about.get("end", "")  # files of earlier versions have no limits
        if about["feature_names"]:
            self.feature_names_in_ = np.array(about["feature_names"], dtype=object)
        for name in PICKS:
            setattr(self, name, arrays[f"picks/{name}"])

    def _set_picks(self, prepared: Prepared, ranking: Selection) -> None:
        """Set the attributes that say what was picked: the first ``n_select`` rows of a ranking.

        Raises
        ------
        InputError
            The limits leave no row.
        """
        if not len(ranking.indices):
            raise InputError(NONE_WITHIN)
        if hasattr(self, "feature_names_in_"):  # of a frame in an earlier fit
            del self.feature_names_in_
        for name, value in prepared.features.items():
            setattr(self, name, value)
        n = len(prepared.is_open)
        self.ranking_ = np.asarray(ranking.indices)
        self.scores_ = np.full(n, np.nan, np.float32)
        self.scores_[self.ranking_] = ranking.scores
        picks = self.ranking_[: prepared.n_select]
        self.sample_indices_ = picks
        self.end_ = say_end(prepared.limits, len(picks), prepared.n_select)
        self.sample_ids_ = picks if prepared.ids is None else np.asarray(prepared.ids)[picks]
        self.support_ = np.zeros(n, bool)
        self.support_[picks] = True

    def __sklearn_tags__(self) -> Tags:
        """Say that sparse input is made dense."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def warn_of_end(picker: Picker) -> None:
    """Warn where there are fewer picks than were asked for, and nothing that was asked ends them sooner."""
    limits = picker._prepared.limits
    if picker.end_ and limits is not None and limits.until is None and not has_costs(limits):
        warnings.warn(picker.end_, stacklevel=3)


def has_costs(limits: Limits | None) -> bool:
    """Return whether picks have costs: those of a smaller total cost are then other rows."""
    return limits is not None and limits.costs is not None


def kept_limits(arrays: dict[str, np.ndarray]) -> Limits | None:
    """Return the limits that `Picker.save` wrote."""
    names = [name for name in Limits._fields if f"limits/{name}" in arrays]
    return Limits(**{name: arrays[f"limits/{name}"] for name in names}) if names else None


def _without_objects(values: np.ndarray) -> np.ndarray:
    """Return an array that a file can hold: ids that are no numbers become text."""
    values = np.asarray(values)
    return np.array([*map(text_of_id, values)], str) if values.dtype.kind == "O" else values
