"""Row-sparse self-expression: which few rows rebuild the whole pool.

Every method here seeks coefficients A (dictionary x targets) with ``x_i ~ sum_j A_ji x_j`` and a penalty
``lambda sum_j ||A_j||`` on the norms of A's rows. At the optimum ``A_j = s_j x_j^T W`` with strengths
``s_j >= 0`` and one W of size q x n, so the solvers work on s and on q x q matrices (q features), and nothing
of size n x n is formed.

A row enters (s_j > 0) when the norm of its correlation with the residual reaches lambda. Labelled rows
belong to the dictionary without penalty: what they span is explained for free, so it is projected out. Of
equal rows only the first that may be picked enters, which is also optimal: a penalty on norms does not care
how parallel rows share their weight.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics import matmul, nth_true, safe_divide, squared_norms, unit_power
from dual_jax.selection import Selection, pickable, top

SPANNED = 1e-5  # relative: what is shorter lies in the span of the labelled rows, by float32's rounding
NEARLY = 1e-3  # rows this near to entering are in the working set
N_PASSES = 4  # over the working set, before all rows are looked at again
N_NEWTON = 6  # steps to the root of a convex scalar function; five give float32
SMOOTH = 1e-8  # inside the root of a residual's length, for rows of mean squared length 1
SMOOTH_ROWS = 1e-12  # inside the root of the norms of A's rows: more would hold the gap up
FREE = 1e4  # strength of labelled rows over that of all others
N_CONJUGATE = 10  # steps per reweighting; the next one goes on from there
HASH_PRIME = 16777619  # of the FNV-1 hash
N_BLOCK = 256  # rows whose coefficients exist at a time


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


def row_norms(x: Float[Array, "n q"], gram: Float[Array, "q q"]) -> Float[Array, " n"]:
    """Return ``||x_j^T W||`` for ``gram = W W^T``."""
    return jnp.sqrt(jnp.maximum(jnp.sum(matmul(x, gram) * x, axis=1), 0.0))


def row_l1_norms(x: Float[Array, "n q"], w: Float[Array, "n q"]) -> Float[Array, " n"]:
    """Return ``sum_i |x_j^T W_i|`` for W_i the rows of ``w``, some j at a time."""
    return jax.lax.map(lambda row: jnp.sum(jnp.abs(matmul(w, row))), x, batch_size=N_BLOCK)


class Pool(NamedTuple):
    """Rows of mean squared length 1, what the labelled rows leave of them, and which of them may be used."""

    rows: Float[Array, "n q"]
    rest: Float[Array, "n q"]
    known: Float[Array, "q q"]  # projector on the span of the labelled rows
    enters: Bool[Array, " n"]
    is_open: Bool[Array, " n"]


def prepare(
    x: Float[Array, "n d"],
    labeled: Bool[Array, " n"] | None,
    candidates: Bool[Array, " n"] | None,
    *,
    keep_axes: bool = False,
) -> Pool:
    """Return the rows as the solvers want them: scaled, labelled rows projected out, at most n features.

    The last needs a rotation, which an element-wise loss does not allow (``keep_axes``).
    """
    is_open = pickable(len(x), labeled, candidates)
    labeled = jnp.zeros(len(x), bool) if labeled is None else labeled
    rows = unit_power(x) if keep_axes else compact(unit_power(x))
    known = span(rows, labeled)
    rest = unexplained(rows, known)
    return Pool(rows, rest, known, first_of_equals(x, is_open) & jnp.any(rest != 0, axis=1), is_open)


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


class Problem(NamedTuple):
    """Rows in which the group lasso is solved, and the ridge on each feature.

    The ridge is 1; the constant feature that stands for the constraint ``1^T A = 1^T`` has ridge 0, the limit
    of an infinitely long feature, which is always rebuilt.
    """

    x: Float[Array, "n q"]
    ridge: Float[Array, " q"]
    is_dictionary: Bool[Array, " n"]


class GroupLasso(NamedTuple):
    """Strengths; correlations with the residual over the row's penalty; relative duality gap; sweeps used."""

    strengths: Float[Array, " n"]
    entering: Float[Array, " n"]
    gap: Float[Array, ""]
    n_sweeps: Array


class _State(NamedTuple):
    """Strengths s; inverse of ``diag(ridge) + sum s x x^T``; ``sum s y y^T`` of the unit rows y."""

    strengths: Float[Array, " n"]
    inverse: Float[Array, "q q"]
    crowd: Float[Array, "q q"]


def group_lasso(
    problem: Problem,
    penalty: Float[Array, ""],
    *,
    diversity: Float[Array, ""] | float = 0.0,
    tol: Float[Array, ""] | float = 1e-6,
    max_sweeps: int = 200,
) -> GroupLasso:
    """Return the strengths of the rows that minimise ``1/2 ||X - XA||_F^2 + lambda ||A||_{2,1}``.

    Eliminating A leaves a convex problem in the strengths alone,

        tr(G N(s)) + lambda^2 sum_j s_j + diversity * s^T S s,

    ``N(s) = (diag(ridge) + sum_j s_j x_j x_j^T)^-1``, G the scatter of all rows, S the squared cosines, and
    ``A_j = s_j x_j^T N X``, so that ``||A_j|| = lambda s_j`` at the optimum without diversity. Coordinates
    are minimised exactly in turn, 4 passes over those that are active or want to enter, until the duality gap
    is ``tol`` of the objective.

    Parameters
    ----------
    problem
        Rows, ridge and dictionary.
    penalty
        lambda > 0.
    diversity
        Weight of ``s^T S s``; with it, ``gap`` measures the optimality conditions in the same way (the
        penalty of a row is then ``sqrt(lambda^2 + 2 diversity (S s)_j)``).
    tol
        Relative duality gap to stop at.
    max_sweeps
        Cap on the number of times that all rows are looked at.

    Returns
    -------
    GroupLasso
        Strengths (exactly 0 where a row is not used), correlations over penalties, gap, sweeps.

    Notes
    -----
    O(n q^2) a sweep and O(q^2) for each row of the working set; memory O(n q).
    """
    x, ridge, is_dictionary = problem
    scatter = matmul(x.T, x)
    units = safe_divide(x, jnp.broadcast_to(jnp.sqrt(squared_norms(x))[:, None], x.shape))

    def prices(state: _State) -> Array:
        return penalty**2 + 2.0 * diversity * jnp.sum(matmul(units, state.crowd) * units, axis=1)

    def refreshed(strengths: Array) -> _State:
        inverse = jnp.linalg.inv(jnp.diag(ridge) + matmul(x.T * strengths, x))
        return _State(strengths, (inverse + inverse.T) / 2.0, matmul(units.T * strengths, units))

    def certify(state: _State) -> tuple[Array, Array]:
        spread = matmul(matmul(state.inverse, scatter), state.inverse)
        correlations = row_norms(x, spread)
        loss = jnp.sum(ridge**2 * jnp.diagonal(spread))
        penalties = jnp.sqrt(prices(state))
        gap = _relative_gap(loss, state.strengths, correlations, penalties, is_dictionary)
        return correlations / penalties, gap

    def visit(state: _State, j: Array) -> _State:
        row, unit = x[j], units[j]
        reach = jnp.sum(state.inverse * row, axis=1)
        leverage, energy = jnp.sum(row * reach), _form(reach, scatter)
        price = penalty**2 + 2.0 * diversity * _form(unit, state.crowd)
        step = _coordinate_step(leverage, energy, price, diversity * jnp.sum(unit * unit))
        step = jnp.maximum(step, -state.strengths[j])
        shrink = step / (1.0 + step * leverage)
        return _State(
            state.strengths.at[j].add(step),
            state.inverse - shrink * jnp.outer(reach, reach),
            state.crowd + step * jnp.outer(unit, unit),
        )

    def sweep(carry: tuple[_State, GroupLasso]) -> tuple[_State, GroupLasso]:
        state, report = carry
        rank = jnp.cumsum(is_dictionary & ((report.entering > 1.0 - NEARLY) | (state.strengths > 0)))
        n_visits = jnp.where(rank[-1] > 0, N_PASSES * rank[-1], 0)
        state = jax.lax.fori_loop(
            0, n_visits, lambda i, state: visit(state, nth_true(rank, i % rank[-1], 1)[0]), state
        )
        state = refreshed(state.strengths)
        return state, GroupLasso(state.strengths, *certify(state), report.n_sweeps + 1)

    start = refreshed(jnp.where(is_dictionary, 1.0 / jnp.sum(is_dictionary), 0.0))
    report = GroupLasso(start.strengths, *certify(start), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(
        lambda carry: (carry[1].gap > tol) & (carry[1].n_sweeps < max_sweeps), sweep, (start, report)
    )[1]


def _form(row: Float[Array, " q"], matrix: Float[Array, "q q"]) -> Float[Array, ""]:
    """Return ``row^T matrix row`` in full float32 on every device."""
    return jnp.sum(row[:, None] * matrix * row)


def _relative_gap(
    loss: Float[Array, ""],
    strengths: Float[Array, " n"],
    correlations: Float[Array, " n"],
    penalties: Float[Array, " n"],
    is_dictionary: Bool[Array, " n"],
) -> Float[Array, ""]:
    """Return primal minus dual objective over the primal, as a sum of terms that are never negative.

    The dual point is the residual, shortened by t until no correlation exceeds its penalty:
    ``gap = (1 - t)^2 ||R||^2 / 2 + sum_j s_j c_j (lambda_j - t c_j)`` with ``||A_j|| = s_j c_j``.
    """
    ratio = jnp.where(is_dictionary, safe_divide(correlations, penalties), 0.0)
    t = 1.0 / jnp.maximum(jnp.max(ratio), 1.0)
    norms = strengths * correlations
    gap = (1.0 - t) ** 2 * loss / 2.0 + jnp.sum(norms * (penalties - t * correlations))
    return safe_divide(gap, loss / 2.0 + jnp.sum(norms * penalties))


def _coordinate_step(
    leverage: Float[Array, ""], energy: Float[Array, ""], price: Float[Array, ""], curvature: Float[Array, ""]
) -> Float[Array, ""]:
    """Return the step t at which ``energy / (1 + t leverage)^2 = price + 2 curvature t``.

    The difference is convex and decreasing: Newton from the root without curvature lands left of the root at
    once and then climbs to it.
    """
    start = safe_divide(jnp.sqrt(energy / price) - 1.0, leverage)

    def newton(step: Array) -> Array:
        grown = 1.0 + step * leverage
        value = energy / grown**2 - price - 2.0 * curvature * step
        return step + safe_divide(value, 2.0 * energy * leverage / grown**3 + 2.0 * curvature)

    for _ in range(N_NEWTON):
        start = jnp.where(curvature > 0, newton(start), start)
    return start


class Robust(NamedTuple):
    """Strengths s, W (a row a target), the relative gap, and iterations used; ``A_j = s_j x_j^T W``."""

    strengths: Float[Array, " n"]
    w: Float[Array, "n q"]
    gap: Float[Array, ""]
    n_iters: Array


class Locality(NamedTuple):
    """A symmetric operator on the fit (n, q), acting on each column alike, and its diagonal (n,)."""

    apply: Callable[[Array], Array]
    diagonal: Float[Array, " n"]


class _Weights(NamedTuple):
    """Twice the norms of A's rows, and the lengths of the residuals, both smoothed, of the last iteration."""

    strengths: Float[Array, " n"]
    lengths: Float[Array, " n"]


def robust_lasso(
    pool: Pool,
    penalty: Float[Array, ""] | float,
    *,
    locality: Locality | None = None,
    tol: Float[Array, ""] | float = 1e-3,
    max_iter: Int[Array, ""] | int = 1000,
) -> Robust:
    """Return the strengths of the rows that minimise ``sum_i ||x_i - y_i|| + tr(Y^T M Y) + r ||A||_{2,1}``.

    Y is the fit ``y_i = sum_j A_ji x_j`` plus what the labelled rows add, M the locality operator (0 without
    one). Iteratively reweighted: with ``S = sum_j s_j x_j x_j^T = E diag(l) E^T`` and ``s_j = 2 ||A_j||``,
    each iteration solves, column by column of the rotated rows,

        (r + l_k (U + M)) w_k = U x_k,    U = diag(1 / 2 ||x_i - y_i||),

    which is a division without M and conjugate gradients (10 steps from the last W) with it. Roots are
    smoothed by 1e-8 and 1e-12. It stops when a bound of the duality gap is ``tol`` of the objective.

    Parameters
    ----------
    pool
        Rows, as `prepare` returns them.
    penalty
        r > 0.
    locality
        M, or None.
    tol, max_iter
        Relative gap to stop at, and the cap on iterations.

    Notes
    -----
    O(n q^2 + q^3) an iteration, memory O(n q).
    """
    x, known = pool.rows, pool.known
    rest = jnp.where(pool.enters[:, None], pool.rest, 0.0)

    def iterate(weights: _Weights, w: Array) -> tuple[_Weights, Array, Array]:
        scatter = matmul(rest.T * weights.strengths, rest)
        apart = 1.0 + 2.0 * jnp.trace(scatter)  # beyond all eigenvalues, so that no axis mixes the two spans
        scale, axes = jnp.linalg.eigh(scatter + apart * known)
        scale = jnp.where(scale > apart / 2.0, FREE * apart, jnp.maximum(scale, 0.0))
        u = 0.5 / weights.lengths[:, None]
        rotated = matmul(x, axes)
        if locality is None:
            w = rotated * u / (penalty + scale * u)
            fit, local, left = scale * w, jnp.zeros_like(w), jnp.zeros_like(w)
        else:
            w, left = _solve(locality, scale, u, penalty, rotated * u, matmul(w, axes))
            fit = scale * w
            local = locality.apply(fit)
        # Equal to `rotated - fit`, without its cancellation where a row is met exactly.
        residual = (penalty * w + local + left) / u
        norms = weights.strengths * row_norms(matmul(rest, axes), matmul(w.T, w))
        then = _Weights(2.0 * jnp.sqrt(norms**2 + SMOOTH_ROWS), jnp.sqrt(squared_norms(residual) + SMOOTH))
        force = residual / then.lengths[:, None] - 2.0 * local
        pull = row_norms(matmul(rest, axes), matmul(force.T, force)) / penalty
        objective = jnp.sum(then.lengths) + jnp.sum(fit * local) + penalty * jnp.sum(norms)
        gap = penalty * jnp.sum(norms * (1.0 - pull)) / objective + jnp.maximum(jnp.max(pull) - 1.0, 0.0)
        return then, matmul(w, axes.T), gap

    def step(carry: tuple[_Weights, Robust]) -> tuple[_Weights, Robust]:
        weights, report = carry
        then, w, gap = iterate(weights, report.w)
        return then, Robust(weights.strengths, w, gap, report.n_iters + 1)

    one = jnp.ones(len(x), x.dtype)
    start = Robust(one, jnp.zeros_like(x), jnp.full((), jnp.inf), jnp.zeros((), jnp.int32))
    first = (_Weights(one, 0.5 * one), start)
    return jax.lax.while_loop(
        lambda carry: (carry[1].gap > tol) & (carry[1].n_iters < max_iter), step, first
    )[1]


def _solve(
    locality: Locality,
    scale: Float[Array, " q"],
    u: Float[Array, "n 1"],
    penalty: Float[Array, ""] | float,
    target: Float[Array, "n q"],
    w: Float[Array, "n q"],
) -> tuple[Float[Array, "n q"], Float[Array, "n q"]]:
    """Return w and what is left of the target after some steps of conjugate gradients, column by column."""

    def operator(w: Array) -> Array:
        return penalty * w + scale * (u * w + locality.apply(w))

    preconditioner = penalty + scale * (u + locality.diagonal[:, None])

    def step(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        w, residual, direction, energy = state
        image = operator(direction)
        length = safe_divide(energy, jnp.sum(direction * image, axis=0))
        w, residual = w + length * direction, residual - length * image
        steep = residual / preconditioner
        new = jnp.sum(residual * steep, axis=0)
        return w, residual, steep + safe_divide(new, energy) * direction, new

    residual = target - operator(w)
    steep = residual / preconditioner
    start = (w, residual, steep, jnp.sum(residual * steep, axis=0))
    return jax.lax.fori_loop(0, N_CONJUGATE, step, start)[:2]
