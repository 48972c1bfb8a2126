"""The network and its two objectives, against float64 NumPy versions by definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import reference
from flax import nnx

from dual_jax.dual.config import DualConfig
from dual_jax.dual.network import Module, dense
from dual_jax.dual.steps import init, start_selection, train_step
from dual_jax.dual.trained import coefficients
from dual_jax.numerics.statistics import moments, neighbour_scale, robust_moments

N, D = 30, 6
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
SETTINGS = {
    "hidden": (9, 7),
    "latent_dim": 4,
    "n_clusters": 5,
    "alpha": 0.9,
    "beta": 1.3,
    "gamma": 0.3,
    "eta": 0.7,
    "learning_rate": 1.0,
    "optimizer": optax.sgd,  # with rate 1 the step is the gradient
    "coefficient_optimizer": optax.sgd,
}
CASES = [("simplex", None), ("simplex", 16), ("free", 16)]  # 16: blocks of unequal size


def started(objective, block_rows):
    """Return a state whose C and P are random everywhere that is free, and its configuration."""
    state, config = _started(objective, block_rows)
    return jax.tree.map(jnp.array, state), config  # a copy, for a step eats its state


@functools.cache
def _started(objective, block_rows):
    config = DualConfig(**{**SETTINGS, "objective": objective, "block_rows": block_rows})
    key = jax.random.key(1)
    state = start_selection(key, init(key, X, config), X, config)
    noise = [0.1 * jax.random.normal(jax.random.fold_in(key, i), (N, N)) for i in range(2)]
    edges = np.cumsum([0] + [len(c) for c in state.params.C])
    is_other = 1.0 - jnp.eye(N)
    c = tuple(
        old + (noise[0] * is_other)[a:b] for old, a, b in zip(state.params.C, edges, edges[1:], strict=False)
    )
    is_cluster = (state.fixed.sizes > 0)[:, None]  # the others are padding
    edges = np.cumsum([0] + [len(p) for p in state.params.P])
    of_clusters = noise[1][: len(is_cluster)] * is_cluster
    p = tuple(old + of_clusters[a:b] for old, a, b in zip(state.params.P, edges, edges[1:], strict=False))
    return state._replace(params=state.params._replace(C=c, P=p)), config


class Oracle:
    """The five terms and the loss of a state in float64, as functions of each part."""

    def __init__(self, state, config):
        self.parts = {
            "C": np.concatenate(state.params.C).astype(float),
            "P": np.concatenate(state.params.P).astype(float),
            "encoder": reference.layers_of(state.params.network.encoder),
            "decoder": reference.layers_of(state.params.network.decoder),
        }
        fixed = state.fixed
        self.fixed = np.float64(fixed.centroids), np.float64(fixed.sizes), float(fixed.scales.neighbour)
        self.config = config

    def terms(self, **changes):
        parts = {**self.parts, **changes}
        centroids, sizes, s0 = self.fixed
        known = np.float64(X), parts["encoder"], parts["decoder"], parts["C"], parts["P"], centroids
        if self.config.objective == "free":
            return reference.free_terms(*known)
        return reference.simplex_terms(*known, sizes, s0, self.config.temperature)

    def loss(self, **changes):
        t, w = self.terms(**changes), self.config
        return t[0] + w.alpha * (t[1] + w.gamma * t[2]) + w.beta * (t[3] + w.eta * t[4])

    def slope(self, name, bump):
        """Return the central difference of the loss as a part moves by ``bump(part, step)``."""
        step = 1e-5
        ahead, behind = (self.loss(**{name: bump(self.parts[name], s)}) for s in (step, -step))
        return (ahead - behind) / (2 * step)


@pytest.mark.parametrize(("objective", "block_rows"), CASES)
def test_each_term_equals_its_definition(objective, block_rows):
    state, config = started(objective, block_rows)
    oracle = Oracle(state, config)
    _, terms = train_step(state, X, config)
    np.testing.assert_allclose(np.array(terms), oracle.terms(), rtol=1e-5)  # float32 sums of 900 numbers


@pytest.mark.parametrize(("objective", "block_rows"), CASES)
@pytest.mark.parametrize("name", ["C", "P"])
def test_gradients_of_coefficients_are_finite_differences(objective, block_rows, name):
    state, config = started(objective, block_rows)
    oracle = Oracle(state, config)
    before = oracle.parts[name]
    new, _ = train_step(state, X, config)
    gradient = before - np.concatenate(getattr(new.params, name)).astype(float)

    for i, j in [(0, 1), (3, 20), (4, 2), (2, 13)]:
        entry = np.zeros_like(before)
        entry[i, j] = 1.0
        slope = oracle.slope(name, lambda part, step, entry=entry: part + step * entry)
        assert gradient[i, j] == pytest.approx(slope, rel=1e-3, abs=1e-6)  # float32 against float64


@pytest.mark.parametrize("objective", ["simplex", "free"])
@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_gradients_of_the_network_are_finite_differences(objective, name):
    state, config = started(objective, 16)
    oracle = Oracle(state, config)
    new, _ = train_step(state, X, config)
    after = reference.layers_of(getattr(new.params.network, name))

    for layer in range(3):
        gradient = oracle.parts[name][layer][0] - after[layer][0]
        i, j = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)

        def bump(layers, step, layer=layer, at=(i, j)):
            moved = [(kernel.copy(), bias) for kernel, bias in layers]
            moved[layer][0][at] += step
            return moved

        assert gradient[i, j] == pytest.approx(oracle.slope(name, bump), rel=1e-3)  # float32


@pytest.mark.parametrize(("objective", "block_rows"), CASES)
def test_what_stands_on_the_diagonal_is_never_read_and_is_0_after_a_step(objective, block_rows):
    state, config = started(objective, block_rows)
    oracle = Oracle(state, config)
    c = np.concatenate(state.params.C)
    np.fill_diagonal(c, 5.0)
    ends = np.cumsum([len(block) for block in state.params.C])[:-1]
    state = state._replace(params=state.params._replace(C=tuple(map(jnp.asarray, np.split(c, ends)))))

    new, terms = train_step(state, X, config)

    np.testing.assert_allclose(np.array(terms), oracle.terms(), rtol=1e-5)  # float32
    assert not np.diagonal(np.concatenate(new.params.C)).any()


@pytest.mark.parametrize("objective", ["simplex", "free"])
def test_no_sample_rebuilds_itself_after_any_number_of_steps(objective):
    adam = {"objective": objective, "optimizer": optax.adam, "coefficient_optimizer": optax.adam}
    config = DualConfig(**{**SETTINGS, **adam, "learning_rate": 0.01})
    state = start_selection(jax.random.key(1), init(jax.random.key(1), X, config), X, config)
    for _ in range(5):
        state, terms = train_step(state, X, config)
    assert np.all(np.isfinite(terms))
    assert not np.any(np.diag(np.concatenate(state.params.C)))
    moments = [np.diag(np.concatenate([s[0].mu for s in state.opt_state.C]))]
    moments += [np.diag(np.concatenate([s[0].nu for s in state.opt_state.C]))]
    assert not np.any(moments)
    assert not np.any(np.diag(coefficients(state, X, config).C))


def test_columns_of_the_simplex_sum_to_one_and_have_no_negative_entry():
    state, config = started("simplex", 16)
    c, p = coefficients(state, X, config)
    np.testing.assert_allclose(c.sum(axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=0), 1.0, rtol=1e-5)
    assert c.min() >= 0


@pytest.mark.parametrize("objective", ["simplex", "free"])
def test_a_target_with_nothing_else_to_use_has_zero_coefficients_and_harms_no_gradient(objective):
    config = DualConfig(**{**SETTINGS, "objective": objective})
    key, only = jax.random.key(1), jnp.arange(N) == 4
    state = start_selection(key, init(key, X, config), X, config, candidates=only)
    state, _ = train_step(state, X, config)
    c = coefficients(state, X, config).C
    assert not np.any(c[:, 4])
    assert np.all(np.isfinite(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.params)])))
    if objective == "simplex":
        assert c[0].tolist() == [float(i != 4) for i in range(N)]


def test_dense_layers_start_uniform_in_one_over_root_fan_in():
    module = dense((50, 3))
    params = module.init(jax.random.key(0), jnp.zeros((1, 16)))
    kernel, bias = reference.layers_of(params)[0]
    assert abs(kernel).max() <= 0.25
    assert abs(bias).max() <= 0.25
    assert kernel.std() == pytest.approx(0.25 / 3**0.5, rel=0.05)  # 800 draws: 2.5 % each way


def test_the_scale_is_the_mean_squared_distance_to_the_ten_nearest():
    squared = ((X[:, None] - X[None]) ** 2).sum(-1) + np.diag(np.full(N, np.inf))
    expected = np.sort(squared, axis=1)[:, :10].mean()
    found = neighbour_scale(jax.random.key(0), jnp.asarray(X), jnp.ones(N, bool))
    assert found == pytest.approx(expected, rel=1e-5)  # float32


def test_the_scale_of_a_pool_of_duplicates_is_not_zero():
    pairs = jnp.repeat(jnp.array([[0.0, 0.0], [3.0, 4.0]]), 12, axis=0)
    found = neighbour_scale(jax.random.key(0), pairs, jnp.ones(24, bool))
    assert found == pytest.approx(2 * 6.25)  # twice the mean squared distance from the centre
    same = neighbour_scale(jax.random.key(0), jnp.ones((24, 2)), jnp.ones(24, bool))
    assert same == 1.0


def test_the_robust_centre_is_the_geometric_median_of_the_real_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 3)).astype(np.float32) * [1.0, 5.0, 0.2]
    found = robust_moments(jnp.asarray(rows, jnp.float32), jnp.arange(40) < 35)
    lengths = np.linalg.norm(rows[:35] - np.asarray(found.mean), axis=1)
    pull = ((rows[:35] - np.asarray(found.mean)) / lengths[:, None]).sum(0)
    assert np.linalg.norm(pull) < 0.01  # of 35 unit vectors: the optimality condition
    np.testing.assert_allclose(found.spread, np.median(lengths), rtol=1e-5)


def test_far_rows_hardly_move_the_robust_moments():
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    far = np.concatenate([rows, np.full((3, 4), 1e6, np.float32)])
    clean = robust_moments(jnp.asarray(rows), jnp.ones(50, bool))
    found = robust_moments(jnp.asarray(far), jnp.ones(53, bool))
    assert np.linalg.norm(found.mean - clean.mean) < 0.2 * clean.spread
    np.testing.assert_allclose(found.spread, clean.spread, rtol=0.1)  # three ranks further in 50


@pytest.mark.parametrize("n_copies", [1, 9])
def test_a_robust_centre_on_a_row_stays_or_leaves_as_it_should(n_copies):
    center, cross = np.array([1.5, 0.0]), np.array([[1.0, 0.0], [-1.0, 0.0], [3.0, 4.0], [3.0, -4.0]])
    rows = np.concatenate([np.tile(center, (n_copies, 1)), cross])  # whose mean is where the copies are
    found = robust_moments(jnp.asarray(rows, jnp.float32), jnp.ones(len(rows), bool))
    arms = cross - center
    pull = np.linalg.norm((arms / np.linalg.norm(arms, axis=1, keepdims=True)).sum(0))
    assert (found.mean[0] == 1.5) == (n_copies >= pull)


@pytest.mark.parametrize("at", [0.0, 0.3])
def test_copies_that_are_most_of_the_pool_do_not_count_for_the_spread(at):
    others = np.random.default_rng(0).normal(3.0, 1.0, size=(40, 2))
    rows = np.concatenate([np.full((60, 2), at), others]).astype(np.float32)
    found = robust_moments(jnp.asarray(rows), jnp.ones(100, bool))
    np.testing.assert_array_equal(found.mean, rows[0])
    np.testing.assert_allclose(found.spread, np.median(np.linalg.norm(others - at, axis=1)), rtol=1e-5)


def test_rows_that_are_all_the_same_have_a_spread_to_divide_by():
    found = robust_moments(jnp.ones((6, 2)), jnp.ones(6, bool))
    assert found.mean.tolist() == [1.0, 1.0]
    assert found.spread == 1.0


def test_moments_leave_padding_out():
    rows = jnp.array([[1.0, 0.0], [3.0, 0.0], [99.0, 99.0]])
    found = moments(rows, jnp.array([True, True, False]))
    assert found.mean.tolist() == [2.0, 0.0]
    assert found.spread == pytest.approx(1.0)


def convolution() -> Module:
    """A convolutional encoder of 4 x 4 images to 3 numbers, in plain JAX."""

    def init(key, x):
        return {"kernel": jax.random.normal(key, (3, 1, 2, 2)) * 0.5}

    def apply(params, x):
        maps = jax.lax.conv(x[:, None], params["kernel"], (1, 1), "VALID")
        return jax.nn.relu(maps).mean(axis=(2, 3))

    return Module(init, apply)


def linear_decoder(shape) -> Module:
    def init(key, z):
        return {"kernel": jax.random.normal(key, (z.shape[1], int(np.prod(shape))))}

    return Module(init, lambda params, z: (z @ params["kernel"]).reshape(len(z), *shape))


def test_any_pair_of_functions_can_be_the_network():
    images = np.random.default_rng(1).normal(size=(20, 4, 4)).astype(np.float32)
    config = DualConfig(encoder=convolution(), decoder=linear_decoder((4, 4)))
    key = jax.random.key(0)
    state = start_selection(key, init(key, images, config), images, config)
    losses = []
    for _ in range(3):
        state, terms = train_step(state, images, config)
        losses.append(float(terms.reconstruction))
    assert losses[2] < losses[0]


def test_a_decoder_of_the_wrong_size_is_refused():
    config = DualConfig(decoder=linear_decoder((5,)))
    with pytest.raises(ValueError, match="must hold 6 values"):
        init(jax.random.key(0), X, config)


def test_an_nnx_module_can_be_the_encoder():
    class Encoder(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(D, 2, rngs=rngs)

        def __call__(self, x):
            return self.linear(x)

    graph = nnx.split(nnx.eval_shape(lambda: Encoder(nnx.Rngs(0))))[0]
    encoder = Module(
        lambda key, x: nnx.split(Encoder(nnx.Rngs(key)))[1],
        lambda params, x: nnx.merge(graph, params)(x),
    )
    state = init(jax.random.key(0), X, DualConfig(encoder=encoder))
    assert state.params.network.encoder["linear"]["kernel"].shape == (D, 2)
