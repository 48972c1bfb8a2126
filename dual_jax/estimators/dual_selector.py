"""Selection with scikit-learn's contract: fit on a pool, read the picks."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from numbers import Integral
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from dual_jax.data.checks import check_n_select
from dual_jax.data.storage import filled, write_arrays
from dual_jax.devices.mesh import EVERYWHERE, ROWS, deal, make_mesh, on_host, on_mesh
from dual_jax.dual.checkpoint import Checkpoint, stopping_at_a_break
from dual_jax.dual.config import DualConfig, Readout
from dual_jax.dual.layout import in_one_piece
from dual_jax.dual.loop import Chunk, fit, laid_out, norms_on, rank, shapes
from dual_jax.dual.room import with_room
from dual_jax.dual.state import started
from dual_jax.dual.trained import learnt_space
from dual_jax.estimators import progress
from dual_jax.estimators.logs import Lines
from dual_jax.estimators.request import (
    ARCHIVE,
    Inputs,
    fit_inputs,
    kept,
    read_new_rows,
    read_request,
    restore,
    seed_from,
    set_picks,
)
from dual_jax.selection.explanation import Explanation, explain
from dual_jax.selection.protocol import Selection

TRANSFORM_ROWS = 1024  # rows encoded at a time, so that every length of table is one compilation
KEPT_PARAMETERS = (
    *("n_to_select", "max_iter", "pretrain_iter", "latent_dim", "readout", "scale", "verbose"),
)  # those that JSON can hold
ROWS_PER_DEVICE = 1000  # below this another device costs more than it saves


class DUALSelector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Say which rows of an unlabelled pool to label: Deep Unsupervised Active Learning.

    Parameters
    ----------
    n_to_select : int, optional
        How many rows to pick; half of the candidates by default.
    max_iter, pretrain_iter : int, optional
        Full-batch steps of the joint stage and of pre-training, at most; the configuration's by default.
    latent_dim : int, optional
        Width of the encoder's output; the configuration's by default.
    readout : {"greedy", "refine", "norms"}, optional
        How picks are read from the trained network: greedy coverage of the learnt space (nested), the same
        with swaps for one budget, or the paper's row norms; the configuration's by default.
    scale : {"standard", "global", "l2", "none"}
        Scaling of the inputs: each feature, the whole table by one number, each row to unit length, or as is.
    random_state : int, RandomState or None
        The same integer gives the same picks.
    devices : sequence of jax.Device, optional
        Devices to spread the rows over; by default all of them where the pool is large enough to gain.
    config : DualConfig, optional
        All other settings; `DualConfig()` by default.
    callbacks : sequence of callables
        Called with a `dual_jax.dual.loop.Chunk` after every 50 steps.
    verbose : int
        0 is silent; 1 shows progress: bars on a terminal or in a notebook, else a line now and then.

    Attributes
    ----------
    sample_indices_ : (k,) int array
        Picked positions, best first.
    sample_ids_ : (k,) array
        Their labels in the frame's index; the positions when the pool has none.
    support_ : (n,) bool array
        Whether a row was picked.
    ranking_ : (n_candidates,) int array
        All candidates, best first; the first ``n_exact_`` by the read-out, the rest by remaining gain.
    scores_ : (n,) float array
        Gain or score at the row's place in the ranking; NaN for labelled and forbidden rows.
    history_ : dict
        Stage to term to one number a step.
    n_iter_ : int
        Joint steps that were run.
    params_, state_, config_
        The trained network, the whole state, and the settings used, with the sizes chosen for this pool.

    References
    ----------
    Li et al., "On Deep Unsupervised Active Learning", IJCAI 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> selector = DUALSelector(5, max_iter=10, pretrain_iter=10).fit(load_iris().data)
    >>> len(selector.sample_indices_)
    5
    """

    def __init__(
        self,
        n_to_select: int | None = None,
        *,
        max_iter: int | None = None,
        pretrain_iter: int | None = None,
        latent_dim: int | None = None,
        readout: Readout | None = None,
        scale: str = "standard",
        random_state: Any = 0,
        devices: Sequence[jax.Device] | None = None,
        config: DualConfig | None = None,
        callbacks: Sequence[Callable[[Chunk], None]] = (),
        verbose: int = 0,
    ):
        self.n_to_select = n_to_select
        self.max_iter = max_iter
        self.pretrain_iter = pretrain_iter
        self.latent_dim = latent_dim
        self.readout = readout
        self.scale = scale
        self.random_state = random_state
        self.devices = devices
        self.config = config
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        embedding: Any = None,
        labeled: Any = None,
        candidates: Any = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train on the pool and rank its candidates.

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
        checkpoint_dir : path, optional
            A folder that keeps the fit every half minute; the same fit started again with it goes on from
            there, see `dual_jax.dual.checkpoint`. Ctrl-C then ends the fit at its next break, where it is
            kept; a second one ends it at once.

        Raises
        ------
        ValueError, TypeError
            The pool, its embedding, a mask, the number of picks or a setting cannot be used, or the fit would
            not fit in memory; the message says what to do.
        """
        request = read_request(self, X, embedding, labeled, candidates)
        config = self._settings(request.n_select)
        self._inputs, rows = fit_inputs(request, self.scale, embedding)
        self._pool = jnp.asarray(rows)
        mesh = self._mesh(len(self._pool))
        n_usable = int((request.is_labeled | request.is_open).sum())
        keeper = None if checkpoint_dir is None else Checkpoint(checkpoint_dir)
        if keeper and config.dictionary_size is None:  # what memory leaves now may be another number
            config = dataclasses.replace(config, dictionary_size=keeper.places())
        self._asked = with_room(self._pool.shape, n_usable, config, mesh)
        with (
            progress.callback(self.verbose) as report,
            nullcontext() if checkpoint_dir is None else stopping_at_a_break() as stop,
        ):
            watching = [callback for callback in (report, stop) if callback]
            fitted = fit(
                jax.random.key(seed_from(self.random_state)),
                self._pool,
                self._asked,
                mesh=mesh,
                labeled=jnp.asarray(request.is_labeled),
                candidates=jnp.asarray(request.is_open),
                callbacks=[Lines(), *self.callbacks, *watching],
                keeper=keeper,
            )
        self.state_, self.history_, self.n_exact_ = fitted.state, fitted.history, fitted.n_exact
        self.params_ = fitted.state.params
        n_places = len(started(self.state_).dictionary)
        self.config_ = self._asked.for_pool(len(self._pool), n_places, mesh.size if mesh else 1)
        self.n_iter_ = len(self.history_["train"].get("loss", ()))
        set_picks(self, request, fitted.ranking)
        return self

    def select(self, n_select: int) -> Int[np.ndarray, " k"]:
        """Return the positions of the best ``n_select`` candidates from the same fit, best first.

        The order is `ranking_`'s up to ``n_exact_``; beyond it, and for the read-out "refine", which is for
        one budget, it is computed anew.
        """
        check_is_fitted(self)
        n_select = check_n_select(n_select, len(self.ranking_))
        is_prefix = self.config_.readout != "refine" and n_select <= self.n_exact_
        if is_prefix or n_select == len(self.sample_indices_):
            return self.ranking_[:n_select]
        mesh = self._mesh(len(self._pool))
        picks = rank(self.state_, deal(self._pool, mesh, np.nan), self.config_, n_select, mesh=mesh)
        return np.asarray(picks.indices)

    def explain(self) -> Explanation:
        """Return for each pick its gain, its cluster, whom it represents, and the nearest row before it.

        All of that in the learnt space; the clusters are those that the network was trained with.
        """
        check_is_fitted(self)
        fixed, n = started(self.state_), len(self._pool)
        pool = deal(self._pool, self._mesh(n), np.nan)
        u = on_host(_learnt_space(self.state_, pool, self.config_))[:n]  # from all devices
        picks = Selection(self.sample_indices_, self.scores_[self.sample_indices_])
        centroids = np.asarray(fixed.centroids)[np.asarray(fixed.sizes) > 0]
        return explain(u, picks, centroids, labeled=np.asarray(fixed.is_labeled)[:n])

    def row_norms(self) -> dict[str, Float[np.ndarray, " m"]]:
        """Return the l2 norms of the rows of C and of P, a number for each row of the dictionary.

        With ``objective="free"`` they are what the paper ranks by. The positions of the dictionary are
        ``state_.fixed.dictionary``.
        """
        check_is_fitted(self)
        mesh = self._mesh(len(self._pool))
        norms = norms_on(self.state_, deal(self._pool, mesh, np.nan), self.config_, mesh)
        return {name: np.asarray(values) for name, values in norms._asdict().items()}

    def transform(self, X: Any, *, embedding: Any = None) -> Float[Any, "m p"]:
        """Return the encoder's codes of rows: (m, latent_dim) float32, on the side where ``X`` is.

        Parameters
        ----------
        X : (m, d) array, frame or sparse matrix
            Rows with the features of the pool.
        embedding : (m, q) array, optional
            Wanted when the fit had an array beside ``X``; a function that was fitted with is called again.
        """
        check_is_fitted(self)
        rows = read_new_rows(self, self._inputs, X, embedding)
        mesh = self._mesh(len(self._pool))
        size = TRANSFORM_ROWS * (mesh.size if mesh else 1)
        codes = [self._encode(rows[start : start + size], size, mesh) for start in range(0, len(rows), size)]
        return jnp.concatenate(codes) if isinstance(rows, jax.Array) else np.concatenate(on_host(codes))

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Float[Any, "n p"]:
        """Return the codes of the pool after fitting to it; parameters are those of ``fit``."""
        return self.fit(X, y, **fit_params).transform(X, embedding=fit_params.get("embedding"))

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
        mesh, n = self._mesh(len(self._pool)), len(self._pool)
        fixed = started(self.state_)
        n_targets = self.config_.targets(n)
        n_clusters = self.config_.clusters(n_targets)
        common, picks = kept(self)
        about = common | {
            "parameters": {name: getattr(self, name) for name in KEPT_PARAMETERS},
            "random_state": self.random_state if isinstance(self.random_state, Integral) else None,
            "config": self._asked.as_json(),
            "inputs": self._inputs.as_json(),
            "n_clusters": n_clusters,
            "n_places": len(fixed.dictionary),
            "history": {stage: list(terms) for stage, terms in self.history_.items()},
        }
        tree = {
            "state": in_one_piece(self.state_, n_targets, n_clusters, mesh.size if mesh else 1, n),
            "pool": self._pool,
            "picks": picks,
            "inputs": self._inputs.arrays(),
            "history": self.history_,
        }
        if jax.process_index() == 0:
            write_arrays(path, ARCHIVE, about, tree)

    @classmethod
    def _restored(
        cls, about: dict[str, Any], arrays: dict[str, np.ndarray], config: DualConfig | None
    ) -> Self:
        """Return the estimator that `save` wrote."""
        settings = DualConfig.from_json(about["config"], config)
        self = cls(**about["parameters"], random_state=about["random_state"], config=settings)
        self._asked = settings
        restore(self, about, arrays)
        self._pool = jnp.asarray(arrays["pool"])
        self._inputs = Inputs.from_json(about["inputs"], lambda name: arrays[f"inputs/{name}"])
        n, mesh = len(self._pool), self._mesh(len(self._pool))
        n_places, n_clusters = about["n_places"], about["n_clusters"]
        used = settings.for_pool(n, n_places, mesh.size if mesh else 1)
        self.config_ = dataclasses.replace(used, n_clusters=n_clusters, dictionary_size=n_places)
        n_targets, mask = settings.targets(n), jnp.zeros(n, bool)
        like = shapes(self._pool[:n_targets], self.config_, "train")
        like = like._replace(fixed=started(like)._replace(is_labeled=mask, is_candidate=mask))
        state = filled(like, arrays, "state")
        self.state_ = laid_out(state, used.block_rows or n, mesh)
        self.params_ = self.state_.params
        self.history_ = {
            stage: {name: arrays[f"history/{stage}/{name}"] for name in names}
            for stage, names in about["history"].items()
        }
        self.n_iter_ = len(self.history_["train"].get("loss", ()))
        return self

    def _encode(self, rows: Float[Any, "m d"], size: int, mesh: Mesh | None) -> Float[Array, "m p"]:
        """Return the codes of at most ``size`` rows, dealt out over a mesh; one shape serves every table."""
        padded = deal(jnp.pad(rows, [(0, size - len(rows)), (0, 0)]), mesh, 0.0)
        return _encoded(self.params_.network.encoder, padded, self.config_, mesh)[: len(rows)]

    @property
    def _n_features_out(self) -> int:
        return _encoded.eval_shape(self.params_.network.encoder, self._pool[:1], self.config_, None).shape[1]

    def _settings(self, n_select: int) -> DualConfig:
        """Return the configuration with this estimator's own parameters put in."""
        config = DualConfig() if self.config is None else self.config
        names = {
            "steps": "max_iter",
            "pretrain_steps": "pretrain_iter",
            "latent_dim": "latent_dim",
            "readout": "readout",
        }
        own = {field: getattr(self, name) for field, name in names.items()}
        config = dataclasses.replace(config, **{k: v for k, v in own.items() if v is not None})
        n_exact = n_select if config.readout == "refine" else max(n_select, config.n_exact)
        config = dataclasses.replace(config, n_exact=n_exact)
        config.check()
        return config

    def _mesh(self, n: int) -> Mesh | None:
        return mesh_for(n, self.devices)

    def __sklearn_tags__(self) -> Tags:
        """Say that the output is float32 whatever comes in, and that sparse input is made dense."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.sparse = True
        return tags


def mesh_for(n: int, devices: Sequence[jax.Device] | None = None) -> Mesh | None:
    """Return the devices for a pool of n rows as a mesh, or None for JAX's default device alone."""
    if devices is not None:
        if not len(devices):
            raise ValueError("devices is empty: name at least one, or None for those that pay.")
        return None if list(devices) == jax.devices()[:1] else make_mesh(devices)
    is_worth = jax.default_backend() != "cpu"
    devices = jax.devices()[: max(1, n // ROWS_PER_DEVICE)] if is_worth else jax.devices()[:1]
    return make_mesh(devices) if len(devices) > 1 else None


_learnt_space = jax.jit(learnt_space)


@partial(jax.jit, static_argnames="mesh")
def _encoded(
    encoder: Any, x: Float[Array, "m d"], config: DualConfig, mesh: Mesh | None
) -> Float[Array, "m p"]:
    def encode(encoder: Any, x: Float[Array, "m d"]) -> Float[Array, "m p"]:
        return config.modules(x).encoder.apply(encoder, x)

    return on_mesh(encode, mesh, (EVERYWHERE, ROWS), ROWS)(encoder, x)
