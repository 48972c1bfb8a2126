"""What an estimator is asked, checked before any work, and the attributes that say what it picked."""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from dual_jax.data.checks import Table, as_mask, check_embedding, check_n_select, check_pool
from dual_jax.data.foreign import as_known
from dual_jax.numerics.scaling import Parts, Scaler, apply, fit_parts, fit_scaler, join
from dual_jax.selection.protocol import Selection

ARCHIVE = "estimator"  # the kind of file that keeps one
MAX_DENSE = 1 << 28  # cells of a sparse pool that is made dense: 1 GiB in float32


class Request(NamedTuple):
    """A pool, unscaled, perhaps its embedding, the frame's index or None, and what is asked for."""

    x: Float[Table, "n d"]
    embedding: Float[Table, "n q"] | None
    ids: Any
    is_labeled: Bool[np.ndarray, " n"]
    is_open: Bool[np.ndarray, " n"]
    n_select: int


class Inputs(NamedTuple):
    """How rows become what a method sees: scaled, and beside their embedding where the pool has one."""

    scaler: Scaler
    parts: Parts | None
    embed: Callable[[Any], Any] | None  # the embedding of new rows, where the caller gave a function

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` needs beside `arrays`."""
        return {"scale": self.scaler.how, "has_embedding": self.parts is not None}

    def arrays(self) -> dict[str, Any]:
        """Return the numbers of the scalers."""
        return {"scaler": self.scaler[1:], "parts": self.parts and [part[1:] for part in self.parts]}

    @classmethod
    def from_json(cls, about: dict[str, Any], arrays: Callable[[str], np.ndarray]) -> Self:
        """Return what `as_json` and `arrays` hold; a function that embeds new rows is lost."""

        def scaler(how: str, place: str) -> Scaler:
            return Scaler(how, *(arrays(f"{place}/{i}") for i in range(len(Scaler._fields) - 1)))

        own = scaler(about["scale"], "scaler")
        if not about["has_embedding"]:
            return cls(own, None, None)
        parts = Parts(*(scaler("spread", f"parts/{i}") for i in range(len(Parts._fields))))
        return cls(own, parts, None)


def read_request(estimator: Any, X: Any, embedding: Any, labeled: Any, candidates: Any) -> Request:
    """Return the arguments of ``fit`` with the estimator's ``n_to_select``, checked.

    Raises
    ------
    ValueError, TypeError
        The pool, its embedding, a mask or the number of picks cannot be used; the message says what to do.
    """
    x, ids = read_table(estimator, X, reset=True)
    is_labeled = as_mask(labeled, len(x), ids=ids, name="labeled")
    is_open = as_mask(candidates, len(x), ids=ids, name="candidates", default=True) & ~is_labeled
    n_select = check_n_select(estimator.n_to_select, int(is_open.sum()))
    rows = None if embedding is None else _embedding_of(X, embedding, len(x))
    return Request(x, rows, ids, is_labeled, is_open, n_select)


def fit_inputs(request: Request, scale: str, embedding: Any) -> tuple[Inputs, Float[Table, "n q"]]:
    """Return how the rows of a pool, and new ones, become what a method sees; and those of the pool.

    Parameters
    ----------
    request
        The pool and its embedding.
    scale
        Of the inputs: see `dual_jax.numerics.scaling.fit_scaler`.
    embedding
        As the caller gave it: a function is kept for new rows.
    """
    scaler = fit_scaler(request.x, scale)
    x, embed = apply(scaler, request.x), embedding if callable(embedding) else None
    if request.embedding is None:
        return Inputs(scaler, None, None), x
    parts = fit_parts(x, request.embedding)
    return Inputs(scaler, parts, embed), join(parts, x, request.embedding)


def read_new_rows(estimator: Any, inputs: Inputs, X: Any, embedding: Any) -> Float[Table, "m q"]:
    """Return new rows as the method saw those of the pool.

    Raises
    ------
    ValueError, TypeError
        The rows or their embedding cannot be used, or the fit had an embedding and there is none now, or the
        other way round.
    """
    x, _ = read_table(estimator, X, reset=False)
    scaled = apply(inputs.scaler, x)
    if inputs.parts is None:
        if embedding is not None:
            raise ValueError("the fit had no embedding: leave it out, or fit again with embedding=")
        return scaled
    if embedding is None and inputs.embed is None:
        raise ValueError(
            "the fit had an embedding beside X: give that of these rows as embedding=, or fit with a function"
        )
    rows = _embedding_of(X, inputs.embed if embedding is None else embedding, len(x))
    return join(inputs.parts, scaled, rows)


def _embedding_of(X: Any, embedding: Any, n: int) -> Float[Table, "n q"]:
    """Return the checked embedding of rows: given, or from a function of them."""
    return check_embedding(embedding(X) if callable(embedding) else embedding, n)


def read_table(estimator: Any, X: Any, *, reset: bool) -> tuple[Float[Table, "n d"], Any]:
    """Return the checked table, unscaled, and the frame's index.

    With ``reset`` the estimator notes the number and names of the features; without, new rows must have the
    same. A jax array stays on its device.
    """
    X = _dense(X) if scipy.sparse.issparse(X) else as_known(X)
    min_rows = 2 if reset else 1
    if isinstance(X, jax.Array):
        x = check_pool(X, min_rows=min_rows)
        if reset:
            estimator.n_features_in_ = x.shape[1]
            vars(estimator).pop("feature_names_in_", None)  # of a frame in an earlier fit
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


PICKS = ("ranking_", "scores_", "sample_indices_", "sample_ids_", "support_")


def kept(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `restore` needs, as JSON and as arrays; ids that are no numbers become text."""
    about = {
        "class": type(estimator).__name__,
        "n_exact": estimator.n_exact_,
        "n_features": estimator.n_features_in_,
        "feature_names": [*map(str, getattr(estimator, "feature_names_in_", ()))],
    }
    arrays = {name: np.asarray(getattr(estimator, name)) for name in PICKS}
    if arrays["sample_ids_"].dtype.kind == "O":
        arrays["sample_ids_"] = arrays["sample_ids_"].astype(str)
    return about, arrays


def restore(estimator: Any, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Set what `read_request` and `set_picks` had set when the estimator was saved."""
    estimator.n_exact_, estimator.n_features_in_ = about["n_exact"], about["n_features"]
    if about["feature_names"]:
        estimator.feature_names_in_ = np.array(about["feature_names"], dtype=object)
    for name in PICKS:
        setattr(estimator, name, arrays[f"picks/{name}"])


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
