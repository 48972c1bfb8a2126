"""What a trained state holds: coefficients, row norms, and rows in the learnt space."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from dual_jax.devices.collectives import gather_rows
from dual_jax.devices.mesh import EVERYWHERE, ROWS, on_mesh
from dual_jax.dual.blocks import (
    Piece,
    all_targets,
    block_masks,
    encode,
    flat,
    pieces_of,
    rebuild_all,
    spaces,
    tiles_of,
    transpose,
)
from dual_jax.dual.config import DualConfig
from dual_jax.dual.objectives import OBJECTIVES
from dual_jax.dual.objectives.notation import Block, Space
from dual_jax.dual.state import TrainState, started
from dual_jax.numerics.precision import as_float32, in_float32
from dual_jax.numerics.statistics import Moments, moments
from dual_jax.numerics.tiles import isolated


def _frozen(
    state: TrainState, x: Array, config: DualConfig, axis_name: str | None
) -> tuple[Space, list[Piece]]:
    """Return the dictionary and the target blocks of a state."""
    fixed, (x, config) = started(state), as_float32((x, config))
    tiles = tiles_of(len(x), state.params, axis_name)
    z = encode(state.params.network, x, config, tiles)
    dictionary, samples, _ = spaces(z, x, fixed.targets >= 0, fixed, config, tiles)
    return dictionary, pieces_of(state.params, all_targets(samples, x, fixed))


@in_float32
def coefficients(state: TrainState, x: Float[Array, "n ..."], config: DualConfig) -> Block:
    """Return C (m, n) and P (m, K): column i says how the dictionary rebuilds target i.

    Raises
    ------
    ValueError
        The fit is sharded over devices, or C rebuilds a sample of a larger pool.
    """
    own = getattr(state.params.C[0], "sharding", None)
    n, n_padded = len(x), len(started(state).targets)
    if (own is not None and len(own.device_set) > 1) or not 0 <= n_padded - n < len(state.params.C):
        raise ValueError("C can be read from a fit on one device whose targets are the rows of x alone.")
    x = jnp.pad(x, [(0, n_padded - n)] + [(0, 0)] * (x.ndim - 1))
    dictionary, pieces = _frozen(state, x, config, None)
    of = OBJECTIVES[config.objective].coefficients
    blocks = [
        of(
            p.raw,
            dictionary,
            p.targets,
            block_masks(p.targets, started(state)),
            started(state).scales,
            config.weights,
        )
        for p in pieces
    ]
    c, p = (jnp.concatenate(parts).T for parts in transpose(blocks))
    return Block(c[:, :n], p[:, : config.clusters(n)])


@in_float32
def row_norms(
    state: TrainState, x: Float[Array, "n ..."], config: DualConfig, *, axis_name: str | None = None
) -> Block:
    """Return the norms (m,) of the rows of C and of P that the objective penalises, over all targets.

    With `free` these are the l2 norms that the paper ranks by; `simplex` averages squares over the targets,
    and over the centroids by their sizes.
    """
    dictionary, pieces = _frozen(state, x, config, axis_name)
    tiles = tiles_of(len(x), state.params, axis_name)
    _, sums, _ = rebuild_all(pieces, dictionary, started(state), config, tiles, is_kept=True)
    return jax.tree.map(jnp.sqrt, sums)


@in_float32
def learnt_space(
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    is_row: Bool[Array, " n"] | None = None,
    axis_name: str | None = None,
) -> Float[Array, "N q"]:
    """Return all rows in the space of the selection block: codes, or inputs and codes."""
    x, config = as_float32((x, config))
    is_row = jnp.ones(len(x), bool) if is_row is None else is_row
    tiles = tiles_of(len(x), state.params, axis_name)
    z = encode(state.params.network, x, config, tiles)
    return isolated(gather_rows(spaces(z, x, is_row, started(state), config, tiles)[1].u, axis_name), tiles)


@in_float32
def code_moments(state: TrainState, x: Float[Array, "n ..."], config: DualConfig) -> Moments:
    """Return the moments of a pool's codes: `space_of` uses them to place other rows in the same space."""
    z = config.modules(x).encoder.apply(state.params.network.encoder, x)
    return moments(z, jnp.ones(len(x), bool))


@in_float32
def space_of(
    state: TrainState, x: Float[Array, "m ..."], codes: Moments, config: DualConfig
) -> Float[Array, "m q"]:
    """Return any rows in the space that `learnt_space` gives the pool, whose codes have these moments."""
    z = config.modules(x).encoder.apply(state.params.network.encoder, x)
    return OBJECTIVES[config.objective].space(flat(x), z, codes, started(state).scales).u


@partial(jax.jit, static_argnames="mesh")
def encoded(
    encoder: Any, x: Float[Array, "m d"], config: DualConfig, mesh: Mesh | None
) -> Float[Array, "m p"]:
    """Return the codes of rows, sharded over a mesh; one compiled program for each number of rows."""

    def apply(encoder: Any, x: Float[Array, "m d"]) -> Float[Array, "m p"]:
        return config.modules(x).encoder.apply(encoder, x)

    return on_mesh(apply, mesh, (EVERYWHERE, ROWS), ROWS)(encoder, x)
