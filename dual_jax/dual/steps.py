"""The steps of DUAL's three stages, as pure functions over one state.

1. `pretrain_step`: the autoencoder alone. 2. `start_selection`: centroids, scales, C and P, a fresh
optimiser. 3. `train_step`: the whole full batch, autoencoder and selection block together.
Each takes ``axis_name``; then ``x`` holds this device's rows, and a row of nothing but NaN is padding.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.devices.collectives import device_index, gather_rows, n_devices, own_rows, scatter_rows, total
from dual_jax.dual.config import DualConfig
from dual_jax.dual.network import (
    MAX_INPUTS,
    OBJECTIVES,
    Autoencoder,
    Block,
    Moments,
    Params,
    Rebuilt,
    Scales,
    Space,
    Targets,
    Terms,
    cleared,
    masks,
    moments,
    neighbour_scale,
    robust_moments,
    total_loss,
)
from dual_jax.numerics.arithmetic import TINY, principal_directions, rounded_by_chance, squared_norms
from dual_jax.numerics.draws import draw_rows
from dual_jax.numerics.kmeans import kmeans


class OptState(NamedTuple):
    """Optimiser states of the network and of each target block of C and P."""

    network: Any
    C: tuple[Any, ...] = ()
    P: tuple[Any, ...] = ()


class Fixed(NamedTuple):
    """What stage 2 decides and stage 3 does not change. N counts the rows of all devices."""

    dictionary: Int[Array, " m"]
    dictionary_x: Float[Array, "m d"]
    targets: Int[Array, " n"]
    is_labeled: Bool[Array, " N"]
    is_candidate: Bool[Array, " N"]
    centroids: Float[Array, "K q"]
    sizes: Float[Array, " K"]
    scales: Scales


class TrainState(NamedTuple):
    """Everything that a step needs and returns; ``fixed`` is None until the selection starts."""

    params: Params
    opt_state: OptState
    step: Int[Array, ""]
    fixed: Fixed | None = None


def started(state: TrainState) -> Fixed:
    """Return what stage 2 decided; ValueError when it has not been."""
    if state.fixed is None:
        raise ValueError("The state has no selection block yet: call start_selection first.")
    return state.fixed


class PretrainTerms(NamedTuple):
    """Loss of stage 1: mean squared error over all entries of x."""

    reconstruction: Float[Array, ""]


def init(key: Key[Array, ""], x: Float[Array, "n ..."], config: DualConfig) -> TrainState:
    """Return a fresh autoencoder for rows shaped like those of ``x``, and its optimiser.

    Parameters
    ----------
    key
        Starts the weights of the network.
    x
        At least one row; only its shape and type are used, and the modules' ``init`` may look at it.
    config
        Names the network and its sizes, and the optimiser.

    Raises
    ------
    ValueError
        A setting is out of range, or the modules' outputs do not have the shapes of codes and rows.
    """
    config.check()
    modules, sample = config.modules(x), jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    network = jax.eval_shape(_new_network, key, sample, config)
    code = jax.eval_shape(modules.encoder.apply, network.encoder, sample)
    if code.ndim != 2:
        raise ValueError(f"The encoder returns shape {code.shape} for one row: it must be (1, latent_dim).")
    row = jax.eval_shape(modules.decoder.apply, network.decoder, code)
    if row.size != sample.size:
        raise ValueError(
            f"The decoder returns shape {row.shape} for one code: it must hold {sample.size} values."
        )
    network = _new_network(key, x[:1], config)
    opt_state = config.optimizer(config.pretrain_learning_rate).init(network)
    return TrainState(Params(network), OptState(opt_state), jnp.zeros((), jnp.int32))


@jax.jit
def _new_network(key: Key[Array, ""], sample: Float[Array, "1 ..."], config: DualConfig) -> Autoencoder:
    key_encoder, key_decoder = jax.random.split(key)
    modules = config.modules(sample)
    encoder = modules.encoder.init(key_encoder, sample)
    return Autoencoder(encoder, modules.decoder.init(key_decoder, modules.encoder.apply(encoder, sample)))


def real_rows(x: Float[Array, "n ..."]) -> tuple[Float[Array, "n ..."], Bool[Array, " n"]]:
    """Return the rows with padding set to zero, and which rows are real."""
    is_row = ~jnp.all(jnp.isnan(flat(x)), axis=1)
    return jnp.where(is_row.reshape(-1, *[1] * (x.ndim - 1)), x, 0.0), is_row


def flat(x: Array) -> Float[Array, "n d"]:
    """Return each row as a vector."""
    return x.reshape(len(x), -1)


@partial(jax.jit, static_argnames="axis_name", donate_argnums=0)
def pretrain_step(
    state: TrainState, x: Float[Array, "n ..."], config: DualConfig, *, axis_name: str | None = None
) -> tuple[TrainState, PretrainTerms]:
    """Return the state after one step of stage 1, and its mean squared error over all entries of ``x``.

    Source: the pre-training of Li et al., IJCAI 2020; a mean as in their released code, where Eq. (9) sums.

    Parameters
    ----------
    state
        From `init` or the step before; it is used up, its memory holds the new one.
    x
        This device's rows, or a mini-batch of them, scaled. A row of nothing but NaN is padding.
    config
        Its ``pretrain_learning_rate`` and optimiser are used; the weights of the losses play no part.
    axis_name
        Of the devices that hold the other rows, under `jax.pmap` or `jax.shard_map`; static.
    """
    x, is_row = real_rows(x)
    modules = config.modules(x)
    n_values = total(jnp.sum(is_row), axis_name) * flat(x).shape[1]

    def loss(network: Autoencoder) -> Array:
        rebuilt = modules.decoder.apply(network.decoder, modules.encoder.apply(network.encoder, x))
        return is_row @ squared_norms(flat(x) - flat(rebuilt)) / n_values

    value, gradient = total(jax.value_and_grad(loss)(state.params.network), axis_name)
    optimizer = config.optimizer(config.pretrain_learning_rate)
    network, network_state = _update(optimizer, gradient, state.opt_state.network, state.params.network)
    state = state._replace(
        params=state.params._replace(network=network),
        opt_state=state.opt_state._replace(network=network_state),
        step=state.step + 1,
    )
    return state, PretrainTerms(value)


@partial(jax.jit, static_argnames="axis_name")
def start_selection(
    key: Key[Array, ""],
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    dictionary: Int[Array, " m"] | None = None,
    axis_name: str | None = None,
) -> TrainState:
    """Return the state at the start of stage 3: centroids, scales, C and P, a fresh optimiser.

    Parameters
    ----------
    key
        Draws the dictionary, the start of k-means, of C and of P, and the pairs that measure distances.
    state
        A trained autoencoder, from `pretrain_step`; not used up.
    x
        This device's rows, all of them. A row of nothing but NaN is padding.
    config
        Says how many clusters and which dictionary, objective and start.
    labeled
        Rows that have a label: in the dictionary, without penalty, never ranked.
    candidates
        Rows that may be ranked; all by default. Other unlabelled rows are targets only.
    dictionary
        Positions (of all devices' rows) that may rebuild others, ascending, -1 for unused places at the end;
        by default `DualConfig.places` of the labelled rows and candidates, drawn evenly.
    axis_name
        As in `pretrain_step`; the masks are then this device's too.
    """
    key_dictionary, key_basis, key_scale, key_kmeans, key_coefficients = jax.random.split(key, 5)
    x, is_row = real_rows(x)
    is_labeled = is_row & (jnp.zeros(len(x), bool) if labeled is None else labeled)
    is_candidate = is_row & ~is_labeled & (jnp.ones(len(x), bool) if candidates is None else candidates)
    position = device_index(axis_name) * len(x) + jnp.arange(len(x))
    targets = jnp.where(is_row, position, -1).astype(jnp.int32)
    is_labeled, is_candidate = gather_rows(is_labeled, axis_name), gather_rows(is_candidate, axis_name)
    if dictionary is None:
        n_places = config.places(len(is_labeled), len(is_labeled))
        dictionary = _dictionary(key_dictionary, is_labeled | is_candidate, n_places)

    objective = OBJECTIVES[config.objective]
    z = config.modules(x).encoder.apply(state.params.network.encoder, x)
    z_all, rows, is_row_all = (gather_rows(a, axis_name) for a in (z, flat(x), is_row))
    x_moments = robust_moments(rows, is_row_all)
    centred = jnp.where(is_row_all[:, None], rows - x_moments.mean, 0.0)
    is_wide = rows.shape[1] > MAX_INPUTS
    scales = Scales(
        n_rows=jnp.sum(is_row_all, dtype=jnp.float32),
        x=x_moments,
        x_basis=principal_directions(key_basis, centred, MAX_INPUTS) if is_wide else None,
        x_sumsq=jnp.sum(squared_norms(rows)) + TINY,
        neighbour=jnp.ones(()),
    )
    u_all = objective.space(rows, z_all, moments(z_all, is_row_all), scales).u
    scales = scales._replace(neighbour=neighbour_scale(key_scale, u_all, is_row_all))
    n_clusters = config.clusters(len(is_candidate))
    clusters = kmeans(
        key_kmeans,
        own_rows(u_all, axis_name),
        n_clusters,
        weights=is_row.astype(jnp.float32),
        axis_name=axis_name,
    )
    fixed = Fixed(
        dictionary=dictionary.astype(jnp.int32),
        dictionary_x=rows[dictionary],
        targets=targets,
        is_labeled=is_labeled,
        is_candidate=is_candidate,
        centroids=_share_out(clusters.centroids, axis_name),
        sizes=_share_out(clusters.sizes, axis_name),
        scales=scales,
    )
    params = Params(state.params.network, *_initial_coefficients(key_coefficients, fixed, config, axis_name))
    network_state = config.optimizer(config.learning_rate).init(params.network)
    start = _coefficient_optimizer(config, jnp.zeros((), jnp.int32)).init
    opt_state = OptState(network_state, tuple(map(start, params.C)), tuple(map(start, params.P)))
    return TrainState(params, opt_state, jnp.zeros((), jnp.int32), fixed)


def _dictionary(key: Key[Array, ""], may_rebuild: Bool[Array, " N"], size: int) -> Int[Array, " m"]:
    """Return the positions of the rows that may rebuild others, -1 at the end; drawn if too many."""
    drawn = draw_rows(key, may_rebuild, size)
    positions = jnp.sort(jnp.where(may_rebuild[drawn], drawn, len(may_rebuild)))
    return jnp.where(positions < len(may_rebuild), positions, -1)


def _share_out(rows: Array, axis_name: str | None) -> Array:
    """Return this device's share of rows that all devices hold, padded by zeros to equal shares."""
    padding = -len(rows) % n_devices(axis_name)
    return own_rows(jnp.pad(rows, [(0, padding)] + [(0, 0)] * (rows.ndim - 1)), axis_name)


def cuts(n_targets: int, n_centroids: int, block_rows: int) -> list[Block]:
    """Return which samples and which centroids each target block rebuilds, as slices."""
    n_blocks = -(-n_targets // block_rows)
    ends = [i * n_centroids // n_blocks for i in range(n_blocks + 1)]
    return [
        Block(slice(i * block_rows, min((i + 1) * block_rows, n_targets)), slice(ends[i], ends[i + 1]))
        for i in range(n_blocks)
    ]


def _transpose(blocks: list[Block]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the C parts and the P parts of blocks."""
    return tuple(block.C for block in blocks), tuple(block.P for block in blocks)


def _initial_coefficients(
    key: Key[Array, ""], fixed: Fixed, config: DualConfig, axis_name: str | None
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return the masked start of C and of P, drawn by global row so that the layout changes nothing.

    Where it is random it is xavier normal: variance 2 / (targets + dictionary rows).
    """
    seeds = config.coefficient_seeds
    key_c, key_p = jax.random.split(key) if seeds is None else map(jax.random.key, seeds)
    m, n_local, k_local = len(fixed.dictionary), len(fixed.targets), len(fixed.sizes)
    centroid = device_index(axis_name) * k_local + jnp.arange(k_local)
    n_clusters = total(jnp.sum(fixed.sizes > 0), axis_name)

    def draw(key: Key[Array, ""], rows: Array, n_targets: Array, is_free: Array) -> Array:
        initial = OBJECTIVES[config.objective].initial
        scale = jnp.sqrt(2.0 / (n_targets + jnp.sum(fixed.dictionary >= 0)))
        return jnp.where(is_free, scale * jax.vmap(lambda row: initial(key, row, m))(rows), 0.0)

    blocks: list[Block] = []
    for cut in cuts(n_local, k_local, config.rows_in_block(n_local, m)):
        is_free = masks(fixed.dictionary, fixed.targets[cut.C], fixed.sizes[cut.P])
        rows = _after(blocks[-1].C, fixed.targets[cut.C]) if blocks else fixed.targets[cut.C]
        c = draw(key_c, rows, fixed.scales.n_rows, is_free.C)
        blocks.append(Block(c, draw(key_p, centroid[cut.P], n_clusters, is_free.P)))
    return _transpose(blocks)


def spaces(
    z_all: Float[Array, "N p"],
    x: Array,
    is_row: Bool[Array, " n"],
    fixed: Fixed,
    config: DualConfig,
    axis_name: str | None,
) -> tuple[Space, Space]:
    """Return the dictionary and this device's samples as functions of the codes of all devices."""
    z_moments = moments(z_all, gather_rows(is_row, axis_name))
    space = OBJECTIVES[config.objective].space
    codes = jnp.where(fixed.dictionary[:, None] >= 0, z_all[fixed.dictionary], 0.0)
    dictionary = space(fixed.dictionary_x, codes, z_moments, fixed.scales)
    return dictionary, space(flat(x), own_rows(z_all, axis_name), z_moments, fixed.scales)


class _Piece(NamedTuple):
    """One target block: its parameters, its targets, and where these stand."""

    raw: Block
    targets: Targets
    cut: Block


def _targets(samples: Space, x: Array, fixed: Fixed) -> Targets:
    """Return all of this device's targets."""
    return Targets(flat(x), samples, fixed.targets, _own_places(fixed), fixed.centroids, fixed.sizes)


def _pieces(params: Params, all_targets: Targets) -> list[_Piece]:
    n, k = len(all_targets.position), len(all_targets.sizes)
    pieces = []
    for c, p, cut in zip(params.C, params.P, cuts(n, k, len(params.C[0])), strict=True):
        rows, space, position, own = jax.tree.map(lambda a, cut=cut: a[cut.C], all_targets[:4])
        clusters = all_targets.centroids[cut.P], all_targets.sizes[cut.P]
        pieces.append(_Piece(Block(c, p), Targets(rows, space, position, own, *clusters), cut))
    return pieces


def _own_places(fixed: Fixed) -> Int[Array, " n"]:
    """Return where in the dictionary each target stands: m for one that does not, and for padding."""
    m = len(fixed.dictionary)
    ascending = jnp.where(fixed.dictionary < 0, jnp.iinfo(fixed.dictionary.dtype).max, fixed.dictionary)
    place = jnp.searchsorted(ascending, fixed.targets)
    return jnp.where(ascending.at[place].get(mode="fill", fill_value=-2) == fixed.targets, place, m)


def _rebuild(
    piece: _Piece, dictionary: Space, targets: Targets, fixed: Fixed, config: DualConfig
) -> tuple[tuple[Rebuilt, Block], Any]:
    """Return a block's targets as the dictionary rebuilds them, and its share of the sums of squares.

    Beside them, the function that pulls a gradient of both back to the block, dictionary and samples.
    """

    def rebuild(raw: Block, dictionary: Space, samples: Space) -> tuple[Rebuilt, Block]:
        own, free = targets._replace(space=samples), _masks(targets, fixed)
        return OBJECTIVES[config.objective].rebuild(raw, dictionary, own, free, fixed.scales, config.weights)

    return jax.vjp(rebuild, piece.raw, dictionary, targets.space)


def _masks(targets: Targets, fixed: Fixed) -> Block:
    return masks(fixed.dictionary, targets.position, targets.sizes)


def _rebuild_all(
    pieces: list[_Piece],
    dictionary: Space,
    fixed: Fixed,
    config: DualConfig,
    axis_name: str | None,
    *,
    is_kept: bool = False,
) -> tuple[Rebuilt, Block, list[tuple[_Piece, Any]]]:
    """Return all own targets as the dictionary rebuilds them, and all devices' sums of squares (m,).

    Beside them, each block as it was read and its function that pulls gradients back. Where C is kept, and
    clearing a block copies it, no copy is made before its turn.
    """
    parts: list[tuple[Rebuilt, Block]] = []
    done = []
    for piece in pieces:
        atoms, targets, c = dictionary, piece.targets, piece.raw.C
        if parts:
            atoms, targets = _after(parts[-1], (atoms, targets))
            c = _after(parts[-1], c) if is_kept else c
        piece = piece._replace(raw=Block(cleared(c, targets.own), piece.raw.P))
        part, pull = _rebuild(piece, atoms, targets, fixed, config)
        parts.append(part)
        done.append((piece, pull))
    rebuilt, sums = zip(*parts, strict=True)
    sums = total(jax.tree.map(lambda *parts: sum(parts), *sums), axis_name)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *rebuilt), sums, done


@partial(jax.jit, static_argnames="axis_name", donate_argnums=0)
def train_step(
    state: TrainState, x: Float[Array, "n ..."], config: DualConfig, *, axis_name: str | None = None
) -> tuple[TrainState, Terms]:
    """Return the state after one full-batch step of stage 3, and the terms of Eq. (10) before it.

    C is read once to rebuild the targets and once more to be updated, a block at a time; its gradient, of
    rank p plus a term per row, never exists beyond a block. Between devices go the codes and their gradient
    (n x p), the sums of squares of the rows of C and P, the network's gradient, and the terms.
    Source: Li et al., IJCAI 2020, Eq. (10), with the objective that the configuration names.

    Parameters
    ----------
    state
        From `start_selection` or the step before; it is used up, its memory holds the new one.
    x, axis_name
        As in `start_selection`, the same rows in the same order.
    config
        Weights and learning rates may differ from step to step and compile nothing anew.

    Raises
    ------
    ValueError
        The selection has not started.

    Examples
    --------
    >>> import jax, dual_jax as dj
    >>> x, config = jax.random.normal(jax.random.key(0), (12, 3)), dj.DualConfig()
    >>> state = dj.start_selection(jax.random.key(2), dj.init(jax.random.key(1), x, config), x, config)
    >>> state, terms = dj.train_step(state, x, config)
    >>> int(state.step), sorted(terms._fields)[:2]
    (1, ['cluster_expression', 'cluster_sparsity'])
    """
    x, is_row = real_rows(x)
    modules = config.modules(x)
    params, opt_state, step, fixed = *state[:3], started(state)
    z, pull_encoder = jax.vjp(lambda encoder: modules.encoder.apply(encoder, x), params.network.encoder)
    z_all = gather_rows(z, axis_name)
    (dictionary, samples), pull_spaces = jax.vjp(
        lambda z: spaces(z, x, is_row, fixed, config, axis_name), z_all
    )
    targets = _targets(samples, x, fixed)
    rebuilt, sums, done = _rebuild_all(_pieces(params, targets), dictionary, fixed, config, axis_name)
    may_shrink = (fixed.dictionary >= 0) & ~fixed.is_labeled[fixed.dictionary]

    def loss(rebuilt: Rebuilt, sums: Block, samples: Space, decoder: Any) -> tuple[Array, Terms]:
        terms = OBJECTIVES[config.objective].terms(
            targets._replace(space=samples),
            rebuilt,
            jax.tree.map(lambda s: jnp.where(may_shrink, s, 0.0), sums),
            lambda z: flat(modules.decoder.apply(decoder, z)),
            fixed.scales,
        )
        return total_loss(terms, config.weights), terms

    gradient, terms = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)(
        rebuilt, sums, samples, params.network.decoder
    )
    of_rebuilt, of_sums, of_samples, of_decoder = gradient
    blocks, of_dictionary, of_own = _update_blocks(done, dictionary, (of_rebuilt, of_sums), state, config)
    of_samples = jax.tree.map(jnp.add, of_samples, of_own)
    (of_codes,) = pull_spaces((of_dictionary, of_samples))
    (of_encoder,) = pull_encoder(scatter_rows(of_codes, axis_name))
    local = terms.reconstruction, terms.self_expression, terms.cluster_expression
    of_network, local = total((Autoencoder(of_encoder, of_decoder), local), axis_name)
    network, network_state = _update(
        config.optimizer(config.learning_rate), of_network, opt_state.network, params.network
    )
    params = Params(network, *_transpose([raw for raw, _ in blocks]))
    opt_state = OptState(network_state, *_transpose([state for _, state in blocks]))
    terms = Terms(local[0], local[1], terms.sparsity, local[2], terms.cluster_sparsity)
    return TrainState(params, opt_state, step + 1, fixed), terms


def _update_blocks(
    pieces: list[tuple[_Piece, Any]],
    dictionary: Space,
    gradient: tuple[Rebuilt, Block],
    state: TrainState,
    config: DualConfig,
) -> tuple[list[tuple[Block, Block]], Space, Space]:
    """Return each block and its optimiser state after a step, and the gradients of dictionary and samples.

    A single block keeps its coefficients from the first pass; several form them anew, one after the other.
    """
    optimizer, fixed = _coefficient_optimizer(config, state.step), started(state)
    of_rebuilt, of_sums = gradient
    blocks: list[tuple[Block, Block]] = []
    of_dictionary, of_own = jax.tree.map(jnp.zeros_like, dictionary), []
    for (piece, pull), *own in zip(pieces, state.opt_state.C, state.opt_state.P, strict=True):
        of_z, of_u = jax.tree.map(lambda g, cut=piece.cut: g[cut.C], of_rebuilt[:2])
        rows, targets = Rebuilt(of_z, of_u, of_rebuilt.centroids[piece.cut.P]), piece.targets
        if len(pieces) > 1:
            done = (blocks[-1][0].C, of_dictionary) if blocks else of_rebuilt.z
            atoms, targets, rows = _after(done, (dictionary, targets, rows))
            _, pull = _rebuild(piece, atoms, targets, fixed, config)
        of_raw, of_atoms, of_space = pull((rows, of_sums))
        of_raw = _after(of_atoms, of_raw)  # what reads a block goes before what writes it, or a copy is kept
        free, is_rounded = _masks(targets, fixed), config.moments_dtype != "float32"
        blocks.append(_update_block(optimizer, of_raw, Block(*own), piece.raw, free, is_rounded=is_rounded))
        of_dictionary = jax.tree.map(jnp.add, of_dictionary, of_atoms)
        of_own.append(of_space)
    return blocks, of_dictionary, jax.tree.map(lambda *parts: jnp.concatenate(parts), *of_own)


def _after(done: Any, tree: Any) -> Any:
    """Return a tree that exists only once all of ``done`` does: so the compiler ends a block before the next.

    Left to itself it runs the blocks side by side and keeps the temporaries of all, also from the first
    pass to the second. Barriers it removes before it orders the work; but it cannot know that no number
    exceeds infinity.
    """
    firsts = [leaf.ravel()[0] for leaf in jax.tree.leaves(done) if leaf.size]
    is_never = jnp.any(jnp.stack(firsts) > jnp.inf)
    return jax.tree.map(lambda leaf: jnp.where(is_never, jnp.zeros_like(leaf), leaf), tree)


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
        # By rows, as C and its moments are stored: else a TPU turns these round like the gradient, in a copy.
        # It also has the gradient exist: else a CPU forms it anew from C, which it then copies to update it.
        gradient = with_layout_constraint(gradient, Layout((0, 1)))
        new, opt_state = _update(optimizer, gradient, opt_state, raw)
        new = jnp.where(is_free, new, 0.0)
        return new, _after(new, opt_state) if is_rounded and new.size else opt_state

    (c, c_state), (p, p_state) = map(update, gradient, opt_state, raw, free)
    return Block(c, p), Block(c_state, p_state)


def _coefficient_optimizer(config: DualConfig, step: Int[Array, ""]) -> optax.GradientTransformation:
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
        return changed(state, jnp.float32, lambda leaf: rounded_by_chance(leaf, step))

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        state = changed(state, jnp.bfloat16, lambda leaf: leaf.astype(jnp.float32))
        updates, state = optimizer.update(gradient, state, params)
        return updates, stored(state)

    return optax.GradientTransformation(lambda params: stored(optimizer.init(params)), update)


def _update(
    optimizer: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    updates, opt_state = optimizer.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def _frozen(
    state: TrainState, x: Array, config: DualConfig, axis_name: str | None
) -> tuple[Space, list[_Piece]]:
    """Return the dictionary and the target blocks of a state as it stands."""
    fixed = started(state)
    x, is_row = real_rows(x)
    z = gather_rows(config.modules(x).encoder.apply(state.params.network.encoder, x), axis_name)
    dictionary, samples = spaces(z, x, is_row, fixed, config, axis_name)
    return dictionary, _pieces(state.params, _targets(samples, x, fixed))


def coefficients(state: TrainState, x: Float[Array, "n ..."], config: DualConfig) -> Block:
    """Return C (m, n) and P (m, K): column i says how the dictionary rebuilds target i.

    Raises
    ------
    ValueError
        The fit was spread over devices, or C rebuilds drawn rows of a larger pool.
    """
    own = getattr(state.params.C[0], "sharding", None)
    if (own is not None and len(own.device_set) > 1) or len(started(state).targets) != len(x):
        raise ValueError("C can be read from a fit on one device whose targets are the rows of x alone.")
    dictionary, pieces = _frozen(state, x, config, None)
    of = OBJECTIVES[config.objective].coefficients
    blocks = [
        of(
            p.raw,
            dictionary,
            p.targets,
            _masks(p.targets, started(state)),
            started(state).scales,
            config.weights,
        )
        for p in pieces
    ]
    return Block(*(jnp.concatenate(parts).T for parts in _transpose(blocks)))


def row_norms(
    state: TrainState, x: Float[Array, "n ..."], config: DualConfig, *, axis_name: str | None = None
) -> Block:
    """Return the norms (m,) of the rows of C and of P that the objective penalises, over all targets.

    With `free` these are the l2 norms that the paper ranks by; `simplex` averages squares over the targets,
    and over the centroids by their sizes.
    """
    dictionary, pieces = _frozen(state, x, config, axis_name)
    _, sums, _ = _rebuild_all(pieces, dictionary, started(state), config, axis_name, is_kept=True)
    return jax.tree.map(jnp.sqrt, sums)


def learnt_space(
    state: TrainState, x: Float[Array, "n ..."], config: DualConfig, *, axis_name: str | None = None
) -> Float[Array, "N q"]:
    """Return all rows in the space of the selection block: codes, or codes beside inputs."""
    x, is_row = real_rows(x)
    z = gather_rows(config.modules(x).encoder.apply(state.params.network.encoder, x), axis_name)
    return gather_rows(spaces(z, x, is_row, started(state), config, axis_name)[1].u, axis_name)


def code_moments(state: TrainState, x: Float[Array, "n ..."], config: DualConfig) -> Moments:
    """Return the moments of a pool's codes: with them `space_of` places other rows beside its own."""
    x, is_row = real_rows(x)
    return moments(config.modules(x).encoder.apply(state.params.network.encoder, x), is_row)


def space_of(
    state: TrainState, x: Float[Array, "m ..."], codes: Moments, config: DualConfig
) -> Float[Array, "m q"]:
    """Return any rows in the space that `learnt_space` gives the pool, whose codes have these moments."""
    z = config.modules(x).encoder.apply(state.params.network.encoder, x)
    return OBJECTIVES[config.objective].space(flat(x), z, codes, started(state).scales).u
