"""The command as a user runs it: its real default configuration, on a small pool, from end to end."""

import csv
import json

import dual_jax as dj
from dual_jax.cli import main, options
from dual_jax.data import datasets
from dual_jax.data.storage import sha256_of


def test_the_command_with_its_defaults_writes_the_estimators_picks_and_their_receipt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(options.NO_CACHE, "1")

    status = main(["select", "wine", "-n", "10", "--quiet"])

    with open("picks.csv", newline="") as file:
        picks = [int(pick["index"]) for pick in csv.DictReader(file)]
    with open("picks.json") as file:
        receipt = json.load(file)
    fitted = dj.DUALSelector(10, config=dj.DualConfig(n_exact=1)).fit(datasets.load("wine").x)
    default = dj.DualConfig()
    used = {name: receipt["configuration"][name] for name in ("pretrain_steps", "steps", "latent_dim")}
    assert status == 0
    assert picks == fitted.sample_indices_.tolist()
    sha256 = sha256_of("picks.csv")
    files = {"picks.csv": sha256}
    assert receipt["picks"] == {"file": "picks.csv", "sha256": sha256, "n": 10, "files": files}
    assert used == {name: getattr(default, name) for name in used}
    assert receipt["steps"] == {name: len(terms["loss"]) for name, terms in fitted.history_.items()}
