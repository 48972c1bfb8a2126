"""Tables and arrays of libraries that are not known here, through the protocols that all of them share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dual_jax.data.errors import InputError

ON_HOST = 1  # DLPack's number for a processor's memory


def as_known(x: Any) -> Any:
    """Return ``x`` as something that NumPy reads, without a copy where the protocols allow it.

    What has ``__array__`` and is in the host's memory stays as it is. Of what has not, an array is read by
    DLPack, from a device too, and a table by Arrow's C stream or by the dataframe interchange protocol.

    Raises
    ------
    InputError
        The array is on a device that JAX does not see, or of a type that it cannot hand over.

    Examples
    --------
    >>> as_known([[1, 2]])
    [[1, 2]]
    """
    if isinstance(x, np.ndarray | np.generic | jax.Array | type):
        return x
    if hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__"):
        is_on_host = int(x.__dlpack_device__()[0]) == ON_HOST
        if "bfloat16" in str(getattr(x, "dtype", "")):  # which NumPy lacks
            return _by_jax(x, "is of the type bfloat16, which could not be read here: pass .float()")
        if not is_on_host:
            return _by_jax(x, "is on a device that JAX does not see here: move it to the host's memory first")
        if not hasattr(x, "__array__"):
            return np.from_dlpack(x)
    if not hasattr(x, "__array__") and (hasattr(x, "__arrow_c_stream__") or hasattr(x, "__dataframe__")):
        return _from_table(x)
    return x


def _by_jax(x: Any, problem: str) -> np.ndarray:
    try:
        return np.asarray(jnp.from_dlpack(x)).astype(np.float32)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"an array of the type {type(x).__name__} {problem} ({error})") from error


def _from_table(x: Any) -> Any:
    """Return a table as one of pyarrow's."""
    import pyarrow
    from pyarrow.interchange import from_dataframe

    return pyarrow.table(x) if hasattr(x, "__arrow_c_stream__") else from_dataframe(x)


def as_array(x: Any) -> np.ndarray:
    """Return what `as_known` gave as an array of NumPy's.

    Raises
    ------
    InputError
        The other library does not hand it over, such as a tensor that requires its gradient.
    """
    try:
        return np.asarray(x)
    except RuntimeError as error:
        raise InputError(f"an array of the type {type(x).__name__} cannot be read: {error}") from error


def column_names(x: Any) -> Sequence[str] | None:
    """Return the names of the columns of a frame or table, None of an array.

    Examples
    --------
    >>> import pyarrow
    >>> column_names(pyarrow.table({"a": [1]})), column_names([[1]])
    (['a'], None)
    """
    names = getattr(x, "column_names", None)
    if names is None and hasattr(x, "columns") and hasattr(x, "shape"):
        names = x.columns
    return None if names is None or callable(names) else [str(name) for name in names]
