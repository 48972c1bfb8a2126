"""Two processes with four devices each, joined by JAX over the loopback, fit like one device."""

import json
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import dual_jax as dj

START = """
    import json, os, sys

    place, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    if place >= 0:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=place)
    import numpy as np

    import dual_jax as dj
    from dual_jax.dual.checkpoint import Checkpoint

    x = np.random.default_rng(0).normal(size=(203, 6)).astype(np.float32)
    key, mesh = jax.random.key(0), dj.make_mesh() if place >= 0 else None
"""
FITS = """
    found = {"devices": len(jax.devices())}
    for objective in ("simplex", "free"):
        config = dj.DualConfig(objective=objective, block_rows=26)  # eight blocks, and all else by default
        fitted = dj.fit(key, x, config, mesh=mesh)
        found[objective] = {
            "losses": [np.asarray(fitted.history[stage]["loss"]).tolist() for stage in ("pretrain", "train")],
            "picks": np.asarray(fitted.ranking.indices).tolist(),
            "scores": np.asarray(fitted.ranking.scores).tolist(),
        }
"""
KEPT = """
    config = dj.DualConfig(pretrain_steps=100, steps=100, tolerance=0.0, n_exact=100)

    def stop(chunk):
        if (chunk.stage, chunk.step) == ("train", 50):
            raise KeyboardInterrupt

    try:
        dj.fit(key, x, config, mesh=mesh, checkpointer=Checkpoint(folder, seconds=0.0), callbacks=[stop])
    except KeyboardInterrupt:
        pass
    steps = []
    checkpointer, note = Checkpoint(folder), lambda chunk: steps.append([chunk.stage, chunk.step])
    again = dj.fit(key, x, config, mesh=mesh, checkpointer=checkpointer, callbacks=[note])
    whole = dj.fit(key, x, config, mesh=mesh)
    selector = dj.DUALSelector(9, max_iter=5, pretrain_iter=5, devices=jax.devices()).fit(x)
    selector.save(f"{folder}/selector.npz")
    found = {
        "steps": steps,
        "picks": [np.asarray(fit.ranking.indices).tolist() for fit in (again, whole)],
        "selected": selector.sample_indices_.tolist(),
        "codes": selector.transform(x[:5]).tolist(),
    }
"""


END = """
    with open(f"{folder}/{place}.json", "w") as file:
        json.dump(found, file)
"""


def start(program, place, folder, port):
    code = textwrap.dedent(START + program + END)
    command = [sys.executable, "-c", code, str(place), str(port), str(folder)]
    with open(folder / f"{place}.log", "w") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


def outcomes(program, folder, places):
    """Return what each process of a program finds; place -1 stands for one that is on its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    processes, deadline = [start(program, place, folder, port) for place in places], time.monotonic() + 300
    try:
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            assert time.monotonic() < deadline, complaints(folder)
            time.sleep(0.1)
        assert not any(codes), complaints(folder)
    finally:
        for process in processes:
            process.kill()  # one that waits for another that failed
            process.wait()
    return [json.loads((folder / f"{place}.json").read_text()) for place in places]


def complaints(folder):
    return "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))


@pytest.mark.slow
def test_two_processes_of_four_devices_have_the_bits_of_one_device(tmp_path):
    first, second, alone = outcomes(FITS, tmp_path, (0, 1, -1))
    assert (first["devices"], second["devices"], alone["devices"]) == (8, 8, 4)
    assert first == second
    for objective in ("simplex", "free"):
        assert first[objective] == alone[objective]  # bit for bit, after a whole default fit


@pytest.mark.slow
def test_two_processes_keep_their_fit_in_one_file_and_go_on_from_there(tmp_path):
    first, second = outcomes(KEPT, tmp_path, (0, 1))
    assert first == second
    assert first["steps"][0] == ["train", 100]
    assert first["picks"][0] == first["picks"][1]
    loaded = dj.load(tmp_path / "selector.npz")
    assert loaded.sample_indices_.tolist() == first["selected"]
    x = np.random.default_rng(0).normal(size=(203, 6)).astype(np.float32)
    np.testing.assert_allclose(loaded.transform(x[:5]), first["codes"], rtol=1e-5, atol=1e-6)  # float32
