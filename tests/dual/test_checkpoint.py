"""A fit that was stopped goes on as if nothing had been."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

from dual_jax import DualConfig, fit, make_mesh
from dual_jax.data.storage import UNFINISHED, read_arrays
from dual_jax.devices.mesh import EVERYWHERE, ROWS
from dual_jax.dual.checkpoint import KIND, NAME, Checkpoint
from dual_jax.dual.fitting import train, with_sizes
from dual_jax.dual.layout import in_blocks, in_one_piece, specs
from dual_jax.dual.network import dense
from dual_jax.dual.steps import init, start_selection

KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(0), (31, 5))
CONFIG = DualConfig(
    hidden=(8,), latent_dim=3, n_clusters=4, pretrain_steps=150, steps=150, tolerance=0.0, block_rows=16
)
SPREAD = dataclasses.replace(CONFIG, block_rows=8)  # several blocks on each of two or three devices


def stop_at(stage, step):
    """Return a callback that acts as if Ctrl-C came there."""

    def callback(chunk):
        if (chunk.stage, chunk.step) == (stage, step):
            raise KeyboardInterrupt

    return callback


def assert_same(a, b):
    np.testing.assert_array_equal(a.ranking.indices, b.ranking.indices)
    np.testing.assert_array_equal(a.ranking.scores, b.ranking.scores)
    for stage, terms in a.history.items():
        for name, values in terms.items():
            np.testing.assert_array_equal(values, b.history[stage][name])


@pytest.mark.parametrize(
    ("stage", "step", "n_devices"),
    [("train", 50, 2), *(pytest.param("pretrain", 100, n, marks=pytest.mark.slow) for n in (1, 2))],
)
def test_a_stopped_fit_goes_on_to_the_very_same_result(stage, step, n_devices, tmp_path):
    mesh = make_mesh(jax.devices()[:n_devices]) if n_devices > 1 else None
    config = SPREAD if mesh else CONFIG
    with pytest.raises(KeyboardInterrupt):
        fit(KEY, X, config, mesh=mesh, checkpointer=Checkpoint(tmp_path), callbacks=[stop_at(stage, step)])
    seen = []
    resumed = fit(KEY, X, config, mesh=mesh, checkpointer=Checkpoint(tmp_path), callbacks=[seen.append])
    assert (seen[0].stage, seen[0].step) == (stage, step + 50)
    assert_same(resumed, fit(KEY, X, config, mesh=mesh))


@pytest.mark.slow
@pytest.mark.parametrize("n_devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_moments_in_bfloat16_come_back_to_the_very_same_result(n_devices, tmp_path):
    config = CONFIG.__class__(**{**vars(CONFIG), "moments_dtype": "bfloat16"})
    mesh = make_mesh(jax.devices()[:n_devices]) if n_devices > 1 else None
    with pytest.raises(KeyboardInterrupt):
        fit(KEY, X, config, mesh=mesh, checkpointer=Checkpoint(tmp_path), callbacks=[stop_at("train", 50)])
    resumed = fit(KEY, X, config, mesh=mesh, checkpointer=Checkpoint(tmp_path))
    assert_same(resumed, fit(KEY, X, config, mesh=mesh))


@pytest.mark.slow
def test_a_finished_fit_starts_again_at_its_ranking(tmp_path):
    first = fit(KEY, X, CONFIG, checkpointer=Checkpoint(tmp_path))
    seen = []
    again = fit(KEY, X, CONFIG, checkpointer=Checkpoint(tmp_path), callbacks=[seen.append])
    assert {chunk.stage for chunk in seen} == {"rank"}
    assert_same(first, again)


@pytest.mark.slow
def test_a_fit_that_had_converged_takes_no_further_step(tmp_path):
    config = CONFIG.__class__(**{**vars(CONFIG), "tolerance": 0.5})
    first = fit(KEY, X, config, checkpointer=Checkpoint(tmp_path))
    assert len(first.history["pretrain"]["loss"]) < 150
    assert_same(first, fit(KEY, X, config, checkpointer=Checkpoint(tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 3)])
def test_a_fit_goes_on_with_another_number_of_devices(before, after, tmp_path):
    meshes = [make_mesh(jax.devices()[:n]) if n > 1 else None for n in (before, after)]
    with pytest.raises(KeyboardInterrupt):
        fit(
            KEY,
            X,
            SPREAD,
            mesh=meshes[0],
            checkpointer=Checkpoint(tmp_path),
            callbacks=[stop_at("train", 100)],
        )
    resumed = fit(KEY, X, SPREAD, mesh=meshes[1], checkpointer=Checkpoint(tmp_path))
    whole = fit(KEY, X, SPREAD, mesh=meshes[0])
    # Fifty steps of Adam apart in nothing but the order of sums.
    np.testing.assert_allclose(resumed.history["train"]["loss"], whole.history["train"]["loss"], rtol=1e-4)
    np.testing.assert_array_equal(resumed.ranking.indices[:10], whole.ranking.indices[:10])


@pytest.mark.slow
@pytest.mark.parametrize("n_devices", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_a_state_in_one_piece_goes_back_into_its_blocks(n_devices):
    mesh = make_mesh(jax.devices()[:n_devices]) if n_devices > 1 else None
    config = dataclasses.replace(SPREAD, pretrain_steps=50, steps=50)
    state, _ = train(KEY, X, config, mesh=mesh)
    whole = in_one_piece(state, 31, 4, n_devices)
    assert [c.shape for c in whole.params.C + whole.params.P] == [(31, 31), (4, 31)]
    assert not whole.params.C[0].diagonal().any()
    again = in_blocks(whole, n_devices, SPREAD.sizes(31, n_devices=n_devices).n_tiles)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.asarray, state), again)


@pytest.mark.parametrize("n_devices", [1, 8])
def test_a_fit_of_a_tpu_is_saved_without_its_unused_columns_and_goes_on_anywhere(n_devices):
    mesh = make_mesh(jax.devices()[:n_devices]) if n_devices > 1 else None
    config = DualConfig.paper(hidden=(8,), latent_dim=3, n_clusters=4)
    of_cpu, of_tpu = (config.sizes(31, n_devices=n_devices, platform=kind) for kind in ("cpu", "tpu"))
    begun = start_selection(KEY, init(KEY, X, config), X, config, sizes=of_cpu._replace(block_rows=31))
    whole = in_one_piece(begun, 31, 4, 1)
    state = with_sizes(whole, of_tpu, mesh)
    assert len(state.fixed.dictionary) == 128
    np.testing.assert_allclose(state.sums.C[:31], (whole.params.C[0] ** 2).sum(axis=0), rtol=1e-6)
    again = in_one_piece(state, 31, 4, n_devices, n_places=31)
    jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_what_has_a_row_per_target_or_centroid_is_sharded_and_nothing_else():
    state = jax.eval_shape(start_selection, KEY, init(KEY, X, CONFIG), X, CONFIG)
    where = specs(state)
    sharded = [
        *where.params.C,
        *where.params.P,
        where.fixed.targets,
        where.fixed.centroids,
        where.fixed.sizes,
    ]
    moments = jax.tree.leaves((where.opt_state.C, where.opt_state.P))
    assert set(sharded) == {ROWS}
    assert moments.count(EVERYWHERE) == len(where.opt_state.C + where.opt_state.P)  # counts of steps
    assert jax.tree.leaves(where).count(ROWS) == len(sharded) + moments.count(ROWS)


@pytest.mark.parametrize(
    ("key", "x", "config"),
    [
        (jax.random.key(4), X, CONFIG),
        (KEY, X + 1e-6, CONFIG),
        (KEY, X, CONFIG.__class__(**{**vars(CONFIG), "alpha": 2.0})),
        (KEY, X, CONFIG.__class__(**{**vars(CONFIG), "optimizer": partial(optax.adam, b1=0.8)})),
    ],
    ids=["seed", "pool", "weight", "optimizer"],
)
def test_the_fit_of_something_else_is_refused(key, x, config, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(KEY, X, CONFIG, checkpointer=Checkpoint(tmp_path), callbacks=[stop_at("pretrain", 50)])
    with pytest.raises(ValueError, match="keeps the fit of another pool, seed, setting or version"):
        fit(key, x, config, checkpointer=Checkpoint(tmp_path))


@pytest.mark.slow
def test_networks_of_the_same_make_are_told_apart_by_their_widths(tmp_path):
    one, other = (CONFIG.__class__(**{**vars(CONFIG), "encoder": dense((width, 3))}) for width in (8, 9))
    with pytest.raises(KeyboardInterrupt):
        fit(KEY, X, one, checkpointer=Checkpoint(tmp_path), callbacks=[stop_at("pretrain", 50)])
    with pytest.raises(ValueError, match="keeps the fit of another pool"):
        fit(KEY, X, other, checkpointer=Checkpoint(tmp_path))
    fit(KEY, X, one, checkpointer=Checkpoint(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100])
def test_a_broken_checkpoint_is_named_and_not_overwritten(content, tmp_path):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ValueError, match=r"fit\.npz is no dual-jax checkpoint, or broken"):
        fit(KEY, X, CONFIG, checkpointer=Checkpoint(tmp_path))
    assert (tmp_path / NAME).read_bytes() == content


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot use"):
        fit(KEY, X, CONFIG, checkpointer=Checkpoint(tmp_path / "file"))


SCRIPT = """
import sys, jax, jax.numpy as jnp, dual_jax as dj
from dual_jax.dual.checkpoint import Checkpoint
x = jnp.sin(jnp.arange(155.0) ** 1.3).reshape(31, 5)
config = dj.DualConfig(
    hidden=(8,), latent_dim=3, n_clusters=4, pretrain_steps=3000, steps=1500, tolerance=0.0
)
checkpointer, seen = Checkpoint(sys.argv[1], seconds=0.0) if len(sys.argv) > 1 else None, []
fitted = dj.fit(jax.random.key(0), x, config, checkpointer=checkpointer, callbacks=[seen.append])
print(fitted.ranking.indices.tolist(), fitted.ranking.scores.tolist())
print(seen[0].stage, seen[0].step, file=sys.stderr)
"""
STUCK = """
import io, time, numpy as np
write, n_written = np.savez, 0
def stuck(file, **arrays):
    global n_written
    n_written += 1
    if n_written < 3:
        return write(file, **arrays)
    content = io.BytesIO()
    write(content, **arrays)
    file.write(content.getvalue()[: content.tell() // 2])
    file.flush()
    print("half is written", flush=True)
    time.sleep(600)
np.savez = stuck
"""


class Child(NamedTuple):
    """The fit of `SCRIPT` in a process of its own: its environment, how to run it, what it prints."""

    env: dict
    output: Callable
    whole: str


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    env = {**os.environ, "XLA_FLAGS": "", "JAX_ENABLE_COMPILATION_CACHE": "1"}
    env |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("xla"))}
    env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    output = partial(subprocess.run, env=env, capture_output=True, text=True, check=True)
    return Child(env, output, output([sys.executable, "-c", SCRIPT]).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("n_kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_fit_that_is_killed_at_any_moment_ends_with_the_very_same_picks(n_kills, child, tmp_path):
    folder, moments = tmp_path / "kept", random.Random(0)
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    for _ in range(n_kills):
        stamp = (folder / NAME).stat().st_mtime_ns if (folder / NAME).exists() else 0
        with subprocess.Popen(command, env=child.env, stdout=subprocess.DEVNULL) as running:
            while running.poll() is None and not (
                (folder / NAME).exists() and (folder / NAME).stat().st_mtime_ns > stamp
            ):
                time.sleep(0.01)
            time.sleep(moments.uniform(0.0, 0.1))
            running.send_signal(signal.SIGKILL)
    assert child.output(command).stdout == child.whole
    assert os.listdir(folder) == [NAME]


def test_a_fit_that_is_killed_while_it_writes_goes_on_from_the_checkpoint_before(child, tmp_path):
    command = [sys.executable, "-c", STUCK + SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, env=child.env, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "half is written\n"
        running.send_signal(signal.SIGKILL)
    about, _ = read_arrays(tmp_path / NAME, KIND)
    (half,) = tmp_path.glob(f"{UNFINISHED}*")
    assert (about["stage"], about["step"]) == ("pretrain", 100)
    assert 0 < half.stat().st_size < (tmp_path / NAME).stat().st_size
    resumed = child.output([sys.executable, "-c", SCRIPT, str(tmp_path)])
    assert resumed.stdout == child.whole
    assert resumed.stderr.endswith("pretrain 150\n")
    assert os.listdir(tmp_path) == [NAME]
