"""The dense layers: how their weights start, and that JAX traces them once."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dual_jax.dual.network import dense

WIDTHS, N_FEATURES = (5, 3), 4
KEY, X = jax.random.key(3), jnp.ones((7, N_FEATURES))


def layers_of_nnx():
    """Return the arrays that Flax NNX draws for the same layers, one array after the other."""

    def layer(fan_in, fan_out):
        def uniform(key, shape, dtype, *_, **__):
            return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)

        return nnx.Linear(fan_in, fan_out, kernel_init=uniform, bias_init=uniform, rngs=rngs)

    rngs = nnx.Rngs(KEY)
    return [layer(*shape) for shape in zip((N_FEATURES, *WIDTHS), WIDTHS, strict=False)]


def test_weights_start_as_flax_draws_them_one_by_one():
    drawn = jax.tree.leaves(dense(WIDTHS).init(KEY, X))
    expected = [array[...] for layer in layers_of_nnx() for array in (layer.bias, layer.kernel)]
    assert len(drawn) == len(expected)
    for array, own in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(array, own)


def test_codes_are_those_of_the_layers_in_numpy():
    network = dense(WIDTHS)
    params = network.init(KEY, X)
    first, second = (jax.tree.map(np.asarray, params["layers"][i]) for i in (0, 2))
    hidden = np.maximum(np.asarray(X) @ first["kernel"] + first["bias"], 0.0)
    codes = hidden @ second["kernel"] + second["bias"]
    np.testing.assert_allclose(network.apply(params, X), codes, rtol=1e-5)  # another order of sums


def test_equal_widths_are_the_same_functions_which_jax_traces_once():
    assert dense(WIDTHS) is dense(WIDTHS)
    assert dense([*WIDTHS]) is dense(WIDTHS)
