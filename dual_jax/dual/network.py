"""The autoencoder: encoder and decoder as pure functions over plain pytrees of parameters."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Key, PyTree


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

    def network(shape: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Sequential:
        layers: list[Callable] = []
        for fan_in, fan_out in zip((math.prod(shape), *widths[:-1]), widths, strict=True):
            layers += [_linear(fan_in, fan_out, rngs), nnx.relu]
        return nnx.Sequential(*layers[:-1])

    module = pure(network)
    # A number of rows that is a symbol, under jax.export, has no len.
    return Module(module.init, lambda params, x: module.apply(params, x.reshape(x.shape[0], -1)))


def pure(network: Callable[[tuple[int, ...], nnx.Rngs], Callable]) -> Module:
    """Return a Flax NNX network as a pure module; ``network(shape of one sample, rngs)`` makes it."""

    def init(key: Key[Array, ""], x: Array) -> PyTree:
        return nnx.to_pure_dict(nnx.state(network(x.shape[1:], nnx.Rngs(key))))

    def apply(params: PyTree, x: Array) -> Array:
        abstract = nnx.eval_shape(lambda: network(x.shape[1:], nnx.Rngs(0)))
        graph, state = nnx.split(abstract)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graph, state)(x)

    return Module(init, apply)


def _linear(fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    bound = fan_in**-0.5

    def init(key: Key[Array, ""], shape: Any, dtype: Any = jnp.float32, *_: Any, **__: Any) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(fan_in, fan_out, kernel_init=init, bias_init=init, rngs=rngs)
