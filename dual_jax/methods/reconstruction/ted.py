"""Transductive experimental design, greedy: rows from which a ridge regression rebuilds the pool best."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.methods.reconstruction.rowsparse import definite_inverse, first_of_equals
from dual_jax.numerics.arithmetic import matmul, nth_true, squared_norms, unit_power
from dual_jax.numerics.kernels import kernel_matrix
from dual_jax.selection.limits import Limits, Used, begin, close_around
from dual_jax.selection.protocol import Selection, first_best
from dual_jax.selection.walks import cut, pick_or_none

STRETCH = 8  # picks at most between two passes over a kernel matrix
FALL = 1 / 16  # and fewer where the best score falls to this share: rounding stays that of its start


@partial(jax.jit, static_argnames=("n_select", "kernel"))
def ted(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    regularization: Float[Array, ""] | float = 0.01,
    kernel: str = "linear",
    width: Float[Array, ""] | float | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return the rows that greedily lower the pool's error under ridge regression from the picks.

    With K the kernel matrix and mu the regularization, a set S leaves the error

        T(S) = tr(K - K[:, S] (K[S, S] + mu I)^-1 K[S, :]),

    and the next pick is the row of largest drop, ``||K_j||^2 / (K_jj + mu)`` in the K that the earlier picks
    have left (deflated). Source: Yu, Bi and Tresp, ICML 2006, the sequential algorithm.

    Rows are divided by their root mean squared length for the linear kernel (ours), so that ``tr(K) = n`` for
    either kernel, a score of n would explain the whole pool, and mu has no unit. Rows are not centred, as in
    the authors' code: uncentred or unscaled features favour long rows and outliers. Labelled rows deflate K
    before the first pick; forbidden rows are only targets. The order is nested and needs no randomness. mu
    keeps all scores above 0, so it goes on beyond the rank of x, where a linear kernel decides by little
    (prefer ``"rbf"`` for more picks than features). Copies of open rows come after all others (ours).

    Parameters
    ----------
    regularization
        mu > 0. Yu's example uses 0.01, the default here; papers search 0.01 to 10. Larger favours dense
        regions.
    kernel, width
        As in `dual_jax.numerics.kernels.kernel_matrix`; the default width is ours.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept.

    Returns
    -------
    Selection
        Positions, and the drop of T(S) by each pick.

    Notes
    -----
    Cost: linear with d <= n, O(n d^2) work a pick and O(n d) memory. Otherwise O(n^2 d) work once, O(n^2) a
    pick, and O(n^2) memory.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> dj.METHODS["ted"](jax.random.key(0), x, 2).indices.tolist()
    [1, 2]
    """
    if kernel == "linear":
        x = unit_power(x)
    if kernel == "linear" and x.shape[1] <= len(x):
        return by_features(x, candidates, labeled, regularization, n_select, limits, x)
    gram = kernel_matrix(x, x, kernel, width)
    return by_deflation(gram, candidates, labeled, regularization, n_select, limits, x)


def by_features(
    x: Float[Array, "n d"],
    is_open: Bool[Array, " n"],
    labeled: Bool[Array, " n"],
    mu: Float[Array, ""] | float,
    n_select: int,
    limits: Limits | None,
    rows: Float[Array, "n q"],
) -> Selection:
    """Return the picks without an n x n array; limits are kept by the distances of ``rows``.

    With ``B = (mu I + X_S^T X_S)^-1`` the deflated K is ``mu X B X^T`` (rows of X are samples). B is formed
    again from the picks each time, so that rounding errors do not accumulate.
    """
    scatter, is_first = matmul(x.T, x), first_of_equals(x, is_open)

    def pick(
        state: tuple[Array, Array, Used | None], _: None
    ) -> tuple[tuple[Array, Array, Used | None], tuple[Array, Array]]:
        information, is_open, used = state
        inverse = definite_inverse(information)
        lengths = jnp.sum(matmul(x, inverse) * x, axis=1)
        energies = jnp.sum(matmul(x, matmul(matmul(inverse, scatter), inverse)) * x, axis=1)
        scores = mu * energies / (lengths + 1.0)
        best = first_best(scores, _prefer(is_open, is_first)).astype(jnp.int32)
        information = information + jnp.outer(x[best], x[best])
        is_left, used = close_around(limits, used, is_open, best, rows)
        return (information, is_left, used), pick_or_none(limits, is_open, best, scores[best])

    known = jnp.where(labeled[:, None], x, 0.0)
    start = mu * jnp.eye(x.shape[1]) + matmul(known.T, known)
    used, is_open = begin(limits, rows, labeled, is_open)
    picks = Selection(*jax.lax.scan(pick, (start, is_open, used), length=n_select)[1])
    return cut(limits, rows, picks, labeled)


class _Stretch(NamedTuple):
    """Picks since the kernel matrix K was last deflated, which lacks ``sum_t v_t v_t^T``; and all picks."""

    vectors: Float[Array, "b n"]  # v_t, zero for later picks
    energies: Float[Array, " n"]  # squared lengths of the rows of K, deflated
    diagonal: Float[Array, " n"]  # of K, deflated
    length: Int[Array, ""]
    is_open: Bool[Array, " n"]
    picks: Selection
    n_done: Int[Array, ""]
    used: Used | None  # of the limits


def by_deflation(
    gram: Float[Array, "n n"],
    is_open: Bool[Array, " n"],
    labeled: Bool[Array, " n"],
    mu: Float[Array, ""] | float,
    n_select: int,
    limits: Limits | None,
    rows: Float[Array, "n q"],
) -> Selection:
    """Return the picks from the kernel matrix, one rank-one deflation for each labelled row and each pick.

    A pass over the matrix costs more than all else, so the deflations of some picks are carried out at once.
    In between the squared lengths of its rows are brought up to date. Limits are kept by the distances of
    ``rows``.
    """
    is_first, rank = first_of_equals(gram, is_open), jnp.cumsum(labeled)

    def know(i: Array, gram: Array) -> Array:
        row = nth_true(rank, i, 1)[0]
        return gram - jnp.outer(gram[row] / (gram[row, row] + mu), gram[row])

    def stretch(carry: tuple[Array, _Stretch]) -> tuple[Array, _Stretch]:
        gram, last = carry
        start = last._replace(
            vectors=jnp.zeros_like(last.vectors),
            energies=squared_norms(gram),
            diagonal=jnp.diagonal(gram),
            length=jnp.zeros_like(last.length),
        )
        limit = FALL * _best_score(start, mu)

        def goes_on(now: _Stretch) -> Array:
            is_sharp = (now.length < STRETCH) & (_best_score(now, mu) >= limit)
            return (now.n_done < n_select) & (is_sharp | (now.length == 0))

        now = jax.lax.while_loop(goes_on, lambda now: _pick(gram, now, mu, is_first, limits, rows), start)
        return gram - matmul(now.vectors.T, now.vectors), now

    gram = jax.lax.fori_loop(0, rank[-1], know, gram)
    zero, zeros = jnp.zeros((), jnp.int32), jnp.zeros_like(gram[0])
    nothing = Selection(jnp.zeros(n_select, jnp.int32), jnp.zeros(n_select, gram.dtype))
    used, is_open = begin(limits, rows, labeled, is_open)
    start = _Stretch(jnp.zeros((STRETCH, len(gram))), zeros, zeros, zero, is_open, nothing, zero, used)
    end = jax.lax.while_loop(lambda carry: carry[1].n_done < n_select, stretch, (gram, start))[1]
    return cut(limits, rows, end.picks, labeled)


def _pick(
    gram: Float[Array, "n n"],
    now: _Stretch,
    mu: Float[Array, ""] | float,
    is_first: Bool[Array, " n"],
    limits: Limits | None,
    rows: Float[Array, "n q"],
) -> _Stretch:
    """Return the stretch after one more pick.

    With v the new vector and k_j a row of the deflated K, ``||k_j - v_j v||^2`` needs ``K v`` alone.
    """
    scores = _scores(now, mu)
    best = first_best(scores, _prefer(now.is_open, is_first)).astype(jnp.int32)
    column = gram[best] - matmul(now.vectors[:, best][None], now.vectors)[0]
    vector = column / jnp.sqrt(jnp.maximum(column[best], 0.0) + mu)
    image = matmul(gram, vector[:, None])[:, 0]
    image = image - matmul(matmul(now.vectors, vector[:, None]).T, now.vectors)[0]
    energies = now.energies - 2.0 * vector * image + vector**2 * jnp.sum(vector**2)
    indices, gains = now.picks
    is_left, used = close_around(limits, now.used, now.is_open, best, rows)
    index, gain = pick_or_none(limits, now.is_open, best, scores[best])
    return _Stretch(
        now.vectors.at[now.length].set(vector),
        jnp.maximum(energies, 0.0),
        now.diagonal - vector**2,
        now.length + 1,
        is_left,
        Selection(indices.at[now.n_done].set(index), gains.at[now.n_done].set(gain)),
        now.n_done + 1,
        used,
    )


def _scores(now: _Stretch, mu: Float[Array, ""] | float) -> Float[Array, " n"]:
    return now.energies / (jnp.maximum(now.diagonal, 0.0) + mu)


def _best_score(now: _Stretch, mu: Float[Array, ""] | float) -> Float[Array, ""]:
    return jnp.max(_scores(now, mu), where=now.is_open, initial=0.0)


def _prefer(is_open: Bool[Array, " n"], is_first: Bool[Array, " n"]) -> Bool[Array, " n"]:
    """Return the open rows that are no copies, or all open rows when no others are left."""
    preferred = is_open & is_first
    return jnp.where(jnp.any(preferred), preferred, is_open)
