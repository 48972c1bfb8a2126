"""Tables and arrays of libraries that are not known here, through the protocols that all of them share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dual_jax.data.errors import InputError, MissingPackageError

ON_HOST = 1  # DLPack's number for a processor's memory
NEEDS_ARROW = 'a table of the type {} is read with pyarrow: pip install "dual-jax[data]"'


def as_known(x: Any) -> Any:
    """Return ``x`` as something that NumPy reads, without a copy where the protocols allow it.

    What has ``__array__`` and is in the host's memory stays as it is. Of what has not, an array is read by
    DLPack, from a device too, and a table by Arrow's C stream or by the dataframe interchange protocol.

    Raises
    ------
    ImportError
        A table has no other way than these two protocols, and there is neither pyarrow nor pandas.
    ValueError
        The array is on a device that JAX does not see.

    Examples
    --------
    >>> as_known([[1, 2]])
    [[1, 2]]
    """
    if isinstance(x, np.ndarray | np.generic | jax.Array | type):
        return x
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        is_on_host = int(x.__dlpack_device__()[0]) == ON_HOST
        if not (is_on_host and hasattr(x, "__array__")):
            return np.from_dlpack(x) if is_on_host else _from_device(x)
    if not hasattr(x, "__array__") and (hasattr(x, "__arrow_c_stream__") or hasattr(x, "__dataframe__")):
        return _from_table(x)
    return x


def _from_device(x: Any) -> np.ndarray:
    try:
        return np.asarray(jnp.from_dlpack(x))
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"an array of the type {type(x).__name__} is on a device that JAX does not see here: move it to "
            f"the host's memory first ({error})"
        ) from error


def _from_table(x: Any) -> Any:
    """Return a table of pyarrow's or, where only that is there, of pandas'."""
    try:
        import pyarrow
        from pyarrow.interchange import from_dataframe
    except ImportError:
        return _by_pandas(x)
    return pyarrow.table(x) if hasattr(x, "__arrow_c_stream__") else from_dataframe(x)


def _by_pandas(x: Any) -> Any:
    missing = MissingPackageError(NEEDS_ARROW.format(type(x).__name__))
    if not hasattr(x, "__dataframe__"):
        raise missing
    try:
        from pandas.api.interchange import from_dataframe
    except ImportError:
        raise missing from None
    return from_dataframe(x)
