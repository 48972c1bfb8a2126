"""What an estimator is asked, checked before any work, and the attributes that say what it picked."""

import numbers
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from dual_jax.data.checks import Table, as_mask, check_n_select, check_pool
from dual_jax.selection import Selection

MAX_DENSE = 1 << 28  # cells of a sparse pool that is made dense: 1 GiB in float32


class Request(NamedTuple):
    """A pool, unscaled, with the frame's index or None, and which of its rows are asked for."""

    x: Float[Table, "n d"]
    ids: Any
    is_labeled: Bool[np.ndarray, " n"]
    is_open: Bool[np.ndarray, " n"]
    n_select: int


def read_request(estimator: Any, X: Any, labeled: Any, candidates: Any) -> Request:
    """Return the arguments of ``fit`` with the estimator's ``n_to_select``, checked.

    Raises
    ------
    ValueError, TypeError
        The pool, a mask or the number of picks cannot be used; the message says what to do.
    """
    x, ids = read_table(estimator, X, reset=True)
    is_labeled = as_mask(labeled, len(x), ids=ids, name="labeled")
    is_open = as_mask(candidates, len(x), ids=ids, name="candidates", default=True) & ~is_labeled
    n_select = check_n_select(estimator.n_to_select, int(is_open.sum()))
    return Request(x, ids, is_labeled, is_open, n_select)


def read_table(estimator: Any, X: Any, *, reset: bool) -> tuple[Float[Table, "n d"], Any]:
    """Return the checked table, unscaled, and the frame's index.

    With ``reset`` the estimator notes the number and names of the features; without, new rows must have the
    same. A jax array stays on its device.
    """
    if scipy.sparse.issparse(X):
        X = _dense(X)
    min_rows = 2 if reset else 1
    if isinstance(X, jax.Array):
        x = check_pool(X, min_rows=min_rows)
        if reset:
            estimator.n_features_in_ = x.shape[1]
        elif x.shape[1] != estimator.n_features_in_:
            wanted = f"{type(estimator).__name__} is expecting {estimator.n_features_in_} features"
            raise ValueError(f"X has {x.shape[1]} features, but {wanted}")
        return x, None
    ids = getattr(X, "index", None) if hasattr(X, "columns") else None
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) == 2:  # names and number of features
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    return check_pool(X, min_rows=min_rows, dtype=np.float64), ids


def seed_from(random_state: Any) -> int:
    """Return the seed that scikit-learn's ``random_state`` stands for; a generator is drawn from."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def set_picks(estimator: Any, request: Request, ranking: Selection) -> None:
    """Set the attributes that say what was picked: the first ``n_select`` rows of a ranking."""
    n = len(request.x)
    estimator.ranking_ = np.asarray(ranking.indices)
    estimator.scores_ = np.full(n, np.nan, np.float32)
    estimator.scores_[estimator.ranking_] = ranking.scores
    picks = estimator.ranking_[: request.n_select]
    estimator.sample_indices_ = picks
    estimator.sample_ids_ = picks if request.ids is None else np.asarray(request.ids)[picks]
    estimator.support_ = np.zeros(n, bool)
    estimator.support_[picks] = True


def _dense(X: Any) -> np.ndarray:
    cells = X.shape[0] * X.shape[1]
    if cells > MAX_DENSE:
        raise ValueError(
            f"The sparse pool has {X.shape[0]} x {X.shape[1]} cells, and at most {MAX_DENSE} are made dense: "
            "reduce its features first, for instance with TruncatedSVD."
        )
    return X.toarray()
