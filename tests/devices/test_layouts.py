"""A fit has the same bits on 1, 2, 4 and 8 devices, from the first gradient to the last pick."""

import dataclasses
import os
import subprocess
import sys
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.devices.collectives import sum_in_pairs, total_in_order
from dual_jax.devices.mesh import AXIS, EVERYWHERE, ROWS, make_mesh, on_mesh, shard_rows, sharing
from dual_jax.dual.fitting import fit
from dual_jax.numerics.kmeans import kmeans
from dual_jax.numerics.tiles import Pairs, Tiles, each_tile, map_rows, total_of_tiles

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(61, 6)).astype(np.float32)  # four tiles of 16, the last one padded
SLOW = pytest.mark.slow


def mesh_of(n_devices):
    return make_mesh(jax.devices()[:n_devices]) if n_devices > 1 else None


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


@cache
def fitted(n_devices, objective):
    """Return the losses of every step of a whole default fit, and its ranking with the scores."""
    of = dj.DualConfig() if objective == "simplex" else dj.DualConfig.paper(pretrain_steps=300, steps=300)
    found = fit(KEY, X, dataclasses.replace(of, block_rows=16, latent_dim=8), mesh=mesh_of(n_devices))
    return found.history, found.ranking


@SLOW
@pytest.mark.parametrize("n_devices", [4, pytest.param(2, marks=SLOW)])
@pytest.mark.parametrize("objective", ["simplex", pytest.param("free", marks=SLOW)])
def test_a_whole_default_fit_has_the_same_losses_picks_and_scores_on_any_devices(objective, n_devices):
    assert bits(fitted(n_devices, objective)) == bits(fitted(1, objective))


DIGITS = """
import jax

jax.config.update("jax_num_cpu_devices", 8)
import dual_jax as dj
from sklearn.datasets import load_digits

for n_devices in (1, 2, 4, 8):
    selector = dj.DUALSelector(100, config=dj.DualConfig(block_rows=76), devices=jax.devices()[:n_devices])
    picks = selector.fit(load_digits().data[:603]).sample_indices_
    print(len(selector.state_.params.C[0].devices()), *picks)
"""


@SLOW
def test_a_hundred_picks_of_603_digits_are_the_same_on_1_2_4_and_8_devices_that_share_the_work():
    """With all of the compiler's optimisations, in a process of its own."""
    unset = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", DIGITS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | unset)
    used, picks = zip(*(line.split(maxsplit=1) for line in done.stdout.splitlines()), strict=True)
    assert used == ("1", "2", "4", "8")
    assert set(picks) == {picks[0]}
    assert len(picks[0].split()) == 100


DEFAULTS = """
import hashlib, sys
import jax, numpy as np

jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import dual_jax as dj
from sklearn.datasets import load_digits

selector = dj.DUALSelector(100, devices=jax.devices()).fit(load_digits().data[:603])
losses = [np.asarray(terms["loss"]) for terms in selector.history_.values()]
numbers = np.concatenate([*losses, selector.scores_])
print(hashlib.sha256(numbers.tobytes()).hexdigest(), *selector.sample_indices_)
"""


@SLOW
@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="no YNNPACK: Eigen forms every product")
def test_processes_with_1_4_and_8_devices_give_the_same_losses_picks_and_scores_at_the_default_settings():
    """Each has as many threads as devices, or processors if those are more."""
    unset = {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "JAX_PLATFORMS": "cpu"}

    def outcome(n_devices):
        command = [sys.executable, "-c", DEFAULTS, str(n_devices)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | unset)
        return done.stdout.split()

    first = outcome(1)
    assert len(first) == 101
    assert outcome(4) == first
    assert outcome(8) == first


@pytest.mark.parametrize(
    ("n_named", "n_tiles", "n_used"), [(8, 1, 1), (8, 2, 2), (8, 64, 8), (6, 8, 4), (3, 4, 2), (1, 8, 1)]
)
def test_as_many_devices_are_used_as_share_the_tiles_evenly(n_named, n_tiles, n_used):
    used = sharing(make_mesh(jax.devices()[:n_named]), n_tiles)
    assert (used.size if used else 1) == n_used
    assert used is None or list(used.devices.flat) == jax.devices()[:n_used]


def test_one_device_that_is_not_the_default_one_stays():
    assert list(sharing(make_mesh(jax.devices()[3:5]), 1).devices.flat) == jax.devices()[3:4]


TERMS = np.random.default_rng(1).normal(size=(8, 5, 3)).astype(np.float32)
TERMS *= 10.0 ** np.arange(8, dtype=np.float32)[:, None, None]


@pytest.mark.parametrize("few", [0, 1 << 12])
@pytest.mark.parametrize("n_devices", [2, 8])
def test_a_total_of_devices_has_the_bits_of_a_sum_in_pairs(n_devices, few, monkeypatch):
    monkeypatch.setattr("dual_jax.devices.collectives.FEW", few)  # in one exchange, or in two

    def run(parts):
        return total_in_order({"a": sum_in_pairs(parts), "b": sum_in_pairs(parts[:, 0])}, AXIS)

    mesh = mesh_of(n_devices)
    found = jax.jit(on_mesh(run, mesh, ROWS, EVERYWHERE))(shard_rows(TERMS, mesh))
    halves = TERMS[0::2] + TERMS[1::2]
    quarters = halves[0::2] + halves[1::2]
    np.testing.assert_array_equal(found["a"], quarters[0] + quarters[1])
    np.testing.assert_array_equal(found["b"], (quarters[0] + quarters[1])[0])


@pytest.mark.parametrize("n", range(1, 9))
def test_parts_that_come_one_by_one_are_added_in_the_same_order(n):
    pairs = Pairs()
    for part in TERMS[:n]:
        pairs.add(jnp.asarray(part))
    np.testing.assert_array_equal(pairs.total(), sum_in_pairs(jnp.asarray(TERMS[:n])))


def test_a_function_of_a_tile_has_the_same_bits_whatever_its_neighbours():
    """Sums of products, which the compiler contracts in one fusion and not in another."""
    weights = np.random.default_rng(2).normal(size=(6, 6)).astype(np.float32)

    def share(x, weights):
        y = jnp.tanh(x @ weights) * x + x
        return jnp.sum(y * x + x, axis=0), y * y

    def run(x, n_tiles, axis_name):
        tiles = Tiles(n_tiles, axis_name)
        total = total_of_tiles(each_tile(lambda *a: share(*a)[0], x, tiles, weights), tiles)
        return total * 0.9 + total, map_rows(lambda *a: share(*a)[1], x, tiles, weights)

    def on_devices(n_devices):
        mesh, axis_name = mesh_of(n_devices), AXIS if n_devices > 1 else None
        own = partial(run, n_tiles=8 // n_devices, axis_name=axis_name)
        return bits(jax.jit(on_mesh(own, mesh, ROWS, (EVERYWHERE, ROWS)))(shard_rows(X, mesh, 8)))

    assert on_devices(2) == on_devices(1)
    assert on_devices(8) == on_devices(1)


@cache
def clusters(n_devices):
    """Return the bits of the clusters of eight tiles."""
    axis_name = AXIS if n_devices > 1 else None

    def run(x):
        return kmeans(KEY, x, 7, axis_name=axis_name, n_tiles=8 // n_devices, chunk_size=5)._asdict()

    where = dict.fromkeys(("centroids", "sizes", "inertia", "n_iters"), EVERYWHERE) | {"labels": ROWS}
    return bits(jax.jit(on_mesh(run, mesh_of(n_devices), ROWS, where))(shard_rows(X, None, 8)))


@pytest.mark.parametrize("n_devices", [2, 8])
def test_clusters_have_the_same_bits_on_any_devices(n_devices):
    assert clusters(n_devices) == clusters(1)
