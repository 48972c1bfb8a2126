"""Target blocks of C rebuilt and updated by kernels of our own, where a compiler moves C too often.

They do what `rebuild_all` and `update_blocks` of `dual_jax.dual.blocks` do, the plain path, against which
they are tested. P, which is small, is left to it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from dual_jax.devices.collectives import total
from dual_jax.dual import blocks
from dual_jax.dual.blocks import Piece
from dual_jax.dual.config import DualConfig
from dual_jax.dual.objectives.notation import Block, Rebuilt, Space
from dual_jax.dual.objectives.simplex import attention, pull_spaces
from dual_jax.dual.sizes import PLAIN, targets_on_chip
from dual_jax.dual.state import Fixed, TrainState, started
from dual_jax.numerics.adam import rates_at
from dual_jax.numerics.tiles import Tiles

Updated = tuple[Array, tuple[Array, Array], Space, Space, Any]


def path(kernel: str) -> tuple[Any, Any]:
    """Return how all targets are rebuilt, and how all blocks are updated: "plain", or by the kernels."""
    return (blocks.rebuild_all, _update_plain) if kernel == PLAIN else (rebuild_all, update_blocks)


def rebuild_all(
    pieces: list[Piece],
    dictionary: Space,
    fixed: Fixed,
    config: DualConfig,
    tiles: Tiles,
    *,
    has_sums: bool = False,
) -> tuple[Rebuilt, Block, list[tuple[Piece, Any]]]:
    """Return what `dual_jax.dual.blocks.rebuild_all` returns; of the free objective C is read once by it."""
    if config.objective == "free":
        return blocks.rebuild_all(pieces, dictionary, fixed, config, tiles, has_sums=has_sums)
    of_p, sums_p, _ = blocks.rebuild_all(_without_c(pieces), dictionary, fixed, config, tiles)
    parts = [_forward(_attended(piece, dictionary, fixed, config)) for piece in pieces]
    z, u = (jnp.concatenate([part[i] for part in parts]) for i in (0, 1))
    sums = total(sum(part[2] for part in parts), tiles.axis_name)
    return Rebuilt(z, u, of_p.centroids), Block(sums, sums_p.P), [(piece, None) for piece in pieces]


def update_blocks(
    pieces: list[tuple[Piece, Any]],
    dictionary: Space,
    gradient: tuple[Rebuilt, Block],
    state: TrainState,
    config: DualConfig,
    tiles: Tiles,
) -> tuple[list[tuple[Block, Block]], Space, Space, Block | None]:
    """Return what `dual_jax.dual.blocks.update_blocks` returns, and the sums of squares that are carried.

    Adam is the optimiser of C, with moments in float32: see `Sizes.kernel`.
    """
    (of_rebuilt, of_sums), fixed = gradient, started(state)
    own, opt_state = [piece for piece, _ in pieces], state.opt_state
    without_c = state._replace(opt_state=opt_state._replace(C=jax.tree.map(_no_rows, opt_state.C)))
    no_z, no_u = jax.tree.map(_no_rows, of_rebuilt[:2])
    new_p, of_dictionary, _ = blocks.update_blocks(
        [(piece, None) for piece in _without_c(own)],
        dictionary,
        (Rebuilt(no_z, no_u, of_rebuilt.centroids), of_sums),
        without_c,
        config,
        tiles,
    )
    updated, new_blocks = [], []
    update = {"free": _update_free, "simplex": _update_simplex}[config.objective]
    for piece, (adam, *rest), (p, p_state) in zip(own, opt_state.C, new_p, strict=True):
        count = optax.safe_increment(adam.count)
        of_z, of_u = jax.tree.map(lambda g, cut=piece.cut: g[cut.C], of_rebuilt[:2])
        rates = rates_at(count, jnp.asarray(config.learning_rate))
        moments, of = (adam.mu, adam.nu), (of_z, of_u, of_sums.C)
        c, (mu, nu), *others = update(piece, dictionary, moments, of, rates, fixed, config)
        updated.append(others)
        c_state = (adam._replace(count=count, mu=mu, nu=nu), *rest)
        new_blocks.append((Block(c, p.P), Block(c_state, p_state.P)))
    of_atoms, of_own, sums = zip(*updated, strict=True)
    summed = jax.tree.map(lambda *parts: sum(parts), *zip(of_atoms, sums, strict=True))
    of_c, sums = total(summed, tiles.axis_name)
    carried = None
    if sums is not None:
        squares = sum(jnp.sum(block.P**2, axis=0) for block, _ in new_blocks)
        carried = Block(sums, total(squares, tiles.axis_name))
    of_samples = jax.tree.map(lambda *parts: jnp.concatenate(parts), *of_own)
    return new_blocks, jax.tree.map(jnp.add, of_dictionary, of_c), of_samples, carried


def _update_plain(
    pieces: list[tuple[Piece, Any]],
    dictionary: Space,
    gradient: tuple[Rebuilt, Block],
    state: TrainState,
    config: DualConfig,
    tiles: Tiles,
) -> tuple[list[tuple[Block, Block]], Space, Space, Block | None]:
    """Return the same without kernels."""
    updated = blocks.update_blocks(pieces, dictionary, gradient, state, config, tiles)
    c, p = blocks.transpose([raw for raw, _ in updated[0]])
    return *updated, None if state.sums is None else blocks.row_sums(Block(c, p), tiles.axis_name)


def _without_c(pieces: list[Piece]) -> list[Piece]:
    """Return target blocks of P alone."""

    def one(piece: Piece) -> Piece:
        targets, cut = piece.targets, Block(slice(0, 0), piece.cut.P)
        no_rows = jax.tree.map(_no_rows, targets)
        no_samples = no_rows._replace(centroids=targets.centroids, sizes=targets.sizes)
        return Piece(Block(_no_rows(piece.raw.C), piece.raw.P), no_samples, cut)

    return [one(piece) for piece in pieces]


def _no_rows(array: Any) -> Any:
    return array[:0] if array.ndim else array


def _places(piece: Piece) -> Array:
    """Return the place of each target in the dictionary, m if it has none, and -1 for padding."""
    return jnp.where(piece.targets.position >= 0, piece.targets.own, -1)


def _on_tpu(call: Any, *args: Any) -> Any:
    """Return ``call(*args)``, on a TPU by its kernel; elsewhere the kernel is interpreted, for tests."""
    return jax.lax.platform_dependent(*args, tpu=call, default=partial(call, is_interpreted=True))


def _update_free(
    piece: Piece, dictionary: Space, moments: Any, of: Any, rates: Any, fixed: Fixed, config: DualConfig
) -> Updated:
    from dual_jax.dual.objectives import free_tpu

    of_z, _, of_sums = of
    c, moments, of_atoms, sums = _on_tpu(
        free_tpu.update, piece.raw.C, moments, dictionary.z, _places(piece), of_z, of_sums, rates
    )
    return c, moments, Space(of_atoms), Space(jnp.zeros_like(piece.targets.space.z)), sums


def _update_simplex(
    piece: Piece, dictionary: Space, moments: Any, of: Any, rates: Any, fixed: Fixed, config: DualConfig
) -> Updated:
    from dual_jax.dual.objectives import simplex_tpu

    block = _attended(piece, dictionary, fixed, config)
    call = partial(simplex_tpu.update, n_rows=_targets_on_chip(block))
    c, moments, sums = _on_tpu(call, block, moments, *of, rates)
    of_atoms, of_own = pull_spaces(sums, dictionary, piece.targets.space, block.sharpness)
    return c, moments, of_atoms._replace(inputs=None), of_own._replace(inputs=None), None


def _forward(block: Any) -> tuple[Array, Array, Array]:
    from dual_jax.dual.objectives import simplex_tpu

    return _on_tpu(partial(simplex_tpu.forward, n_rows=_targets_on_chip(block)), block)


def _attended(piece: Piece, dictionary: Space, fixed: Fixed, config: DualConfig) -> Any:
    from dual_jax.dual.objectives.simplex_tpu import Attended

    shares, _, sharpness = attention(dictionary, piece.targets, fixed.scales, config.weights)
    is_place, targets = fixed.dictionary >= 0, piece.targets.space
    return Attended(piece.raw.C, _places(piece), shares.C, targets, dictionary, is_place, sharpness)


def _targets_on_chip(block: Any) -> int:
    return targets_on_chip(*(a.shape[1] for a in (block.raw, block.dictionary.z, block.dictionary.inputs)))
