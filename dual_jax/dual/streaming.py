"""Selection from a pool larger than memory: it is read in pieces from disk or from the host.

1. `SAMPLE` rows, drawn evenly, are a pool of their own: they give the scaling, the network and the clusters.
2. Every row goes through the encoder once; the host keeps its cluster and its distance from the centroid.
3. Along the clusters, from their middles outwards, rows are taken at even distances: candidates that may be
   picked, and targets that the picks should cover. The greedy read-out ranks the candidates by the targets.

So the picks depend on all rows, but on each row through its cluster; the objective is estimated on targets.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from dual_jax.data.checks import FLOAT32_MAX, as_mask, as_numbers, check_n_select
from dual_jax.data.errors import InputError
from dual_jax.dual import readout
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import drawn_targets, train
from dual_jax.dual.loop import Callbacks
from dual_jax.dual.room import sizes_with_room
from dual_jax.dual.sizes import Sizes
from dual_jax.dual.state import TrainState, started
from dual_jax.dual.trained import code_moments, space_of
from dual_jax.numerics.chunks import assign
from dual_jax.numerics.draws import spread_along_clusters
from dual_jax.numerics.precision import in_float32
from dual_jax.numerics.scaling import Scaler, apply, fit_scaler
from dual_jax.numerics.statistics import Moments
from dual_jax.selection.chain import chain
from dual_jax.selection.cover import build_cover, power_cost
from dual_jax.selection.coverage import greedy
from dual_jax.selection.protocol import Selection
from dual_jax.selection.swaps import refine

SAMPLE = 1 << 17  # rows that train
N_RANKED = 1 << 16  # rows that the picks should cover
PIECE = 1 << 24  # cells that are read at a time: 64 MB in float32


class Rows(Protocol):
    """A table on the host or on disk, as ``np.load(path, mmap_mode="r")`` is: read by slices and by rows."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Shaped[np.ndarray, "..."]: ...


class Streamed(NamedTuple):
    """The picks, by positions in the whole pool, and the fit to the sample.

    ``state`` and ``history`` are those of `dual_jax.dual.fitting.train` on the rows ``sample``, as ``scaler``
    scales them; ``sizes`` are those of that fit.
    """

    picks: Selection
    state: TrainState
    history: dict[str, dict[str, Any]]
    sample: Int[np.ndarray, " s"]
    scaler: Scaler
    sizes: Sizes


@in_float32
def stream(
    key: Key[Array, ""],
    x: Rows,
    n_select: int,
    config: DualConfig,
    *,
    scale: str = "standard",
    labeled: Any = None,
    candidates: Any = None,
    callbacks: Callbacks = (),
) -> Streamed:
    """Return DUAL's picks from a pool of which only pieces are in memory at a time.

    Memory: a piece, `SAMPLE` rows with their fit, and some 40 bytes for each row of the pool, which is read
    twice from end to end, and the rows of the sample and of the ranking once more. With at most `SAMPLE` rows
    `dual_jax.fit` is as cheap, and ranks with all rows as targets.

    Parameters
    ----------
    key
        The only source of randomness.
    x : (n, d) table of numbers
        On the host or on disk; unscaled.
    n_select
        Number of picks.
    config
        Of the fit; its read-out is not ``"norms"``.
    scale
        See `dual_jax.numerics.scaling.fit_scaler`; fitted to the sample.
    labeled, candidates
        Rows that have a label, and rows that may be picked: masks or positions. Of the labelled rows at
        most `N_RANKED` are used.
    callbacks
        See `dual_jax.fit`.

    Returns
    -------
    Streamed
        The picks, as positions in the whole pool, with the sample and the fit that they come from.

    Raises
    ------
    ValueError
        The read-out ranks by norms, the table has other cells than finite numbers, or too few candidates.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(300, 4))  # or np.load(path, mmap_mode="r")
    >>> config = DualConfig(pretrain_steps=50, steps=10)
    >>> len(stream(jax.random.key(0), x, 7, config).picks.indices)
    7
    """
    prepared = prepare(key, x, n_select, config, scale=scale, labeled=labeled, candidates=candidates)
    return run(prepared, callbacks=callbacks)


class Prepared(NamedTuple):
    """A pool on disk that is checked, and its sample: all that `run` needs."""

    key: Key[Array, ""]
    x: Rows
    n_select: int
    config: DualConfig
    sizes: Sizes
    sample: Int[np.ndarray, " s"]
    scaler: Scaler
    seen: Float[Array, "s d"]  # the sample, scaled
    is_labeled: Bool[np.ndarray, " n"]
    is_open: Bool[np.ndarray, " n"]


def prepare(
    key: Key[Array, ""],
    x: Rows,
    n_select: int,
    config: DualConfig,
    *,
    scale: str = "standard",
    labeled: Any = None,
    candidates: Any = None,
) -> Prepared:
    """Return a pool on disk ready for `run`: every row checked, a sample drawn and scaled, memory planned.

    Parameters are those of `stream`; nothing is trained.
    """
    if config.readout == "norms":
        raise InputError('readout="norms" needs C for every row of the pool: use another read-out.')
    config.check()
    _check(x)
    n = len(x)
    is_labeled = as_mask(labeled, n, name="labeled")
    is_open = as_mask(candidates, n, name="candidates", default=True) & ~is_labeled
    n_select = check_n_select(n_select, int(is_open.sum()))
    key_sample, key_train = jax.random.split(key)
    rows = drawn_targets(key_sample, jnp.asarray(is_labeled | is_open), min(n, SAMPLE))
    sample = np.arange(n) if rows is None else np.asarray(rows)
    if not is_open[sample].any():  # too few candidates: none was drawn
        some = np.flatnonzero(is_open)[: len(sample) // 2]
        sample = np.union1d(sample[len(some) :], some)
    own = np.asarray(as_numbers(x[sample]))
    scaler = fit_scaler(own, scale)
    n_usable = int((is_labeled | is_open)[sample].sum())
    sizes = sizes_with_room((len(sample), x.shape[1]), n_usable, config, None)
    seen = jnp.asarray(apply(scaler, own))
    return Prepared(key_train, x, n_select, config, sizes, sample, scaler, seen, is_labeled, is_open)


def run(prepared: Prepared, *, callbacks: Callbacks = ()) -> Streamed:
    """Train on the sample of a prepared pool, and pick from all of its rows."""
    key, x, n_select, config, sizes, sample, scaler, seen, is_labeled, is_open = prepared
    masks = is_labeled[sample], is_open[sample]
    state, history = train(
        key, seen, config, labeled=masks[0], candidates=masks[1], sizes=sizes, callbacks=callbacks
    )
    place = partial(_placed, state, code_moments(state, seen, config), config)
    picks = _picks(lambda rows: place(apply(scaler, rows)), x, config, is_labeled, is_open, n_select)
    return Streamed(picks, state, history, sample, scaler, sizes)


Placed = tuple[Float[Array, "m q"], Int[Array, " m"], Float[Array, " m"]]


@jax.jit
def _placed(state: TrainState, codes: Moments, config: DualConfig, x: Float[Array, "m d"]) -> Placed:
    """Return rows in the learnt space, their clusters, and the squared distances from these."""
    u = space_of(state, x, codes, config)
    centroids, is_real = started(state).centroids, started(state).sizes > 0
    return u, *assign(u, jnp.where(is_real[:, None], centroids, centroids[jnp.argmax(is_real)]))


def _picks(
    place: Callable[[np.ndarray], Placed],
    x: Rows,
    config: DualConfig,
    is_labeled: Bool[np.ndarray, " n"],
    is_open: Bool[np.ndarray, " n"],
    n_select: int,
) -> Selection:
    """Return the picks, after one pass over every row."""
    n = len(x)
    labels, squared = np.empty(n, np.int32), np.empty(n, np.float32)
    for start, piece in _pieces(x, range(n)):
        _, labels[start : start + len(piece)], squared[start : start + len(piece)] = place(piece)

    def spread_out(is_open: Bool[np.ndarray, " n"], size: int) -> Int[np.ndarray, " m"]:
        return spread_along_clusters(labels, squared, is_open, min(size, int(is_open.sum())))

    candidates = spread_out(is_open, max(readout.PER_PICK * n_select, readout.MIN_SHORTLIST))
    targets, known = spread_out(np.ones(n, bool), N_RANKED), spread_out(is_labeled, N_RANKED)
    rows = np.unique(np.concatenate([candidates, targets, known]))
    u = jnp.concatenate([place(piece)[0] for _, piece in _pieces(x, rows)])
    cover = build_cover(
        u,
        power_cost(config.power),
        labeled=jnp.asarray(np.isin(rows, known)),
        weights=jnp.asarray(np.isin(rows, targets) * (n / len(targets)), jnp.float32),
        shortlist=jnp.asarray(np.searchsorted(rows, candidates)),
    )
    if config.readout == "chain":
        picks = chain(cover, n_select, pair_first=True)
    else:
        picks = greedy(cover, n_select, pair_first=True)
    if config.readout == "refine":
        picks = refine(cover, picks.indices)
    return Selection(rows[np.asarray(picks.indices)], picks.scores)


def _pieces(x: Rows, rows: range | Int[np.ndarray, " m"]) -> Iterator[tuple[int, np.ndarray]]:
    """Give pieces of some rows, ascending, each with its place among them."""
    step = max(1, PIECE // x.shape[1])
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        is_slice = part[-1] - part[0] == len(part) - 1
        yield start, np.asarray(as_numbers(x[part[0] : part[-1] + 1] if is_slice else x[part]))


def _check(x: Rows) -> None:
    """Raise ValueError unless the pool is a table of finite numbers."""
    if len(x.shape) != 2 or len(x) < 2 or x.shape[1] < 2 or x[:1].dtype.kind not in "fiub":
        raise InputError(
            f"a pool of shape {x.shape} and type {x[:1].dtype} cannot be streamed: give a table of numbers "
            "with at least two rows (samples) and two columns (features)."
        )
    for start, piece in _pieces(x, range(len(x))):
        is_fine = (np.abs(piece) <= FLOAT32_MAX).all(axis=1)
        if not is_fine.all():
            row = start + int(is_fine.argmin())
            raise InputError(
                f"row {row} (from 0) of the pool holds NaN, an infinity or a number beyond float32: fill or "
                "rescale such cells, or leave the row out."
            )
