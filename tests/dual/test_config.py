"""Settings: what is asked, and what is decided for a pool."""

import pytest

from dual_jax.dual.config import DualConfig
from dual_jax.dual.sizes import BLOCKS, Sizes


@pytest.mark.parametrize(
    ("changes", "pool", "expected"),
    [
        ({}, (178,), Sizes(178, 178, 26, 178, 1)),
        ({}, (20_000,), Sizes(20_000, 1677, 282, 2500, 20, n_tiles=8)),
        ({}, (3_000,), Sizes(3_000, 3_000, 109, 750, 3, n_tiles=4)),  # 34 MiB are 3 blocks of 16: 4
        ({}, (100_000,), Sizes(32_768, 1024, 362, 4096, 98, n_tiles=8)),
        ({}, (178, 50), Sizes(178, 64, 26, 178, 1)),  # 50 rows may be picked
        ({}, (178, 50, 8), Sizes(178, 64, 26, 23, 1, n_tiles=8)),  # a device has 23 targets
        ({}, (1,), Sizes(1, 1, 1, 1, 1)),
        ({"dictionary_size": 9}, (178,), Sizes(178, 9, 26, 178, 1)),
        ({"dictionary_size": 500}, (178,), Sizes(178, 178, 26, 178, 1)),
        ({"dictionary_size": 40_000}, (50_000,), Sizes(40_000, 40_000, 400, 625, 49, n_tiles=64)),
        ({"n_targets": 100, "n_clusters": 7, "block_rows": 30}, (178,), Sizes(100, 100, 7, 25, 1, n_tiles=4)),
        ({"n_targets": 100, "readout": "norms"}, (178,), Sizes(178, 178, 26, 178, 1)),
        ({"batch_rows": 50}, (178,), Sizes(178, 178, 26, 178, 4)),
        ({"batch_rows": None}, (100_000,), Sizes(32_768, 1024, 362, 4096, 1, n_tiles=8)),
    ],
)
def test_what_was_asked_is_kept_and_rules_decide_the_rest(changes, pool, expected):
    assert DualConfig(**changes).sizes(*pool) == expected


@pytest.mark.parametrize(
    ("platform", "make", "n", "expected"),
    [
        ("tpu", DualConfig.paper, 4000, (2048, 4096)),  # 52 MB at most, on the chip
        ("tpu", DualConfig.paper, 10_000, (1280, 10_112)),
        ("tpu", DualConfig.paper, 20_000, (20_000, 20_096)),  # too many of those: one
        ("tpu", DualConfig, 4000, (4000, 4096)),
        ("gpu", DualConfig.paper, 20_000, (20_000, 20_096)),
        ("gpu", DualConfig.paper, 80_000, (13_440, 80_000)),  # 4 GiB
    ],
)
def test_blocks_and_unused_columns_suit_the_device(platform, make, n, expected):
    sizes = make(dictionary_size=n).sizes(n, platform=platform)
    assert (sizes.block_rows, sizes.n_columns) == expected
    assert sizes.n_places == n


@pytest.mark.parametrize("platform", ["tpu", "gpu"])
@pytest.mark.parametrize("make", [DualConfig, DualConfig.paper])
def test_no_device_but_a_cpu_gets_many_blocks_to_compile(make, platform):
    for n in (100, 3000, 10_000, 40_000, 100_000):
        sizes = make(dictionary_size=n).sizes(n, platform=platform)
        is_too_large = 3 * 4 * n * n > 64e9  # for a chip
        n_blocks = -(-sizes.n_targets // sizes.block_rows)
        assert n_blocks <= BLOCKS[platform, make().objective].most or is_too_large
        assert sizes.n_columns * sizes.block_rows < 1 << 31 or is_too_large
