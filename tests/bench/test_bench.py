"""Benchmarks write records of the right form, a failure loses nothing else, and figures come from records."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import jax
import pytest

from bench import __main__ as all_of_them
from bench import devices, figures, plan, readme, record, start, step
from bench.__main__ import Piece
from dual_jax.devices import machine
from dual_jax.dual.costs import VECTOR


@pytest.fixture
def quick(monkeypatch):
    """Let rates be measured on a handful of numbers."""
    monkeypatch.setattr(machine, "COPIED", 1000)
    monkeypatch.setattr(machine, "SIDE", 10)


def timed(n, m, objective="free", **more):
    ours = {"median_s": 1e-9 * n * m, "network_s": 1e-6 * n, "memory_bytes": 12 * n * m}
    record = {"n": n, "m": m, "objective": objective, "floor_s": 5e-10 * n * m, "times_floor": 2.0}
    return {**record, "ours": ours, **more}


PEERS = {"PyTorch eager, Adam": {"median_s": 0.3}, "PyTorch compiled, Adam": {"failed": "no compiler"}}
SHARES = [
    {"scaling": s, "devices": k, "n": 80 * (k if s == "weak" else 1), "m": 40, "objective": "free", "p": 32}
    | {"median_s": 0.1 / k, "exchanged_bytes": 1000 * (k > 1)}
    for s in ("strong", "weak")
    for k in (1, 2, 4)
]
FAILED = {"scaling": "strong", "devices": 8, "n": 80, "m": 40, "failed": "not done after 120 s"}
SECONDS = {"seconds": 2.0, "first_call_s": 9.0, "cpu_seconds": 3.0}
RESULTS = {
    "step": {"records": [timed(n, n, o, peers=PEERS) for n in (10, 20, 40) for o in ("free", "simplex")]},
    "dictionary": {"records": [timed(*size) for size in ((80, 10), (80, 20), (80, 40), (40, 10), (20, 10))]},
    "devices": {"records": [*SHARES, FAILED]},
    "grid": {
        "records": [
            {"n": 84, "d": 147, "cells": 32, "pytorch": {"absent": "no torch"}}
            | dict.fromkeys(("vmapped", "programs_of_one", "one_after_another"), SECONDS)
        ]
    },
    "start": {
        "imports": {"base_s": 1.0, "ours_s": 1.1, "ratio": 1.1},
        "records": [{"n": 20, "d": 4, "trace_s": 1.0, "compile_s": 5.0, "fit_s": 2.0}],
    },
}


@pytest.mark.parametrize("suffix", ["", pytest.param("_gpu", marks=pytest.mark.slow)])
def test_every_result_is_drawn_and_what_is_missing_is_left_out(suffix, tmp_path):
    for name, result in RESULTS.items():
        (tmp_path / f"{name}{suffix}.json").write_text(json.dumps(result))
    (tmp_path / f"grid{suffix}.json").unlink()
    drawn = figures.draw_all(tmp_path, suffix)
    assert [path.name for path in drawn] == [f"{n}{suffix}.svg" for n in RESULTS if n != "grid"]
    assert all(ElementTree.parse(path).getroot().tag.endswith("svg") for path in drawn)


def test_the_step_is_drawn_beside_the_floor_and_the_peers_that_ran():
    axes = figures.step(RESULTS["step"]).axes
    named = [[line.get_label() for line in panel.get_lines()] for panel in axes]
    assert named[0] == ["floor", "dual_jax", "PyTorch eager, Adam"]
    assert axes[0].get_lines()[0].get_ydata().tolist() == [5e-10 * n * n for n in (10, 20, 40)]
    assert axes[2].get_ylabel() == "GB"


def test_time_is_drawn_against_m_at_one_n_and_against_n_at_one_m():
    along_m, along_n, _ = figures.dictionary(RESULTS["dictionary"]).axes
    assert along_m.get_title() == "a step at n = 80"
    assert along_m.get_lines()[0].get_xdata().tolist() == [10, 20, 40]
    assert along_n.get_title() == "a step at m = 10"
    assert along_n.get_lines()[0].get_xdata().tolist() == [20, 40, 80]


def test_strong_and_weak_scaling_name_their_pools_and_the_exchange_stands_beside_c():
    strong, weak, exchange = figures.devices(RESULTS["devices"]).axes
    assert (strong.get_title(), weak.get_title()) == (
        "one pool, n = 80, m = 40",
        "n = 80 a device, m = 40",
    )
    assert strong.get_lines()[0].get_xdata().tolist() == [1, 2, 4]  # 8 failed
    assert exchange.get_lines()[1].get_ydata().tolist() == [4 * 80 * 40 / k / 1e6 for k in (2, 4)]


CUT_SHORT = {
    "step": [
        {"records": RESULTS["step"]["records"][:1]},
        {"records": [{"n": 9, "m": 9, "objective": "free"}]},
    ],
    "dictionary": [{"records": RESULTS["dictionary"]["records"][:1]}],
    "devices": [{"records": SHARES[:1]}, {"records": SHARES[3:]}, {"records": [FAILED]}],
    "grid": [{"records": [{"n": 84, "d": 147, "cells": 32, "vmapped": SECONDS}]}],
    "start": [
        {"imports": RESULTS["start"]["imports"], "records": []},
        {"records": [{"n": 20, "d": 4, "trace_s": 1.0}]},
    ],
}


@pytest.mark.parametrize(
    ("name", "result"), [(name, r) for name, all_of in CUT_SHORT.items() for r in all_of]
)
def test_records_that_are_cut_short_are_drawn_as_far_as_they_go(name, result, tmp_path):
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(result))
    assert figures.draw_all(tmp_path) == [path.with_suffix(".svg")]


def test_a_figure_that_cannot_be_drawn_stops_no_other(tmp_path, capsys):
    (tmp_path / "step.json").write_text('{"records": [{"from": "another version"}]}')
    (tmp_path / "devices.json").write_text("half a li")
    (tmp_path / "grid.json").write_text('{"records": []}')
    (tmp_path / "start.json").write_text(json.dumps(RESULTS["start"]))
    assert figures.draw_all(tmp_path) == [tmp_path / "start.svg"]
    complaints = capsys.readouterr().err
    assert "step.json is not drawn: KeyError" in complaints
    assert "devices.json is not drawn: JSONDecodeError" in complaints


def test_the_page_has_a_table_of_each(monkeypatch):
    monkeypatch.setattr(readme, "results", RESULTS.__getitem__)
    assert "| free, n = 40 | 0.0 ms | 0.0 ms | 0.0 ms | 2.0 |  |  | 1.00 |" in readme.step()
    assert "| strong, 80 x 40 | 8 | not done after 120 s |" in readme.devices()
    assert "| import dual_jax | 1.1 s, 1.10 times that |" in readme.start()


@pytest.mark.slow
def test_a_step_is_measured_beside_its_floor_and_written(quick, tmp_path):
    path = tmp_path / "made" / "step.json"
    step.main(["--sizes", "40x16", "--objectives", "free", "--without-peers", "--out", str(path)])
    result = json.loads(path.read_text())
    (record,) = result["records"]
    assert (record["n"], record["m"], record["bytes"]) == (40, 16, 24 * 40 * 16)
    assert record["ours"]["memory_bytes"] > 12 * 40 * 16
    assert record["times_floor"] == pytest.approx(record["ours"]["median_s"] / record["floor_s"])
    assert record["ours"]["network_s"] > 0
    assert result["machine"]["versions"]["jax"] == jax.__version__


def test_peers_are_added_one_by_one_to_what_is_written(monkeypatch, tmp_path):
    path, written = tmp_path / "step.json", []
    records = [timed(10, 10), timed(10, 5), timed(10, 10, "simplex")]
    path.write_text(json.dumps({"machine": {"device": "cpu"}, "records": records}))

    def peers(n, device):
        for seconds in (3e-7, 5e-7):
            written.append(json.loads(path.read_text())["records"][0].get("times_faster", {}))
            yield f"{seconds} on {device}", {"median_s": seconds}

    monkeypatch.setattr(step, "peers", peers)
    step.add_peers(path)
    assert written == [{}, {"3e-07 on cpu": pytest.approx(3.0)}]
    found = json.loads(path.read_text())["records"]
    assert list(found[0]["peers"]) == ["3e-07 on cpu", "5e-07 on cpu"]
    assert found[1:] == records[1:]


CHILD = """
import json, sys, time
print(json.dumps({"n": 1}), flush=True)
time.sleep(float(sys.argv[1]))
sys.exit("it went wrong")
"""


@pytest.mark.parametrize(("seconds", "ended"), [("0", "it went wrong"), ("60", "not done after 2 s")])
def test_a_process_that_ends_badly_has_given_what_it_printed_before(seconds, ended, monkeypatch, tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert list(record.lines_of("child", [seconds], 2.0)) == [{"n": 1}, {"failed": ended}]


@pytest.mark.slow
def test_devices_are_measured_with_what_they_exchange():
    record = devices.measure(2, (24, 16), "free")
    assert record["median_s"] >= record["least_s"] > 0
    of_codes = 4 * 24 * step.P
    assert of_codes <= record["largest_exchange_bytes"] < record["exchanged_bytes"]


def test_the_ratio_of_imports_is_that_of_pairs_in_turn(monkeypatch):
    times = iter([9.0, 1.0, 1.1, 2.0, 2.6, 1.0, 1.2])  # the first one only writes bytecode
    monkeypatch.setattr(start, "import_seconds", lambda modules: next(times))
    found = start.imports(3)
    assert found == {"base_s": 1.0, "ours_s": 1.2, "ratio": 1.2, "is_within_bar": False}


def test_a_command_that_fails_is_not_timed(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        start.command_seconds(["select"], str(tmp_path))


@pytest.mark.slow
def test_a_known_table_takes_less_cpu_than_a_new_one():
    _, new, cached = start.commands([(20, 3)])
    assert (new["programs"], cached["programs"]) == ("new", "cached")
    assert cached["cpu_s"] < new["cpu_s"]


@pytest.mark.slow
def test_tracing_and_compiling_are_told_apart_from_running():
    parts = list(start.measure(30, 4))
    assert [name for part in parts[1:-1] for name in part] == ["trace_s", "compile_s", "first_fit_s", "fit_s"]
    assert parts[3]["first_fit_s"] > parts[4]["fit_s"]  # the second compiles nothing


def test_a_piece_that_fails_or_takes_too_long_loses_nothing_else(monkeypatch, tmp_path, capsys):
    (tmp_path / "start.json").write_text(json.dumps(RESULTS["start"]))
    (tmp_path / "long.json").write_text("{}")
    pieces = {"wrong": Piece("bench.no_such", "", 60.0), "long": Piece("bench.step", "", 0.01)}
    monkeypatch.setattr(all_of_them, "ON_CPU", pieces)
    assert all_of_them.main(["--out", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert "wrong: failed: " in shown
    assert "No module named bench.no_such; nothing is written" in shown
    assert "long: stopped after 0.01 s; long.json IS OF AN EARLIER RUN" in shown
    assert (tmp_path / "start.svg").exists()


def test_pieces_end_within_the_time_that_the_command_promises():
    assert sum(piece.limit for piece in all_of_them.ON_CPU.values()) < 600
    assert sum(piece.limit for piece in all_of_them.ON_GPU.values()) < 1900


def test_a_bench_that_is_ended_ends_its_piece_and_what_the_piece_started(tmp_path):
    child = "import time; time.sleep(600)"
    sleeper = f"""
import os, subprocess, sys, pathlib
child = subprocess.Popen([sys.executable, "-c", {child!r}])
pathlib.Path({str(tmp_path / "pids")!r}).write_text(f"{{os.getpid()}} {{child.pid}} ")
child.wait()
"""
    (tmp_path / "sleeper.py").write_text(sleeper)
    program = """
import pathlib, sys
from bench import __main__ as bench
bench.ON_CPU = {"sleeper": bench.Piece("sleeper", "", 600.0)}
bench.main(["--out", sys.argv[1]])
"""
    path = os.pathsep.join([str(tmp_path), str(Path.cwd())])
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().endswith(" "):
        assert running.poll() is None
        time.sleep(0.05)
    running.terminate()
    assert running.wait(60) == 128 + signal.SIGTERM
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert any(not any(map(is_running, pids)) or time.sleep(0.05) for _ in range(1000))


def is_running(pid):
    """Return whether a process is there; one that has ended is until the system collects its exit."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_piece_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        all_of_them.main(["--only", "step,speed"])
    assert "no piece 'speed': use step, dictionary" in capsys.readouterr().err


def test_the_constants_of_the_plan_are_fitted_from_its_records():
    stage = {"plan_s": 1.0, "seconds_ratio": 0.5}  # a second is missing
    record = {"n": 10, "d": 4, "m": 10, "k": 0, "objective": "free", "outside": {"free": 3, "drawn": 4}}
    record |= {"operations_per_s": 100.0 * VECTOR, "stages": {"train": stage, "start": stage}}
    assert plan.fitted([record]) == ["free, 10 x 4: 4", "drawn, 10 x 4: 5"]


def test_what_a_file_keeps_says_its_own_machine(tmp_path):
    path = tmp_path / "grid.json"
    path.write_text(json.dumps({"machine": {"cpu": "old"}, "records": [{"n": 1, "d": 2}]}))
    records = record.kept(path, "n", "d")
    record.write(path, [*records.values(), {"n": 3, "d": 4}])
    written = json.loads(path.read_text())
    assert written["machine"]["cpu"] != "old"
    assert written["records"] == [{"machine": {"cpu": "old"}, "n": 1, "d": 2}, {"n": 3, "d": 4}]
    assert record.kept(None, "n") == {}
