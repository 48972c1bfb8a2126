"""The convolutional encoder, compared with plain sums, and as the encoder of DUAL."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.views.convolution import convolutional

IMAGES = np.random.default_rng(0).normal(size=(12, 7, 6)).astype(np.float32)


def test_images_with_or_without_channels_or_flattened_give_the_same_codes():
    key, flat = jax.random.key(0), IMAGES.reshape(12, -1)
    encoder, of_rows = convolutional((3, 4), 5), convolutional((3, 4), 5, image_shape=(7, 6))
    params = encoder.init(key, IMAGES)

    codes = encoder.apply(params, IMAGES)

    assert codes.shape == (12, 5)
    np.testing.assert_array_equal(encoder.apply(params, IMAGES[..., None]), codes)
    np.testing.assert_array_equal(of_rows.apply(of_rows.init(key, flat), flat), codes)


def test_a_layer_is_a_convolution_of_stride_2_with_zeros_beyond_the_edges():
    encoder = convolutional((2,), 3)
    params = jax.tree.map(np.asarray, encoder.init(jax.random.key(0), IMAGES))
    kernel, output = params["layers"][1]["kernel"].reshape(3, 3, 2), params["layers"][4]["kernel"]

    padded = np.pad(IMAGES.astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    places = [(i, j) for i in range(0, 7, 2) for j in range(0, 6, 2)]
    hidden = [np.einsum("nij,ijc->nc", padded[:, i : i + 3, j : j + 3], kernel) for i, j in places]
    expected = np.maximum(np.concatenate(hidden, axis=1), 0) @ output

    np.testing.assert_allclose(encoder.apply(params, IMAGES), expected, atol=1e-5)  # float32 sums of 24


def test_it_can_be_the_encoder_of_dual():
    config = dj.DualConfig(encoder=convolutional((2,), 3), pretrain_steps=2, steps=2)

    fitted = dj.fit(jax.random.key(0), jnp.asarray(IMAGES), config)

    assert sorted(fitted.ranking.indices.tolist()) == list(range(12))


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"shape \(12, 42\), wanted \(n, h, w\)"):
        convolutional((2,), 3).init(jax.random.key(0), IMAGES.reshape(12, -1))
