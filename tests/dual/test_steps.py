"""The steps: what they change, what they leave alone, and that devices change nothing."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dual_jax.dual.blocks import at_rest
from dual_jax.dual.config import DualConfig
from dual_jax.dual.objectives.notation import total_loss
from dual_jax.dual.state import started
from dual_jax.dual.steps import init, pretrain_step, start_selection, train_step
from dual_jax.dual.trained import coefficients, learnt_space, row_norms
from dual_jax.numerics.statistics import MAX_INPUTS

N, D = 31, 6  # odd: no two devices hold the same number of rows
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
CONFIG = DualConfig(
    hidden=(9, 7),
    latent_dim=4,
    n_clusters=5,
    learning_rate=1.0,
    optimizer=optax.sgd,  # with rate 1 the step is the gradient
    coefficient_optimizer=optax.sgd,
)
FREE = DualConfig.paper(**{name: getattr(CONFIG, name) for name in ("hidden", "latent_dim", "n_clusters")})
KEY = jax.random.key(1)


def start(x=X, config=CONFIG, **masks):
    return start_selection(KEY, init(KEY, x, config), jnp.asarray(x), config, **masks)


@pytest.mark.slow
def test_a_dictionary_of_ones_own_replaces_the_drawn_one_and_nothing_else():
    drawn = start(config=dataclasses.replace(CONFIG, dictionary_size=9))
    given = start(dictionary=drawn.fixed.dictionary)
    jax.tree.map(np.testing.assert_array_equal, given, drawn)
    own = start(dictionary=jnp.array([0, 4, -1]))
    assert own.fixed.dictionary.tolist() == [0, 4, -1]
    assert all((np.asarray(c)[:, 2] == 0).all() for c in own.params.C)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [pytest.param(CONFIG, marks=pytest.mark.slow), FREE], ids=["simplex", "free"]
)
def test_the_unused_columns_and_carried_sums_of_a_tpu_change_no_coefficient(config):
    config = dataclasses.replace(config, block_rows=20, coefficient_optimizer=optax.adam, learning_rate=0.01)
    is_labeled = jnp.arange(N) % 7 == 0
    labeled, candidates = is_labeled, ~is_labeled & (jnp.arange(N) % 3 > 0)
    found = []
    for platform in ("cpu", "tpu"):
        sizes = config.sizes(N, 20, platform=platform)
        state = start(config=config, labeled=labeled, candidates=candidates, sizes=sizes)
        for _ in range(20):
            state, terms = train_step(state, X, config)
        found.append((state, terms))
    (plain, plain_terms), (padded, padded_terms) = found
    assert [len(state.fixed.dictionary) for state, _ in found] == [31, 128]
    assert (plain.sums is None, padded.sums is None) == (True, config.objective == "simplex")
    for own, wide in zip(plain.params[1:], padded.params[1:], strict=True):  # C and P, in other blocks
        own, wide = np.concatenate(own), np.concatenate(wide)
        n = min(len(own), len(wide))  # what one of them has more is padding
        np.testing.assert_allclose(own[:n], wide[:n, :31], atol=1e-6)
        assert not wide[:, 31:].any()
        assert not own[n:].any()
        assert not wide[n:].any()
    # The root of an empty row's norm is 1e-6.
    np.testing.assert_allclose(plain_terms, padded_terms, rtol=1e-5, atol=97 * 1e-6)


@pytest.mark.slow
def test_carried_sums_are_those_of_c_and_p():
    state = start(config=FREE, sizes=FREE.sizes(N, platform="tpu"))
    state, _ = train_step(state, X, FREE)
    for blocks, sums in zip((state.params.C, state.params.P), state.sums, strict=True):
        expected = sum((np.asarray(block, np.float64) ** 2).sum(axis=0) for block in blocks)
        np.testing.assert_allclose(sums, expected, rtol=1e-6)


def test_pretraining_lowers_the_mean_squared_error():
    config = DualConfig(hidden=(9, 7), latent_dim=4)
    state = init(KEY, X, config)
    losses = []
    for _ in range(40):
        state, terms = pretrain_step(state, X, config)
        losses.append(float(terms.reconstruction))
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(np.mean(X**2), rel=0.2)  # a fresh decoder returns almost nothing


def test_a_mini_batch_may_be_any_rows():
    config = DualConfig(hidden=(9, 7), latent_dim=4)
    state, terms = pretrain_step(init(KEY, X, config), X[:8], config)
    assert np.isfinite(terms.reconstruction)
    assert int(state.step) == 1


def test_the_selection_starts_from_the_pretrained_encoder_with_a_fresh_optimiser():
    state = init(KEY, X, FREE)
    state, _ = pretrain_step(state, X, FREE)
    kept = jax.tree.map(np.array, state.params.network)
    started = start_selection(KEY, state, X, FREE)
    jax.tree.map(np.testing.assert_array_equal, kept, started.params.network)
    assert int(started.step) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(started.opt_state))
    assert started.fixed.sizes.sum() == N


def test_the_free_start_has_the_variance_of_xavier_and_the_same_seeds_every_time():
    state, again = start(config=FREE), start_selection(jax.random.key(7), init(KEY, X, FREE), X, FREE)
    c = np.concatenate(state.params.C)
    np.testing.assert_array_equal(c, np.concatenate(again.params.C))
    assert c[~np.eye(N, dtype=bool)].std() == pytest.approx(N**-0.5, rel=0.1)  # 930 draws: 5 % twice


def test_forbidden_rows_rebuild_nothing_and_labelled_rows_do_without_penalty():
    candidates, labeled = np.arange(N) > 3, np.arange(N) == 2
    state = start(labeled=labeled, candidates=candidates)
    assert state.fixed.dictionary[:3].tolist() == [2, 4, 5]
    norms = row_norms(state, X, CONFIG)
    _, terms = train_step(state, X, CONFIG)
    unit = float(jnp.sqrt(start().fixed.scales.neighbour))
    assert terms.sparsity == pytest.approx(unit * float(norms.C[1 : N - 3].sum()), rel=1e-4)  # not row 2's


def test_permuting_the_samples_permutes_the_coefficients():
    order = np.random.default_rng(5).permutation(N)
    states = start(), start(X[order])
    clusters = states[0].fixed.centroids, states[0].fixed.sizes  # seeding depends on the order
    states = (
        states[0],
        states[1]._replace(fixed=states[1].fixed._replace(centroids=clusters[0] + 0, sizes=clusters[1] + 0)),
    )
    (state, terms), (permuted, same) = (
        train_step(s, x, CONFIG) for s, x in zip(states, (X, X[order]), strict=True)
    )
    np.testing.assert_allclose(terms, same, rtol=1e-5)  # sums in another order
    c = coefficients(state, X, CONFIG).C
    np.testing.assert_allclose(coefficients(permuted, X[order], CONFIG).C, c[order][:, order], atol=1e-5)


def test_a_new_weight_or_rate_does_not_compile_again():
    state = start()
    state, _ = train_step(state, X, CONFIG)
    before = train_step._cache_size()
    for alpha in (0.5, 2.0):
        state, _ = train_step(state, X, DualConfig(**{**vars(CONFIG), "alpha": alpha, "learning_rate": 0.1}))
    assert train_step._cache_size() == before


def test_a_grid_of_weights_is_one_vmap():
    grid = DualConfig(**{**vars(CONFIG), "alpha": jnp.array([0.0, 1.0, 10.0])})
    axes = jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, grid)
    state = start()
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), state)
    new, terms = jax.vmap(train_step, in_axes=(0, None, axes))(copies, X, grid)
    one, _ = train_step(state, X, DualConfig(**{**vars(CONFIG), "alpha": 10.0}))
    assert terms.reconstruction.shape == (3,)
    np.testing.assert_allclose(new.params.C[0][2], one.params.C[0], rtol=1e-4, atol=1e-7)  # float32


@pytest.mark.filterwarnings("ignore:.*donated buffers.*:UserWarning")
def test_a_device_takes_a_weight_and_states_side_by_side():
    alphas, states = jnp.array([0.5, 10.0]), [start(X + shift) for shift in (0.0, 0.5)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def terms_of(states, alpha):
        config = dataclasses.replace(CONFIG, alpha=alpha)
        return jax.vmap(lambda state: train_step(state, X, config)[1])(states)

    found = jax.pmap(terms_of, in_axes=(None, 0))(both, alphas)
    alone = train_step(states[1], X, dataclasses.replace(CONFIG, alpha=10.0))[1]
    np.testing.assert_allclose([term[1, 1] for term in found], alone, rtol=1e-5)  # batched products


def on_two_devices(config):
    """Return a step's terms, and C, P and the encoder after it, from two devices by pmap."""
    parts = np.pad(X, [(0, 1), (0, 0)]).reshape(2, 16, D)
    is_row = (np.arange(32) < N).reshape(2, 16)
    state = init(KEY, X, config)
    begin = partial(start_selection, KEY, state, axis_name="devices")
    state = jax.pmap(lambda x, is_row: begin(x, config, is_row=is_row), "devices")(parts, is_row)
    step = jax.pmap(partial(train_step, axis_name="devices"), axis_name="devices", in_axes=(0, 0, None))
    state, terms = step(state, parts, config)
    c = np.concatenate([np.concatenate([block[d] for block in state.params.C]) for d in range(2)])
    p = np.concatenate([np.concatenate([block[d] for block in state.params.P]) for d in range(2)])
    return terms, c, p, jax.tree.map(lambda leaf: leaf[1], state.params.network)


@pytest.mark.filterwarnings("ignore:.*donated buffers.*:UserWarning")
@pytest.mark.parametrize("objective", ["simplex", pytest.param("free", marks=pytest.mark.slow)])
def test_two_devices_by_pmap_give_the_losses_and_gradients_of_one(objective):
    config = DualConfig(**{**vars(CONFIG), "objective": objective, "coefficient_seeds": (1, 2)})
    state, terms = train_step(start(config=config), X, config)
    shared, c, p, network = on_two_devices(config)
    np.testing.assert_allclose(np.array(shared)[:, 0], terms, rtol=1e-5)
    np.testing.assert_array_equal(np.array(shared)[:, 0], np.array(shared)[:, 1])
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)  # float32 gradients, sums reordered
    close(c[:N, :N], np.concatenate(state.params.C))
    close(p[:5, :N], np.concatenate(state.params.P))
    jax.tree.map(close, network, state.params.network)
    assert not np.any(c[N:])
    assert not np.any(c[:, N:])


def temporaries(config, n, d=D):
    """Return the temporary bytes of a step by the compiler, as a share of those of C."""
    x = jnp.zeros((n, d))
    state = jax.eval_shape(lambda x: start_selection(KEY, init(KEY, x, config), x, config), x)
    memory = train_step.lower(state, x, config).compile().memory_analysis()
    return memory.temp_size_in_bytes / (4 * n * n)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "n_blocks", "share"),
    [("free", 32, 0.2), pytest.param("simplex", 64, 0.3, marks=pytest.mark.slow)],
)
def test_temporaries_of_a_step_are_those_of_a_few_blocks(objective, n_blocks, share):
    config = DualConfig(**{**vars(CONFIG), "objective": objective, "block_rows": 2048 // n_blocks})
    assert temporaries(dataclasses.replace(config, coefficient_optimizer=optax.adam), 2048) < share


@pytest.mark.slow
@pytest.mark.parametrize(("make", "share"), [(DualConfig.paper, 0.1), (DualConfig, 0.2)])
def test_with_the_default_blocks_they_are_a_small_share_of_a_full_c_from_20000_rows_on(make, share):
    assert (
        temporaries(make(dictionary_size=20_000), 20_000, 40) < share
    )  # a tenth, and a sixth of the simplex


@pytest.mark.parametrize("make", [optax.adam, optax.adamw, optax.rmsprop, optax.lion, optax.adagrad])
def test_any_optimiser_can_rest_in_bfloat16_and_counts_on(make):
    optimizer, params = make(0.1), jnp.array([1.0, -2.0, 0.0])
    resting = at_rest(optimizer, "bfloat16", jnp.int32(0))
    own, kept = optimizer.init(params), resting.init(params)
    for _ in range(3):
        expected, own = optimizer.update(params, own, params)
        updates, kept = resting.update(params, kept, params)
    np.testing.assert_allclose(updates, expected, rtol=0.02)  # three roundings to 1/128
    assert updates.dtype == jnp.float32
    for leaf, whole in zip(jax.tree.leaves(kept), jax.tree.leaves(own), strict=True):
        assert leaf.dtype == (jnp.bfloat16 if whole.ndim else whole.dtype)


@pytest.mark.slow
@pytest.mark.parametrize("config", [FREE, pytest.param(DualConfig(), marks=pytest.mark.slow)])
def test_moments_that_rest_in_bfloat16_hardly_change_the_losses(config):
    halved = dataclasses.replace(config, moments_dtype="bfloat16")
    found = []
    for settings in (config, halved):
        state, losses = start(config=settings), []
        for _ in range(30):
            state, terms = train_step(state, X, settings)
            losses.append(float(total_loss(terms, settings.weights)))
        found.append(losses)
    np.testing.assert_allclose(*found, rtol=0.01)  # moments are right to 1/128
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state.C) if leaf.ndim]
    assert {leaf.dtype for leaf in moments} == {jnp.dtype("bfloat16")}
    assert all(leaf.dtype == jnp.float32 for leaf in state.params.C)
    for diagonal in (jnp.diagonal(leaf) for leaf in (*state.params.C, *moments)):
        assert not np.any(diagonal)


def test_wide_inputs_enter_distances_by_their_principal_directions():
    wide = jax.random.normal(KEY, (N, 20)) @ jax.random.normal(jax.random.key(8), (20, MAX_INPUTS + 40))
    config = dataclasses.replace(DualConfig(), n_clusters=3, hidden=(8,), latent_dim=4)
    state = start_selection(KEY, init(KEY, wide, config), wide, config)
    basis = started(state).scales.x_basis
    assert basis.shape == (MAX_INPUTS + 40, MAX_INPUTS)
    u = learnt_space(state, wide, config)
    assert u.shape == (N, MAX_INPUTS + 4)
    centred = wide - wide.mean(0)
    # Rows of rank 20 lose nothing; float32.
    np.testing.assert_allclose(centred @ basis @ basis.T, centred, atol=1e-3)


def test_a_pool_for_which_a_full_c_is_too_large_gets_a_dictionary(monkeypatch):
    monkeypatch.setattr("dual_jax.dual.config.MAX_COEFFICIENTS", 33 * 9)
    monkeypatch.setattr("dual_jax.dual.config.MIN_DICTIONARY", 4)
    x = np.random.default_rng(0).normal(size=(33, D)).astype(np.float32)
    assert len(start(x).fixed.dictionary) == 9


def test_coefficients_that_cannot_be_read_are_refused():
    state = start()
    with pytest.raises(ValueError, match="whose targets are the rows of x alone"):
        coefficients(state, X[:20], CONFIG)


def padded(state):
    """Return a state with two more targets that are padding."""
    n_more = {"targets": -1, "is_labeled": False, "is_candidate": False}
    fixed = {
        name: np.pad(getattr(state.fixed, name), (0, 2), constant_values=fill)
        for name, fill in n_more.items()
    }
    c = tuple(np.pad(block, [(0, 2), (0, 0)]) for block in state.params.C)
    return state._replace(params=state.params._replace(C=c), fixed=state.fixed._replace(**fixed))


@pytest.mark.parametrize("config", [CONFIG, FREE], ids=["simplex", "free"])
def test_padding_of_any_content_changes_nothing(config):
    config = dataclasses.replace(config, optimizer=optax.sgd, coefficient_optimizer=optax.sgd)
    rows, is_row = np.pad(X, [(0, 2), (0, 0)], constant_values=50.0), np.arange(N + 2) < N
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)  # float32 sums in another order
    steps = [
        pretrain_step(init(KEY, X, config), x, config, is_row=real) for x, real in ((X, None), (rows, is_row))
    ]
    jax.tree.map(close, *steps)

    state, terms = train_step(start(config=config), X, config)
    same, of_padded = train_step(padded(start(config=config)), rows, config, is_row=is_row)

    jax.tree.map(close, of_padded, terms)
    jax.tree.map(close, same.params.network, state.params.network)
    jax.tree.map(lambda ours, theirs: close(ours[:N], theirs), same.params.C, state.params.C)
    jax.tree.map(close, same.params.P, state.params.P)
    assert not np.any(same.params.C[0][N:])


def test_the_selection_starts_the_same_whatever_its_padding_holds():
    state, is_row = init(KEY, X, CONFIG), np.arange(N + 2) < N
    starts = [
        start_selection(KEY, state, np.pad(X, [(0, 2), (0, 0)], constant_values=v), CONFIG, is_row=is_row)
        for v in (0.0, 50.0)
    ]
    jax.tree.map(np.testing.assert_array_equal, *starts)
    assert float(starts[0].fixed.sizes.sum()) == N
    assert starts[0].fixed.targets[N:].tolist() == [-1, -1]
