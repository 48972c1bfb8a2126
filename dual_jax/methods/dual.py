"""DUAL as a method: ours, and the released recipe.

Both are `dual_jax.dual.fitting.train` and `dual_jax.dual.ranking.rank`, the compiled stages and the stopping
rule of the estimator; under an outer `jit` or `vmap` they are traced into the caller's program.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from dual_jax.dual.config import DualConfig, Readout
from dual_jax.dual.fitting import train
from dual_jax.dual.ranking import rank
from dual_jax.dual.state import TrainState
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection


def dual(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 0.1,
    eta: float = 0.1,
    temperature: float = 0.5,
    power: float = 0.5,
    pretrain_steps: int = 1000,
    steps: int = 50,
    readout: Readout = "greedy",
    dictionary_size: int | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return DUAL's picks in the recommended configuration.

    Objective: `dual_jax.dual.objectives.simplex`, then greedy coverage in the learnt space, Eq. (4) with
    one-hot coefficients. Source: Li et al., IJCAI 2020, changed as `dual_jax.dual.config.DualConfig` says.

    Nested with the greedy read-out and with ``"norms"``. Labelled rows may rebuild others at no penalty and
    are covered from the start; forbidden rows are rebuilt and want cover. Coverage follows density, so rare
    groups get few picks; features must be scaled. Without the cluster branch (``beta = eta = 0``) it is the
    ablation of the paper's section 4. Where nothing is labelled the first two picks are chosen together (see
    `dual_jax.selection.coverage.greedy`).

    Parameters
    ----------
    key
        Draws the network and the seeds of its k-means.
    alpha, beta, gamma, eta, temperature
        Weights of the objective, as in `dual_jax.dual.config.DualConfig`, whose defaults these are.
    power
        Of the distances in the greedy read-out and its swaps, above 0 and at most 2; Eq. (4)'s l2-norm is 1.
    pretrain_steps, steps
        Full-batch steps of the autoencoder and of the joint stage, at most, static.
    readout
        ``"greedy"``, ``"refine"`` (swaps for this one budget), ``"chain"`` (swaps for this budget, half of it
        and so on) or ``"norms"`` (the paper's), static.
    dictionary_size
        Rows that may rebuild others, static; by default as under Cost below.
    limits
        See `dual_jax.selection.limits`; distances are those of the learnt space, to the power ``power`` for
        "mean distance". All are kept by the greedy read-out; swaps keep the weights alone, ``"norms"`` does
        not use weights and costs.

    Returns
    -------
    Selection
        Positions and gains of the read-out.

    Notes
    -----
    Cost, with m rows in the dictionary (all n up to n = 5,792, then 2^25 / n, but 1,024 at least) and p the
    latent width: O(m n (d + p)) work a step and 20 m n bytes; O(n^2 (d + p) log n_select) work for the picks.

    Examples
    --------
    >>> import jax, dual_jax as dj
    >>> x = jax.random.normal(jax.random.key(0), (24, 4))
    >>> len(dj.METHODS["dual"](jax.random.key(1), x, 5, pretrain_steps=20, steps=5).indices)
    5
    """
    config = DualConfig(
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        eta=eta,
        temperature=temperature,
        power=power,
        pretrain_steps=pretrain_steps,
        steps=steps,
        readout=readout,
        dictionary_size=dictionary_size,
    )
    return _picks(key, x, n_select, config, labeled, candidates, limits)


def dual_paper(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    alpha: float = 0.1,
    beta: float = 0.1,
    gamma: float = 1.0,
    eta: float = 1.0,
    n_clusters: int = 5,
    pretrain_steps: int = 5000,
    steps: int = 2500,
    dictionary_size: int | None = None,
    limits: Limits | None = None,
) -> Selection:
    """Return the picks of the released recipe: sums of squares, xavier start, ranking by row norms; nested.

    Objective: `dual_jax.dual.objectives.free`. Source: Li et al., IJCAI 2020, and the released code, as
    `DualConfig.paper` says; the grid's weights are ``alpha = beta = p_Rq``, ``gamma = eta = p_q / p_Rq``.
    Near-duplicates share their score and are picked together; on unscaled features the ranking is largely
    its random start.

    Parameters
    ----------
    key
        Draws the network and the seeds of its k-means; C and P start from the released seeds.
    alpha, beta, gamma, eta
        Weights of Eqs. (5), (7) and (10); a cell of the released grid, whose best differs from data to data.
    n_clusters
        K of Eq. (6), static; the released 5.
    pretrain_steps, steps
        Full-batch steps of both stages, static; the released 5,000 and 2,500.
    dictionary_size
        As in `dual`.
    limits
        See `dual_jax.selection.limits`; ``until``, ``min_distance`` and ``per_group`` are kept, by Euclidean
        distances of the learnt space.

    Returns
    -------
    Selection
        Positions, and the sum of the min-max scaled row norms of C and P.

    Notes
    -----
    Cost: that of `dual` a step, with 12 m n bytes; O(m n) work to rank, for any ``n_select``.

    Examples
    --------
    >>> import jax, dual_jax as dj
    >>> x = jax.random.normal(jax.random.key(0), (24, 4))
    >>> len(dj.METHODS["dual_paper"](jax.random.key(1), x, 5, pretrain_steps=20, steps=5).indices)
    5
    """
    config = DualConfig.paper(
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        eta=eta,
        n_clusters=n_clusters,
        pretrain_steps=pretrain_steps,
        steps=steps,
        dictionary_size=dictionary_size,
    )
    return _picks(key, x, n_select, config, labeled, candidates, limits)


def dual_reader(key: Key[Array, ""], x: Float[Array, "n d"], **knobs: Any) -> Callable[[int], Selection]:
    """Return `dual`'s picks as a function of their number: trained once, for any read-out."""
    config, x = DualConfig(**knobs), jnp.asarray(x, jnp.float32)
    state, _ = train(key, x, config)
    return lambda n_select: _read(state, x, n_select, config)


def _picks(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    config: DualConfig,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    limits: Limits | None,
) -> Selection:
    state, _ = train(key, x, config, labeled=labeled, candidates=candidates)
    return _read(state, x, n_select, config, limits)


def _read(
    state: TrainState,
    x: Float[Array, "n d"],
    n_select: int,
    config: DualConfig,
    limits: Limits | None = None,
) -> Selection:
    return rank(state, x, dataclasses.replace(config, n_exact=n_select), n_select, limits=limits)
