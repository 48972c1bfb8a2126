"""Two processes with four devices each, joined by JAX over the loopback, fit like one device."""

import json
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

PROGRAM = """
    import json, os, sys

    place, port = int(sys.argv[1]), sys.argv[2]
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    if place >= 0:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=place)
    import numpy as np

    import dual_jax as dj

    x = np.random.default_rng(0).normal(size=(203, 6)).astype(np.float32)
    config = dj.DualConfig(pretrain_steps=20, steps=50, tolerance=0.0, n_exact=100)
    mesh = dj.make_mesh() if place >= 0 else None
    fitted = dj.fit(jax.random.key(0), x, config, mesh=mesh)
    found = {
        "devices": len(jax.devices()),
        "losses": np.asarray(fitted.history["train"]["loss"]).tolist(),
        "picks": np.asarray(fitted.ranking.indices).tolist(),
    }
    print(json.dumps(found))
"""


def start(place, port=0):
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(place), str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process):
    said, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints[-2000:]
    return json.loads(said.splitlines()[-1])


@pytest.mark.slow
def test_two_processes_of_four_devices_fit_like_one_device():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with start(0, port) as one, start(1, port) as other, start(-1) as single:
        try:
            first, second, alone = map(outcome, (one, other, single))
        finally:
            for process in (one, other, single):
                process.kill()  # one that waits for another that failed
    assert (first["devices"], second["devices"], alone["devices"]) == (8, 8, 4)
    assert first == second
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-5)  # 50 steps on reordered sums
    assert len(set(first["picks"][:100]) & set(alone["picks"][:100])) >= 99
