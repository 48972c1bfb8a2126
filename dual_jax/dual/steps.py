"""The steps of DUAL's three stages, as pure functions over one state.

1. `pretrain_step`: the autoencoder alone. 2. `start_selection`: centroids, scales, C and P, a fresh
optimiser. 3. `train_step`: the whole full batch, autoencoder and selection block together.
Each takes ``axis_name``; then ``x`` holds this device's rows. ``is_row`` says which rows are real and which
are padding; all are real by default.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.devices.collectives import gather_rows, n_devices, own_rows, total
from dual_jax.devices.mesh import platform_of
from dual_jax.dual import kernels
from dual_jax.dual.blocks import (
    all_targets,
    apply_update,
    coefficient_optimizer,
    encode,
    flat,
    initial_coefficients,
    pieces_of,
    pull_spaces,
    row_sums,
    spaces,
    tiles_of,
    transpose,
)
from dual_jax.dual.config import DualConfig
from dual_jax.dual.decisions import draw_dictionary, find_clusters, measure, roles
from dual_jax.dual.network import Autoencoder
from dual_jax.dual.objectives import OBJECTIVES
from dual_jax.dual.objectives.notation import Block, Rebuilt, Scales, Space, Targets, Terms, total_loss
from dual_jax.dual.sizes import PLAIN, Sizes
from dual_jax.dual.state import Fixed, OptState, Params, TrainState, started
from dual_jax.numerics.arithmetic import squared_norms
from dual_jax.numerics.precision import as_float32, in_float32
from dual_jax.numerics.tiles import Tiles, each_tile, isolated, rows_of, total_of_tiles
from dual_jax.numerics.xla import OneOff


class PretrainTerms(NamedTuple):
    """Loss of stage 1: mean squared error over all entries of x."""

    reconstruction: Float[Array, ""]


@in_float32
def init(key: Key[Array, ""], x: Float[Array, "n ..."], config: DualConfig) -> TrainState:
    """Return a fresh autoencoder for rows shaped like those of ``x``, and its optimiser.

    Parameters
    ----------
    key
        Initialises the weights of the network.
    x
        At least one row; only its shape and type are used, except by a module's own ``init``.
    config
        Names the network and its sizes, and the optimiser.

    Raises
    ------
    ValueError
        A setting is out of range, or the modules' outputs do not have the shapes of codes and rows.
    """
    config.check()
    x, config = as_float32((x, config))
    network, opt_state, step = _new_network(key, x[:1], config.of_programs())
    return TrainState(Params(network), OptState(opt_state), step)


def _draw_network(key: Key[Array, ""], sample: Float[Array, "1 ..."], config: DualConfig) -> Autoencoder:
    key_encoder, key_decoder = jax.random.split(key)
    modules = config.modules(sample)
    encoder = modules.encoder.init(key_encoder, sample)
    return Autoencoder(encoder, modules.decoder.init(key_decoder, modules.encoder.apply(encoder, sample)))


def _start_network(key: Key[Array, ""], sample: Float[Array, "1 ..."], config: DualConfig) -> Any:
    network, modules = _draw_network(key, sample, config), config.modules(sample)
    code = jax.eval_shape(modules.encoder.apply, network.encoder, sample)
    if code.ndim != 2:
        raise ValueError(f"The encoder returns shape {code.shape} for one row: it must be (1, latent_dim).")
    row = jax.eval_shape(modules.decoder.apply, network.decoder, code)
    if row.size != sample.size:
        raise ValueError(
            f"The decoder returns shape {row.shape} for one code: it must hold {sample.size} values."
        )
    optimizer = config.optimizer(config.pretrain_learning_rate)
    return network, optimizer.init(network), jnp.zeros((), jnp.int32)


_new_network = OneOff(_start_network, lambda *_: True)


@partial(jax.jit, static_argnames=("axis_name", "n_tiles"), donate_argnums=0)
@in_float32
def pretrain_step(
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    is_row: Bool[Array, " n"] | None = None,
    axis_name: str | None = None,
    n_tiles: int = 1,
) -> tuple[TrainState, PretrainTerms]:
    """Return the state after one step of stage 1, and its mean squared error over all entries of ``x``.

    Source: the pre-training of Li et al., IJCAI 2020; a mean as in their released code, where Eq. (9) sums.

    Parameters
    ----------
    state
        From `init` or the step before; it is donated: do not use it afterwards.
    x
        This device's rows, or a mini-batch of them, scaled.
    config
        Its ``pretrain_learning_rate`` and optimiser are used; the weights of the losses are not used.
    is_row
        Which rows of ``x`` are real; the others are padding. All by default.
    axis_name
        Of the devices that hold the other rows, under `jax.pmap` or `jax.shard_map`; static.
    n_tiles
        Equal parts of this device's rows, static: see `dual_jax.numerics.tiles`.
    """
    x, config = as_float32((x, config))
    is_row = jnp.ones(len(x), bool) if is_row is None else is_row
    modules, tiles = config.modules(x), Tiles(n_tiles, axis_name)
    n_values = total(jnp.sum(is_row), axis_name) * flat(x).shape[1]

    def loss(network: Autoencoder, x: Array, is_row: Array) -> Array:
        rebuilt = modules.decoder.apply(network.decoder, modules.encoder.apply(network.encoder, x))
        return is_row @ squared_norms(flat(x) - flat(rebuilt)) / n_values

    def share(rows: tuple[Array, Array], network: Autoencoder) -> tuple[Array, Autoencoder]:
        return jax.value_and_grad(loss)(network, *rows)

    shares = each_tile(share, (x, is_row), tiles, state.params.network)
    value, gradient = total_of_tiles(shares, tiles)
    optimizer = config.optimizer(config.pretrain_learning_rate)
    network, network_state = apply_update(optimizer, gradient, state.opt_state.network, state.params.network)
    state = state._replace(
        params=state.params._replace(network=network),
        opt_state=state.opt_state._replace(network=network_state),
        step=state.step + 1,
    )
    return state, PretrainTerms(value)


@partial(jax.jit, static_argnames=("sizes", "axis_name"))
@in_float32
def start_selection(
    key: Key[Array, ""],
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    dictionary: Int[Array, " m"] | None = None,
    is_row: Bool[Array, " n"] | None = None,
    sizes: Sizes | None = None,
    axis_name: str | None = None,
) -> TrainState:
    """Return the state at the start of stage 3: centroids, scales, C and P, a fresh optimiser.

    Parameters
    ----------
    key
        Draws the dictionary, the start of k-means, of C and of P, and the pairs that measure distances.
    state
        A trained autoencoder, from `pretrain_step`; it stays usable.
    x
        This device's rows, all of them.
    config
        Says how many clusters and which dictionary, objective and start.
    labeled
        Rows that have a label: in the dictionary, without penalty, never ranked.
    candidates
        Rows that may be ranked; all by default. Other unlabelled rows are targets only.
    dictionary
        Positions (of all devices' rows) that may rebuild others, ascending, -1 for unused places at the end;
        by default ``sizes.n_places`` of the labelled rows and candidates, drawn uniformly.
    is_row
        As in `pretrain_step`.
    sizes
        From `DualConfig.sizes`, by default for the rows of all devices; static.
    axis_name
        As in `pretrain_step`; the masks are then this device's too.
    """
    x, config = as_float32((x, config))
    is_row = jnp.ones(len(x), bool) if is_row is None else is_row
    count = n_devices(axis_name)
    sizes = sizes or config.sizes(count * len(x), n_devices=count, platform=platform_of(None))
    sizes = sizes.shared(count)
    n_tiles = sizes.n_tiles // count
    tiles = Tiles(1 if len(x) % n_tiles else n_tiles, axis_name)
    key_dictionary, key_basis, key_scale, key_kmeans, key_coefficients = jax.random.split(key, 5)

    targets, is_labeled, is_candidate = roles(labeled, candidates, is_row, axis_name)
    if dictionary is None:
        dictionary = draw_dictionary(key_dictionary, is_labeled | is_candidate, sizes.n_places)
    padding = (0, -len(dictionary) % sizes.multiple)
    dictionary = jnp.pad(dictionary.astype(jnp.int32), padding, constant_values=-1)
    z = encode(state.params.network, x, config, tiles)
    z_all, rows, is_row_all = isolated([gather_rows(a, axis_name) for a in (z, flat(x), is_row)], tiles)
    u, scales = measure((key_basis, key_scale), z_all, rows, is_row_all, config, tiles)
    clusters = find_clusters(key_kmeans, own_rows(u, axis_name), is_row, sizes.n_clusters, tiles)
    dictionary_x = jnp.where(dictionary[:, None] >= 0, rows[dictionary], 0.0)
    fixed = Fixed(dictionary, dictionary_x, targets, is_labeled, is_candidate, *clusters, scales)
    coefficients = initial_coefficients(key_coefficients, fixed, config, sizes.block_rows, tiles)
    params = Params(state.params.network, *coefficients)
    sums = row_sums(params, axis_name) if sizes.carries_sums else None
    return TrainState(params, _fresh(params, config), jnp.zeros((), jnp.int32), fixed, sums)


def _fresh(params: Params, config: DualConfig) -> OptState:
    """Return the optimisers' states before the first step of stage 3."""
    start = coefficient_optimizer(config, jnp.zeros((), jnp.int32)).init
    network = config.optimizer(config.learning_rate).init(params.network)
    return OptState(network, tuple(map(start, params.C)), tuple(map(start, params.P)))


@partial(jax.jit, static_argnames=("axis_name", "kernel"), donate_argnums=0)
@in_float32
def train_step(
    state: TrainState,
    x: Float[Array, "n ..."],
    config: DualConfig,
    *,
    is_row: Bool[Array, " n"] | None = None,
    axis_name: str | None = None,
    kernel: str = PLAIN,
) -> tuple[TrainState, Terms]:
    """Return the state after one full-batch step of stage 3, and the terms of Eq. (10) before it.

    C is read once to rebuild the targets and once more to be updated, a block at a time. Its gradient, of
    rank p plus a term per row, exists for one block only. Devices exchange the codes (n x p), the
    gradient of the dictionary (2p + 1 numbers a row), the sums of squares of the rows of C and P, the
    gradient of the network, and the terms. Sums are over tiles, one for each block of C, in a fixed order:
    see `dual_jax.numerics.tiles`.
    Source: Li et al., IJCAI 2020, Eq. (10), with the objective that the configuration names.

    Parameters
    ----------
    state
        From `start_selection` or the step before; it is donated: do not use it afterwards.
    x, is_row, axis_name
        As in `start_selection`, the same rows in the same order.
    kernel
        ``"plain"``, or `Sizes.kernel`: what updates C; static.
    config
        Weights and learning rates may differ from step to step without compiling again.

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
    x, config = as_float32((x, config))
    params, opt_state, step, fixed = *state[:3], started(state)
    is_row = fixed.targets >= 0 if is_row is None else is_row
    tiles = tiles_of(len(x), params, axis_name)
    z = encode(params.network, x, config, tiles)
    dictionary, samples, z_moments = spaces(z, x, is_row, fixed, config, tiles)
    targets = all_targets(samples, x, fixed)
    pieces, is_carried = pieces_of(params, targets), state.sums is not None
    rebuild, update = kernels.path(kernel)
    rebuilt, sums, done = rebuild(pieces, dictionary, fixed, config, tiles, has_sums=is_carried)
    sums = state.sums if is_carried else sums
    terms, of_rebuilt, of_sums, of_samples, of_decoder = _terms(
        targets, rebuilt, sums, params, fixed, config, tiles
    )
    of = of_rebuilt, of_sums
    blocks, of_dictionary, of_own, carried = update(done, dictionary, of, state, config, tiles)
    of_samples = jax.tree.map(jnp.add, of_samples, of_own)
    of_codes = pull_spaces(z, x, is_row, z_moments, (of_dictionary, of_samples), fixed, config, tiles)

    def pull_encoder(rows: tuple[Array, Array], encoder: Any) -> Any:
        x, of_codes = rows
        apply = config.modules(x).encoder.apply
        return jax.vjp(lambda encoder: apply(encoder, x), encoder)[1](of_codes)[0]

    of_encoder = total_of_tiles(each_tile(pull_encoder, (x, of_codes), tiles, params.network.encoder), tiles)
    network, network_state = apply_update(
        config.optimizer(config.learning_rate),
        Autoencoder(of_encoder, of_decoder),
        opt_state.network,
        params.network,
    )
    params = Params(network, *transpose([raw for raw, _ in blocks]))
    opt_state = OptState(network_state, *transpose([state for _, state in blocks]))
    return TrainState(params, opt_state, step + 1, fixed, carried), terms


def _terms(
    targets: Targets,
    rebuilt: Rebuilt,
    sums: Block,
    params: Params,
    fixed: Fixed,
    config: DualConfig,
    tiles: Tiles,
) -> tuple[Terms, Rebuilt, Block, Space, Any]:
    """Return the terms of Eq. (10), and its gradients: of targets rebuilt, sums, samples and decoder.

    The gradients of ``sums`` and of the decoder are those of all devices.
    """
    may_shrink = (fixed.dictionary >= 0) & ~fixed.is_labeled[fixed.dictionary]
    decode = config.modules(targets.x).decoder.apply

    def loss(
        rebuilt: Rebuilt, sums: Block, samples: Space, decoder: Any, targets: Targets, scales: Scales
    ) -> tuple[Array, Terms]:
        terms = OBJECTIVES[config.objective].terms(
            targets._replace(space=samples),
            rebuilt,
            jax.tree.map(lambda s: jnp.where(may_shrink, s, 0.0), sums),
            lambda z: flat(decode(decoder, z)),
            scales,
        )
        return total_loss(terms, config.weights), terms

    def of_tile(rows: tuple[Targets, Rebuilt], sums: Block, decoder: Any, scales: Scales) -> Any:
        targets, rebuilt = rows
        gradient = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)
        (of_rebuilt, of_sums, of_space, of_decoder), terms = gradient(
            rebuilt, sums, targets.space, decoder, targets, scales
        )
        return (of_rebuilt, of_sums, of_space._replace(inputs=None), of_decoder), terms

    shared = sums, params.network.decoder, fixed.scales
    (of_rebuilt, of_sums, of_samples, of_decoder), terms = each_tile(
        of_tile, (targets, rebuilt), tiles, *shared
    )
    rows = terms.reconstruction, terms.self_expression, terms.cluster_expression
    of_decoder, rows = total_of_tiles((of_decoder, rows), tiles)
    of_sums, sparsity = jax.tree.map(
        lambda leaf: leaf[0], (of_sums, (terms.sparsity, terms.cluster_sparsity))
    )
    of_rebuilt, of_samples = jax.tree.map(rows_of, (of_rebuilt, of_samples))
    return (
        Terms(rows[0], rows[1], sparsity[0], rows[2], sparsity[1]),
        of_rebuilt,
        of_sums,
        of_samples,
        of_decoder,
    )
