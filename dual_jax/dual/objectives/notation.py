"""The notation of the paper as types: what both objectives are written in.

Source: Li et al., "On Deep Unsupervised Active Learning", IJCAI 2020. Samples are rows here.

==============  ========  ===================================================================================
name            shape     meaning
==============  ========  ===================================================================================
``x``           (n, d)    X, the pool (any number of trailing axes)
``z``           (n, p)    Phi(X), latent codes, Eqs. (2) and (3)
``u``           (n, q)    the space in which samples rebuild one another: ``z``, or ``[x, z]``
dictionary      (m,)      r, positions of the rows that may rebuild others; -1 marks an unused place
targets         (n,)      t, positions of the rows to rebuild; -1 marks padding
``C``           (m, n)    Q of Eq. (5); column i rebuilds target i: Z^ = C^T Z[r]; 0 where r = t
``P``           (m, K)    P of Eq. (7), rebuilds the K cluster centroids
centroids       (K, q)    C of Eq. (6): constants once training starts
alpha, beta               weights of the two branches, Eq. (10)
gamma, eta                weights of the row norms of C and P inside their branches, Eqs. (5) and (7)
==============  ========  ===================================================================================

``C`` and ``P`` are stored transposed, one row per target, ``C`` as a tuple of *target blocks* (b, m): one
block at a time is read, used forward and backward, updated and written. Masked entries are part of the
parameter: they start at 0, are read through the mask, and get no gradient, moment or update.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from dual_jax.numerics.statistics import Moments


class Space(NamedTuple):
    """Rows in the space of the selection block: ``u = gain * [inputs, codes]``.

    Inputs are constants. As a separate array they need no gradient, which halves the products of width q in
    a step. In the free objective u is z and the other fields are None.
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


class Scales(NamedTuple):
    """Constants of a pool, measured once, on the pre-trained network."""

    n_rows: Float[Array, ""]
    x: Moments
    x_basis: Any  # (d, MAX_INPUTS) orthonormal; None if d is not larger
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


class Block(NamedTuple):
    """Parameters, masks or sums of C and of P; parameters have one row per target."""

    C: Any
    P: Any


class Targets(NamedTuple):
    """What a block rebuilds. Padding has position -1 (samples) or size 0 (centroids).

    ``own`` is the position of a sample in the dictionary; m if it has none.
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
    """Return which entries of a block are free; the others are always 0.

    A dictionary row may rebuild every sample but itself, and every centroid.
    """
    is_place, is_sample, is_cluster = dictionary >= 0, position >= 0, sizes > 0
    is_other = dictionary[None, :] != position[:, None]
    return Block(is_place & is_sample[:, None] & is_other, is_place & is_cluster[:, None])


class Objective(NamedTuple):
    """Everything in which the two objectives differ.

    ``terms`` is the objective. ``rebuild`` is the only function that uses an array (b, m): a block's targets
    as the dictionary rebuilds them, and its share of the sums of squares of the rows of C and P; its gradient
    is 0 where an entry is not free.
    """

    terms: Callable[[Targets, Rebuilt, Block, Callable[[Array], Array], Scales], Terms]
    rebuild: Callable[[Block, Space, Targets, Block, Scales, Weights], tuple[Rebuilt, Block]]
    coefficients: Callable[[Block, Space, Targets, Block, Scales, Weights], Block]
    space: Callable[[Array, Array, Moments, Scales], Space]
    initial: Callable[[Key[Array, ""], Array, int], Array]  # (key, row, m): a row of unit variance, or zeros
