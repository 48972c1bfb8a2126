"""The settings of a fit that the memory left to this process holds."""

import dataclasses
import warnings

from jax.sharding import Mesh

from dual_jax.devices.machine import free_memory
from dual_jax.dual.config import DualConfig
from dual_jax.dual.plan import here, refusal

LEAST_PLACES = 64  # a smaller dictionary is not taken for lack of memory


def with_room(shape: tuple[int, ...], n_usable: int, config: DualConfig, mesh: Mesh | None) -> DualConfig:
    """Return the settings of a fit that the memory which is left to this process holds.

    Where it does not hold the dictionary that `DualConfig.places` would have, the largest power of two that
    fits is taken, with a warning. A number that was asked for is kept.

    Parameters
    ----------
    shape
        Of the pool, (n, d), with the columns of its embedding.
    n_usable
        Rows that may rebuild others: candidates and labelled ones.
    config, mesh
        As the fit gets them.

    Raises
    ------
    ValueError
        When that does not help, with the bytes that it takes, those that are there, and what to change.
    """
    sized = config.for_pool(shape[0], n_usable, mesh.size if mesh else 1)
    expected = here(shape, sized, mesh, free_memory())
    if expected.fits:
        return config
    largest = expected.largest_dictionary
    if config.dictionary_size is not None or largest < LEAST_PLACES:
        raise ValueError(refusal(expected))
    places = 1 << (largest.bit_length() - 1)
    warnings.warn(
        f"memory holds a dictionary of {places:,} rows, not of {sized.dictionary_size:,}: the fit uses that. "
        "Set dictionary_size to have the same everywhere.",
        stacklevel=3,
    )
    return dataclasses.replace(config, dictionary_size=places)
