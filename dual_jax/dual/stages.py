"""The compiled programs of a fit: the start of the selection, and steps of stages 1 and 3 in chunks.

`dual_jax.dual.fitting` runs them one after another; the grid and `dual_jax.dual.ahead` use the same ones.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from dual_jax.devices.collectives import device_index
from dual_jax.devices.mesh import AXIS, EVERYWHERE, ROWS, on_mesh
from dual_jax.dual.config import DualConfig
from dual_jax.dual.layout import specs
from dual_jax.dual.loop import Advanced, Step, run_chunk, run_stage
from dual_jax.dual.objectives.notation import total_loss
from dual_jax.dual.sizes import PLAIN, Sizes
from dual_jax.dual.state import TrainState
from dual_jax.dual.steps import pretrain_step, start_selection, train_step
from dual_jax.numerics.precision import in_float32
from dual_jax.numerics.tiles import Tiles
from dual_jax.numerics.xla import OneOff

FEW_CELLS = 1 << 16  # of a pool whose selection starts in less time than that program takes to be optimised
FEW_ROWS = 384  # of a pool whose steps, all of them, take less time than their program takes to be optimised


class Rows(NamedTuple):
    """Rows of a pool on the devices, and which of them are real."""

    x: Any  # (n, ...)
    is_row: Any  # (n,), bool


@in_float32
def _begin_selection(
    key: Array,
    state: TrainState,
    rows: Rows,
    config: DualConfig,
    labeled: Array,
    candidates: Array,
    sizes: Sizes,
    mesh: Mesh | None,
) -> TrainState:
    """Return the state at the start of stage 3; see `start_selection`."""

    def start(key: Array, state: TrainState, rows: Rows, config: DualConfig, *masks: Array) -> TrainState:
        labeled, candidates = masks
        return start_selection(
            key,
            state,
            rows.x,
            config,
            labeled=labeled,
            candidates=candidates,
            is_row=rows.is_row,
            sizes=sizes,
            axis_name=AXIS if mesh else None,
        )

    arguments = (key, state, rows, config, labeled, candidates)
    if mesh is None:
        return start(*arguments)
    # The layout is that of one device's share, whatever the number of clusters.
    own = jax.ShapeDtypeStruct((len(rows.x) // mesh.size, *rows.x.shape[1:]), rows.x.dtype)
    one_cluster = sizes._replace(n_clusters=1, n_tiles=sizes.n_tiles // mesh.size)
    begun = jax.eval_shape(partial(start_selection, sizes=one_cluster), key, state, own, config)
    where = (EVERYWHERE, EVERYWHERE, ROWS, EVERYWHERE, ROWS, ROWS)
    return on_mesh(start, mesh, where, specs(begun))(*arguments)


def _is_small(_: Any, __: Any, rows: Rows, *___: Any) -> bool:
    return rows.x.size <= FEW_CELLS


begin_selection = OneOff(_begin_selection, _is_small, static_argnums=(6, 7))


def _advance(
    state: TrainState,
    mean_loss: Array,
    n_steps: Array,
    rows: Rows,
    config: DualConfig,
    stage: str,
    mesh: Mesh | None,
    sizes: Sizes,
) -> Advanced:
    """Return the fit after ``n_steps`` steps of a stage, at most a chunk."""

    def run(state: TrainState, mean_loss: Array, n_steps: Array, rows: Rows, config: DualConfig) -> Any:
        step = stage_step(stage, rows, config, sizes, mesh)
        return tuple(run_chunk(step, state, mean_loss, n_steps, config.tolerance))

    where = specs(state)
    result = (where, EVERYWHERE, EVERYWHERE, EVERYWHERE)
    run = on_mesh(run, mesh, (where, EVERYWHERE, EVERYWHERE, ROWS, EVERYWHERE), result)
    return Advanced(*run(state, mean_loss, n_steps, rows, config))


def _has_few_rows(_: Any, __: Any, ___: Any, rows: Rows, *____: Any) -> bool:
    return len(rows.x) <= FEW_ROWS and rows.x.size <= FEW_CELLS


advance = OneOff(_advance, _has_few_rows, static_argnums=(5, 6, 7), donate_argnums=0)


def whole_stage(
    state: TrainState,
    rows: Rows,
    config: DualConfig,
    n_steps: int,
    stage: str,
    mesh: Mesh | None,
    sizes: Sizes,
) -> tuple[TrainState, dict[str, Array]]:
    """Return the state after a stage under an outer `jit`, and its values, 0 after the last step."""

    def run(state: TrainState, rows: Rows, config: DualConfig) -> tuple[TrainState, dict[str, Array]]:
        step = stage_step(stage, rows, config, sizes, mesh)
        return run_stage(step, state, n_steps, config.tolerance)[:2]

    where = specs(state)
    return on_mesh(run, mesh, (where, ROWS, EVERYWHERE), (where, EVERYWHERE))(state, rows, config)


def stage_step(
    stage: str, rows: Rows, config: DualConfig, sizes: Sizes | None = None, mesh: Mesh | None = None
) -> Step:
    """Return a step of stage 1 or stage 3 for `dual_jax.dual.loop`, of one device's rows.

    A step of stage 1 uses one of ``sizes.n_batches`` parts of the rows, the next step the next one. Without
    sizes there is one part, and one tile, and C is updated without a kernel of our own.
    """
    axis_name, n_devices = (AXIS, mesh.size) if mesh else (None, 1)
    n_tiles, n_batches = (sizes.n_tiles // n_devices, sizes.n_batches) if sizes else (1, 1)
    kernel = sizes.kernel if sizes else PLAIN

    def pretrain(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        batch = rows if n_batches == 1 else _batch(rows, state.step, n_batches, Tiles(n_tiles, axis_name))
        state, terms = pretrain_step(
            state, batch.x, config, is_row=batch.is_row, axis_name=axis_name, n_tiles=n_tiles
        )
        return state, {**terms._asdict(), "loss": terms.reconstruction}

    def train(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        state, terms = train_step(
            state, rows.x, config, is_row=rows.is_row, axis_name=axis_name, kernel=kernel
        )
        return state, {**terms._asdict(), "loss": total_loss(terms, config.weights)}

    return {"pretrain": pretrain, "train": train}[stage]


def _batch(rows: Rows, step: Array, n_batches: int, tiles: Tiles) -> Rows:
    """Return every ``n_batches``-th row of the pool, from another one at each step; each tile padded.

    Positions count over all devices, so the batches do not depend on the layout.
    """
    n = len(rows.x) // tiles.n
    tile = device_index(tiles.axis_name) * tiles.n + jnp.arange(tiles.n)
    first = jnp.mod(step - tile * n, n_batches)
    places = first[:, None] + n_batches * jnp.arange(-(-n // n_batches))

    def drawn(of_rows: Array) -> Array:
        of_tiles = of_rows.reshape(tiles.n, n, *of_rows.shape[1:])
        some = jax.vmap(lambda own, at: own.at[at].get(mode="fill", fill_value=0))(of_tiles, places)
        return some.reshape(-1, *of_rows.shape[1:])

    return jax.tree.map(drawn, rows)
