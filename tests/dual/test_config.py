"""Settings: what is asked, and what is decided for a pool."""

import pytest

from dual_jax.dual.config import DualConfig, Sizes


@pytest.mark.parametrize(
    ("changes", "pool", "expected"),
    [
        ({}, (178,), Sizes(178, 178, 26, 178, 1)),
        ({}, (20_000,), Sizes(20_000, 1677, 282, 2500, 2, 8)),
        ({}, (3_000,), Sizes(3_000, 3_000, 109, 750, 1, 4)),  # 34 MiB are 3 blocks of 16: 4
        ({}, (100_000,), Sizes(32_768, 1024, 362, 4096, 7, 8)),
        ({}, (178, 50), Sizes(178, 64, 26, 178, 1)),  # 50 rows may be picked
        ({}, (178, 50, 8), Sizes(178, 64, 26, 23, 1, 8)),  # a device has 23 targets
        ({}, (1,), Sizes(1, 1, 1, 1, 1)),
        ({"dictionary_size": 9}, (178,), Sizes(178, 9, 26, 178, 1)),
        ({"dictionary_size": 500}, (178,), Sizes(178, 178, 26, 178, 1)),
        ({"dictionary_size": 40_000}, (50_000,), Sizes(40_000, 40_000, 400, 625, 4, 64)),
        ({"n_targets": 100, "n_clusters": 7, "block_rows": 30}, (178,), Sizes(100, 100, 7, 25, 1, 4)),
        ({"n_targets": 100, "readout": "norms"}, (178,), Sizes(178, 178, 26, 178, 1)),
        ({"batch_rows": 50}, (178,), Sizes(178, 178, 26, 178, 4)),
        ({"batch_rows": None}, (100_000,), Sizes(32_768, 1024, 362, 4096, 1, 8)),
    ],
)
def test_what_was_asked_is_kept_and_rules_decide_the_rest(changes, pool, expected):
    assert DualConfig(**changes).sizes(*pool) == expected
