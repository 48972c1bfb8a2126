"""Programs in a folder: known ones are neither traced nor compiled, and give the same bits."""

import json
import os
import time

import jax
import numpy as np
import optax
import pytest

import dual_jax as dj
from dual_jax.dual.network import dense
from dual_jax.numerics import programs
from dual_jax.numerics.draws import two_keys
from dual_jax.numerics.xla import OneOff

TRACED, COMPILED = "/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/backend_compile_duration"
X = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    jax.clear_caches()  # what was loaded from JAX's own cache cannot be kept
    programs.keep_in(tmp_path)
    yield tmp_path
    programs.keep_in(None)


@pytest.fixture
def events():
    """Return the names of what JAX does from now on."""
    seen = []

    def note(event, seconds, **_):
        seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield seen
    jax.monitoring.unregister_event_duration_listener(note)


def as_in_a_new_process(folder):
    programs.keep_in(folder)
    jax.clear_caches()


def pick(**changes):
    config = dj.DualConfig(hidden=(8,), latent_dim=3, pretrain_steps=3, steps=2, **changes)
    selector = dj.DUALSelector(9, config=config).fit(X)
    return selector.ranking_, selector.scores_


def test_a_second_fit_traces_and_compiles_none_of_its_programs(folder, events):
    first = pick()
    assert {TRACED, COMPILED} <= {*events}
    as_in_a_new_process(folder)
    events.clear()
    second = pick()
    assert COMPILED not in events
    assert TRACED not in events
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.slow
def test_kept_programs_give_the_picks_of_those_that_are_not_kept(folder):
    kept = pick()
    programs.keep_in(None)
    plain = pick()
    np.testing.assert_array_equal(kept[0], plain[0])
    np.testing.assert_array_equal(kept[1], plain[1])


def test_a_file_cut_short_is_made_again(folder):
    key = jax.random.key(3)
    wanted = jax.random.key_data(two_keys(key)[1])
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    as_in_a_new_process(folder)
    np.testing.assert_array_equal(jax.random.key_data(two_keys(key)[1]), wanted)
    assert path.stat().st_size > 100


def test_another_shape_or_setting_is_another_program(folder):
    names = []
    for args in (({"x": X},), ({"x": X[:9]},), ({"y": X},), (2.0,), (np.float32(2),)):
        names.append(programs._name_of("f", args, [dj.DualConfig()]))
    names.append(programs._name_of("f", (2.0,), [dj.DualConfig(hidden=(2,))]))
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        names.append(programs._name_of("f", (2.0,), [dj.DualConfig()]))
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert len({*names}) == len(names)
    assert None not in names


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": lambda rate: optax.sgd(rate)},
        {"encoder": dense((3,))},
    ],
)
def test_a_function_whose_source_may_change_is_not_kept(changes, folder):
    pick(**changes)
    own = json.dumps([path.name for path in folder.iterdir()])
    programs.keep_in(folder)
    pick(**changes)
    assert json.dumps([path.name for path in folder.iterdir()]) == own
    assert programs._name_of("f", (1.0,), [dj.DualConfig(**changes)]) is None


def test_a_function_of_another_package_is_not_kept(folder):
    twice = OneOff(lambda x: 2 * x, lambda _: True)
    assert float(twice(np.float32(3))) == 6.0
    assert not [*folder.iterdir()]


def test_traced_arguments_are_not_kept(folder):
    assert jax.jit(lambda key: two_keys(key))(jax.random.key(0))
    assert not [*folder.iterdir()]


def test_numbers_are_found_once(folder):
    calls = []

    def make():
        calls.append(1)
        return 3, 4

    assert programs.known("n", (1, "a"), make) == (3, 4) == programs.known("n", (1, "a"), make)
    assert len(calls) == 1
    assert programs.known("n", (2, "a"), make) == (3, 4)
    assert len(calls) == 2


def test_what_nobody_loads_is_removed(folder):
    old = folder / "old"
    old.write_bytes(b"")
    os.utime(old, (0, time.time() - programs.UNUSED_S - 1))
    two_keys(jax.random.key(0))
    assert not old.exists()
    assert len([*folder.iterdir()]) == 1


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path):
    programs.keep_in(tmp_path / "missing")
    try:
        assert two_keys(jax.random.key(0))
    finally:
        programs.keep_in(None)
