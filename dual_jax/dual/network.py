"""The autoencoder: encoder and decoder as pure functions over plain pytrees of parameters.

Flax is imported when a network is traced: a process that only runs known programs does without it.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from dual_jax.numerics.xla import dense_product


class Module(NamedTuple):
    """A pure network: ``init(key, inputs) -> params`` and ``apply(params, inputs) -> outputs``."""

    init: Callable[[Key[Array, ""], Array], PyTree]
    apply: Callable[[PyTree, Array], Array]


class Autoencoder(NamedTuple):
    """Two modules, or their parameters: rows of x to codes (n, p), and codes to rows of x."""

    encoder: Any
    decoder: Any


def dense(widths: tuple[int, ...]) -> Module:
    """Return dense layers with ReLU between them and a linear output, written in Flax NNX. Eqs. (2) and (8).

    Parameters
    ----------
    widths
        Output width of each layer; the input width is that of the data.

    Weights and biases start uniform in +-1/sqrt(fan in), as in the released code.

    Examples
    --------
    >>> import jax
    >>> encoder = dense((128, 64, 32))
    >>> x = jax.numpy.ones((5, 40))
    >>> encoder.apply(encoder.init(jax.random.key(0), x), x).shape
    (5, 32)
    """
    return _dense(tuple(map(int, widths)))


@functools.lru_cache  # the same functions each time, which JAX traces once for a shape
def _dense(widths: tuple[int, ...]) -> Module:
    def network(shape: tuple[int, ...], rngs: Any) -> Callable:
        from flax import nnx

        layers: list[Callable] = []
        for fan_in, fan_out in zip((math.prod(shape), *widths[:-1]), widths, strict=True):
            layers += [nnx.Linear(fan_in, fan_out, dot_general=_product, rngs=rngs), nnx.relu]
        return nnx.Sequential(*layers[:-1])

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        from flax import nnx

        shapes = nnx.to_pure_dict(_graph(network, x.shape[1:])[1])
        layers, structure = jax.tree.flatten(shapes, is_leaf=lambda node: "kernel" in node)
        return jax.tree.unflatten(structure, _uniform_layers(key, layers))

    module = pure(network)

    # A number of rows that is a symbol, under jax.export, has no len.
    def apply(params: PyTree, x: Array) -> Array:
        return module.apply(params, x.reshape(x.shape[0], -1))

    return Module(init, jax.jit(apply, inline=True))


def _product(rows: Array, kernel: Array, *_: Any, **__: Any) -> Array:
    """Return what `nnx.Linear` asks of `jax.lax.dot_general`, with that function's other arguments."""
    return dense_product(rows, kernel)


def _uniform_layers(key: Key[Array, ""], layers: list[Any]) -> list[dict[str, Array]]:
    """Return kernel and bias of each layer, uniform in +-1/sqrt(fan in), with the keys that NNX would use.

    All are cut from one array with a row for each, because a draw is long to compile and quick to run: a
    number depends only on the key of its row and on its place there.
    """
    names = ("kernel", "bias")  # in the order in which a layer draws them
    shapes = [layer[name].shape for layer in layers for name in names]
    bounds = [layer["kernel"].shape[0] ** -0.5 for layer in layers for _ in names]
    most = max(map(math.prod, shapes))

    def draw(of: tuple[Array, Array]) -> Array:
        place, bound = of
        return jax.random.uniform(jax.random.fold_in(key, place), (most,), jnp.float32, -bound, bound)

    rows = jax.lax.map(draw, (jnp.arange(len(shapes)), jnp.array(bounds, jnp.float32)))
    arrays = [row[: math.prod(shape)].reshape(shape) for row, shape in zip(rows, shapes, strict=True)]
    return [dict(zip(names, arrays[i : i + 2], strict=True)) for i in range(0, len(arrays), 2)]


def pure(network: Callable[[tuple[int, ...], Any], Callable]) -> Module:
    """Return a Flax NNX network as a pure module; ``network(shape of one sample, rngs)`` makes it."""

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        from flax import nnx

        return nnx.to_pure_dict(nnx.state(network(x.shape[1:], nnx.Rngs(key))))

    def apply(params: PyTree, x: Array) -> Array:
        from flax import nnx

        graph, shapes = _graph(network, x.shape[1:])
        state = jax.tree.map(lambda shape: shape, shapes)  # a copy, to be filled
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(x)

    return Module(init, apply)


@functools.lru_cache(64)  # building it takes longer than to trace the network
def _graph(network: Callable[[tuple[int, ...], Any], Callable], shape: tuple[int, ...]) -> Any:
    """Return a network's graph definition, and its state with shapes in place of arrays."""
    from flax import nnx

    return nnx.split(nnx.eval_shape(lambda: network(shape, nnx.Rngs(0))))
