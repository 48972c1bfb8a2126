"""Shorter training is compared with longer on the same networks, by a rule."""

import jax
import numpy as np
import pytest

from bench import default

LEVEL = {(judge, metric): (0.0, 0.1) for judge in default.JUDGES for metric in default.METRICS}


@pytest.mark.slow
def test_a_fit_that_goes_on_from_a_longer_one_picks_what_it_picks_alone(monkeypatch):
    monkeypatch.setattr(default, "BEFORE", (100, 100))
    monkeypatch.setattr(default, "SHORTER", ((100, 50), (50, 0)))
    x = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    found = dict(default.orders(x, 7))
    assert len(found["random"]) == default.N_RANDOM
    for name in ("100+100", "100+50", "50+0"):
        alone = default.picked(jax.random.key(7), x, default.config_of(name), 12)
        np.testing.assert_array_equal(found[name][0], alone)
    kept = default.Prefixes()
    default.picked(jax.random.key(7), x, default.config_of("100+100"), 12, kept)
    assert kept.open((None, None, default.config_of("100+50")), None).step == 50
    assert kept.open((None, None, default.config_of("50+50")), None)[:2] == ("pretrain", 50)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({("svm", "accuracy"): (-0.15, 0.1)}, False),  # a loss of .35 is within the noise
        ({("svm", "accuracy"): (-0.1, 0.04)}, False),  # a sure loss
        ({("nearest", "recall"): (-1.0, 0.4)}, False),
        ({("nearest", "recall"): (-1.0, 0.6)}, True),  # as noisy as this it says nothing
    ],
)
def test_the_rule_excludes_losses_beyond_noise_and_beyond_the_margin(changes, expected):
    assert default.passes(LEVEL | changes) == expected


def test_gains_are_differences_of_means_over_budgets_on_the_same_split():
    points = {("a", 0, "new"): [50, 60], ("a", 0, "old"): [49, 57], ("a", 1, "new"): [0, 10]}
    points |= {("a", 1, "old"): [1, 9], ("b", 0, "old"): [5, 5]}
    records = [
        {"data": data, "split": split, "setting": setting, "svm": {"accuracy": of}}
        for (data, split, setting), of in points.items()
    ]
    found = default.gains(records, "new", "old", "svm", "accuracy")
    assert {name: of.tolist() for name, of in found.items()} == {"a": [2.0, 0.0]}


def test_pools_get_one_width_and_wider_ones_are_left_out():
    half = default.Half(np.ones((300, 5)), np.arange(300), np.ones((700, 5)), np.arange(700))
    cut = default.cut(half)
    assert cut.pool.shape == (default.N_POOL, default.WIDTH)
    assert cut.test.shape == (default.N_TEST, default.WIDTH)
    assert cut.pool.sum() == 5 * default.N_POOL
    assert default.cut(half._replace(pool=np.ones((300, default.WIDTH + 1)))) is None


def test_the_table_of_batches_compares_steps_on_the_same_pool():
    sizes = [(n, d, rows) for n, d in default.LARGE_COSTS for rows in default.BATCHES]
    records = [
        {"kind": "batches", "n": n, "features": d, "rows": rows, "cpu_s": rows * 1e-6} for n, d, rows in sizes
    ]
    assert "| 4,000 x 64 | 16.4 ms | 1.0 ms | 16.0 |" in default.batch_table(records)
