"""The objective of the paper: sums of squares and l2,1 norms, Eqs. (5), (7), (9)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

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
from dual_jax.numerics.arithmetic import matmul, safe_sqrt, squared_norms
from dual_jax.numerics.statistics import Moments
from dual_jax.numerics.xla import mask_entries, mask_gradient, ordered, outer_product, transposed_matmul


def terms(
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


def _rebuild(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> tuple[Rebuilt, Block]:
    nowhere = jnp.full(len(targets.sizes), len(dictionary.z))
    centroids, cluster_sums = combine(raw.P, dictionary.z, free.P, nowhere)
    atoms, centroids = ordered(dictionary.z, centroids)
    z, sums = combine(raw.C, atoms, free.C, targets.own)
    return Rebuilt(z, None, centroids), Block(sums, cluster_sums)


@jax.custom_vjp
def combine(
    raw: Float[Array, "b m"], z: Float[Array, "m p"], is_free: Bool[Array, "b m"], own: Int[Array, " b"]
) -> tuple[Float[Array, "b p"], Float[Array, " m"]]:
    """Return ``C^T z`` and the sums of squares of the rows of C for a block of targets.

    The gradient, written by hand, is 0 where an entry is not free. On a CPU the mask is not applied as a copy
    (see `dual_jax.numerics.xla.mask_entries`): the targets' own entries are set to 0 before, unused places
    have codes of 0, and padded targets get no gradient.
    """
    return _combine_forward(raw, z, is_free, own)[0]


def _combine_forward(raw: Array, z: Array, is_free: Array, own: Array) -> tuple[tuple[Array, Array], Any]:
    c = mask_entries(raw, is_free)
    return (matmul(c, z), jnp.sum(c**2, axis=0)), (raw, z, is_free, own)


def _combine_backward(kept: tuple[Array, ...], of: tuple[Array, Array]) -> tuple[Any, ...]:
    raw, z, is_free, own = kept
    of_rebuilt, of_sums = of
    c = mask_entries(raw, is_free)
    of_c = mask_gradient(outer_product(of_rebuilt, z), is_free, own)
    return of_c + 2.0 * c * of_sums, transposed_matmul(c, of_rebuilt), None, None


combine.defvjp(_combine_forward, _combine_backward)


def _coefficients(
    raw: Block, dictionary: Space, targets: Targets, free: Block, scales: Scales, weights: Weights
) -> Block:
    return Block(jnp.where(free.C, raw.C, 0.0), jnp.where(free.P, raw.P, 0.0))


def _space(x: Array, z: Array, z_moments: Moments, scales: Scales) -> Space:
    return Space(z)


def _initial(key: Key[Array, ""], row: Array, m: int) -> Float[Array, " m"]:
    return jax.random.normal(jax.random.fold_in(key, row), (m,))


OBJECTIVE = Objective(terms, _rebuild, _coefficients, _space, _initial)
