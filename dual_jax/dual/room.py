"""The sizes of a fit that fits the memory left to this process."""

import dataclasses
import warnings

from jax.sharding import Mesh

from dual_jax.data.errors import InputError
from dual_jax.devices.machine import free_memory
from dual_jax.devices.mesh import platform_of
from dual_jax.dual.config import DualConfig
from dual_jax.dual.plan import here, refusal
from dual_jax.dual.sizes import Sizes

LEAST_PLACES = 64  # no smaller dictionary is used to save memory


def sizes_with_room(
    shape: tuple[int, ...],
    n_usable: int,
    config: DualConfig,
    mesh: Mesh | None,
    n_places: int | None = None,
) -> Sizes:
    """Return the sizes of a fit that fits the memory left to this process.

    If the dictionary of `DualConfig.sizes` does not fit, the largest power of two that fits is used, and a
    warning says so. A dictionary size that the caller set is not changed.

    Parameters
    ----------
    shape
        Of the pool, (n, d), with the columns of its embedding.
    n_usable
        Rows that may rebuild others: candidates and labelled ones.
    config, mesh
        As the fit gets them.
    n_places
        Rows of the dictionary of a saved fit that is continued.

    Raises
    ------
    ValueError
        When that is not enough: it names the bytes needed, the bytes available, and what to change.
    """

    def sized(places: int | None) -> Sizes:
        asked = dataclasses.replace(config, dictionary_size=places or config.dictionary_size)
        return asked.sizes(shape[0], n_usable, mesh.size if mesh else 1, platform_of(mesh))

    sizes = sized(n_places)
    expected = here(shape, config, mesh, free_memory(), sizes)
    if expected.fits:
        return sizes
    largest = expected.largest_dictionary
    if config.dictionary_size is not None or largest < LEAST_PLACES:
        raise InputError(refusal(expected))
    places = 1 << (largest.bit_length() - 1)
    warnings.warn(
        f"memory holds a dictionary of {places:,} rows, not of {sizes.n_places:,}: the fit uses that. "
        "Set dictionary_size to have the same everywhere.",
        stacklevel=3,
    )
    return sized(places)
