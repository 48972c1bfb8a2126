"""What is left of memory, as the system's files tell it, and rates that can be true."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.devices import machine
from dual_jax.devices.hardware import ACCELERATORS, host
from dual_jax.devices.machine import free_memory

GIB = 1 << 30


@pytest.fixture
def system(tmp_path):
    """Return a function that writes files of a system with 8 GiB free into an empty folder."""

    def write(files=()):
        lines = f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {8 * GIB // 1024} kB\n"
        for name, text in {"proc/meminfo": lines, **dict(files)}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        return tmp_path

    return write


def test_without_control_groups_it_is_what_the_machine_has_free(system):
    assert free_memory(system()) == 8 * GIB
    assert free_memory(system({"proc/self/cgroup": "4:memory:/\n0::/\n"})) == 8 * GIB


def test_a_limit_of_an_outer_group_counts_less_what_is_in_use(system):
    files = {
        "proc/self/cgroup": "0::/job/step\n",
        "sys/fs/cgroup/job/step/memory.max": "max\n",
        "sys/fs/cgroup/job/memory.max": 3 * GIB,
        "sys/fs/cgroup/job/memory.current": 2 * GIB,
        "sys/fs/cgroup/job/memory.stat": f"anon 5\ninactive_file {GIB}\n",
    }
    assert free_memory(system(files)) == 2 * GIB  # files in memory can be dropped


def test_the_older_kind_of_group_counts_too(system):
    files = {
        "proc/self/cgroup": "9:cpu:/\n4:memory:/slurm/job\n0::/\n",
        "sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes": 5 * GIB,
        "sys/fs/cgroup/memory/slurm/job/memory.usage_in_bytes": 6 * GIB,
    }
    assert free_memory(system(files)) == 0


def test_a_system_that_does_not_say_sets_no_limit(tmp_path):
    assert free_memory(tmp_path) == math.inf


def test_rates_are_measured_and_shared_among_the_devices_of_a_cpu(monkeypatch):
    monkeypatch.setattr(machine, "COPIED", 1 << 20)
    monkeypatch.setattr(machine, "SIDE", 200)
    one = machine.calibrated(host())
    assert 0 < one.bandwidth < math.inf
    assert 0 < one.rate < math.inf
    assert machine.calibrated(host(), 10**6).rate < one.rate
    assert one.memory == host().memory


def test_a_copy_reads_and_writes_every_number_once_and_takes_no_fresh_memory():
    x = jnp.arange(1000.0)
    memory = machine._copy.lower(x).compile().memory_analysis()
    assert memory.alias_size_in_bytes == 4 * 1000
    assert memory.temp_size_in_bytes < 1000
    np.testing.assert_array_equal(machine._copy(x), np.arange(1000.0) + 1)


def test_a_product_is_formed_at_full_precision():
    x = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    expected = x.astype(np.float64) @ x.astype(np.float64)
    np.testing.assert_allclose(machine._multiply(jnp.array(x), jnp.array(x)), expected, atol=1e-5)


def test_calls_of_a_run_follow_each_other_and_only_the_last_is_waited_for():
    class Waiting(int):
        waited = 0

        def block_until_ready(self):
            Waiting.waited += 1
            return self

    called = []
    machine._least_seconds(lambda x: called.append(x) or Waiting(x + 1), Waiting(0), 3)
    assert called == list(range(3 * (1 + machine.REPEATS)))
    assert Waiting.waited == 1 + machine.REPEATS


def test_an_accelerator_copies_more_at_once_but_not_more_than_it_has_room_for(monkeypatch):
    monkeypatch.setattr(machine, "COPIED", 1 << 10)
    monkeypatch.setattr(machine, "SIDE", 8)
    copied = []
    monkeypatch.setattr(machine, "_least_seconds", lambda _, x, n: copied.append(x.size) or x.size * n)
    assert machine.calibrated(host()).bandwidth == 8.0  # bytes a number, read and written
    gpu = machine.calibrated(ACCELERATORS["h200"], 8)
    assert (gpu.bandwidth, gpu.rate) == (8.0, 2 * 8 * machine.MORE_ROWS)
    machine.calibrated(ACCELERATORS["h200"]._replace(memory=16e3))
    assert copied[::2] == [1 << 10, machine.MORE_COPIED << 10, 1000]


def test_programs_are_freed_once_they_take_many_mappings(monkeypatch):
    traced = []

    @jax.jit
    def double(x):
        traced.append(x)
        return 2 * x

    double(jnp.ones(3))
    machine.forget_programs_if_many()
    double(jnp.ones(3))
    assert len(traced) == 1
    monkeypatch.setattr(machine, "MAX_MAPPINGS", 1)
    machine.forget_programs_if_many()
    double(jnp.ones(3))
    assert len(traced) == 1 + Path("/proc/self/maps").exists()  # elsewhere there is no such limit
