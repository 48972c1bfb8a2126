"""From a trained state to a ranking of the candidates, on one device or on a mesh."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from dual_jax.devices.collectives import gather_rows
from dual_jax.devices.mesh import AXIS, EVERYWHERE, ROWS, on_mesh
from dual_jax.dual import readout
from dual_jax.dual.config import DualConfig
from dual_jax.dual.layout import specs
from dual_jax.dual.objectives.notation import Block
from dual_jax.dual.state import TrainState, count_rows, started
from dual_jax.dual.trained import learnt_space, row_norms
from dual_jax.numerics.precision import in_float32
from dual_jax.numerics.xla import OneOff
from dual_jax.selection.limitchecks import check_limits
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection
from dual_jax.selection.walks import trimmed

FEW_ROWS = 512  # of a pool that is ranked in less time than that program takes to be optimised


@in_float32
def rank(
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    n_select: int | None = None,
    *,
    is_row: Bool[Array, " n"] | None = None,
    axis_name: str | None = None,
    mesh: Mesh | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return the picks of the configured read-out: ``n_select`` candidates, best first.

    ``None`` ranks all candidates: the first ``config.n_exact`` by the read-out, the others by their
    remaining gain (``"norms"`` ranks all). With ``axis_name`` every device returns all picks; a state
    that was fitted on a mesh is ranked on that mesh, with ``x`` and
    ``is_row`` from `dual_jax.devices.mesh.shard_rows`.

    Parameters
    ----------
    state, x, config
        As `train_step` returned and was given them; the state stays usable.
    n_select
        How many rows; static, and needed under `jit`.
    is_row
        Which rows of ``x`` are real; the others are padding. All by default.
    axis_name
        Of the devices that hold the other rows, inside `jax.pmap` or `jax.shard_map`; static.
    mesh
        Of the devices that the state was fitted on, outside of them; static.
    limits
        What else is asked of the picks, see `dual_jax.selection.limits`. The picks are then those of the
        read-out alone, at most ``config.n_exact`` for ``None``, and may be fewer than ``n_select``: under
        `jit` -1 marks the missing ones.

    Returns
    -------
    Selection
        Positions among all rows, and the read-out's scores, greater is better.

    Raises
    ------
    ValueError
        The selection has not started, ``n_select`` exceeds the candidates, or a limit cannot be used.
    """
    n_open = count_rows(started(state).is_candidate)
    wanted = n_open if n_select is None else n_select
    if wanted is None:
        raise ValueError("The number of candidates is not known under jit: give rank a static n_select.")
    if n_open is not None and wanted > n_open:
        raise ValueError(f"n_select={wanted} exceeds the {n_open} candidates: ask for at most {n_open}.")
    is_prefix = n_select is None and config.readout != "norms"
    n_exact = min(wanted, config.n_exact) if is_prefix else wanted
    rows = np.ones(len(x), bool) if is_row is None else is_row
    where = AXIS if mesh else axis_name
    n = None if is_row is None else count_rows(is_row)
    limits, settings = check_limits(limits, len(x) if n is None else n), config.of_programs()
    if not (mesh or axis_name) and (missing := len(started(state).is_candidate) - len(x)) > 0:
        x, rows = (jnp.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in (x, rows))
    if config.readout == "chain":  # whose program depends on its largest set
        settings = dataclasses.replace(settings, n_exact=min(wanted, config.n_exact))
    if limits is None:
        return rank_on_mesh(state, x, settings, rows, n_exact, wanted, where, mesh)
    n_exact = min(wanted, config.n_exact) if n_select is None else wanted
    limits = limits.padded(len(started(state).is_candidate))
    return trimmed(rank_on_mesh(state, x, settings, rows, n_exact, n_exact, where, mesh, limits))


@in_float32
def _rank_on_mesh(
    state: TrainState,
    x: Array,
    config: DualConfig,
    is_row: Bool[Array, " n"],
    n_exact: int,
    n_select: int,
    axis_name: str | None,
    mesh: Mesh | None,
    limits: Limits | None = None,
) -> Selection:
    """Return the picks, of which the first ``n_exact`` are the read-out's; see `rank`."""

    def run(
        state: TrainState, x: Array, config: DualConfig, is_row: Array, limits: Limits | None
    ) -> Selection:
        return _rank(state, x, config, is_row, n_exact, n_select, axis_name, limits)

    where = specs(state), ROWS, EVERYWHERE, ROWS, EVERYWHERE
    return on_mesh(run, mesh, where, EVERYWHERE)(state, x, config, is_row, limits)


def _is_small(_: TrainState, x: Array, *__: Any) -> bool:
    return len(x) <= FEW_ROWS


rank_on_mesh = OneOff(_rank_on_mesh, _is_small, static_argnums=(4, 5, 6, 7))


@partial(jax.jit, static_argnames="mesh")
@in_float32
def norms_on(state: TrainState, x: Array, config: DualConfig, mesh: Mesh | None) -> Block:
    """Return `dual_jax.dual.trained.row_norms` of a state that was fitted on a mesh, or on none."""
    fixed = started(state)
    # Positions of the pool become those of its targets, which may be fewer.
    rows = jnp.where(fixed.targets >= 0, fixed.targets, len(x))
    x = x.at[rows].get(mode="fill", fill_value=0.0)
    own = jnp.searchsorted(rows, fixed.dictionary)
    dictionary = jnp.where(fixed.dictionary >= 0, own, -1).astype(jnp.int32)
    targets = jnp.where(fixed.targets >= 0, jnp.arange(len(rows)), -1)
    state = state._replace(fixed=fixed._replace(dictionary=dictionary, targets=targets))

    def run(state: TrainState, x: Array, config: DualConfig) -> Block:
        return row_norms(state, x, config, axis_name=AXIS if mesh else None)

    where = specs(state)
    return on_mesh(run, mesh, (where, ROWS, EVERYWHERE), EVERYWHERE)(state, x, config)


def _rank(
    state: TrainState,
    x: Array,
    config: DualConfig,
    is_row: Bool[Array, " n"],
    n_exact: int,
    n_select: int,
    axis_name: str | None,
    limits: Limits | None,
) -> Selection:
    fixed = started(state)
    if config.readout == "norms":
        norms = row_norms(state, x, config, axis_name=axis_name)
        of_p = jnp.where(config.beta > 0, norms.P, 0.0)  # without its branch P is only its random start
        if limits is None:
            return readout.by_norms(norms.C, of_p, fixed.dictionary, fixed.is_candidate, n_select)
        pool = _pool_of(state, x, config, is_row, axis_name)
        return readout.by_norms_within(norms.C, of_p, fixed.dictionary, pool, n_select, limits)
    pool = _pool_of(state, x, config, is_row, axis_name)
    selects: dict[str, Callable[..., Selection]] = {
        "greedy": readout.greedily,
        "refine": readout.refined,
        "chain": partial(readout.chained, largest=config.n_exact),
    }
    select = selects[config.readout]
    picks = select(pool, config.power, n_exact, axis_name, limits)
    if n_exact == n_select:
        return picks
    return readout.with_rest(pool, config.power, picks, n_select, axis_name)


def _pool_of(
    state: TrainState, x: Array, config: DualConfig, is_row: Bool[Array, " n"], axis_name: str | None
) -> readout.Pool:
    """Return all rows in the learnt space, with what the read-outs need to know of them."""
    fixed = started(state)
    centroids, sizes = gather_rows(fixed.centroids, axis_name), gather_rows(fixed.sizes, axis_name)
    is_real = (sizes > 0)[:, None]  # padding repeats a real centroid
    return readout.Pool(
        u=learnt_space(state, x, config, is_row=is_row, axis_name=axis_name),
        centroids=jnp.where(is_real, centroids, centroids[jnp.argmax(sizes > 0)]),
        is_row=gather_rows(is_row, axis_name),
        is_labeled=fixed.is_labeled,
        is_candidate=fixed.is_candidate,
    )
