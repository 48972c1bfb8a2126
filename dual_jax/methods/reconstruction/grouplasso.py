"""Self-expression with squared residuals and few rows: the group lasso, solved in the strengths of rows.

Coordinate steps find which rows are used, Newton steps how much. Coordinates alone would do both, but where
rows are alike they crawl: hundreds of sweeps can leave percents of a strength, and the ranking, undecided.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int

from dual_jax.methods.reconstruction.rowsparse import definite_inverse, row_norms
from dual_jax.numerics.arithmetic import matmul, nth_true, safe_divide, squared_norms

NEARLY = 1e-3  # rows this near to entering are in the working set
N_PASSES = 4  # over the working set, before all rows are used again
N_ROOT = 6  # Newton steps to the root of a convex scalar function; five give float32
N_CONJUGATE = 20  # steps of conjugate gradients for a Newton step; the next sweep corrects the rest


class Problem(NamedTuple):
    """Rows in which the group lasso is solved, and the ridge on each feature.

    The ridge is 1; the constant feature that represents the constraint ``1^T A = 1^T`` has ridge 0, the limit
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
    n_sweeps: Int[Array, ""]


class _Fixed(NamedTuple):
    """The problem, the scatter of all rows, the rows' directions, and both weights of the penalty."""

    problem: Problem
    scatter: Float[Array, "q q"]
    units: Float[Array, "n q"]
    penalty: Float[Array, ""]
    diversity: Float[Array, ""] | float


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
    max_sweeps: Int[Array, ""] | int = 200,
) -> GroupLasso:
    """Return the strengths of the rows that minimise ``1/2 ||X - XA||_F^2 + lambda ||A||_{2,1}``.

    Eliminating A leaves a convex problem in the strengths alone,

        tr(G N(s)) + lambda^2 sum_j s_j + diversity * s^T S s,

    ``N(s) = (diag(ridge) + sum_j s_j x_j x_j^T)^-1``, G the scatter of all rows, S the squared cosines, and
    ``A_j = s_j x_j^T N X``, so that ``||A_j|| = lambda s_j`` at the optimum without diversity. In a sweep
    coordinates are minimised exactly in turn, 4 passes over those that are active or want to enter, and then
    all active ones together by a Newton step, which is kept when it lowers the duality gap. Sweeps end when
    the gap is ``tol`` of the objective.

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
        Relative duality gap to stop at; in float32 it is exact to some 2e-7.
    max_sweeps
        Cap on the sweeps; some ten are usual.

    Returns
    -------
    GroupLasso
        Strengths (exactly 0 where a row is not used), correlations over penalties, gap, sweeps.

    Notes
    -----
    O(n q^2) a sweep and O(q^2) for each row of the working set; memory O(n q).
    """
    x, _, is_dictionary = problem
    units = safe_divide(x, jnp.broadcast_to(jnp.sqrt(squared_norms(x))[:, None], x.shape))
    fixed = _Fixed(problem, matmul(x.T, x), units, penalty, diversity)

    def sweep(carry: tuple[_State, GroupLasso]) -> tuple[_State, GroupLasso]:
        state, report = carry
        state = _by_coordinates(fixed, state, report.entering)
        coarse, fine = ((each, *_certify(fixed, each)) for each in (state, _newton(fixed, state)))
        is_finer = fine[2] < coarse[2]
        state, entering, gap = jax.tree.map(lambda a, b: jnp.where(is_finer, b, a), coarse, fine)
        return state, GroupLasso(state.strengths, entering, gap, report.n_sweeps + 1)

    start = _refreshed(fixed, jnp.where(is_dictionary, 1.0 / jnp.sum(is_dictionary), 0.0))
    report = GroupLasso(start.strengths, *_certify(fixed, start), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(
        lambda carry: (carry[1].gap > tol) & (carry[1].n_sweeps < max_sweeps), sweep, (start, report)
    )[1]


def _refreshed(fixed: _Fixed, strengths: Float[Array, " n"]) -> _State:
    """Return the state of these strengths, free of the rounding of many small updates."""
    x, ridge, _ = fixed.problem
    inverse = definite_inverse(jnp.diag(ridge) + matmul(x.T * strengths, x))
    return _State(strengths, inverse, matmul(fixed.units.T * strengths, fixed.units))


def _prices(fixed: _Fixed, crowd: Float[Array, "q q"]) -> Float[Array, " n"]:
    """Return ``lambda^2 + 2 diversity (S s)_j``, what a unit of each row's strength costs."""
    return fixed.penalty**2 + 2.0 * fixed.diversity * _forms(fixed.units, crowd)


def _forms(rows: Float[Array, "n q"], matrix: Float[Array, "q q"]) -> Float[Array, " n"]:
    """Return ``row^T matrix row`` for each row."""
    return jnp.sum(matmul(rows, matrix) * rows, axis=1)


def _form(row: Float[Array, " q"], matrix: Float[Array, "q q"]) -> Float[Array, ""]:
    """Return ``row^T matrix row`` in full float32 on every device."""
    return jnp.sum(row[:, None] * matrix * row)


def _certify(fixed: _Fixed, state: _State) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Return the correlations over the penalties, and the relative duality gap."""
    x, ridge, is_dictionary = fixed.problem
    spread = matmul(matmul(state.inverse, fixed.scatter), state.inverse)
    correlations = row_norms(x, spread)
    penalties = jnp.sqrt(_prices(fixed, state.crowd))
    loss = jnp.sum(ridge**2 * jnp.diagonal(spread))
    gap = _relative_gap(loss, state.strengths, correlations, penalties, is_dictionary)
    return correlations / penalties, gap


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


def _by_coordinates(fixed: _Fixed, state: _State, entering: Float[Array, " n"]) -> _State:
    """Return the state after passes of exact coordinate steps over the working set."""
    is_working = fixed.problem.is_dictionary & ((entering > 1.0 - NEARLY) | (state.strengths > 0))
    rank = jnp.cumsum(is_working)

    def visit(i: Array, state: _State) -> _State:
        return _visit(fixed, state, nth_true(rank, i % rank[-1], 1)[0])

    return _refreshed(fixed, jax.lax.fori_loop(0, N_PASSES * rank[-1], visit, state).strengths)


def _visit(fixed: _Fixed, state: _State, j: Int[Array, ""]) -> _State:
    """Return the state after the exact step of row j's strength."""
    row, unit = fixed.problem.x[j], fixed.units[j]
    reach = jnp.sum(state.inverse * row, axis=1)
    leverage, energy = jnp.sum(row * reach), _form(reach, fixed.scatter)
    price = fixed.penalty**2 + 2.0 * fixed.diversity * _form(unit, state.crowd)
    step = _coordinate_step(leverage, energy, price, fixed.diversity * jnp.sum(unit * unit))
    step = jnp.maximum(step, -state.strengths[j])
    shrink = step / (1.0 + step * leverage)
    return _State(
        state.strengths.at[j].add(step),
        state.inverse - shrink * jnp.outer(reach, reach),
        state.crowd + step * jnp.outer(unit, unit),
    )


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

    for _ in range(N_ROOT):
        start = jnp.where(curvature > 0, newton(start), start)
    return start


def _newton(fixed: _Fixed, state: _State) -> _State:
    """Return the state after a Newton step of all active strengths, cut off at 0.

    With ``l_jk = x_j^T N x_k`` and ``e_jk = x_j^T N G N x_k`` the slope is ``price_j - e_jj`` and the Hessian
    ``2 l_jk e_jk + 2 diversity S_jk``. Its products with vectors need q x q matrices only, so the system is
    solved by conjugate gradients.
    """
    x, units, is_active = fixed.problem.x, fixed.units, state.strengths > 0
    reach = matmul(x, state.inverse)
    spread = matmul(matmul(reach, fixed.scatter), state.inverse)
    energies = jnp.sum(spread * x, axis=1)
    diagonal = 2.0 * jnp.sum(reach * x, axis=1) * energies + 2.0 * fixed.diversity * squared_norms(units)

    def curvature(step: Array) -> Array:
        crowding = 2.0 * fixed.diversity * _forms(units, matmul(units.T * step, units))
        pull = 2.0 * jnp.sum(matmul(reach, matmul(x.T * step, x)) * spread, axis=1)
        return jnp.where(is_active, pull + crowding, 0.0)

    slope = jnp.where(is_active, energies - _prices(fixed, state.crowd), 0.0)
    step, _ = cg(curvature, slope, maxiter=N_CONJUGATE, M=lambda rest: safe_divide(rest, diagonal))
    return _refreshed(fixed, jnp.maximum(state.strengths + step, 0.0))
