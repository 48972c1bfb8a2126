"""The network of DUAL: an autoencoder with a selection block between its halves.

Source: Li et al., "On Deep Unsupervised Active Learning", IJCAI 2020. Samples are rows here.

==============  ========  ===================================================================================
name            shape     meaning
==============  ========  ===================================================================================
``x``           (n, d)    X, the pool (any number of trailing axes)
``z``           (n, p)    Phi(X), latent codes, Eqs. (2) and (3)
``u``           (n, q)    the space in which samples rebuild one another: ``z``, or ``z`` beside ``x``
dictionary      (m,)      r, positions of the rows that may rebuild others; -1 marks an unused place
targets         (n,)      t, positions of the rows to rebuild; -1 marks padding
``C``           (m, n)    Q of Eq. (5); column i rebuilds target i: Z^ = C^T Z[r]; 0 where r = t
``P``           (m, K)    P of Eq. (7), rebuilds the K cluster centroids
centroids       (K, q)    C of Eq. (6): constants once training starts
alpha, beta               weights of the two branches, Eq. (10)
gamma, eta                weights of the row norms of C and P inside their branches, Eqs. (5) and (7)
==============  ========  ===================================================================================

``C`` and ``P`` are stored transposed, a row a target, ``C`` as a tuple of *target blocks* (b, m): one block
at a time is read, used forward and backward, updated and written. Masked entries are part of the parameter:
they start at 0, are read through the mask, and get no gradient, moment or update.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from dual_jax.numerics.arithmetic import (
    TINY,
    matmul,
    safe_divide,
    safe_sqrt,
    squared_norms,
    transposed_matmul,
)
from dual_jax.numerics.draws import draw_rows

MAX_INPUTS = 128  # wider inputs enter distances by this many principal directions
N_NEAR, SCALE_SAMPLE, SCALE_BATCH = 10, 2048, 64  # of `neighbour_scale`
N_WEISZFELD = 50  # iterations of `robust_moments`
SHARPNESS = 10.0  # of the simplex: a step of B of 0.1 multiplies a coefficient by e
RESIDUAL_FLOOR = 1e-8  # inside the root of the simplex objective's residuals


class Module(NamedTuple):
    """A pure network: ``init(key, inputs) -> params`` and ``apply(params, inputs) -> outputs``."""

    init: Callable[[Key[Array, ""], Array], PyTree]
    apply: Callable[[PyTree, Array], Array]


class Autoencoder(NamedTuple):
    """Two modules, or their parameters: rows of x to codes (n, p), and codes to rows of x."""

    encoder: Any
    decoder: Any


def dense(widths: tuple[int, ...]) -> Module:
    """Return dense layers with ReLU between them and a linear output, written in Flax NNX. Eqs. (2) and (8).

    Parameters
    ----------
    widths
        Output width of each layer; the input width is that of the data.

    Weights and biases start uniform in +-1/sqrt(fan in), as in the released code.

    Examples
    --------
    >>> import jax
    >>> encoder = dense((128, 64, 32))
    >>> x = jax.numpy.ones((5, 40))
    >>> encoder.apply(encoder.init(jax.random.key(0), x), x).shape
    (5, 32)
    """

    def network(shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Sequential:
        layers: list[Callable] = []
        for fan_in, fan_out in zip((math.prod(shape), *widths[:-1]), widths, strict=True):
            layers += [_linear(fan_in, fan_out, rngs), nnx.relu]
        return nnx.Sequential(*layers[:-1])

    module = pure(network)
    # A number of rows that is a symbol, under jax.export, has no len.
    return Module(module.init, lambda params, x: module.apply(params, x.reshape(x.shape[0], -1)))


def pure(network: Callable[[tuple[int, ...], nnx.Rngs], Callable]) -> Module:
    """Return a Flax NNX network as a pure module; ``network(shape of one sample, rngs)`` makes it."""

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        return nnx.to_pure_dict(nnx.state(network(x.shape[1:], nnx.Rngs(key))))

    def apply(params: PyTree, x: Array) -> Array:
        abstract = nnx.eval_shape(lambda: network(x.shape[1:], nnx.Rngs(0)))
        graph, state = nnx.split(abstract)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(x)

    return Module(init, apply)


def _linear(fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    bound = fan_in**-0.5

    def init(key: Key[Array, ""], shape: Any, dtype: Any = jnp.float32, *_: Any, **__: Any) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(fan_in, fan_out, kernel_init=init, bias_init=init, rngs=rngs)


class Params(NamedTuple):
    """What is trained. ``C``: target blocks (b, m); ``P``: (K, m); both empty before the selection starts."""

    network: Autoencoder
    C: tuple[Float[Array, "b m"], ...] = ()
    P: tuple[Float[Array, "k m"], ...] = ()


class Space(NamedTuple):
    """Rows as the selection block sees them: ``u = gain * [inputs, codes]``.

    Inputs are constants; kept apart, they need no gradient, which halves the products of width q in a
    step. In the free objective u is z and the rest is None.
    """

    z: Any  # (rows, p); None for centroids
    inputs: Any = None  # (rows, d), standardised; or as many principal directions as `MAX_INPUTS`
    codes: Any = None  # (rows, p), standardised
    gain: Any = None  # (rows,)

    @property
    def u(self) -> Float[Array, "rows q"]:
        """The space in which rows rebuild one another."""
        if self.gain is None:
            return self.z
        return self.gain[:, None] * jnp.concatenate([self.inputs, self.codes], axis=1)


class Moments(NamedTuple):
    """Centre of some rows and their typical distance from it; see `moments` and `robust_moments`."""

    mean: Float[Array, " p"]
    spread: Float[Array, ""]


class Scales(NamedTuple):
    """Constants of a pool, measured once, on the pre-trained network."""

    n_rows: Float[Array, ""]
    x: Moments
    x_basis: Any  # (d, MAX_INPUTS) orthonormal, None where d is no more
    x_sumsq: Float[Array, ""]  # |X|_F^2
    neighbour: Float[Array, ""]  # s0: mean squared distance in u to the 10 nearest rows


class Weights(NamedTuple):
    """Trade-off weights of Eqs. (5), (7) and (10), and the temperature of the simplex."""

    alpha: float | Array
    beta: float | Array
    gamma: float | Array
    eta: float | Array
    temperature: float | Array


class Terms(NamedTuple):
    """The five terms of Eq. (10) before their weights."""

    reconstruction: Float[Array, ""]  # L_d, Eq. (9)
    self_expression: Float[Array, ""]  # first term of L_a, Eq. (5)
    sparsity: Float[Array, ""]  # row norms of C
    cluster_expression: Float[Array, ""]  # first term of L_c, Eq. (7)
    cluster_sparsity: Float[Array, ""]  # row norms of P


def total_loss(terms: Terms, weights: Weights) -> Float[Array, ""]:
    """Return Eq. (10): ``L_d + alpha (.. + gamma ||C||_2,1) + beta (.. + eta ||P||_2,1)``."""
    top = terms.self_expression + weights.gamma * terms.sparsity
    bottom = terms.cluster_expression + weights.eta * terms.cluster_sparsity
    return terms.reconstruction + weights.alpha * top + weights.beta * bottom


def moments(rows: Float[Array, "n p"], is_row: Bool[Array, " n"]) -> Moments:
    """Return the mean of the real rows and their root mean squared distance from it."""
    share = is_row / jnp.sum(is_row)
    mean = share @ rows
    return Moments(mean, safe_sqrt(share @ squared_norms(rows - mean)))


def robust_moments(rows: Float[Array, "n p"], is_row: Bool[Array, " n"]) -> Moments:
    """Return the geometric median of the real rows, and their median distance from it as spread.

    A single far row moves a mean and a root mean square as far as it likes; half of the rows must be far to
    move these. Rows at the centre itself, as duplicates may be, do not count for the spread. Source: the
    iteration of Weiszfeld (1937), with the rule of Vardi and Zhang (PNAS 2000) for a centre on a row; at the
    end the nearest row is the centre if it is the median, for a row is approached for ever and never met.
    """

    def distances(center: Array) -> Array:
        return jnp.where(is_row, jnp.sqrt(squared_norms(rows - center)), 0.0)

    def step(_: Any, center: Array) -> Array:
        pulls = safe_divide(jnp.ones(len(rows)), distances(center))
        total = matmul(pulls, rows - center)
        n_here = jnp.sum(is_row & (pulls == 0))
        share = jnp.maximum(1.0 - safe_divide(n_here, jnp.linalg.norm(total)), 0.0)
        return center + share * safe_divide(total, jnp.sum(pulls))

    center = jax.lax.fori_loop(0, N_WEISZFELD, step, moments(rows, is_row).mean)
    nearest = rows[jnp.argmin(jnp.where(is_row, distances(center), jnp.inf))]
    is_median = jnp.all(step(0, nearest) == nearest)
    center = jnp.where(is_median, nearest, center)
    lengths = distances(center)
    spread = jnp.nanmedian(jnp.where(lengths > 0, lengths, jnp.nan))
    return Moments(center, jnp.where(spread > 0, spread, 1.0))


def neighbour_scale(
    key: Key[Array, ""], u: Float[Array, "n q"], is_row: Bool[Array, " n"]
) -> Float[Array, ""]:
    """Return s0: the mean squared distance of a row to its 10 nearest, over at most 2,048 drawn rows.

    Where duplicates make it zero, the mean squared distance of all pairs stands in, and 1 where that is
    zero too.
    """
    n = len(u)
    n_near = min(N_NEAR, n - 1)
    drawn = draw_rows(key, is_row, SCALE_SAMPLE)
    u = u - moments(u, is_row).mean

    def nearest(row: Array) -> tuple[Array, Array]:
        is_other = is_row & is_row[row] & (jnp.arange(n) != row)
        near = -jax.lax.top_k(jnp.where(is_other, -squared_norms(u - u[row]), -jnp.inf), n_near)[0]
        is_near = jnp.isfinite(near)
        return jnp.sum(near, where=is_near), jnp.sum(is_near, dtype=jnp.float32)

    sums, counts = jax.lax.map(nearest, drawn, batch_size=min(SCALE_BATCH, n))
    near = safe_divide(jnp.sum(sums), jnp.sum(counts))
    spread = 2.0 * moments(u, is_row).spread ** 2
    fallback = jnp.where(spread > 4.0 * TINY, spread, 1.0)
    return jnp.where(near > TINY * spread, near, fallback)


# One block of targets


class Block(NamedTuple):
    """Parameters, masks or sums of C and of P; parameters have a row a target."""

    C: Any
    P: Any


class Targets(NamedTuple):
    """What a block rebuilds. Padding has position -1 (samples) or size 0 (centroids).

    ``own`` is where in the dictionary a sample itself stands: m where it does not.
    """

    x: Float[Array, "b d"]
    space: Space
    position: Int[Array, " b"]
    own: Int[Array, " b"]
    centroids: Float[Array, "k q"]
    sizes: Float[Array, " k"]


class Rebuilt(NamedTuple):
    """Targets as their coefficients rebuild them; ``u`` is None where it is ``z``."""

    z: Float[Array, "b p"]
    u: Any  # (b, q)
    centroids: Float[Array, "k q"]


def masks(dictionary: Int[Array, " m"], position: Int[Array, " b"], sizes: Float[Array, " k"]) -> Block:
    """Return which entries of a block are free; the others are 0 for ever.

    A dictionary row may rebuild every sample but itself, and every centroid.
    """
    is_place, is_sample, is_cluster = dictionary >= 0, position >= 0, sizes > 0
    is_other = dictionary[None, :] != position[:, None]
    return Block(is_place & is_sample[:, None] & is_other, is_place & is_cluster[:, None])


# The two objectives


class Objective(NamedTuple):
    """Everything in which the two objectives differ.

    ``terms`` is the objective. ``rebuild`` is all that ever touches an array (b, m): a block's targets as
    the dictionary rebuilds them, and its share of the sums of squares of the rows of C and P; its gradient
    is 0 where an entry is not free.
    """

    terms: Callable[[Targets, Rebuilt, Block, Callable[[Array], Array], Scales], Terms]
    rebuild: Callable[[Block, Space, Targets, Block, Scales, Weights], tuple[Rebuilt, Block]]
    coefficients: Callable[[Block, Space, Targets, Block, Scales, Weights], Block]
    space: Callable[[Array, Array, Moments, Scales], Space]
    initial: Callable[[Key[Array, ""], Array, int], Array]  # (key, row, m): a row of unit variance, or zeros


def free(
    targets: Targets, rebuilt: Rebuilt, sums: Block, decode: Callable[[Array], Array], scales: Scales
) -> Terms:
    """Return the terms of the paper's objective: sums of squares, l2,1 norms.

    ``|X - dec(C^T Z)|^2``, ``|Z - C^T Z|^2``, ``||C||_2,1``, ``|centroids - P^T Z|^2`` and ``||P||_2,1``.
    ``sums`` holds the sums of squares (m,) of the rows of C and P over the targets of all devices.
    Source: Li et al., IJCAI 2020, Eqs. (5), (7), (9). That the norms are squared, and summed, is the
    released code's choice; which norm the paper prints is unknown.
    """
    is_sample, is_cluster = (targets.position >= 0) * 1.0, (targets.sizes > 0) * 1.0
    return Terms(
        is_sample @ squared_norms(targets.x - decode(rebuilt.z)),
        is_sample @ squared_norms(targets.space.z - rebuilt.z),
        jnp.sum(safe_sqrt(sums.C)),
        is_cluster @ squared_norms(targets.centroids - rebuilt.centroids),
        jnp.sum(safe_sqrt(sums.P)),
    )


def _free_rebuild(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> tuple[Rebuilt, Block]:
    nowhere = jnp.full(len(targets.sizes), len(dictionary.z))
    z, sums = combine(raw.C, dictionary.z, free.C, targets.own)
    centroids, cluster_sums = combine(raw.P, dictionary.z, free.P, nowhere)
    return Rebuilt(z, None, centroids), Block(sums, cluster_sums)


@jax.custom_vjp
def combine(
    raw: Float[Array, "b m"], z: Float[Array, "m p"], is_free: Bool[Array, "b m"], own: Int[Array, " b"]
) -> tuple[Float[Array, "b p"], Float[Array, " m"]]:
    """Return ``C^T z`` and the sums of squares of the rows of C for a block of targets.

    The gradient, written by hand, is 0 where an entry is not free. On a CPU, where a masked copy of a block
    takes as long as a product, only the targets' own entries are looked after: C is read as it lies
    (`cleared` has been there), and unused places have codes of 0, padded targets no gradient.
    """
    return _combine_forward(raw, z, is_free, own)[0]


def _combine_forward(raw: Array, z: Array, is_free: Array, own: Array) -> tuple[tuple[Array, Array], Any]:
    c = _where_free(raw, is_free)
    return (matmul(c, z), jnp.sum(c**2, axis=0)), (raw, z, is_free, own)


def _combine_backward(kept: tuple[Array, ...], of: tuple[Array, Array]) -> tuple[Any, ...]:
    raw, z, is_free, own = kept
    of_rebuilt, of_sums = of
    c = _where_free(raw, is_free)
    of_c = cleared(_where_free(matmul(of_rebuilt, z.T), is_free), own)
    return of_c + 2.0 * c * of_sums, transposed_matmul(c, of_rebuilt), None, None


combine.defvjp(_combine_forward, _combine_backward)


def _where_free(block: Float[Array, "b m"], is_free: Bool[Array, "b m"]) -> Float[Array, "b m"]:
    """Return a block with 0 where it is not free; on a CPU as it is: see `combine`."""
    return jax.lax.platform_dependent(
        block,
        is_free,
        cpu=lambda block, _: block,
        default=lambda block, is_free: jnp.where(is_free, block, 0.0),
    )


def cleared(block: Float[Array, "b m"], own: Int[Array, " b"]) -> Float[Array, "b m"]:
    """Return a block with 0 at its targets' own entries, on a CPU; elsewhere masks see to it.

    Those alone are written, in place where the block may be used up.
    """
    return jax.lax.platform_dependent(
        block,
        own,
        cpu=lambda block, own: block.at[jnp.arange(len(block)), own].set(0.0, mode="drop"),
        default=lambda block, _: block,
    )


def _masked(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> Block:
    return Block(jnp.where(free.C, raw.C, 0.0), jnp.where(free.P, raw.P, 0.0))


def _latent_space(x: Array, z: Array, z_moments: Moments, scales: Scales) -> Space:
    return Space(z)


def _normal(key: Key[Array, ""], row: Array, m: int) -> Float[Array, " m"]:
    return jax.random.normal(jax.random.fold_in(key, row), (m,))


def simplex(
    targets: Targets, rebuilt: Rebuilt, sums: Block, decode: Callable[[Array], Array], scales: Scales
) -> Terms:
    """Return the terms of the recommended objective: scale-free, and no target has more than its vote.

    Residuals are lengths, not squares; a sample weighs 1/n, a centroid the share of its cluster; norms are
    in units of the distance to near rows. Ours: the structure is that of Li et al., Eqs. (5), (7), (9).
    """
    weights = _share_targets(targets, scales)
    is_sample = (targets.position >= 0) * 1.0
    unit = jnp.sqrt(scales.neighbour)
    return Terms(
        is_sample @ squared_norms(targets.x - decode(rebuilt.z)) / scales.x_sumsq,
        weights.C @ safe_sqrt(squared_norms(targets.space.u - rebuilt.u), RESIDUAL_FLOOR),
        unit * jnp.sum(safe_sqrt(sums.C)),
        weights.P @ safe_sqrt(squared_norms(targets.centroids - rebuilt.centroids), RESIDUAL_FLOOR),
        unit * jnp.sum(safe_sqrt(sums.P)),
    )


def _squashed_space(x: Array, z: Array, z_moments: Moments, scales: Scales) -> Space:
    """Return inputs beside codes, each standardised as a whole, with lengths l mapped to log(1 + l).

    Inputs by `robust_moments`, so that what is far is so by the measure of most rows.
    """
    inputs, codes = _standardise(x, scales.x), _standardise(z, z_moments)
    if scales.x_basis is not None:
        inputs = matmul(inputs, scales.x_basis)
    gain = bounded_gain(0.5 * (squared_norms(inputs) + squared_norms(codes)))
    return Space(z, inputs, codes, 0.5**0.5 * gain)


def bounded_gain(squared: Float[Array, " rows"]) -> Float[Array, " rows"]:
    """Return log(1 + l) / l for rows of squared length l^2: times it, a far row has little influence."""
    length = safe_sqrt(squared)
    return jnp.log1p(length) / length


def _standardise(rows: Array, moments: Moments) -> Array:
    return (rows - moments.mean) / moments.spread


def _share_targets(targets: Targets, scales: Scales) -> Block:
    return Block((targets.position >= 0) / scales.n_rows, targets.sizes / scales.n_rows)


def _zeros(key: Key[Array, ""], row: Array, m: int) -> Float[Array, " m"]:
    return jnp.zeros(m)


def _simplex_rebuild(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> tuple[Rebuilt, Block]:
    shares, centroids, sharpness = _attention(dictionary, targets, scales, weights)
    without_z = dictionary._replace(z=dictionary.z[:, :0])
    z, u, sums = attend(raw.C, dictionary, targets.space, free.C, shares.C, sharpness)
    _, of_clusters, cluster_sums = attend(raw.P, without_z, centroids, free.P, shares.P, sharpness)
    return Rebuilt(z, u, of_clusters), Block(sums, cluster_sums)


def _simplex_coefficients(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> Block:
    _, centroids, sharpness = _attention(dictionary, targets, scales, weights)

    def coefficients(raw: Array, of: Space, is_free: Array) -> Array:
        _, mass, share = _masses(raw, dictionary, of, is_free, sharpness)
        return mass * share[:, None]

    return Block(coefficients(raw.C, targets.space, free.C), coefficients(raw.P, centroids, free.P))


def _attention(
    dictionary: Space, targets: Targets, scales: Scales, weights: Weights
) -> tuple[Block, Space, Array]:
    """Return the targets' weights, the centroids as rows of the space, and the sharpness 1 / (2 tau s0)."""
    d = dictionary.inputs.shape[1]
    ones = jnp.ones(len(targets.sizes))
    centroids = Space(None, targets.centroids[:, :d], targets.centroids[:, d:], ones)
    sharpness = 1.0 / (2.0 * weights.temperature * scales.neighbour)
    return _share_targets(targets, scales), centroids, sharpness


def _masses(
    raw: Float[Array, "b m"],
    dictionary: Space,
    targets: Space,
    is_free: Bool[Array, "b m"],
    sharpness: Float[Array, ""],
) -> tuple[Float[Array, "b m"], Float[Array, "b m"], Float[Array, " b"]]:
    """Return products <u_t, u_r>, unnormalised coefficients, and one over their row sums (0 for empty rows).

    Masked entries are exactly 0. A target's own squared length is the same in its whole row, and cancels.
    """
    products = matmul(targets.u, dictionary.u.T)
    # In this order nothing of raw alone exists, which a compiler would keep from one use to the next.
    closeness = sharpness / SHARPNESS * (2.0 * products - squared_norms(dictionary.u))
    logits = SHARPNESS * (raw + closeness)
    logits = jnp.where(is_free, logits, -jnp.inf)
    top = jnp.max(logits, axis=1, keepdims=True)
    mass = jnp.exp(logits - jnp.where(top > -jnp.inf, top, 0.0))
    # Sums as products here and below: fused into a reduction, the exponentials would be formed anew.
    return products, mass, safe_divide(jnp.ones(()), mass @ jnp.ones(mass.shape[1]))


@jax.custom_vjp
def attend(
    raw: Float[Array, "b m"],
    dictionary: Space,
    targets: Space,
    is_free: Bool[Array, "b m"],
    weights: Float[Array, " b"],
    sharpness: Float[Array, ""],
) -> tuple[Float[Array, "b p"], Float[Array, "b q"], Float[Array, " m"]]:
    """Return ``C^T z``, ``C^T u`` and the weighted sums of squares of the rows of C for a block of targets.

    The columns of C are the masked softmax of ``10 raw - |u_t - u_r|^2 / (2 tau s0)``. The gradient, written
    by hand, goes to ``raw``, to codes and gains, not to inputs, weights or sharpness: products of width q
    shrink to width p, and what the gains need are sums of entries that exist anyway.
    """
    return _attend_forward(raw, dictionary, targets, is_free, weights, sharpness)[0]


def _attend_forward(
    raw: Array, dictionary: Space, targets: Space, is_free: Array, weights: Array, sharpness: Array
) -> tuple[tuple[Array, Array, Array], Any]:
    products, mass, share = _masses(raw, dictionary, targets, is_free, sharpness)
    both = matmul(mass, jnp.concatenate([dictionary.z, dictionary.u], axis=1)) * share[:, None]
    sums = (weights * share**2) @ mass**2
    z, u = both[:, : dictionary.z.shape[1]], both[:, dictionary.z.shape[1] :]
    return (z, u, sums), (products, mass, share, sums, dictionary, targets, weights, sharpness)


def _attend_backward(kept: Any, of: tuple[Array, Array, Array]) -> tuple[Any, ...]:
    products, mass, share, sums, dictionary, targets, weights, sharpness = kept
    of_z, of_u, of_sums = of
    d, p = dictionary.inputs.shape[1], of_z.shape[1]
    u_codes, of_codes = dictionary.u[:, d:], of_u[:, d:]
    # Coefficients are mass * share; of_* is the gradient of the loss with respect to *.
    atoms = jnp.concatenate([dictionary.z, dictionary.u], axis=1)
    of_c = matmul(jnp.concatenate([of_z, of_u], axis=1), atoms.T)
    of_c += 2.0 * (weights * share)[:, None] * mass * of_sums
    along_mass = mass * of_c
    across = share * (along_mass @ jnp.ones(mass.shape[1]))
    of_logits = share[:, None] * (along_mass - mass * across[:, None])

    pulled = transposed_matmul(mass, share[:, None] * jnp.concatenate([of_z, of_codes], axis=1))
    column, near = jnp.ones(len(share)) @ of_logits, of_logits * products
    of_u_codes = transposed_matmul(of_logits, targets.u[:, d:]) - column[:, None] * u_codes
    # <u, gradient of u> for each row: of C^T u, then of the products and lengths.
    along = share @ along_mass - 2.0 * of_sums * sums - jnp.sum(dictionary.z * pulled[:, :p], axis=1)
    along_lengths = jnp.ones(len(share)) @ near - column * squared_norms(dictionary.u)
    of_dictionary = _to_space(
        dictionary,
        pulled[:, :p],
        pulled[:, p:] + 2.0 * sharpness * of_u_codes,
        along + 2.0 * sharpness * along_lengths,
    )
    target_codes = 2.0 * sharpness * matmul(of_logits, u_codes)
    target_along = 2.0 * sharpness * (near @ jnp.ones(mass.shape[1]))
    of_targets = _to_space(targets, None, target_codes, target_along)
    return SHARPNESS * of_logits, of_dictionary, of_targets, None, None, None


def _to_space(of: Space, of_z: Array | None, of_u_codes: Array, along: Array) -> Space:
    """Return the gradient of a space from that of u's codes and from <u, gradient of u>."""
    of_z = of_z if of_z is not None or of.z is None else jnp.zeros_like(of.z)
    return Space(of_z, jnp.zeros_like(of.inputs), of.gain[:, None] * of_u_codes, along / of.gain)


attend.defvjp(_attend_forward, _attend_backward)


OBJECTIVES = {
    "free": Objective(free, _free_rebuild, _masked, _latent_space, _normal),
    "simplex": Objective(simplex, _simplex_rebuild, _simplex_coefficients, _squashed_space, _zeros),
}
