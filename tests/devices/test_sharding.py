"""However rows lie on devices, and whichever of JAX's ways put them there, a step is the same step."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from dual_jax.devices.mesh import AXIS, EVERYWHERE, ROWS, make_mesh, on_mesh, shard_rows
from dual_jax.dual.ahead import Exchange, devices_for, exchanges, lower
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import laid_out
from dual_jax.dual.layout import in_blocks, in_one_piece, specs
from dual_jax.dual.objectives.notation import total_loss
from dual_jax.dual.ranking import rank
from dual_jax.dual.steps import init, start_selection, train_step

N, D, K = 203, 6, 16  # neither 2, 4 nor 8 devices hold the same number of rows each
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
N_STEPS, N_PICKS = 50, 100
SIMPLEX = DualConfig(
    hidden=(9, 7), latent_dim=4, n_clusters=K, dictionary_size=N, block_rows=N, coefficient_seeds=(1, 2)
)
FREE = dataclasses.replace(SIMPLEX, objective="free", readout="norms", alpha=0.1, beta=0.1, gamma=1.0)


@cache
def start(config):
    """Return the state in one piece with which every layout begins."""
    key, x = jax.random.key(3), jnp.asarray(X)
    return in_one_piece(start_selection(key, init(key, x, config), x, config), N, K, 1)


def by_jit(config, n_devices):
    """Return a state on its devices, a step, and what makes one piece of a state that comes back."""
    state, x = laid_out(start(config), 1, None), jnp.asarray(X)
    return state, jax.jit(lambda state: train_step(state, x, config)), partial(whole, n_shares=1)


def by_named_sharding(config, n_devices):
    """The step knows of no axis: XLA splits it as its arguments are."""
    mesh = make_mesh(jax.devices()[:n_devices])
    state, x = laid_out(start(config), n_devices, mesh), shard_rows(X, mesh)
    step = jax.jit(lambda state, x: train_step(state, x, config))
    return state, lambda state: step(state, x), partial(whole, n_shares=n_devices)


def by_shard_map(config, n_devices):
    mesh = make_mesh(jax.devices()[:n_devices])
    state, x = laid_out(start(config), n_devices, mesh), shard_rows(X, mesh)
    where = specs(state)
    step = partial(train_step, config=config, axis_name=AXIS)
    run = jax.jit(on_mesh(step, mesh, (where, ROWS), (where, EVERYWHERE)))
    return state, lambda state: run(state, x), partial(whole, n_shares=n_devices)


def by_pmap(config, n_devices):
    state = in_blocks(start(config), n_devices, n_devices)
    where = specs(state)
    local = -(-N // n_devices)
    x = np.pad(X, [(0, n_devices * local - N), (0, 0)])

    def deal_out(leaf, spec):
        return leaf.reshape(n_devices, -1, *leaf.shape[1:]) if spec == ROWS else np.stack([leaf] * n_devices)

    def join(shares, spec):
        return np.concatenate(shares) if spec == ROWS else shares[0]

    step = partial(train_step, config=config, axis_name=AXIS)
    run = jax.pmap(lambda state, x: step(state, x), AXIS, devices=jax.devices()[:n_devices])
    x = x.reshape(n_devices, local, D)
    return (
        jax.tree.map(deal_out, state, where),
        lambda state: run(state, x),
        lambda state: whole(jax.tree.map(join, jax.tree.map(np.asarray, state), where), n_devices),
    )


def whole(state, n_shares):
    return in_one_piece(state, N, K, n_shares)


WAYS = {"jit": by_jit, "NamedSharding": by_named_sharding, "shard_map": by_shard_map, "pmap": by_pmap}


@cache
def trained(way, n_devices, config):
    """Return what Adam keeps of the first gradient, the losses of all steps, and the picks after them."""
    state, step, in_piece = WAYS[way](config, n_devices)
    losses, first = [], None
    for _ in range(N_STEPS):
        state, terms = step(state)
        losses.append(np.ravel(total_loss(terms, config.weights))[0])
        first = first or in_piece(state).opt_state
    gradient = jax.tree.leaves([part[0].mu for part in (first.network, first.C[0], first.P[0])])
    ranked = rank(laid_out(in_piece(state), 1, None), jnp.asarray(X), config, N_PICKS)
    return gradient, np.array(losses), set(ranked.indices.tolist())


SLOW = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:.*donated buffers.*:UserWarning")
@pytest.mark.parametrize("config", [SIMPLEX, pytest.param(FREE, marks=SLOW)], ids=lambda c: c.objective)
@pytest.mark.parametrize("n_devices", [8, *(pytest.param(n, marks=SLOW) for n in (1, 2, 4))])
@pytest.mark.parametrize("way", ["NamedSharding", "pmap", pytest.param("shard_map", marks=SLOW)])
def test_neither_devices_nor_the_way_to_them_change_losses_gradients_or_picks(way, n_devices, config):
    gradient, losses, picks = trained(way, n_devices, config)
    of_gradient, of_losses, of_picks = trained("jit", 1, config)
    np.testing.assert_allclose(losses, of_losses, rtol=1e-5)  # 50 steps on sums in another order
    for ours, theirs in zip(gradient, of_gradient, strict=True):
        assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)  # float32, the same
    assert len(picks & of_picks) >= 0.99 * N_PICKS


ROWS_OF_ALL, N_ATOMS = 2000, 2000
WIDEST = D + SIMPLEX.latent_dim  # max(p, q): codes beside inputs
MAX_BYTES = 4 * ROWS_OF_ALL * WIDEST  # C has 200 times as many, a device's share 25 times


@pytest.mark.parametrize(
    ("stage", "config"),
    [("train", SIMPLEX), ("rank", FREE)]
    + [pytest.param(stage, SIMPLEX, marks=pytest.mark.slow) for stage in ("pretrain", "rank")]
    + [pytest.param(stage, FREE, marks=pytest.mark.slow) for stage in ("start", "train")],
)
def test_devices_exchange_no_more_than_the_pool_once_and_c_is_nowhere_whole(stage, config):
    config = dataclasses.replace(config, dictionary_size=N_ATOMS, block_rows=None)
    text = lower((ROWS_OF_ALL, D), config, devices_for("cpu:8"))[stage].compile().as_text()
    found = exchanges(text)
    assert "all-gather" in {exchange.kind for exchange in found}
    assert max(exchange.n_bytes for exchange in found) <= MAX_BYTES
    assert f"f32[{ROWS_OF_ALL},{N_ATOMS}]" not in text  # C is born in shares, and stays so


def test_a_program_that_gathers_c_is_found_out():
    mesh = make_mesh()
    c = jax.ShapeDtypeStruct((ROWS_OF_ALL, N_ATOMS), jnp.float32, sharding=NamedSharding(mesh, ROWS))
    gather = jax.jit(on_mesh(lambda c: jax.lax.all_gather(c, AXIS, tiled=True), mesh, ROWS, EVERYWHERE))
    text = gather.lower(c).compile().as_text()
    assert exchanges(text) == [Exchange("all-gather", 4 * ROWS_OF_ALL * N_ATOMS)]
    assert 4 * ROWS_OF_ALL * N_ATOMS > MAX_BYTES


def test_an_exchange_is_as_large_as_what_goes_in_or_comes_out():
    text = """
      %a = bf16[80,5]{1,0:T(8,128)(2,1)} fusion(%x), kind=kLoop
      %s = bf16[10,5]{1,0} reduce-scatter(bf16[80,5]{1,0:T(8,128)(2,1)} %a), dimensions={0}
      %r = (f32[7]{0}, /*index=1*/f32[]) all-reduce(%b, /*index=1*/%c), to_apply=%sum
      %g = (f32[2,3]{1,0}, f32[16,3]{1,0}) all-gather-start(%p), dimensions={0}
      %p = f32[2,3]{1,0} parameter(0)
      ROOT %d = f32[16,3]{1,0} all-gather-done(%g)
    """
    found = [("reduce-scatter", 2 * 80 * 5), ("all-reduce", 4 * 8), ("all-gather", 4 * 16 * 3)]
    assert exchanges(text) == [Exchange(*one) for one in found]
