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
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from dual_jax.data.errors import input_errors
from dual_jax.data.storage import filled
from dual_jax.devices.mesh import on_device, on_host, platform_of, shard_rows, sharing
from dual_jax.dual.checkpoint import stopping_at_a_break
from dual_jax.dual.config import DualConfig, Readout
from dual_jax.dual.fitting import fit, on_devices, shapes, with_sizes
from dual_jax.dual.layout import in_one_piece
from dual_jax.dual.loop import Chunk
from dual_jax.dual.ranking import norms_on, rank
from dual_jax.dual.readout import is_nested
from dual_jax.dual.sizes import Sizes
from dual_jax.dual.state import started
from dual_jax.dual.trained import encoded, learnt_space
from dual_jax.estimators import progress
from dual_jax.estimators.logs import Lines
from dual_jax.estimators.picker import Picker, has_costs, kept_limits, warn_of_end
from dual_jax.estimators.prepared import Inputs, Prepared, Request, prepare, read_new_rows
from dual_jax.estimators.training import Training, mesh_for, plan_training
from dual_jax.methods import METHODS
from dual_jax.numerics.draws import seeded
from dual_jax.selection.limits import Limits

TRANSFORM_ROWS = 1024  # rows encoded at a time, so that every length of table is one compilation
# Parameters that JSON can hold.
KEPT_PARAMETERS = "n_to_select", "max_iter", "pretrain_iter", "latent_dim", "readout", "scale", "verbose"
OWN_SETTINGS = {  # fields of the configuration that are parameters of the estimator
    "steps": "max_iter",
    "pretrain_steps": "pretrain_iter",
    "latent_dim": "latent_dim",
    "readout": "readout",
}


class DUALSelector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Picker):
    """Say which rows of an unlabelled pool to label: Deep Unsupervised Active Learning.

    Parameters
    ----------
    n_to_select : int or float, optional
        How many rows to pick, or a share of the candidates in (0, 1); half of them by default.
    max_iter, pretrain_iter : int, optional
        Full-batch steps of the joint stage and of pre-training, at most; the configuration's by default.
    latent_dim : int, optional
        Width of the encoder's output; the configuration's by default.
    readout : {"greedy", "chain", "refine", "norms"}, optional
        How picks are read from the trained network: greedy coverage of the learnt space (nested), swaps for
        the budget, half of it and so on in one order, swaps for the budget alone, or the paper's row norms;
        the configuration's by default.
    scale : {"standard", "global", "l2", "none"}
        Scaling of the inputs: each feature, the whole table by one number, each row to unit length, or as is.
    random_state : int, RandomState or None
        The same integer gives the same picks.
    devices : sequence of jax.Device, optional
        Devices to spread the rows over; by default all of them where the pool is large enough to gain. Of a
        CPU no more are used than share the blocks of C evenly, so that picks do not depend on how many of a
        process are named.
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
        All candidates, best first; the first ``n_exact_`` by the read-out, the rest by remaining gain. With
        limits those alone that the read-out picked.
    scores_ : (n,) float array
        Gain or score at the row's place in the ranking; NaN for labelled and forbidden rows.
    history_ : dict
        Stage to term to one number a step.
    n_exact_ : int
        Rows that the read-out ordered exactly; with limits, all of the ranking.
    end_ : str
        Why the limits gave another number of picks than was asked for; "" where they did not.
    is_nested_ : bool
        Whether a fit for a smaller budget picks the first of these rows.
    n_iter_ : int
        Joint steps that were run.
    params_, state_, sizes_
        The trained network, the whole state, and the sizes decided for this pool: targets, rows of the
        dictionary, clusters, rows of a block, batches. What was asked for stays in ``config``.

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
        n_to_select: float | None = None,
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
        limits: Limits | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train on the pool and rank its candidates: `run` on what `prepare` returns, which see.

        ``y`` is ignored: no label is ever read.
        """
        masks = {"labeled": labeled, "candidates": candidates}
        self.run(self.prepare(X, embedding=embedding, **masks, limits=limits, checkpoint_dir=checkpoint_dir))
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
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Prepared:
        """Return the pool ready for `run`: checked, scaled, its sizes decided, its memory planned.

        Nothing is trained, and the estimator stays as it is.

        Parameters
        ----------
        X : (n, d) array, frame or sparse matrix
            The pool. A jax array stays on its device. With ``embedding="views"`` images (n, h, w) or (n, h,
            w, channels), or series (n, times) or (n, channels, times) of fewer than 8 channels.
        embedding : (n, q) array, function of ``X`` that returns one, "views" or Encoder, optional
            What else is known of the rows, in a space where distances mean something: it is joined with ``X``
            and each has one vote, see `dual_jax.numerics.scaling.beside`. "views" learns a code from images
            or series and picks in that alone; so does an encoder that `dual_jax.views.encoder.learn` gave,
            with its options. ``transform`` then takes new images or series.
        labeled, candidates : bool mask, positions, or for a frame its index labels instead, optional
            Rows that have a label already: they count as picked. Rows that may be picked: all by default.
        limits : dual_jax.Limits, optional
            What else is asked of the picks: when to stop, which rows exclude each other, weights and costs.
            There may then be fewer picks than ``n_to_select``, which ``end_`` explains; without a number of
            picks, ``until`` or a total cost decides on it.
        checkpoint_dir : path, optional
            A folder that keeps the fit every half minute; the same fit started again with it continues from
            there, see `dual_jax.dual.checkpoint`. Ctrl-C then ends the fit at its next break, where it is
            kept; a second one ends it at once.

        Raises
        ------
        InputError
            The pool, its embedding, a mask, the number of picks, a limit or a setting cannot be used, or the
            fit would not fit in memory; the message says what to do. It is a ValueError.
        """
        decide = partial(self._decide, checkpoint_dir=checkpoint_dir)
        return prepare(self, X, embedding, labeled, candidates, decide, limits, self._placed)

    def run(self, prepared: Prepared) -> Self:
        """Train on a prepared pool and rank its candidates."""
        training: Training = prepared.settings
        is_kept = training.checkpoint is not None
        with (
            progress.callback(self.verbose) as report,
            stopping_at_a_break() if is_kept else nullcontext() as stop,
        ):
            watching = [callback for callback in (report, stop) if callback]
            fitted = fit(
                seeded(prepared.seed),
                prepared.x,
                training.config,
                mesh=self._mesh(len(prepared.x), training.sizes),
                sizes=training.sizes,
                labeled=prepared.is_labeled,
                candidates=prepared.is_open,
                callbacks=[Lines(), *self.callbacks, *watching],
                checkpointer=training.checkpoint,
                limits=prepared.limits,
            )
        self._prepared = prepared._replace(settings=training._replace(checkpoint=None))
        self.n_exact_ = fitted.n_exact
        self._set_fit(fitted.state, fitted.history)
        self._set_picks(prepared, fitted.ranking)
        return self

    def _set_fit(self, state: Any, history: dict[str, dict[str, np.ndarray]]) -> None:
        """Set the attributes that say what was trained."""
        self.state_, self.params_, self.history_ = state, state.params, history
        self.sizes_ = self._prepared.settings.sizes
        self.n_iter_ = len(history["train"].get("loss", ()))

    def _decide(self, request: Request, checkpoint_dir: str | os.PathLike[str] | None) -> Training:
        """Return the settings for a pool, after checking them and the memory that they take."""
        asked = DualConfig() if self.config is None else self.config
        own = {field: getattr(self, name) for field, name in OWN_SETTINGS.items()}
        config = dataclasses.replace(asked, **{k: v for k, v in own.items() if v is not None})
        if request.limits is not None:
            with input_errors():
                METHODS["dual"].check_keeps(request.limits, {"readout": config.readout})
        return plan_training(request, config, mesh_for(request.shape[0], self.devices), checkpoint_dir)

    @property
    def is_nested_(self) -> bool:
        """Whether a fit for a smaller budget picks the first of these rows."""
        check_is_fitted(self)
        is_for_all = is_nested(self._config.readout, len(self.scores_), self.n_exact_)
        return is_for_all and not has_costs(self._prepared.limits)

    @property
    def _config(self) -> DualConfig:
        """The settings of the fit: ``config`` with the estimator's own parameters."""
        return self._prepared.settings.config

    def _begins_with(self, n_select: int) -> bool:
        return self._config.readout != "refine" and not has_costs(self._prepared.limits)

    def _ranked_again(self, n_select: int) -> Int[np.ndarray, " k"]:
        mesh = self._mesh(len(self._prepared.x), self.sizes_)
        pool, is_row = self._sharded(mesh)
        limits = self._prepared.limits
        picks = rank(self.state_, pool, self._config, n_select, is_row=is_row, mesh=mesh, limits=limits)
        return np.asarray(picks.indices)

    def _sharded(self, mesh: Mesh | None) -> tuple[Any, Any]:
        """Return the pool on the devices of a mesh, and which of its rows are no padding."""
        return on_devices(self._prepared.x, mesh, self.sizes_.n_tiles)

    def _clustered(self) -> tuple[Float[Any, "n q"], Float[Any, "k q"]]:
        fixed, n = started(self.state_), len(self._prepared.x)
        pool, is_row = self._sharded(self._mesh(n, self.sizes_))
        u = on_host(_learnt_space(self.state_, pool, self._config, is_row=is_row))  # from all devices
        return u[:n], np.asarray(fixed.centroids)[np.asarray(fixed.sizes) > 0]

    def row_norms(self) -> dict[str, Float[np.ndarray, " m"]]:
        """Return the l2 norms of the rows of C and of P, a number for each row of the dictionary.

        With ``objective="free"`` they are what the paper ranks by. The positions of the dictionary are
        ``state_.fixed.dictionary``.
        """
        check_is_fitted(self)
        mesh = self._mesh(len(self._prepared.x), self.sizes_)
        norms = norms_on(self.state_, self._sharded(mesh)[0], self._config, mesh)
        return {name: np.asarray(values) for name, values in norms._asdict().items()}

    def transform(self, X: Any, *, embedding: Any = None) -> Float[Any, "m p"]:
        """Return the encoder's codes of rows: (m, latent_dim) float32, on the side where ``X`` is.

        Parameters
        ----------
        X : (m, d) array, frame or sparse matrix
            Rows with the features of the pool.
        embedding : (m, q) array, optional
            Wanted when the fit had an array beside ``X``; a function that was fitted with is called again,
            and so is an encoder.
        """
        check_is_fitted(self)
        rows = read_new_rows(self, self._prepared.inputs, X, embedding)
        mesh = self._mesh(len(self._prepared.x), self.sizes_)
        size = TRANSFORM_ROWS * (mesh.size if mesh else 1)
        codes = [self._encode(rows[start : start + size], size, mesh) for start in range(0, len(rows), size)]
        return jnp.concatenate(codes) if isinstance(rows, jax.Array) else np.concatenate(on_host(codes))

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Float[Any, "n p"]:
        """Return the codes of the pool after fitting to it; parameters are those of ``fit``."""
        return self.fit(X, y, **fit_params).transform(X, embedding=fit_params.get("embedding"))

    def _contents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        prepared, sizes = self._prepared, self.sizes_
        n, mesh = len(prepared.x), self._mesh(len(prepared.x), sizes)
        about = {
            "parameters": {name: getattr(self, name) for name in KEPT_PARAMETERS},
            "random_state": self.random_state if isinstance(self.random_state, Integral) else None,
            "config": prepared.settings.config.as_json(),
            "inputs": prepared.inputs.as_json(),
            "n_clusters": sizes.n_clusters,
            "n_places": sizes.n_places,
            "history": {stage: list(terms) for stage, terms in self.history_.items()},
        }
        n_shares = mesh.size if mesh else 1
        tree = {
            "state": in_one_piece(
                self.state_, sizes.n_targets, sizes.n_clusters, n_shares, n, sizes.n_places
            ),
            "pool": prepared.x,
            "inputs": prepared.inputs.arrays(),
            "history": self.history_,
        }
        return about, tree

    @classmethod
    def _restored(
        cls, about: dict[str, Any], arrays: dict[str, np.ndarray], config: DualConfig | None
    ) -> Self:
        """Return the estimator that `save` wrote."""
        asked = DualConfig.from_json(about["config"], config)
        self = cls(**about["parameters"], random_state=about["random_state"], config=asked)
        self._restore_picks(about, arrays)
        n, n_places, n_clusters = len(arrays["pool"]), about["n_places"], about["n_clusters"]
        mesh = self._mesh(n, asked.sizes(n, n_places))
        sizes = asked.sizes(n, n_places, mesh.size if mesh else 1, platform_of(mesh))
        sizes = sizes._replace(n_places=n_places, n_clusters=n_clusters)
        x = self._placed(arrays["pool"], training := Training(asked, sizes))
        like, mask = shapes(x[: sizes.n_targets], asked, sizes, "train"), jnp.zeros(n, bool)
        like = like._replace(fixed=started(like)._replace(is_labeled=mask, is_candidate=mask))
        state = filled(like, arrays, "state")
        is_labeled, limits = np.asarray(started(state).is_labeled), kept_limits(arrays)
        is_open = np.asarray(started(state).is_candidate)
        if limits is None:  # then every candidate is ranked
            is_open = np.isin(np.arange(n), self.ranking_)
        inputs = Inputs.from_json(about["inputs"], lambda name: arrays[f"inputs/{name}"])
        budget, seed = len(self.sample_indices_), about["random_state"] or 0
        self._prepared = Prepared(x, inputs, is_labeled, is_open, budget, seed, None, {}, training, limits)
        history = {
            stage: {name: arrays[f"history/{stage}/{name}"] for name in names}
            for stage, names in about["history"].items()
        }
        self._set_fit(with_sizes(state, sizes, mesh), history)
        return self

    def _encode(self, rows: Float[Any, "m d"], size: int, mesh: Mesh | None) -> Float[Array, "m p"]:
        """Return the codes of at most ``size`` rows, sharded over a mesh; one shape serves all tables."""
        padded = shard_rows(jnp.pad(rows, [(0, size - len(rows)), (0, 0)]), mesh)
        return encoded(self.params_.network.encoder, padded, self._config, mesh)[: len(rows)]

    @property
    def _n_features_out(self) -> int:
        encoder, row = self.params_.network.encoder, self._prepared.x[:1]
        return encoded.eval_shape(encoder, row, self._config, None).shape[1]

    def _mesh(self, n: int, sizes: Sizes) -> Mesh | None:
        """Return the devices that share a fit to n rows."""
        return sharing(mesh_for(n, self.devices), sizes.n_tiles)

    def _placed(self, x: Any, training: Training) -> Any:
        """Return the pool on the one device that uses it; else on the host, which gives each its share."""
        return on_device(x) if self._mesh(len(x), training.sizes) is None else x

    def __sklearn_tags__(self) -> Tags:
        """Say that the output is float32 whatever comes in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


_learnt_space = jax.jit(learnt_space)
