"""DUAL with many weights on many pools: the cells of a grid as one compiled program.

Every cell of a pool starts from the same pre-trained network and the same C and P, as in the released code,
so the autoencoder is trained once per pool. Then as many cells as fit run together under ``vmap``.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from dual_jax.dual.config import DualConfig
from dual_jax.dual.loop import run_stage
from dual_jax.dual.plan import here
from dual_jax.dual.ranking import rank
from dual_jax.dual.stages import Rows, stage_step
from dual_jax.dual.state import TrainState
from dual_jax.dual.steps import init, start_selection
from dual_jax.numerics.precision import in_float32

SHARE = 0.25  # of a device's memory, for the cells of one program
# Memory of a cell among others, relative to that of one alone, by the compiler of a CPU: 1.3 to 1.7. A cell
# that may stop before the others is kept as it was beside what a step makes of it.
AMONG_OTHERS = {"free": 1.6, "simplex": 1.8}


class Outcome(NamedTuple):
    """What one configuration picks from one pool.

    Attributes
    ----------
    pool, config
        Their places among the pools and the configurations.
    picks
        Best first.
    loss
        Eq. (10) before the last step.
    """

    pool: int
    config: int
    picks: Int[np.ndarray, " k"]
    loss: float


@jax.jit
@in_float32
def pretrain(keys: Key[Array, " s"], pools: Float[Array, "s n d"], config: DualConfig) -> TrainState:
    """Return the states after stage 1, one for each key and pool, along a leading axis.

    Each is what `dual_jax.dual.fitting.train` has after stage 1 with the same key.
    """

    def train(key: Key[Array, ""], x: Float[Array, "n d"]) -> TrainState:
        key_init, _ = jax.random.split(key)
        step = stage_step("pretrain", Rows(x, jnp.ones(len(x), bool)), config)
        return run_stage(step, init(key_init, x, config), config.pretrain_steps, config.tolerance)[0]

    return jax.vmap(train)(keys, pools)


def select(
    keys: Key[Array, " s"],
    states: TrainState,
    pools: Float[Array, "s n d"],
    configs: Sequence[DualConfig],
    n_select: int,
    *,
    cells: Sequence[tuple[int, int]] | None = None,
    max_bytes: float | None = None,
) -> Iterator[list[Outcome]]:
    """Give the picks of configurations on pools: a list for each run of the one program.

    Parameters
    ----------
    keys, pools
        A key for each of s pools of one shape.
    states
        From `pretrain`, with the same keys.
    configs
        They differ in weights and rates only; other settings are part of the program.
    n_select
        Picks of each cell.
    cells
        Pairs (pool, configuration); all by default.
    max_bytes
        For the cells that run together; by default a quarter of the memory of the device.

    Raises
    ------
    ValueError
        Configurations differ in more than weights and rates, or the loss of a cell is not finite.

    Examples
    --------
    >>> keys, pools = jax.random.split(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (2, 20, 3))
    >>> configs = [DualConfig.paper(alpha=a, pretrain_steps=5, steps=5) for a in (0.1, 1.0)]
    >>> (outcomes,) = select(keys, pretrain(keys, pools, configs[0]), pools, configs, 4)
    >>> [outcome[:2] for outcome in outcomes]
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    if len({jax.tree.structure(config) for config in configs}) > 1:
        raise ValueError("configs differ in more than weights and rates: give one grid for each.")
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves, jnp.float32), *configs)
    if cells is None:
        cells = [(pool, config) for pool in range(len(pools)) for config in range(len(configs))]
    size = cells_at_once(len(cells), pools.shape[1:], configs[0], max_bytes)
    for start in range(0, len(cells), size):
        chunk = list(cells[start : start + size])
        # The last program repeats its last cell, so that it has the same shape.
        at = jnp.array(chunk + chunk[-1:] * (size - len(chunk))).T
        picks, losses = _run(keys, states, pools, stacked, at, n_select)
        results = zip(chunk, np.asarray(picks), np.asarray(losses), strict=False)
        outcomes = [Outcome(*cell, order, float(loss)) for cell, order, loss in results]
        for outcome in outcomes:
            _stop_unless_finite(outcome.loss, configs[outcome.config])
        yield outcomes


def cells_at_once(
    n_cells: int, shape: tuple[int, ...], config: DualConfig, max_bytes: float | None = None
) -> int:
    """Return how many cells share a program: what fits by the plan of one, spread evenly over programs."""
    expected = here(shape, config, None)
    room = SHARE * expected.device.memory if max_bytes is None else max_bytes
    n_bytes = AMONG_OTHERS[config.objective] * expected.n_bytes
    fitting = max(1, min(n_cells, int(room // n_bytes)))
    n_programs = -(-n_cells // fitting)
    return -(-n_cells // n_programs)


@partial(jax.jit, static_argnames="n_select")
@in_float32
def _run(
    keys: Key[Array, " s"],
    states: TrainState,
    pools: Float[Array, "s n d"],
    configs: DualConfig,
    cells: Int[Array, "2 c"],
    n_select: int,
) -> tuple[Int[Array, "c k"], Float[Array, " c"]]:
    """Return picks and last loss of stages 2 and 3 for cells that run together."""

    def run(pool: Int[Array, ""], cell: Int[Array, ""]) -> tuple[Int[Array, " k"], Float[Array, ""]]:
        x, config = pools[pool], jax.tree.map(lambda leaf: leaf[cell], configs)
        _, key_selection = jax.random.split(keys[pool])
        state = jax.tree.map(lambda leaf: leaf[pool], states)
        state = start_selection(key_selection, state, x, config)
        step = stage_step("train", Rows(x, jnp.ones(len(x), bool)), config)
        state, values, n_done = run_stage(step, state, config.steps, config.tolerance)
        loss = values["loss"][n_done - 1] if config.steps else jnp.zeros(())
        return rank(state, x, config, n_select).indices, loss

    return jax.vmap(run)(*cells)


def _stop_unless_finite(loss: float, config: DualConfig) -> None:
    if not np.isfinite(loss):
        raise ValueError(
            f"The loss is {loss} with {config.weights}: scale the inputs, or lower learning_rate."
        )
