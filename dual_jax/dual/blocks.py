"""Target blocks of C: how they are cut, initialised, rebuilt and updated, one at a time."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.devices.collectives import device_index, gather_rows, own_rows, total
from dual_jax.dual.config import DualConfig
from dual_jax.dual.objectives import OBJECTIVES
from dual_jax.dual.objectives.notation import Block, Rebuilt, Scales, Space, Targets, masks
from dual_jax.dual.state import Fixed, Params, TrainState, started
from dual_jax.numerics.arithmetic import stochastic_round
from dual_jax.numerics.statistics import Moments, moments
from dual_jax.numerics.tiles import (
    Pairs,
    Tiles,
    alone,
    each_tile,
    map_rows,
    rows_of,
    total_of_pairs,
    total_of_tiles,
)
from dual_jax.numerics.xla import by_rows, run_after, start_after, zero_entries


def cuts(n_targets: int, n_centroids: int, block_rows: int) -> list[Block]:
    """Return which samples and which centroids each target block rebuilds, as slices."""
    n_blocks = -(-n_targets // block_rows)
    ends = [i * n_centroids // n_blocks for i in range(n_blocks + 1)]
    return [
        Block(slice(i * block_rows, min((i + 1) * block_rows, n_targets)), slice(ends[i], ends[i + 1]))
        for i in range(n_blocks)
    ]


def transpose(blocks: list[Block]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the C parts and the P parts of blocks."""
    return tuple(block.C for block in blocks), tuple(block.P for block in blocks)


def initial_coefficients(
    key: Key[Array, ""], fixed: Fixed, config: DualConfig, block_rows: int, tiles: Tiles
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return the masked start of C and of P, drawn by global row so that the layout changes nothing.

    If it is random, it is xavier normal: variance 2 / (targets + dictionary rows).
    """
    seeds = config.coefficient_seeds
    key_c, key_p = jax.random.split(key) if seeds is None else map(jax.random.key, seeds)
    m, n_local, k_local = len(fixed.dictionary), len(fixed.targets), len(fixed.sizes)
    centroid = device_index(tiles.axis_name) * k_local + jnp.arange(k_local)
    n_clusters = total(jnp.sum(fixed.sizes > 0), tiles.axis_name)

    def draw(key: Key[Array, ""], rows: Array, n_targets: Array, is_free: Array) -> Array:
        initial = OBJECTIVES[config.objective].initial
        scale = jnp.sqrt(2.0 / (n_targets + jnp.sum(fixed.dictionary >= 0)))
        return jnp.where(is_free, scale * jax.vmap(lambda row: initial(key, row, m))(rows), 0.0)

    def draw_block(rows: Array, clusters: Array, n_rows: Array, is_free: Block) -> Block:
        return Block(draw(key_c, rows, n_rows, is_free.C), draw(key_p, clusters, n_clusters, is_free.P))

    blocks: list[Block] = []
    for cut in cuts(n_local, k_local, block_rows):
        is_free = masks(fixed.dictionary, fixed.targets[cut.C], fixed.sizes[cut.P])
        rows = run_after(blocks[-1].C, fixed.targets[cut.C]) if blocks else fixed.targets[cut.C]
        blocks.append(alone(draw_block, tiles)(rows, centroid[cut.P], fixed.scales.n_rows, is_free))
    return transpose(blocks)


def tiles_of(n_rows: int, params: Params, axis_name: str | None) -> Tiles:
    """Return the tiles of this device's rows: one for each of its target blocks, if that comes out even."""
    n_blocks = len(params.C)
    lengths = {(len(c), len(p)) for c, p in zip(params.C, params.P, strict=True)}
    is_even = len(lengths) == 1 and n_rows % n_blocks == 0
    return Tiles(n_blocks if is_even else 1, axis_name)


def encode(network: Any, x: Array, config: DualConfig, tiles: Tiles) -> Float[Array, "n p"]:
    """Return the codes of this device's rows."""
    return map_rows(lambda x, encoder: config.modules(x).encoder.apply(encoder, x), x, tiles, network.encoder)


def place_dictionary(
    z_all: Float[Array, "N p"], is_row_all: Bool[Array, " N"], fixed: Fixed, config: DualConfig
) -> tuple[Space, Moments]:
    """Return the dictionary in the space of the selection block, and the moments of all codes."""
    z_moments = moments(z_all, is_row_all)
    codes = jnp.where(fixed.dictionary[:, None] >= 0, z_all[fixed.dictionary], 0.0)
    return OBJECTIVES[config.objective].space(fixed.dictionary_x, codes, z_moments, fixed.scales), z_moments


def place_samples(
    rows: tuple[Array, Float[Array, "b p"]], z_moments: Moments, scales: Scales, config: DualConfig
) -> Space:
    """Return some rows and their codes in the space of the selection block."""
    x, z = rows
    return OBJECTIVES[config.objective].space(flat(x), z, z_moments, scales)


def spaces(
    z: Float[Array, "n p"],
    x: Array,
    is_row: Bool[Array, " n"],
    fixed: Fixed,
    config: DualConfig,
    tiles: Tiles,
) -> tuple[Space, Space, Moments]:
    """Return the dictionary and this device's samples, from their codes, and the moments of all codes."""
    everywhere = gather_rows(z, tiles.axis_name), gather_rows(is_row, tiles.axis_name)
    dictionary, z_moments = alone(partial(place_dictionary, config=config), tiles)(*everywhere, fixed)
    place = partial(place_samples, config=config)
    return dictionary, map_rows(place, (x, z), tiles, z_moments, fixed.scales), z_moments


def pull_spaces(
    z: Float[Array, "n p"],
    x: Array,
    is_row: Bool[Array, " n"],
    z_moments: Moments,
    of: tuple[Space, Space],
    fixed: Fixed,
    config: DualConfig,
    tiles: Tiles,
) -> Float[Array, "n p"]:
    """Return the gradient of this device's codes from those of the dictionary and of its samples.

    That of the dictionary is the sum over all targets, the same on every device.
    """
    of_dictionary, of_samples = of
    everywhere = gather_rows(z, tiles.axis_name), gather_rows(is_row, tiles.axis_name)

    def varying(space: Space) -> Space:
        return space._replace(inputs=None)

    def pull_samples(
        rows: tuple[tuple[Array, Array], Space], z_moments: Moments, scales: Scales
    ) -> tuple[Array, Moments]:
        (x, z), of_space = rows
        place = partial(place_samples, scales=scales, config=config)
        return jax.vjp(lambda z, z_moments: varying(place((x, z), z_moments)), z, z_moments)[1](of_space)

    def pull_dictionary(
        z_all: Array, is_row_all: Array, fixed: Fixed, of: tuple[Space, Moments]
    ) -> Float[Array, "N p"]:
        def place(z_all: Array) -> tuple[Space, Moments]:
            dictionary, z_moments = place_dictionary(z_all, is_row_all, fixed, config)
            return varying(dictionary), z_moments

        return jax.vjp(place, z_all)[1](of)[0]

    of_z, of_moments = each_tile(pull_samples, ((x, z), of_samples), tiles, z_moments, fixed.scales)
    of_moments = total_of_tiles(of_moments, tiles)
    of_all = alone(pull_dictionary, tiles)(*everywhere, fixed, (of_dictionary, of_moments))
    return own_rows(of_all, tiles.axis_name) + rows_of(of_z)


class Piece(NamedTuple):
    """One target block: its parameters, its targets, and their positions."""

    raw: Block
    targets: Targets
    cut: Block


def all_targets(samples: Space, x: Array, fixed: Fixed) -> Targets:
    """Return all of this device's targets."""
    return Targets(flat(x), samples, fixed.targets, _own_places(fixed), fixed.centroids, fixed.sizes)


def pieces_of(params: Params, targets: Targets) -> list[Piece]:
    """Return the target blocks of C and P, each with the targets that it rebuilds."""
    n, k = len(targets.position), len(targets.sizes)
    pieces = []
    for c, p, cut in zip(params.C, params.P, cuts(n, k, len(params.C[0])), strict=True):
        rows, space, position, own = jax.tree.map(lambda a, cut=cut: a[cut.C], targets[:4])
        clusters = targets.centroids[cut.P], targets.sizes[cut.P]
        pieces.append(Piece(Block(c, p), Targets(rows, space, position, own, *clusters), cut))
    return pieces


def _own_places(fixed: Fixed) -> Int[Array, " n"]:
    """Return the position of each target in the dictionary; m if it has none, and for padding."""
    m = len(fixed.dictionary)
    ascending = jnp.where(fixed.dictionary < 0, jnp.iinfo(fixed.dictionary.dtype).max, fixed.dictionary)
    place = jnp.searchsorted(ascending, fixed.targets)
    return jnp.where(ascending.at[place].get(mode="fill", fill_value=-2) == fixed.targets, place, m)


def _rebuild(
    raw: Block, dictionary: Space, targets: Targets, fixed: Fixed, config: DualConfig
) -> tuple[tuple[Rebuilt, Block], Any]:
    """Return a block's targets as the dictionary rebuilds them, and its share of the sums of squares.

    The third result pulls a gradient of both back to the block, dictionary and samples.
    """

    def rebuild(raw: Block, dictionary: Space, samples: Space) -> tuple[Rebuilt, Block]:
        own, free = targets._replace(space=samples), block_masks(targets, fixed)
        return OBJECTIVES[config.objective].rebuild(raw, dictionary, own, free, fixed.scales, config.weights)

    return jax.vjp(rebuild, raw, dictionary, targets.space)


def block_masks(targets: Targets, fixed: Fixed) -> Block:
    """Return which entries of a block are free."""
    return masks(fixed.dictionary, targets.position, targets.sizes)


def rebuild_all(
    pieces: list[Piece],
    dictionary: Space,
    fixed: Fixed,
    config: DualConfig,
    tiles: Tiles,
    *,
    is_kept: bool = False,
    has_sums: bool = False,
) -> tuple[Rebuilt, Block, list[tuple[Piece, Any]]]:
    """Return all own targets as the dictionary rebuilds them, and all devices' sums of squares (m,).

    Also each block as it was read, and of one block in all the function that pulls gradients back.
    Where C is kept, and clearing a block copies it, no copy is made before its turn. Where the caller has the
    sums, no block waits for those of the block before it, and the compiler leaves them out.
    """

    def rebuild(raw: Block, atoms: Space, targets: Targets) -> tuple[Rebuilt, Block]:
        return _rebuild(raw, atoms, targets, fixed, config)[0]

    parts: list[tuple[Rebuilt, Block]] = []
    done, sums = [], Pairs()
    for piece in pieces:
        atoms, targets, c = dictionary, piece.targets, piece.raw.C
        if parts:
            before = parts[-1][0] if has_sums else parts[-1]
            atoms, targets = start_after(before, (atoms, targets))
            c = start_after(before, c) if is_kept else c
        piece = piece._replace(raw=Block(zero_entries(c, targets.own), piece.raw.P))
        if tiles.is_whole and len(pieces) == 1:
            part, pull = _rebuild(piece.raw, atoms, targets, fixed, config)
        else:
            part, pull = alone(rebuild, tiles)(piece.raw, atoms, targets), None
        parts.append(part)
        sums.add(part[1])
        done.append((piece, pull))
    rebuilt = jax.tree.map(lambda *parts: jnp.concatenate(parts), *[part for part, _ in parts])
    return rebuilt, total_of_pairs(sums, tiles), done


def row_sums(params: Params | Block, axis_name: str | None) -> Block:
    """Return the sums of squares (m,) of the rows of C and of P over the targets of all devices."""

    def squares(blocks: tuple[Array, ...]) -> Array:
        return sum(jnp.sum(block**2, axis=0) for block in blocks)  # type: ignore[return-value]

    return total(Block(squares(params.C), squares(params.P)), axis_name)


def update_blocks(
    pieces: list[tuple[Piece, Any]],
    dictionary: Space,
    gradient: tuple[Rebuilt, Block],
    state: TrainState,
    config: DualConfig,
    tiles: Tiles,
) -> tuple[list[tuple[Block, Block]], Space, Space]:
    """Return each block and its optimiser state after a step, and the gradients of dictionary and samples.

    That of the dictionary is the sum over the targets of all devices. Neither has the inputs, which are
    constants. One block in all reuses its coefficients of the first pass; several blocks compute them again,
    in order, and so does each device's only block: a device is to do the same as one that holds more.
    """
    optimizer, fixed = coefficient_optimizer(config, state.step), started(state)
    of_rebuilt, of_sums = gradient
    blocks: list[tuple[Block, Block]] = []
    of_dictionary, of_own = Pairs(), []

    def varying(of: tuple[Block, Space, Space]) -> tuple[Block, Space, Space]:
        return of[0], of[1]._replace(inputs=None), of[2]._replace(inputs=None)

    def pull_again(raw: Block, atoms: Space, targets: Targets, of: tuple[Rebuilt, Block]) -> Any:
        return varying(_rebuild(raw, atoms, targets, fixed, config)[1](of))

    for (piece, pull), *own in zip(pieces, state.opt_state.C, state.opt_state.P, strict=True):
        of_z, of_u = jax.tree.map(lambda g, cut=piece.cut: g[cut.C], of_rebuilt[:2])
        rows, targets = Rebuilt(of_z, of_u, of_rebuilt.centroids[piece.cut.P]), piece.targets
        if pull:
            of_raw, of_atoms, of_space = varying(pull((rows, of_sums)))
        else:
            done = (blocks[-1][0].C, of_dictionary.last()) if blocks else of_rebuilt.z
            atoms, targets, rows = start_after(done, (dictionary, targets, rows))
            again = alone(pull_again, tiles)
            of_raw, of_atoms, of_space = again(piece.raw, atoms, targets, (rows, of_sums))
        # What reads a block goes before what writes it, or a copy is kept.
        of_raw = run_after(of_atoms, of_raw)
        free, is_rounded = block_masks(targets, fixed), config.moments_dtype != "float32"
        blocks.append(_update_block(optimizer, of_raw, Block(*own), piece.raw, free, is_rounded=is_rounded))
        of_dictionary.add(of_atoms)
        of_own.append(of_space)
    of_samples = jax.tree.map(lambda *parts: jnp.concatenate(parts), *of_own)
    return blocks, total_of_pairs(of_dictionary, tiles), of_samples


def _update_block(
    optimizer: optax.GradientTransformation,
    gradient: Block,
    opt_state: Block,
    raw: Block,
    free: Block,
    *,
    is_rounded: bool,
) -> tuple[Block, Block]:
    """Return a block and its state after one step; masked entries have no gradient and stay exactly 0.

    Moments that are rounded afterwards are written last, since the block's own step reads them unrounded.
    """

    def update(gradient: Array, opt_state: Any, raw: Array, is_free: Array) -> tuple[Array, Any]:
        new, opt_state = apply_update(optimizer, by_rows(gradient), opt_state, raw)
        new = jnp.where(is_free, new, 0.0)
        return new, run_after(new, opt_state) if is_rounded and new.size else opt_state

    (c, c_state), (p, p_state) = map(update, gradient, opt_state, raw, free)
    return Block(c, p), Block(c_state, p_state)


def coefficient_optimizer(config: DualConfig, step: Int[Array, ""]) -> optax.GradientTransformation:
    """Return the optimiser of C and P, which works entry by entry."""
    return at_rest(config.coefficient_optimizer(config.learning_rate), config.moments_dtype, step)


def at_rest(
    optimizer: optax.GradientTransformation, dtype: str, step: Int[Array, ""]
) -> optax.GradientTransformation:
    """Return an optimiser that computes in float32 and keeps the arrays of its state in another type.

    Numbers without axes, such as a count or a rate, stay as they are.

    Parameters
    ----------
    dtype
        ``"float32"`` or ``"bfloat16"``.
    step
        Decides, with the numbers themselves, which of them are rounded up.
    """
    if dtype == "float32":
        return optimizer

    def changed(state: Any, of: Any, change: Any) -> Any:
        return jax.tree.map(lambda leaf: change(leaf) if leaf.ndim and leaf.dtype == of else leaf, state)

    def stored(state: Any) -> Any:
        return changed(state, jnp.float32, lambda leaf: stochastic_round(leaf, step))

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        state = changed(state, jnp.bfloat16, lambda leaf: leaf.astype(jnp.float32))
        updates, state = optimizer.update(gradient, state, params)
        return updates, stored(state)

    return optax.GradientTransformation(lambda params: stored(optimizer.init(params)), update)


def apply_update(
    optimizer: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    """Return the parameters and the optimiser state after one step down a gradient."""
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def flat(x: Array) -> Float[Array, "n d"]:
    """Return each row as a vector."""
    return x.reshape(len(x), -1)
