"""A step of Adam entry by entry, for kernels that read and write its moments themselves.

Source: Kingma, Ba: *Adam: a method for stochastic optimization*, ICLR 2015, algorithm 1; constants and order
as in `optax.adam`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

FIRST, SECOND, EPSILON = 0.9, 0.999, 1e-8  # decay rates of the two averages, and what keeps the root from 0


class Rates(NamedTuple):
    """The numbers of one step."""

    step_size: Float[Array, ""]
    of_first: Float[Array, ""]  # one over the bias of the average of the gradient
    of_second: Float[Array, ""]  # the same for the average of its square


def rates_at(count: Int[Array, ""], step_size: Float[Array, ""]) -> Rates:
    """Return the numbers of step ``count``, which counts from 1.

    Examples
    --------
    >>> rates_at(jnp.array(1), jnp.array(0.5)).of_first.round(3).item()
    10.0
    """
    first, second = (1.0 / (1.0 - jnp.power(decay, count)) for decay in (FIRST, SECOND))
    return Rates(jnp.asarray(step_size, jnp.float32), first, second)


def adam_step(
    gradient: Array, entries: Array, moments: tuple[Array, Array], rates: Rates
) -> tuple[Array, tuple[Array, Array]]:
    """Return the entries and both averages after a step."""
    first = FIRST * moments[0] + (1.0 - FIRST) * gradient
    second = SECOND * moments[1] + (1.0 - SECOND) * gradient * gradient
    root = jnp.sqrt(second * rates.of_second)
    return entries - rates.step_size * (first * rates.of_first) / (root + EPSILON), (first, second)
