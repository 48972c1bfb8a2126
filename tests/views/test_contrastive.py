"""Contrastive learning: its loss against plain sums, and what a few steps must do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.views import contrastive
from dual_jax.views.contrastive import embed, learn, nt_xent
from dual_jax.views.convolution import convolutional

IMAGES = np.random.default_rng(0).normal(3, 2, size=(20, 8, 8)).astype(np.float32)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def embedder():
    return learn(KEY, IMAGES, latent_dim=3, steps=60, batch_size=8)


def test_images_become_codes_and_new_ones_too(embedder):
    codes = embed(embedder, IMAGES)

    assert codes.shape == (20, 3)
    np.testing.assert_allclose(
        embed(embedder, IMAGES[..., None][7:9]), codes[7:9], atol=1e-6
    )  # other batches


def test_the_loss_falls(embedder):
    assert len(embedder.losses) == 60
    assert embedder.losses[-10:].mean() < embedder.losses[:10].mean()


def test_the_loss_is_that_of_the_formula():
    rng, t = np.random.default_rng(0), 0.3
    first, second = rng.normal(size=(2, 5, 3))
    z = np.concatenate([first, second])
    z /= np.linalg.norm(z, axis=1, keepdims=True)

    terms = []
    for i in range(10):
        others = [np.exp(z[i] @ z[j] / t) for j in range(10) if j != i]
        terms.append(-np.log(np.exp(z[i] @ z[(i + 5) % 10] / t) / sum(others)))

    found = nt_xent(jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32), t)
    np.testing.assert_allclose(found, np.mean(terms), rtol=1e-5)  # float32 sums of ten


def test_a_row_of_zeros_has_a_loss_and_a_gradient():
    views = jnp.zeros((2, 3)).at[0, 0].set(1.0)

    value, gradient = jax.value_and_grad(nt_xent)(views, views, 0.5)

    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_the_same_key_gives_the_same_codes_and_the_unit_of_the_pixels_does_not_matter(embedder):
    again = learn(KEY, 255 * IMAGES.astype(np.float64), latent_dim=3, steps=60, batch_size=8)

    # 60 steps of Adam can grow a rounding of the pixels; a wrong unit would change everything.
    np.testing.assert_allclose(embed(again, 255 * IMAGES), embed(embedder, IMAGES), atol=0.02)


def test_learning_again_compiles_nothing():
    learn(KEY, IMAGES, latent_dim=3, steps=60, batch_size=8)
    n_compiled = contrastive._advance._cache_size()

    learn(jax.random.key(1), IMAGES[::-1], latent_dim=3, steps=7, batch_size=8, temperature=0.2)

    assert contrastive._advance._cache_size() == n_compiled


def test_callbacks_see_the_steps_and_may_stop_it():
    seen = []

    learn(KEY, IMAGES, latent_dim=3, steps=60, batch_size=8, callbacks=[seen.append])

    assert [(chunk.stage, chunk.step, len(chunk.terms["loss"])) for chunk in seen] == [
        ("contrast", 50, 50),
        ("contrast", 60, 10),
    ]


def test_the_codes_go_beside_the_pixels_of_an_estimator(embedder):
    def codes(rows):
        return embed(embedder, rows.reshape(-1, 8, 8))

    picked = dj.Selector("kcenter", 5, scale="global").fit(IMAGES.reshape(20, -1), embedding=codes)

    assert len(set(picked.sample_indices_)) == 5


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((3, 3), [32]),
        ((8, 8), [32]),
        ((9, 5), [32, 64]),
        ((28, 28), [32, 64, 128]),
        ((65, 3, 3), [32, 64, *[128] * 3]),
    ],
)
def test_convolutions_halve_an_image_until_it_is_small(shape, widths):
    images = jnp.zeros((1, *shape, 1)[:4] if len(shape) == 2 else (1, *shape))

    params = contrastive._default_encoder(images.shape[1:], 3).init(KEY, images)

    outputs = [layer["kernel"].shape[1] for _, layer in sorted(params["layers"].items())]
    assert outputs == [*widths, 3]


@pytest.mark.parametrize(
    ("images", "knobs", "words"),
    [
        (IMAGES[:1], {}, "1 images"),
        (np.ones((3, 8, 8)), {}, "not all of one colour"),
        (np.full((3, 8, 8), np.nan), {}, "deviation of nan"),
        (IMAGES.reshape(20, -1), {}, r"shape \(20, 64\), wanted"),
        (IMAGES, {"steps": 0}, "steps=0"),
        (IMAGES, {"batch_size": 1}, "at least 1 step of 2 images"),
        (IMAGES, {"temperature": 0.0}, "must be finite and above 0"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(images, knobs, words):
    with pytest.raises(ValueError, match=words):
        learn(KEY, images, **knobs)


def test_a_loss_that_is_not_finite_stops_it_and_names_the_step():
    broken = convolutional((2,), 3)._replace(apply=lambda params, x: jnp.full((len(x), 3), jnp.nan))

    with pytest.raises(ValueError, match="loss is nan at step 0 of the contrast stage"):
        learn(KEY, IMAGES, encoder=broken, steps=1, batch_size=8)
