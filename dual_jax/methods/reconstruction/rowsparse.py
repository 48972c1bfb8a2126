"""Row-sparse self-expression: which few rows rebuild the whole pool.

Every method here seeks coefficients A (dictionary x targets) with ``x_i ~ sum_j A_ji x_j`` and a penalty
``lambda sum_j ||A_j||`` on the norms of A's rows. At the optimum ``A_j = s_j x_j^T W`` with strengths
``s_j >= 0`` and one W of size q x n, so the solvers (`grouplasso` for squared residuals, `robustlasso`
for unsquared ones) work on s and on q x q matrices (q features), and nothing of size n x n is formed. This
file prepares the rows for them and ranks by what they return.

Rows are divided by their root mean squared length, not centred. Forbidden rows are not in the dictionary and
still are targets. Labelled rows belong to the dictionary without penalty: what they span is explained for
free, so it is projected out. A row enters (s_j > 0) when the norm of its correlation with the residual
reaches lambda. Each row has one score, so neighbours may be picked together. Of equal rows only the first
that may be picked enters, which is also optimal: a penalty on norms does not care how parallel rows share
their weight.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dual_jax.numerics.arithmetic import matmul, squared_norms, unit_power
from dual_jax.numerics.graphs import BLOCK
from dual_jax.selection.protocol import Selection, top

SPANNED = 1e-5  # relative: what is shorter lies in the span of the labelled rows, by float32's rounding
FREE = 1e4  # strength of labelled rows over that of all others
HASH_PRIME = 16777619  # of the FNV-1 hash


def compact(x: Float[Array, "n d"]) -> Float[Array, "n q"]:
    """Return rows of the same inner products with at most n features."""
    return x if x.shape[1] <= len(x) else jnp.linalg.qr(x.T, mode="r").T


def span(x: Float[Array, "n d"], rows: Bool[Array, " n"]) -> Float[Array, "d d"]:
    """Return the projector on the span of the chosen rows."""
    _, lengths, directions = jnp.linalg.svd(jnp.where(rows[:, None], x, 0.0), full_matrices=False)
    basis = jnp.where((lengths > SPANNED * lengths[0])[:, None], directions, 0.0)
    return matmul(basis.T, basis)


def unexplained(x: Float[Array, "n d"], projector: Float[Array, "d d"]) -> Float[Array, "n d"]:
    """Return what a projector leaves of each row, exactly 0 where that is rounding."""
    rest = x - matmul(x, projector)
    is_rounding = squared_norms(rest) <= SPANNED**2 * squared_norms(x)
    return jnp.where(is_rounding[:, None], 0.0, rest)


def first_of_equals(x: Float[Array, "n d"], is_open: Bool[Array, " n"]) -> Bool[Array, " n"]:
    """Return the open rows that equal no earlier open row.

    Rows are sorted by a hash of their bits and compared with the row before: O(n d + n log n).
    """
    bits = jax.lax.bitcast_convert_type(x + 0.0, jnp.uint32)  # + 0.0: minus zero equals zero
    code, prime = jnp.zeros(len(x), jnp.uint32), jnp.uint32(HASH_PRIME)
    code = jax.lax.fori_loop(0, x.shape[1], lambda i, code: (code ^ bits[:, i]) * prime, code)
    order = jnp.lexsort((~is_open, code))  # stable: equal rows stay in order, open ones first
    before = jnp.roll(order, 1)
    is_copy = jnp.all(x[order] == x[before], axis=1) & is_open[before]
    return is_open & ~jnp.zeros(len(x), bool).at[order].set(is_copy.at[0].set(False))


def definite_inverse(a: Float[Array, "q q"]) -> Float[Array, "q q"]:
    """Return the inverse of a positive definite matrix, by its Cholesky factor."""
    root = jnp.linalg.cholesky(a)
    whiten = jax.scipy.linalg.solve_triangular(root, jnp.eye(len(root), dtype=a.dtype), lower=True)
    return matmul(whiten.T, whiten)


def row_norms(x: Float[Array, "n q"], gram: Float[Array, "q q"]) -> Float[Array, " n"]:
    """Return ``||x_j^T W||`` for ``gram = W W^T``."""
    return jnp.sqrt(jnp.maximum(jnp.sum(matmul(x, gram) * x, axis=1), 0.0))


def row_l1_norms(x: Float[Array, "n q"], w: Float[Array, "n q"]) -> Float[Array, " n"]:
    """Return ``sum_i |x_j^T W_i|`` for W_i the rows of ``w``, some j at a time."""
    return jax.lax.map(lambda row: jnp.sum(jnp.abs(matmul(w, row))), x, batch_size=BLOCK)


class Pool(NamedTuple):
    """Rows of mean squared length 1, what the labelled rows leave of them, and which of them may be used."""

    rows: Float[Array, "n q"]
    rest: Float[Array, "n q"]
    known: Float[Array, "q q"]  # projector on the span of the labelled rows
    enters: Bool[Array, " n"]
    is_open: Bool[Array, " n"]


def prepare(
    x: Float[Array, "n d"],
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    *,
    keep_axes: bool = False,
) -> Pool:
    """Return the rows as the solvers want them: scaled, labelled rows projected out, at most n features.

    The last needs a rotation, which an element-wise loss does not allow (``keep_axes``).
    """
    rows = unit_power(x) if keep_axes else compact(unit_power(x))
    known = span(rows, labeled)
    rest = unexplained(rows, known)
    return Pool(rows, rest, known, first_of_equals(x, candidates) & jnp.any(rest != 0, axis=1), candidates)


def ranking(
    strengths: Float[Array, " n"],
    entering: Float[Array, " n"],
    is_open: Bool[Array, " n"],
    n_select: int,
) -> Selection:
    """Return the open rows of largest strength, then those nearest to entering, ties by position.

    ``entering`` is the row's correlation with the residual as a share of lambda, and 0 for rows that add
    nothing (zero rows, copies); a row of strength 0 has the score ``entering - 1`` in [-1, 0].
    """
    return top(jnp.where(strengths > 0, strengths, jnp.clip(entering, 0.0, 1.0) - 1.0), is_open, n_select)


def by_l1_norms(
    pool: Pool, strengths: Float[Array, " n"], w: Float[Array, "n q"], n_select: int
) -> Selection:
    """Return the open rows of largest ``sum_i |A_ji|``, ``A_j = strengths_j x_j^T W``; unused ones at -1."""
    norms = jnp.where(pool.enters, strengths * row_l1_norms(pool.rest, w), 0.0)
    return ranking(norms, jnp.zeros_like(norms), pool.is_open, n_select)
