"""A saved estimator back from its file, and an encoder as a program that runs without this package."""

import os
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.export import Exported, symbolic_shape
from jax.export import export as export_program
from sklearn.utils.validation import check_is_fitted

from dual_jax.data.errors import InputError
from dual_jax.data.storage import read_arrays
from dual_jax.dual.config import DualConfig
from dual_jax.estimators.dual_selector import DUALSelector
from dual_jax.estimators.picker import ARCHIVE
from dual_jax.estimators.pool_encoder import PoolEncoder
from dual_jax.estimators.selector import Selector

PLATFORMS = ("cpu", "cuda", "tpu")


def load(
    path: str | os.PathLike[str], *, config: DualConfig | None = None
) -> DUALSelector | Selector | PoolEncoder:
    """Return the estimator that ``save`` wrote; reading it runs nothing.

    Parameters
    ----------
    path : path
        The file.
    config : DualConfig, optional
        Wanted where the fit had functions of its own (an encoder, an optimiser), which no file holds: a
        configuration with the same.

    Raises
    ------
    ValueError
        When there is no such file, it is broken, of another kind or of a later version, or ``config`` is
        missing.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> fitted = Selector("kcenter", 5).fit(load_iris().data)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fitted.save(f"{folder}/picks.npz")
    ...     again = load(f"{folder}/picks.npz")
    >>> (again.select(9) == fitted.select(9)).all()
    np.True_
    """
    about, arrays = read_arrays(path, ARCHIVE)
    classes = {kind.__name__: kind for kind in (DUALSelector, Selector, PoolEncoder)}
    kind = about.get("class")
    if kind not in classes:
        raise InputError(f"{path} keeps a {kind}, which this version does not know: upgrade dual-jax")
    try:
        return classes[kind]._restored(about, arrays, config)
    except KeyError as error:
        raise InputError(f"{path} lacks {error}: it is damaged") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def export(selector: DUALSelector, *, platforms: Sequence[str] = PLATFORMS) -> Exported:
    """Return the fitted encoder as a program of StableHLO, from scaled rows to codes, for any number of rows.

    ``program.call(rows)`` gives the codes of rows (m, d) in float32, scaled as the pool was. Whoever has JAX
    runs it without this package: ``program.serialize()`` makes bytes of it (with ``pip install flatbuffers``)
    and ``jax.export.deserialize`` a program again.

    Parameters
    ----------
    selector : DUALSelector
        Fitted.
    platforms : sequence of str
        Of ``"cpu"``, ``"cuda"``, ``"rocm"`` and ``"tpu"``: where it shall run.

    Raises
    ------
    ValueError
        When the encoder cannot be exported for any number of rows, or for a platform.

    Examples
    --------
    >>> import jax
    >>> from sklearn.datasets import load_iris
    >>> fitted = DUALSelector(5, max_iter=5, pretrain_iter=5).fit(load_iris().data)
    >>> export(fitted).call(jax.numpy.zeros((7, 4))).shape
    (7, 32)
    """
    check_is_fitted(selector)
    x = selector._prepared.x
    encoder, apply = selector.params_.network.encoder, selector._config.modules(x).encoder.apply
    (rows,) = symbolic_shape("m")
    shape = jax.ShapeDtypeStruct((rows, *x.shape[1:]), jnp.float32)
    return export_program(jax.jit(lambda x: apply(encoder, x)), platforms=tuple(platforms))(shape)
