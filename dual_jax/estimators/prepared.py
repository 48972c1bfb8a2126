"""A pool that is ready for a method: checked, scaled, joined with its embedding, with masks of its rows."""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Float
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from dual_jax.data.checks import Table, as_mask, check_embedding, check_n_select, check_pool
from dual_jax.data.errors import InputError, input_errors
from dual_jax.data.foreign import as_known
from dual_jax.estimators.codes import is_code, learn_codes, read_samples, width_of_code
from dual_jax.numerics.scaling import Parts, Scaler, apply, fit_parts, fit_scaler, join
from dual_jax.selection.limitchecks import MAX_PICKS, check_limits, most_picks
from dual_jax.selection.limits import Limits
from dual_jax.views.encoder import Encoder, encode
from dual_jax.views.keeping import as_arrays, from_arrays

NONE_WITHIN = (
    "no row may be picked within the limits: every candidate is too near to a labelled row, is of a full "
    "group, or costs too much"
)
MAX_DENSE = 1 << 28  # cells of a sparse pool that is made dense: 1 GiB in float32


class Deferred(NamedTuple):
    """A table that takes long to compute: `prepare` makes it when every other check has passed."""

    make: Callable[[], Any]
    shape: tuple[int, int]


class Inputs(NamedTuple):
    """How rows become what a method uses: scaled, and joined with their embedding where the pool has one."""

    scaler: Scaler
    parts: Parts | None
    embed: Callable[[Any], Any] | None  # the embedding of new rows, where the caller gave a function
    encoder: Encoder | None = None  # of images or series, whose codes are the rows

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` needs besides `arrays`."""
        about = {"scale": self.scaler.how, "has_embedding": self.parts is not None}
        if self.encoder is not None:
            settings, arrays = as_arrays(self.encoder)
            about |= {"encoder": settings, "encoder_arrays": [*arrays]}
        return about

    def arrays(self) -> dict[str, Any]:
        """Return the numbers of the scalers, and of the encoder."""
        encoder = {} if self.encoder is None else as_arrays(self.encoder)[1]
        parts = self.parts and [part[1:] for part in self.parts]
        return {"scaler": self.scaler[1:], "parts": parts, "encoder": encoder}

    @classmethod
    def from_json(cls, about: dict[str, Any], arrays: Callable[[str], np.ndarray]) -> Self:
        """Return what `as_json` and `arrays` hold; a function that embeds new rows is lost."""

        def scaler(how: str, place: str) -> Scaler:
            return Scaler(how, *(arrays(f"{place}/{i}") for i in range(len(Scaler._fields) - 1)))

        own = scaler(about["scale"], "scaler")
        if "encoder" in about:
            learnt = {name: arrays(f"encoder/{name}") for name in about["encoder_arrays"]}
            return cls(own, None, None, from_arrays(about["encoder"], learnt))
        if not about["has_embedding"]:
            return cls(own, None, None)
        return cls(own, (scaler("spread", "parts/0"), scaler("spread", "parts/1")), None)


class Request(NamedTuple):
    """Which rows may be picked, how many shall be, and the shape of the table that a method will get."""

    shape: tuple[int, int]
    is_labeled: Bool[np.ndarray, " n"]
    is_open: Bool[np.ndarray, " n"]
    n_select: int
    limits: Limits | None = None


class Prepared(NamedTuple):
    """All that ``run`` needs, and all that another budget needs later.

    ``settings`` are the estimator's own: of `DUALSelector` a `Training`, of `Selector` a `Task`.
    """

    x: Float[Array, "n q"]  # scaled, joined with the embedding
    inputs: Any  # `Inputs`; None for a saved `Selector`, which transforms no new rows
    is_labeled: Bool[np.ndarray, " n"]
    is_open: Bool[np.ndarray, " n"]
    n_select: int
    seed: int
    ids: Any  # a frame's index, or None
    features: dict[str, Any]  # scikit-learn's attributes: number and names of the features
    settings: Any
    limits: Limits | None = None  # of the picks, as arrays


def prepare(
    estimator: Any,
    X: Any,
    embedding: Any,
    labeled: Any,
    candidates: Any,
    decide: Callable[[Request], Any],
    limits: Limits | None = None,
    place: Callable[[Any, Any], Any] = lambda x, settings: jnp.asarray(x),
) -> Prepared:
    """Return a pool that is ready for a method, after every check; nothing is trained.

    Parameters
    ----------
    estimator
        With ``n_to_select``, ``scale`` and ``random_state``.
    X, embedding, labeled, candidates
        As `dual_jax.DUALSelector.prepare` has them; ``X`` and ``embedding`` may also be `Deferred`. Where the
        embedding is learnt, its codes take the place of ``X``.
    decide
        Checks the estimator's own parameters for a request, and returns its settings.
    limits
        What else is asked of the picks.
    place
        Puts the scaled rows where a fit with these settings reads them: on JAX's default device by default.

    Raises
    ------
    InputError
        The pool, its embedding, a mask, the number of picks, a limit or a parameter cannot be used.
    """
    seed, learnt = seed_from(estimator.random_state), list[Encoder]()
    if is_code(embedding):
        X, embedding = _codes(read_samples(X), embedding, seed, learnt), None
    is_late = isinstance(X, Deferred)
    x, ids, features = (X, None, {}) if is_late else read_table(X)
    n, d = x.shape
    is_labeled = as_mask(labeled, n, ids=ids, name="labeled")
    is_open = as_mask(candidates, n, ids=ids, name="candidates", default=True) & ~is_labeled
    with input_errors():
        limits = check_limits(limits, n)
    n_select = _budget(estimator.n_to_select, limits, is_open, is_labeled)
    rows = None if embedding is None else _embedding_of(X, embedding, n)
    width = d + (0 if rows is None else rows.shape[1])
    settings = decide(Request((n, width), is_labeled, is_open, n_select, limits))
    if is_late:
        x, ids, features = read_table(X.make())
    if isinstance(rows, Deferred):
        rows = check_embedding(rows.make(), n)
    inputs, x = _fit_inputs(x, estimator.scale, rows, embedding)
    inputs = inputs._replace(encoder=learnt[0]) if learnt else inputs
    x = place(x, settings)
    return Prepared(x, inputs, is_labeled, is_open, n_select, seed, ids, features, settings, limits)


def _budget(
    asked: Any, limits: Limits | None, is_open: Bool[np.ndarray, " n"], is_labeled: Bool[np.ndarray, " n"]
) -> int:
    """Return how many rows to pick at most; without a number what ``until`` or a total cost may need.

    Raises
    ------
    InputError
        The number cannot be used, or the limits leave no row at all.
    """
    n_select = check_n_select(asked, int(is_open.sum()))
    if limits is None:
        return n_select
    most = most_picks(limits, is_open, is_labeled)
    if most == 0:
        raise InputError(NONE_WITHIN)
    if limits.costs is not None:
        return most if asked is None else min(n_select, most)
    return min(most, MAX_PICKS) if asked is None and limits.until is not None else n_select


def _codes(samples: np.ndarray, how: str | Encoder, seed: int, learnt: list[Encoder]) -> Deferred:
    """Return the codes of images or series, to be made later; then ``learnt`` gets their encoder."""

    def make() -> Array:
        codes, encoder = learn_codes(samples, how, seed)
        learnt.append(encoder)
        return codes

    return Deferred(make, (len(samples), width_of_code(how, len(samples))))


def _fit_inputs(
    x: Float[Table, "n d"], scale: str, embedding: Float[Table, "n q"] | None, given: Any
) -> tuple[Inputs, Float[Table, "n q"]]:
    """Return how rows, and new ones, become what a method uses; and those of the pool."""
    scaler = fit_scaler(x, scale)
    x = apply(scaler, x)
    if embedding is None:
        return Inputs(scaler, None, None), x
    parts = fit_parts(x, embedding)
    return Inputs(scaler, parts, given if callable(given) else None), join(parts, x, embedding)


def read_new_rows(estimator: Any, inputs: Inputs, X: Any, embedding: Any) -> Float[Table, "m q"]:
    """Return new rows as the method used those of the pool.

    Raises
    ------
    InputError
        The rows or their embedding cannot be used, or the fit had an embedding and there is none now, or the
        other way round.
    """
    if inputs.encoder is not None:
        if not (embedding is None or is_code(embedding)):
            raise InputError("the fit learnt its own embedding: leave embedding= out")
        codes = encode(inputs.encoder, read_samples(X))
        X, embedding = codes if isinstance(X, jax.Array) else np.asarray(codes), None
    x, _, _ = read_table(X, like=estimator)
    scaled = apply(inputs.scaler, x)
    if inputs.parts is None:
        if embedding is not None:
            raise InputError("the fit had no embedding: leave it out, or fit again with embedding=")
        return scaled
    if embedding is None and inputs.embed is None:
        raise InputError(
            "the fit had an embedding beside X: give that of these rows as embedding=, or fit with a function"
        )
    rows = _embedding_of(X, inputs.embed if embedding is None else embedding, len(x))
    return join(inputs.parts, scaled, rows)


def _embedding_of(X: Any, embedding: Any, n: int) -> Any:
    """Return the checked embedding of rows: given, or from a function of them; a deferred one as it is."""
    if isinstance(embedding, Deferred):
        return embedding
    return check_embedding(embedding(X) if callable(embedding) else embedding, n)


def read_table(X: Any, like: Any = None) -> tuple[Float[Table, "n d"], Any, dict[str, Any]]:
    """Return the checked table, unscaled, the frame's index, and scikit-learn's attributes of its features.

    With ``like``, a fitted estimator, the features must be those of its pool. A jax array stays on its
    device.
    """
    X = as_dense(X) if scipy.sparse.issparse(X) else as_known(X)
    min_rows = 2 if like is None else 1
    if isinstance(X, jax.Array):
        x = check_pool(X, min_rows=min_rows)
        if like is not None and x.shape[1] != like.n_features_in_:
            wanted = f"{type(like).__name__} is expecting {like.n_features_in_} features"
            raise InputError(f"X has {x.shape[1]} features, but {wanted}")
        return x, None, {"n_features_in_": x.shape[1]}
    ids = getattr(X, "index", None) if hasattr(X, "columns") else None
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    notes: Any = BaseEstimator() if like is None else like
    if type(X) is np.ndarray and X.ndim == 2 and like is None:  # no names: pandas need not be loaded for it
        notes.n_features_in_ = X.shape[1]
    elif len(X.shape) == 2:  # names and number of features
        validate_data(notes, X, reset=like is None, skip_check_array=True)
    return check_pool(X, min_rows=min_rows, dtype=np.float64), ids, vars(notes)


def seed_from(random_state: Any) -> int:
    """Return the seed for scikit-learn's ``random_state``; of a generator one number is drawn."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def as_dense(X: Any) -> np.ndarray:
    """Return a sparse matrix as an array; InputError where that takes more than 1 GiB."""
    cells = X.shape[0] * X.shape[1]
    if cells > MAX_DENSE:
        raise InputError(
            f"The sparse pool has {X.shape[0]} x {X.shape[1]} cells, and at most {MAX_DENSE} are made dense: "
            "reduce its features first, for instance with TruncatedSVD."
        )
    return X.toarray()
