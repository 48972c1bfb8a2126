"""The plan of a fit: what it names, that it agrees with the compiler, and what it refuses."""

import dataclasses
import math
import os
from typing import NamedTuple

import jax
import numpy as np
import optax
import pytest

import dual_jax as dj
from dual_jax.cli import main
from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.devices import hardware, machine
from dual_jax.devices.mesh import make_mesh
from dual_jax.dual.ahead import Memory, _check_libtpu, devices_for, in_child, lower, memory_of
from dual_jax.dual.network import Module
from dual_jax.dual.plan import here, plan, refusal
from dual_jax.numerics.statistics import MAX_INPUTS

FREE, SIMPLEX = dj.DualConfig.paper(), dj.DualConfig()
HALVES = {"moments_dtype": "bfloat16"}
HALVED = dj.DualConfig(**HALVES)
FULL = dj.DualConfig(dictionary_size=50_000)


def test_a_plan_names_bytes_seconds_and_whether_it_fits():
    expected = dj.plan(50_000, 768, FULL, "v5e:1")
    assert expected.stages["train"].arrays["C"] == 4 * 50_000 * 50_048  # with unused columns, up to 391 x 128
    assert expected.n_bytes > 12 * 50_000**2
    assert not expected.fits
    assert dj.plan(50_000, 768, FULL, "v5e:8").fits


def test_the_sizes_that_a_fit_would_choose_are_in_the_plan():
    chosen = plan(20_000, 64).sizes
    assert (chosen.n_places, chosen.n_clusters) == ((1 << 25) // 20_000, int(2 * math.sqrt(20_000)))
    assert chosen == SIMPLEX.sizes(20_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "d", "config", "devices"),
    [
        (1500, 24, SIMPLEX, "cpu:1"),
        (1500, 24, FREE, "cpu:1"),
        (3000, 24, HALVED, "cpu:1"),
        (3000, 24, dj.DualConfig.paper(**HALVES), "cpu:1"),
        (4000, 40, SIMPLEX, "cpu:1"),
        (4000, 40, FREE, "cpu:1"),
        (4000, 768, SIMPLEX, "cpu:1"),
        (20_000, 64, dj.DualConfig(dictionary_size=1024), "cpu:1"),
        (8000, 40, SIMPLEX, "cpu:8"),
        (8000, 768, SIMPLEX, "cpu:8"),
    ],
)
def test_bytes_are_within_a_tenth_of_the_compilers(n, d, config, devices):
    expected = plan(n, d, config, devices)
    programs = lower((n, d), config, devices_for(devices))
    for name, program in programs.items():
        found = memory_of(program).total
        assert expected.stages[name].n_bytes == pytest.approx(found, rel=0.1), name


def test_a_step_moves_and_computes_what_the_mathematics_says():
    n, p = 30_000, 32
    free, simplex = (
        plan(n, 10, dataclasses.replace(c, dictionary_size=n), "h200:1").stages["train"].cost
        for c in (FREE, SIMPLEX)
    )
    assert free.operations == pytest.approx(6 * n * n * p, rel=0.03)  # the network is the rest
    assert simplex.operations > 12 * n * n * (10 + p) / 2 + 6 * n * n * p
    assert free.traffic > 24 * n * n
    assert simplex.traffic > 28 * n * n


def test_devices_share_what_belongs_to_targets_and_all_hold_the_dictionary():
    one, eight = (plan(8000, 40, SIMPLEX, f"v5e:{k}").stages["train"] for k in (1, 8))
    for name in ("pool", "C", "moments of C"):
        assert 8 * eight.arrays[name] == one.arrays[name]
    assert eight.arrays["rows of the dictionary"] == one.arrays["rows of the dictionary"]
    assert one.cost.exchanged == 0 < eight.cost.exchanged


def test_an_optimiser_without_moments_takes_no_memory_for_them():
    config = dj.DualConfig(coefficient_optimizer=optax.sgd)
    assert plan(1000, 8, config).stages["train"].arrays["moments of C"] == 0


def test_moments_in_bfloat16_take_half_the_memory_and_traffic():
    whole, halved = (plan(5120, 8, config, "h200:1").stages["train"] for config in (SIMPLEX, HALVED))
    assert 2 * halved.arrays["moments of C"] == whole.arrays["moments of C"]
    n_entries = 5120 * (5120 + halved.arrays["P and its moments"] / (8 * 5120))
    assert whole.cost.traffic - halved.cost.traffic == pytest.approx(8 * n_entries)  # read and written


def test_moments_in_bfloat16_are_advised_where_they_help():
    full = dj.DualConfig.paper(dictionary_size=37_000)
    expected = plan(37_000, 64, full, "t4:1")
    assert 'set moments_dtype to "bfloat16"' in expected.advice
    assert plan(37_000, 64, dataclasses.replace(full, **HALVES), "t4:1").fits


def test_a_network_of_ones_own_is_counted():
    def init(key, x):
        return {"kernel": jax.random.normal(key, (math.prod(x.shape[1:]), 32))}

    encoder = Module(init, lambda params, x: x.reshape(len(x), -1) @ params["kernel"])
    arrays = plan(1000, (8, 8), dj.DualConfig(encoder=encoder)).stages["pretrain"].arrays
    decoder = 32 * 64 + 64 + 64 * 128 + 128 + 128 * 64 + 64  # weights and biases of the mirrored layers
    assert arrays["network and its moments"] == pytest.approx(12 * (64 * 32 + decoder), rel=0.01)
    assert arrays["pool"] == 4 * 1000 * 64


def test_the_advised_dictionary_fits_and_no_larger_one():
    advice = plan(50_000, 768, FULL, "v5e:1").advice
    size = int(advice.split("at most ")[1].split(", or")[0].replace(",", ""))
    assert plan(50_000, 768, dj.DualConfig(dictionary_size=size), "v5e:1").fits
    assert not plan(50_000, 768, dj.DualConfig(dictionary_size=size + 1), "v5e:1").fits


def test_the_advised_number_of_devices_fits():
    advice = plan(50_000, 768, FULL, "v5e:1").advice
    n_devices = int(advice.split("over ")[1].split()[0])
    assert plan(50_000, 768, FULL, f"v5e:{n_devices}").fits
    assert not plan(50_000, 768, FULL, f"v5e:{n_devices // 2}").fits


def test_a_gpu_that_must_give_more_than_its_preset_says_so():
    expected = plan(100_000, 64, dj.DualConfig(dictionary_size=100_000), "h200:1")
    assert expected.fits
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION=.95" in expected.advice
    assert plan(20_000, 64, devices="h200:1").advice == ""


def test_a_fit_beyond_the_share_that_jax_took_of_a_gpu_is_told_how_to_take_more():
    expected = plan(100_000, 64, dj.DualConfig(dictionary_size=100_000), "h200:1")
    share = expected.on(expected.device._replace(memory=expected.device.preset))
    assert not share.fits
    assert share.advice.startswith("set XLA_PYTHON_CLIENT_MEM_FRACTION=.95")
    assert "dictionary_size" in share.advice


def test_where_nothing_helps_the_advice_says_that_too():
    assert "smaller network" in plan(10**9, 10_000, devices="t4:4096").advice


def test_the_sweeps_of_the_swaps_are_counted():
    width, configs = np.prod((4, 4)), [dj.DualConfig(readout=how) for how in ("greedy", "refine")]
    greedy, refined = (plan(5000, width, config).stages["rank"].seconds for config in configs)
    assert refined > 1.5 * greedy


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 5), "at least one row"),
        ((5, 5, None, "tpu:8"), "use one of cpu, h200"),
        ((5, 5, None, "v5e:0"), "as in v5e:8"),
        ((5, 5, dj.DualConfig(latent_dim=0)), "latent_dim=0"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        plan(*arguments)


def test_a_fit_that_cannot_fit_is_refused_with_advice_before_any_work(monkeypatch):
    monkeypatch.setattr(hardware, "_host_memory", lambda: 3e6)
    x = np.zeros((400, 5), np.float32)  # C and its moments are 1.9 MB, activations another 1.6 MB
    with pytest.raises(ValueError, match=r"400 x 5 takes .* set dictionary_size to at most .*machine with"):
        dj.fit(jax.random.key(0), x, SIMPLEX)


def test_devices_of_a_cpu_share_its_memory_and_what_a_caller_knows_is_left():
    mesh = make_mesh(jax.devices()[:4])
    assert here((4000, 40), SIMPLEX, mesh).fits
    assert "a device that has 0.0 GB" in refusal(here((4000, 40), SIMPLEX, mesh, host_memory=1e8))


class Chip(NamedTuple):
    """What JAX says of a device."""

    device_kind: str
    platform: str
    limit: float | None

    def memory_stats(self):
        return None if self.limit is None else {"bytes_limit": self.limit}


def test_a_device_at_hand_has_the_rates_of_its_kind_and_its_own_memory():
    table = hardware.ACCELERATORS
    half = hardware.at_hand(Chip("NVIDIA A100-SXM4-40GB", "gpu", 30e9))
    assert (half.memory, half.preset, half.rate) == (30e9, 30e9, table["a100"].rate)
    silent = hardware.at_hand(Chip("TPU v6 lite", "tpu", None))
    assert silent == table["v6e"]
    unknown = hardware.at_hand(Chip("NVIDIA L40S", "gpu", 40e9), 2)
    assert (unknown.platform, unknown.memory, unknown.rate) == ("gpu", 40e9, hardware.host(2).rate)


def test_the_command_prints_arrays_and_times_and_the_verdict(capsys):
    pool = ["plan", "--pool-size", "50000", "--features", "768", "--devices", "v5e:1"]
    assert main(pool) == 0
    shown = capsys.readouterr().out
    for words in ("moments of C", "pretrain", "a step takes", "memory: fits", "formula only"):
        assert words in shown
    assert main([*pool, "--dictionary-size", "50000", "--method", "dual_paper"]) == 0
    assert "DOES NOT FIT, 3" in capsys.readouterr().out


def test_the_command_asks_the_compiler(capsys, monkeypatch):
    found = [Memory(1, 2, int(3e9)), Memory(1, 2, int(4e9)), Memory(1, 2, int(5e9)), None]
    stages = dict(zip(("pretrain", "start", "train", "rank"), found, strict=True))
    monkeypatch.setattr("dual_jax.dual.ahead.in_child", lambda function, *arguments: stages)
    assert main(["plan", "--pool-size", "60", "--features", "4", "--compile"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "by the compiler" in line)
    assert line.split()[3:] == ["3", "GB", "4", "GB", "5", "GB", "too", "much"]


def test_the_compiler_runs_in_a_process_of_its_own_whose_end_is_told():
    assert in_child(os.getpid) != os.getpid()
    with pytest.raises(MissingPackageError, match=r"needs libtpu 0\.0\.23 or newer, not 0\.0\.21\.1"):
        in_child(_check_libtpu, "0.0.21.1")
    with pytest.raises(InputError, match="the compiler ended its process"):
        in_child(os._exit, 3)


@pytest.mark.parametrize("version", ["0.0.23", "0.0.42.1", "0.1.dev20260101"])
def test_versions_of_libtpu_that_work_are_taken(version):
    _check_libtpu(version)


def test_the_command_measures_this_machine(capsys, monkeypatch):
    monkeypatch.setattr(machine, "COPIED", 1000)
    monkeypatch.setattr(machine, "SIDE", 10)
    assert main(["plan", "--pool-size", "60", "--features", "4", "--calibrate"]) == 0
    assert "measured rates" in capsys.readouterr().out


def test_inputs_wider_than_the_principal_directions_do_not_widen_the_selection_block():
    narrow, wide = (plan(2000, d, SIMPLEX, "h200:1").stages["train"] for d in (MAX_INPUTS, 4 * MAX_INPUTS))
    assert narrow.arrays["features"] == wide.arrays["features"]
    own = 2 * MAX_INPUTS * 4 * MAX_INPUTS * (2000 + 2048)  # operations of projecting rows and dictionary
    network = 6 * 2000 * (4 - 1) * MAX_INPUTS * 2 * 128  # of the first layer and of the last one
    biases = 6 * 2000 * (4 - 1) * MAX_INPUTS
    assert wide.cost.operations - narrow.cost.operations == own + network + biases


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--devices v9:1", "use one of cpu"),
        ("--devices h200:1 --calibrate", "--calibrate measures this machine"),
        ("--devices t4:1 --compile", "this machine has 0 of that kind"),
        ("--devices cpu:99 --compile", "xla_force_host_platform_device_count=99"),
        ("--dictionary-size 0", "dictionary_size=0"),
    ],
)
def test_mistakes_of_the_caller_end_the_command_with_status_2(words, said, capsys):
    assert main(["plan", "--pool-size", "60", "--features", "4", *words.split()]) == 2
    assert said in capsys.readouterr().err
