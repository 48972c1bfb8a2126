"""Scaling, compared with float64 NumPy, on the host and on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.numerics import scaling
from dual_jax.numerics.scaling import SCALINGS, apply, beside, fit_parts, fit_scaler, join


@pytest.fixture(params=[np.asarray, jnp.asarray], ids=["host", "device"])
def on_side(request):
    return request.param


KEY = jax.random.key(0)


def table(seed=0):
    return np.random.default_rng(seed).normal([0, 5, -3], [1, 10, 0.01], (50, 3)).astype(np.float32)


def oracle(x, how):
    x = x.astype(np.float64)
    if how == "standard":
        return (x - x.mean(0)) / x.std(0)
    if how == "global":
        return (x - x.mean()) / x.std()
    return x / np.linalg.norm(x, axis=1, keepdims=True) if how == "l2" else x


@pytest.mark.parametrize("how", SCALINGS)
def test_a_scaled_table_is_that_of_float64(on_side, how):
    x = table()

    scaled = apply(fit_scaler(on_side(x), how), on_side(x))

    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, oracle(x, how), atol=2e-6)  # some float32 roundings of numbers near 1


@pytest.mark.parametrize("how", SCALINGS)
def test_new_rows_are_scaled_by_the_pool(on_side, how):
    x = table()
    scaler = fit_scaler(on_side(x), how)

    alone = apply(scaler, on_side(x[7:9]))

    np.testing.assert_array_equal(alone, apply(scaler, on_side(x))[7:9])


@pytest.mark.parametrize("how", SCALINGS)
def test_host_and_device_mix_in_fit_and_apply(how):
    x = table()

    mixed = apply(fit_scaler(x, how), jnp.asarray(x)), apply(fit_scaler(jnp.asarray(x), how), x)

    assert isinstance(mixed[0], jax.Array)
    assert isinstance(mixed[1], np.ndarray)
    np.testing.assert_allclose(mixed[0], mixed[1], atol=2e-6)  # float32 against float64 statistics


def test_a_small_spread_on_a_large_offset_keeps_its_digits(on_side):
    x = (1e6 + np.random.default_rng(0).choice([-1.0, 1.0], (200, 2))).astype(np.float32)

    scaled = apply(fit_scaler(on_side(x)), on_side(x))

    np.testing.assert_allclose(scaled, oracle(x, "standard"), atol=1e-6)  # the differences are exact


def test_float64_columns_are_scaled_before_they_become_float32():
    x = 1.6e9 + np.random.default_rng(0).normal(size=(200, 2))

    scaled = apply(fit_scaler(x), x)

    np.testing.assert_allclose(scaled, oracle(x, "standard"), atol=1e-6)  # float64 resolves 2e-7 here


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.3, -7.0, 1e30])
def test_a_constant_feature_becomes_exactly_zero(on_side, value):
    x = np.column_stack([np.full(1000, value), np.arange(1000)]).astype(np.float32)

    scaled = apply(fit_scaler(on_side(x)), on_side(x))

    np.testing.assert_array_equal(scaled[:, 0], 0)


def test_a_float64_constant_that_float32_cannot_hold_becomes_exactly_zero():
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000)])

    np.testing.assert_array_equal(apply(fit_scaler(x), x)[:, 0], 0)


@pytest.mark.parametrize("how", ["standard", "l2"])
@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_squares_beyond_float32_do_no_harm(on_side, how, factor):
    x = table() * np.float32(factor)

    scaled = apply(fit_scaler(on_side(x), how), on_side(x))

    np.testing.assert_allclose(scaled, oracle(x, how), atol=2e-6)  # some float32 roundings of numbers near 1


def test_a_row_of_zeros_has_no_direction_and_stays(on_side):
    x = np.array([[0, 0], [3, 4]], np.float32)

    scaled = apply(fit_scaler(on_side(x), "l2"), on_side(x))

    np.testing.assert_allclose(scaled, [[0, 0], [0.6, 0.8]], rtol=1e-6)  # one rounding each


def test_the_host_gives_the_same_for_any_block_size(monkeypatch):
    x = table()
    whole = apply(fit_scaler(x), x)
    monkeypatch.setattr(scaling, "CELLS", 60)

    np.testing.assert_array_equal(apply(fit_scaler(x), x), whole)


def test_integers_are_scaled_as_numbers():
    x = np.array([[0, 255], [255, 0]], np.uint8)

    np.testing.assert_array_equal(apply(fit_scaler(x), x), [[-1, 1], [1, -1]])


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ValueError, match="'minmax' is not known: use one of standard, global, l2, none"):
        fit_scaler(table(), "minmax")


def test_another_number_of_features_is_refused():
    with pytest.raises(ValueError, match="2 features, but the scaler was fitted on 3"):
        apply(fit_scaler(table()), table()[:, :2])


def embedding(n=50):
    return np.random.default_rng(1).normal(7, [100, 200], (n, 2)).astype(np.float32)


def test_inputs_and_embedding_side_by_side_are_those_of_float64(on_side):
    x, z = table(), embedding()

    wide = beside(on_side(x), on_side(z))

    centred = [part - part.mean(0, dtype=np.float64) for part in (x, z)]
    parts = [part / np.sqrt(np.mean(np.sum(part**2, 1))) * np.sqrt(5 / 2) for part in centred]
    np.testing.assert_allclose(wide, np.hstack(parts), atol=2e-6)  # some float32 roundings of numbers near 1


def test_each_part_has_the_same_share_of_the_squared_distances_whatever_its_width_and_unit(on_side):
    x = np.random.default_rng(0).normal(size=(50, 200)).astype(np.float32)

    wide = np.asarray(beside(on_side(x * 1e-3), on_side(embedding())))

    shares = [np.sum(np.var(part, axis=0)) for part in (wide[:, :200], wide[:, 200:])]
    np.testing.assert_allclose(shares, 101, rtol=1e-5)  # half of 202 features; sums of 50 float32 numbers


def test_new_rows_beside_their_embedding_are_scaled_by_the_pool():
    x, z = table(), embedding()

    alone = join(fit_parts(x, z), x[7:9], jnp.asarray(z[7:9]))

    assert isinstance(alone, np.ndarray)
    np.testing.assert_array_equal(alone, beside(x, z)[7:9])


def test_a_part_that_says_nothing_becomes_zeros():
    wide = beside(table(), np.full((50, 2), 3.0))

    np.testing.assert_array_equal(wide[:, 3:], 0)


def test_parts_can_be_joined_in_a_compiled_program():
    x, z = jnp.asarray(table()), jnp.asarray(embedding())

    np.testing.assert_allclose(jax.jit(beside)(x, z), beside(x, z), atol=1e-6)  # another order of sums


@pytest.mark.parametrize("factor", [1e-25, 1e-20, 1e20, 1e30])
def test_rows_whose_squared_distances_leave_float32_are_refused_everywhere(factor):
    x = (np.random.default_rng(0).normal(size=(24, 4)) * factor).astype(np.float32)
    short = dj.DualConfig(pretrain_steps=1, steps=1)
    for pick in (
        lambda: dj.METHODS["facility"](KEY, x, 3),
        lambda: dj.kmeans(KEY, x, 3),
        lambda: dj.fit(KEY, x, short),
    ):
        with pytest.raises(ValueError, match="squares stay within float32"):
            pick()


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
def test_picks_do_not_depend_on_the_unit_of_the_features(factor):
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    for name in ("facility", "kmeans", "medoids", "kcenter"):
        picks = [dj.METHODS[name](KEY, scale * x, 5).indices.tolist() for scale in (1.0, factor)]
        assert picks[0] == picks[1], name
