"""The state of a fit between steps: parameters, optimiser states, and what stage 2 fixed."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from dual_jax.dual.network import Autoencoder
from dual_jax.dual.objectives.notation import Scales


class Params(NamedTuple):
    """What is trained. ``C``: target blocks (b, m); ``P``: (K, m); both empty before the selection starts."""

    network: Autoencoder
    C: tuple[Float[Array, "b m"], ...] = ()
    P: tuple[Float[Array, "k m"], ...] = ()


class OptState(NamedTuple):
    """Optimiser states of the network and of each target block of C and P."""

    network: Any
    C: tuple[Any, ...] = ()
    P: tuple[Any, ...] = ()


class Fixed(NamedTuple):
    """What stage 2 decides and stage 3 does not change. N counts the rows of all devices."""

    dictionary: Int[Array, " m"]
    dictionary_x: Float[Array, "m d"]
    targets: Int[Array, " n"]
    is_labeled: Bool[Array, " N"]
    is_candidate: Bool[Array, " N"]
    centroids: Float[Array, "K q"]
    sizes: Float[Array, " K"]
    scales: Scales


class TrainState(NamedTuple):
    """Everything that a step needs and returns; ``fixed`` is None until the selection starts.

    ``sums`` holds the sums of squares (m,) of the rows of C and of P over the targets of all devices, as
    C and P are now; None where a step computes them from C when it reads it: see `Sizes.carries_sums`.
    """

    params: Params
    opt_state: OptState
    step: Int[Array, ""]
    fixed: Fixed | None = None
    sums: Any = None


def started(state: TrainState) -> Fixed:
    """Return what stage 2 decided; ValueError if stage 2 has not run."""
    if state.fixed is None:
        raise ValueError("The state has no selection block yet: call start_selection first.")
    return state.fixed


def count_rows(mask: Array) -> int | None:
    """Return how many rows are in a mask; None while it is traced."""
    if isinstance(mask, jax.core.Tracer):
        return None
    is_here = getattr(mask, "is_fully_addressable", True)
    return int((np.asarray(mask) if is_here else mask).sum())  # on the host a sum compiles nothing
