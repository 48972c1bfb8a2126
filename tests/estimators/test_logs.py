"""A fit's lines in the log and its curves for TensorBoard."""

import logging

import jax
import numpy as np
import pytest

import dual_jax as dj
from dual_jax.dual.loop import Chunk
from dual_jax.estimators.logs import Lines, TensorBoard

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_every_break_of_a_fit_is_a_line_with_the_time_left(caplog):
    caplog.set_level(logging.INFO, "dual_jax")
    config = dj.DualConfig(pretrain_steps=150, steps=1, tolerance=0.0)
    dj.fit(jax.random.key(0), X, config, callbacks=[Lines()])
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("Training the autoencoder: 50 of 150, loss ")
    assert "100 of 150" in said[1]
    assert said[1].endswith(" left")
    assert any(line.startswith("Ranking: 1 of 1") for line in said)


def test_curves_hold_every_step_once(tmp_path):
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path)
    board(Chunk("train", 50, 100, {"loss": np.arange(50.0)}))
    board(Chunk("train", 100, 100, {"loss": np.arange(50.0)}))
    board.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert content.count(b"train/loss") == 100
