"""DUAL as a method: ours, the released recipe, and ours without the cluster branch.

All three are the core of the package, run in one compiled program: stage by stage without breaks, so the
convergence test does not apply and every stage runs all its steps.
"""

import dataclasses
from functools import partial

import jax
from jaxtyping import Array, Bool, Float, Key

from dual_jax.config import DualConfig, Readout
from dual_jax.fitting import rank, train
from dual_jax.selection import Selection


@partial(jax.jit, static_argnames=("n_select", "pretrain_steps", "steps", "readout"))
def dual(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 0.1,
    eta: float = 0.1,
    temperature: float = 0.5,
    pretrain_steps: int = 1000,
    steps: int = 300,
    readout: Readout = "greedy",
) -> Selection:
    """Return DUAL's picks in the recommended configuration; nested with the greedy read-out.

    Objective: `dual_jax.model.simplex`, then greedy coverage in the learnt space, Eq. (4). Source: Li et al.,
    IJCAI 2020, changed as `dual_jax.config.DualConfig` says. Knobs are its fields. Weak where rare groups
    matter (coverage follows density) and, like every method here, where features are unscaled.

    Cost: O(n^2 (p + d)) work a step and 20 n^2 bytes; the read-out O(n^2 log k (p + d)).

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (24, 4))
    >>> len(dual(jax.random.key(1), x, 5, pretrain_steps=20, steps=5).indices)
    5
    """
    config = DualConfig(
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        eta=eta,
        temperature=temperature,
        pretrain_steps=pretrain_steps,
        steps=steps,
        readout=readout,
    )
    return _picks(key, x, n_select, config, labeled, candidates)


@partial(jax.jit, static_argnames=("n_select", "pretrain_steps", "steps"))
def dual_wo(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    alpha: float = 1.0,
    gamma: float = 0.1,
    temperature: float = 0.5,
    pretrain_steps: int = 1000,
    steps: int = 300,
) -> Selection:
    """Return DUAL's picks without the cluster branch (beta = 0); nested.

    Source: the ablation of Li et al., IJCAI 2020, section 4, in the recommended configuration. Objective,
    cost and weaknesses are those of `dual`.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (24, 4))
    >>> len(dual_wo(jax.random.key(1), x, 5, pretrain_steps=20, steps=5).indices)
    5
    """
    config = DualConfig(
        alpha=alpha,
        beta=0.0,
        gamma=gamma,
        temperature=temperature,
        pretrain_steps=pretrain_steps,
        steps=steps,
    )
    return _picks(key, x, n_select, config, labeled, candidates)


@partial(jax.jit, static_argnames=("n_select", "n_clusters", "pretrain_steps", "steps"))
def dual_paper(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"] | None = None,
    candidates: Bool[Array, " n"] | None = None,
    alpha: float = 0.1,
    beta: float = 0.1,
    gamma: float = 1.0,
    eta: float = 1.0,
    n_clusters: int = 5,
    pretrain_steps: int = 5000,
    steps: int = 2500,
) -> Selection:
    """Return the picks of the released recipe: sums of squares, xavier start, ranking by row norms; nested.

    Objective: `dual_jax.model.free`. Source: Li et al., IJCAI 2020, and the released code, as
    `DualConfig.paper` says; the grid's weights are ``alpha = beta = p_Rq``, ``gamma = eta = p_q / p_Rq``.
    Near-duplicates share their score and are picked together; on unscaled features the ranking is largely
    its random start.

    Cost: O(n^2 p) work a step and 16 n^2 bytes.

    Examples
    --------
    >>> import jax
    >>> x = jax.random.normal(jax.random.key(0), (24, 4))
    >>> len(dual_paper(jax.random.key(1), x, 5, pretrain_steps=20, steps=5).indices)
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
    )
    return _picks(key, x, n_select, config, labeled, candidates)


def _picks(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    config: DualConfig,
    labeled: Bool[Array, " n"] | None,
    candidates: Bool[Array, " n"] | None,
) -> Selection:
    state, _ = train(key, x, config, labeled=labeled, candidates=candidates)
    return rank(state, x, dataclasses.replace(config, n_exact=n_select), n_select)
