"""ActiveFT: free points that follow the distribution of the pool, then the rows nearest to them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from dual_jax.numerics.arithmetic import matmul, safe_divide, squared_distances_to_nearest, squared_norms
from dual_jax.selection.limits import Limits, Used, begin, close_around
from dual_jax.selection.protocol import Selection
from dual_jax.selection.walks import pick_or_none


@partial(jax.jit, static_argnames=("n_select", "n_steps"))
def activeft(
    key: Key[Array, ""],
    x: Float[Array, "n d"],
    n_select: int,
    *,
    labeled: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    temperature: float = 0.07,
    balance: float = 1.0,
    learning_rate: float = 1e-3,
    n_steps: int = 300,
    limits: Limits | None = None,
) -> Selection:
    """Return rows near to free points that imitate the pool and repel each other.

    Over ``n_select`` unit vectors c, started at random open rows, Adam minimises

        -mean_i log[ e_i / (e_i + balance * sum_l exp(c_k . c_l / t)) ],   e_i = exp(f_i . c_k / t),

    f_i being row i scaled to length 1, k the vector most similar to it, t the temperature and c_l a constant
    to differentiation. Then each vector, the one that serves most rows first, takes the open row most similar
    to it. Source: Xie et al., CVPR 2023, Eq. (5) to (8), and its released code. Labelled rows are ours: they
    are among the c, in both roles, and do not move.

    Not nested; random in its start. Duplicates may both be picked when two vectors meet (rare). It sees
    directions only: centre the features, and expect little where lengths matter. A zero row has no direction.

    Cost: O(n d n_select) work a step, O(n n_select) memory, and O(n d) work once for each labelled row.

    Parameters
    ----------
    key
        Draws the rows to start from.
    temperature
        t, > 0; the paper's 0.07. Larger ones spread the vectors more evenly.
    balance
        Weight of the repulsion, >= 0; the paper's 1.
    learning_rate, n_steps
        Of Adam; the paper's. ``n_steps`` is static.
    limits
        See `dual_jax.selection.limits`; ``min_distance`` and ``per_group`` are kept when
        vectors take their rows, by distances of rows at length 1.

    Returns
    -------
    Selection
        Positions, and the share of the pool that each pick's vector serves.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, dual_jax as dj
    >>> x = jnp.array([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [0.0, 1.0], [-0.1, 1.0]])
    >>> sorted(dj.METHODS["activeft"](jax.random.key(0), x, 2, learning_rate=0.05).indices.tolist())
    [0, 4]
    """
    f = _unit(x)
    rivals = _best_labeled(f, labeled)
    noise = jax.random.uniform(key, (len(x),))
    start = f[jax.lax.top_k(jnp.where(candidates, noise, -1.0), n_select)[1]]
    adam = optax.adam(learning_rate)

    def step(_: Array, state: tuple[Array, Any]) -> tuple[Array, Any]:
        centers, moments = state
        gradient = jax.grad(_loss)(centers, f, labeled, rivals, temperature, balance)
        updates, moments = adam.update(gradient, moments, centers)
        return _unit(centers + updates), moments

    centers, _ = jax.lax.fori_loop(0, n_steps, step, (start, adam.init(start)))
    return _nearest_rows(f, centers, rivals, limits, begin(limits, f, labeled, candidates))


def _unit(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    return safe_divide(x, jnp.linalg.norm(x, axis=1, keepdims=True))


def _best_labeled(f: Float[Array, "n d"], labeled: Bool[Array, " n"]) -> Float[Array, " n"]:
    """Return the largest similarity of each row to a labelled one of length 1; minus infinity without any."""
    lengths = squared_norms(f)
    return (lengths + 1.0 - squared_distances_to_nearest(f, labeled & (lengths > 0))) / 2.0


def _loss(
    centers: Float[Array, "k d"],
    f: Float[Array, "n d"],
    labeled: Bool[Array, " n"],
    rivals: Float[Array, " n"],
    temperature: Array | float,
    balance: Array | float,
) -> Float[Array, ""]:
    """Return the objective over the rows that no labelled row serves better; the others are constant."""
    to_rows = matmul(centers, f.T) / temperature
    server = jnp.argmax(to_rows, axis=0)
    fixed = jax.lax.stop_gradient(centers)
    crowd = jnp.concatenate(
        [matmul(centers, fixed.T) / temperature, jnp.where(labeled, to_rows, -jnp.inf)], axis=1
    )
    repulsion = jnp.log(balance) + jax.nn.logsumexp(crowd, axis=1)
    similarity = jnp.sum(f * centers[server], axis=1) / temperature
    losses = jnp.logaddexp(similarity, repulsion[server]) - similarity
    return jnp.mean(jnp.where(similarity * temperature > rivals, losses, 0.0))


def _nearest_rows(
    f: Float[Array, "n d"],
    centers: Float[Array, "k d"],
    rivals: Float[Array, " n"],
    limits: Limits | None,
    start: tuple[Used | None, Bool[Array, " n"]],
) -> Selection:
    """Return a distinct open row for each vector, the vector that serves most rows first."""
    to_rows = matmul(centers, f.T)
    is_served = jnp.max(to_rows, axis=0) > rivals
    shares = jax.ops.segment_sum(is_served / len(f), jnp.argmax(to_rows, axis=0), len(centers))

    def take(state: tuple[Used | None, Array], place: Array) -> tuple[tuple[Used | None, Array], Array]:
        used, is_open = state
        row = jnp.argmax(jnp.where(is_open, to_rows[place], -jnp.inf)).astype(jnp.int32)
        found, _ = pick_or_none(limits, is_open, row, row)
        is_open, used = close_around(limits, used, is_open, row, f)
        return (used, is_open), found

    order = jnp.argsort(-shares, stable=True)
    return Selection(jax.lax.scan(take, start, order)[1], shares[order])
