"""The recommended objective: coefficients on the simplex, residuals as lengths, scale-free."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.dual.objectives.notation import (
    Block,
    Objective,
    Rebuilt,
    Scales,
    Space,
    Targets,
    Terms,
    Weights,
)
from dual_jax.numerics.arithmetic import matmul, safe_divide, safe_sqrt, squared_norms
from dual_jax.numerics.statistics import Moments, bounded_gain
from dual_jax.numerics.xla import transposed_matmul

SHARPNESS = 10.0  # of the simplex: a step of B of 0.1 multiplies a coefficient by e


RESIDUAL_FLOOR = 1e-8  # inside the root of the simplex objective's residuals


def terms(
    targets: Targets, rebuilt: Rebuilt, sums: Block, decode: Callable[[Array], Array], scales: Scales
) -> Terms:
    """Return the terms of the recommended objective: scale-free, with bounded influence of each target.

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


def _space(x: Array, z: Array, z_moments: Moments, scales: Scales) -> Space:
    """Return inputs and codes concatenated, each standardised as a whole, lengths l mapped to log(1 + l).

    Inputs are standardised by `robust_moments`, so that a few rows far away do not decide the scale.
    """
    inputs, codes = _standardise(x, scales.x), _standardise(z, z_moments)
    if scales.x_basis is not None:
        inputs = matmul(inputs, scales.x_basis)
    gain = bounded_gain(0.5 * (squared_norms(inputs) + squared_norms(codes)))
    return Space(z, inputs, codes, 0.5**0.5 * gain)


def _standardise(rows: Array, moments: Moments) -> Array:
    return (rows - moments.mean) / moments.spread


def _share_targets(targets: Targets, scales: Scales) -> Block:
    return Block((targets.position >= 0) / scales.n_rows, targets.sizes / scales.n_rows)


def _initial(key: Key[Array, ""], row: Array, m: int) -> Float[Array, " m"]:
    return jnp.zeros(m)


def _rebuild(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> tuple[Rebuilt, Block]:
    shares, centroids, sharpness = attention(dictionary, targets, scales, weights)
    without_z = dictionary._replace(z=dictionary.z[:, :0])
    z, u, sums = attend(raw.C, dictionary, targets.space, free.C, shares.C, sharpness)
    _, of_clusters, cluster_sums = attend(raw.P, without_z, centroids, free.P, shares.P, sharpness)
    return Rebuilt(z, u, of_clusters), Block(sums, cluster_sums)


def _coefficients(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> Block:
    _, centroids, sharpness = attention(dictionary, targets, scales, weights)

    def coefficients(raw: Array, of: Space, is_free: Array) -> Array:
        _, mass, share = _masses(raw, dictionary, of, is_free, sharpness)
        return mass * share[:, None]

    return Block(coefficients(raw.C, targets.space, free.C), coefficients(raw.P, centroids, free.P))


def attention(
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

    Masked entries are exactly 0. A target's own squared length is the same in its whole row, so it cancels.
    """
    products = matmul(targets.u, dictionary.u.T)
    # In this order nothing of raw alone exists, which a compiler would keep from one use to the next.
    closeness = sharpness / SHARPNESS * (2.0 * products - squared_norms(dictionary.u))
    logits = SHARPNESS * (raw + closeness)
    logits = jnp.where(is_free, logits, -jnp.inf)
    top = jnp.max(logits, axis=1, keepdims=True)
    mass = jnp.exp(logits - jnp.where(top > -jnp.inf, top, 0.0))
    # Sums as products here and below: fused into a reduction, the exponentials would be computed again.
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
    by hand, goes to ``raw``, codes and gains, and not to inputs, weights or sharpness. So products of width q
    become products of width p, and the gains need only sums of entries that exist already.
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


class Pulled(NamedTuple):
    """Sums over a block's entries, of which the gradients of dictionary and targets are made.

    With L the gradient of the logits, and <t, r> the products of targets and places.
    """

    z: Float[Array, "m p"]  # C of_z, with of_z the gradient of C^T z
    codes: Float[Array, "m p"]  # C of_u, of the codes in u
    logits_codes: Float[Array, "m p"]  # L codes of the targets' u
    logits: Float[Array, " m"]  # L, over targets
    along: Float[Array, " m"]  # C times the gradient of it that comes from C^T z and C^T u, over targets
    near: Float[Array, " m"]  # L <t, r>, over targets
    target_codes: Float[Array, "b p"]  # L^T codes of the dictionary's u
    target_near: Float[Array, " b"]  # L <t, r>, over places


def _attend_backward(kept: Any, of: tuple[Array, Array, Array]) -> tuple[Any, ...]:
    products, mass, share, sums, dictionary, targets, weights, sharpness = kept
    of_z, of_u, of_sums = of
    d = dictionary.inputs.shape[1]
    # Coefficients are mass * share; of_* is the gradient of the loss with respect to *.
    atoms = jnp.concatenate([dictionary.z, dictionary.u], axis=1)
    of_c = matmul(jnp.concatenate([of_z, of_u], axis=1), atoms.T)
    of_c += 2.0 * (weights * share)[:, None] * mass * of_sums
    along_mass = mass * of_c
    across = share * (along_mass @ jnp.ones(mass.shape[1]))
    of_logits = share[:, None] * (along_mass - mass * across[:, None])

    pulled = transposed_matmul(mass, share[:, None] * jnp.concatenate([of_z, of_u[:, d:]], axis=1))
    near = of_logits * products
    sums_of_block = Pulled(
        pulled[:, : of_z.shape[1]],
        pulled[:, of_z.shape[1] :],
        transposed_matmul(of_logits, targets.u[:, d:]),
        jnp.ones(len(share)) @ of_logits,
        share @ along_mass - 2.0 * of_sums * sums,
        jnp.ones(len(share)) @ near,
        matmul(of_logits, dictionary.u[:, d:]),
        near @ jnp.ones(mass.shape[1]),
    )
    of_dictionary, of_targets = pull_spaces(sums_of_block, dictionary, targets, sharpness)
    return SHARPNESS * of_logits, of_dictionary, of_targets, None, None, None


def pull_spaces(
    sums: Pulled, dictionary: Space, targets: Space, sharpness: Float[Array, ""]
) -> tuple[Space, Space]:
    """Return the gradients of the dictionary and of a block's targets."""
    d = dictionary.inputs.shape[1]
    of_u_codes = sums.logits_codes - sums.logits[:, None] * dictionary.u[:, d:]
    # <u, gradient of u> for each row: of C^T u, then of the products and lengths.
    along = sums.along - jnp.sum(dictionary.z * sums.z, axis=1)
    along_lengths = sums.near - sums.logits * squared_norms(dictionary.u)
    of_dictionary = _to_space(
        dictionary,
        sums.z,
        sums.codes + 2.0 * sharpness * of_u_codes,
        along + 2.0 * sharpness * along_lengths,
    )
    of_targets = _to_space(
        targets, None, 2.0 * sharpness * sums.target_codes, 2.0 * sharpness * sums.target_near
    )
    return of_dictionary, of_targets


def _to_space(of: Space, of_z: Array | None, of_u_codes: Array, along: Array) -> Space:
    """Return the gradient of a space from that of u's codes and from <u, gradient of u>."""
    of_z = of_z if of_z is not None or of.z is None else jnp.zeros_like(of.z)
    return Space(of_z, jnp.zeros_like(of.inputs), of.gain[:, None] * of_u_codes, along / of.gain)


attend.defvjp(_attend_forward, _attend_backward)


OBJECTIVE = Objective(terms, _rebuild, _coefficients, _space, _initial)
