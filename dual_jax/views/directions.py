"""Directions of a table that hold the most variance, or on which views of one sample agree the most."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dual_jax.numerics.arithmetic import TINY, matmul, safe_divide, safe_sqrt, squared_norms
from dual_jax.numerics.xla import transposed_matmul

RIDGE = 0.1  # of the mean variance within samples, added to all of it


class Projection(NamedTuple):
    """A map of rows: ``(x - mean) @ directions``."""

    mean: Float[Array, " d"]
    directions: Float[Array, "d q"]


@jax.jit
def project(projection: Projection, x: Float[Array, "... d"]) -> Float[Array, "... q"]:
    """Return rows of x in the directions of a projection."""
    return matmul(x - projection.mean, projection.directions)


def principal_projection(x: Float[Array, "n d"], n_directions: int) -> Projection:
    """Return the directions of most variance of rows, exactly, their variances summing to their number.

    There are at most ``n_directions``, the number of columns and the number of rows less one.

    Examples
    --------
    >>> x = jnp.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> [round(float(length), 3) for length in project(principal_projection(x, 1), x).ravel() ** 2]
    [1.8, 1.8, 0.0, 0.0]
    """
    n_directions = min(n_directions, x.shape[1], len(x) - 1)
    mean, vectors, total = _principal(x)
    return Projection(
        mean, vectors[:, :n_directions] * jnp.sqrt(safe_divide(jnp.float32(n_directions), total))
    )


@jax.jit
def _principal(x: Float[Array, "n d"]) -> tuple[Array, Array, Array]:
    mean = jnp.mean(x, axis=0)
    covariance = transposed_matmul(x - mean, x - mean) / len(x)
    vectors = _signed(jnp.linalg.eigh(covariance)[1][:, ::-1])
    return mean, vectors, jnp.trace(covariance)


def _signed(vectors: Float[Array, "d q"]) -> Float[Array, "d q"]:
    """Return eigenvectors with the sign that makes their largest entry positive."""
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=0)[None], axis=0)
    return vectors * jnp.where(largest < 0, -1.0, 1.0)


def agreeing_projection(views: Float[Array, "n v d"], n_directions: int) -> Projection:
    """Return the directions in which samples differ most and views of one sample least.

    With S_b and S_w the covariances between and within samples, the directions w are the first solutions of

        S_b w = lambda (S_w + r I) w,    w^T (S_w + r I) w = 1,

    r a tenth of the mean variance within; each is multiplied by ``sqrt(lambda / (1 + lambda))``, so that one
    without agreement does not count. This is linear discriminant analysis with every sample a class of its
    own (Fisher, Annals of Eugenics 1936).

    Parameters
    ----------
    views
        (samples, views of each, columns), at least 2 views.
    n_directions
        At most the number of columns.
    """
    return Projection(*_agreeing(views, min(n_directions, views.shape[2])))


@partial(jax.jit, static_argnums=1)
def _agreeing(views: Float[Array, "n v d"], n_directions: int) -> tuple[Array, Array]:
    n, v, d = views.shape
    rows = views.reshape(-1, d)
    mean = jnp.mean(rows, axis=0)
    differences = (views - jnp.mean(views, axis=1, keepdims=True)).reshape(-1, d)
    within = transposed_matmul(differences, differences) / (n * (v - 1))
    between = transposed_matmul(rows - mean, rows - mean) / len(rows) - within
    ridge = RIDGE * jnp.trace(within) / d + TINY * jnp.trace(between)
    lower = jnp.linalg.cholesky(within + ridge * jnp.eye(d))
    half = jax.scipy.linalg.solve_triangular(lower, between, lower=True)
    whole = jax.scipy.linalg.solve_triangular(lower, half.T, lower=True)
    values, vectors = jnp.linalg.eigh((whole + whole.T) / 2)
    values = jnp.maximum(values[::-1][:n_directions], 0.0)
    directions = jax.scipy.linalg.solve_triangular(lower.T, vectors[:, ::-1][:, :n_directions], lower=False)
    return mean, _signed(directions) * jnp.sqrt(values / (1.0 + values))


def evened(projection: Projection, n_directions: int) -> Projection:
    """Return a projection on principal directions turned so that all its columns have one variance.

    Distances stay. Standardising the columns, which would blow up the directions of least variance, then
    changes nothing but the scale. The turn is a Hadamard matrix over the root of its size, so
    ``n_directions`` must be a power of two.
    """
    hadamard = np.ones((1, 1))
    while len(hadamard) < n_directions:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    turn = jnp.asarray(hadamard / n_directions**0.5, jnp.float32)
    return projection._replace(directions=matmul(projection.directions, turn))


def at_unit_length(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Return rows divided by their lengths; a row of zeros stays."""
    return x / safe_sqrt(squared_norms(x))[..., None]
