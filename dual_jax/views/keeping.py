"""A learnt encoder as a file, and how far it can be trusted."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, Shaped

from dual_jax.data.errors import InputError
from dual_jax.data.storage import read_arrays, write_arrays
from dual_jax.numerics.kmeans import kmeans
from dual_jax.views.agreement import NETWORK
from dual_jax.views.directions import Projection
from dual_jax.views.encoder import Encoder, Features, Maps, features, learn
from dual_jax.views.preparation import Preparation, Settings, with_channel_axis

KIND = "dual-jax encoder of views"
ENCODER = "encoder/"  # before the names of its arrays in a file
N_COMPARED, N_CLUSTERS = 3000, 30  # samples and clusters by which two encoders are compared
N_QUICK = 999  # samples of a quick comparison: fewer than those from which training takes twice as long


def as_arrays(encoder: Encoder) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return an encoder as a dictionary that JSON can hold, and its arrays by name."""
    leaves = jax.tree_util.tree_leaves_with_path(encoder)
    about = {"settings": asdict(encoder.preparation.settings), "has_network": bool(encoder.maps.network)}
    return about, {_path(where): np.asarray(leaf) for where, leaf in leaves}


def from_arrays(about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Encoder:
    """Return the encoder that `as_arrays` took apart.

    Raises
    ------
    InputError
        Something is missing.
    """
    try:
        settings = Settings(**{name: _as_tuple(value) for name, value in about["settings"].items()})
        network: Any = {}
        if about["has_network"]:
            network = jax.eval_shape(NETWORK.init, jax.random.key(0), jnp.zeros((1, 1)))
        leaf: Any = 0
        projection = Projection(leaf, leaf)
        preparation = Preparation(settings, leaf, leaf, leaf, leaf)
        maps = Maps(leaf, projection, projection, network, projection)
        shape = Encoder(preparation, maps, (leaf,) * 4, leaf, projection, leaf)
        return jax.tree_util.tree_map_with_path(lambda where, _: jnp.asarray(arrays[_path(where)]), shape)
    except (KeyError, TypeError) as error:
        raise InputError(f"these arrays are no encoder: {error} is missing or wrong") from error


def _path(where: Any) -> str:
    return jax.tree_util.keystr(where, simple=True, separator="/")


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def save(
    encoder: Encoder,
    path: str | os.PathLike[str],
    *,
    rows: Features | None = None,
    ids: Sequence[str] | None = None,
) -> None:
    """Write an encoder to a file of arrays and JSON (.npz), and what it knows of samples.

    Parameters
    ----------
    encoder : Encoder
        That `load` shall return.
    path : path
        Where to write; its folder must exist.
    rows : Features, optional
        Of samples: the arrays ``code``, ``local``, ``closed``, ``network`` and ``raw`` of the file.
    ids : sequence of str, optional
        A name for each of them: the array ``ids``.

    Examples
    --------
    >>> import tempfile
    >>> from dual_jax.views.encoder import encode
    >>> images = jax.random.normal(jax.random.key(0), (20, 8, 8))
    >>> encoder = learn(jax.random.key(1), images, kind="images", closed=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(encoder, f"{folder}/features.npz", rows=features(encoder, images))
    ...     again, arrays = load(f"{folder}/features.npz"), np.load(f"{folder}/features.npz")
    ...     bool(np.allclose(encode(again, images), arrays["code"], atol=1e-5))
    True
    """
    about, arrays = as_arrays(encoder)
    tree = {f"{ENCODER}{name}": array for name, array in arrays.items()}
    tree |= {} if rows is None else rows._asdict()
    tree |= {} if ids is None else {"ids": np.array([*ids], str)}
    write_arrays(path, KIND, about, tree)


def load(path: str | os.PathLike[str]) -> Encoder:
    """Return the encoder that `save` wrote; reading it runs nothing.

    Raises
    ------
    InputError
        The file is none, or is broken.
    """
    about, arrays = read_arrays(path, KIND)
    own = {name.removeprefix(ENCODER): a for name, a in arrays.items() if name.startswith(ENCODER)}
    return from_arrays(about, own)


def stability(
    key: Key[Array, ""], x: Shaped[Any, "n ..."], *, kind: str, n_compared: int = N_COMPARED, **knobs: Any
) -> float:
    """Return how alike the clusters are that two encoders of other seeds find: near 0 chance, 1 the same.

    Both learn from the same samples, at most ``n_compared``; 30-means of each one's code are compared by the
    adjusted Rand index. A low value warns that the changes in views do not suit the samples. It does not say
    which changes would: it cannot find out, for instance, that mirror images show the same.

    Parameters
    ----------
    key, x, kind, **knobs
        As of `dual_jax.views.encoder.learn`.
    """
    x = with_channel_axis(x, kind)
    x = x[:: -(-len(x) // n_compared)]
    labels = []
    for key_one in jax.random.split(key):
        key_learn, key_clusters = jax.random.split(key_one)
        found = features(learn(key_learn, x, kind=kind, **knobs), x)
        learnt = found.network if found.network.shape[1] else found.closed
        labels.append(np.asarray(kmeans(key_clusters, learnt, min(N_CLUSTERS, len(x) // 2)).labels))
    return adjusted_rand_index(*labels)


def adjusted_rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """Return the adjusted Rand index of two partitions. Source: Hubert and Arabie, J. Classification 1985.

    Examples
    --------
    >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)

    def pairs(counts: np.ndarray) -> float:
        return float(np.sum(counts * (counts - 1) / 2))

    both, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = rows * columns / pairs(np.array([len(first)]))
    largest = (rows + columns) / 2
    return 1.0 if largest == expected else (both - expected) / (largest - expected)
