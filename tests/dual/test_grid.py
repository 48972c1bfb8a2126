"""A grid of weights in one program: what each cell would be alone, however the cells are dealt out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.dual import grid
from dual_jax.dual.config import DualConfig
from dual_jax.dual.fitting import fit, train
from dual_jax.dual.plan import plan
from dual_jax.dual.trained import row_norms

KEYS = jax.random.split(jax.random.key(0), 2)
POOLS = jax.random.normal(jax.random.key(1), (2, 24, 5))
SMALL = {"latent_dim": 3, "hidden": (8,), "n_clusters": 4, "pretrain_steps": 5, "steps": 4}
CONFIGS = [
    DualConfig.paper(alpha=a, beta=a, gamma=g, eta=g, **SMALL)
    for a, g in ((0.1, 1.0), (10.0, 0.1), (1.0, 5.0))
]


@pytest.fixture(scope="module")
def networks():
    return grid.pretrain(KEYS, POOLS, CONFIGS[0])


TWO_CELLS = 2.1 * grid.AMONG_OTHERS["free"] * plan(24, 5, CONFIGS[0]).n_bytes  # one program for all tests


@pytest.fixture(scope="module")
def outcomes(networks):
    programs = list(grid.select(KEYS, networks, POOLS, CONFIGS, 6, max_bytes=TWO_CELLS))
    assert [len(program) for program in programs] == [2, 2, 2]
    return [outcome for program in programs for outcome in program]


@pytest.mark.slow
def test_a_cell_is_what_training_it_alone_gives(outcomes):
    state, history = train(KEYS[1], POOLS[1], CONFIGS[2])
    norms = row_norms(state, POOLS[1], CONFIGS[2])
    scaled = [(np.asarray(v) - v.min()) / (v.max() - v.min()) for v in norms]

    (cell,) = [outcome for outcome in outcomes if outcome[:2] == (1, 2)]

    assert cell.picks.tolist() == np.argsort(-(scaled[0] + scaled[1]))[:6].tolist()
    # the same float32 sums in another order, after 9 steps of Adam
    assert cell.loss == pytest.approx(history["train"]["loss"][-1], rel=1e-4)


@pytest.mark.slow
def test_at_a_tolerance_each_cell_stops_where_it_would_alone_and_picks_the_same():
    config = DualConfig(**{**SMALL, "pretrain_steps": 130, "steps": 130}, tolerance=0.2)
    pools = POOLS * jnp.array([1.0, 0.1])[:, None, None]  # the second loss falls by more than half

    states = grid.pretrain(KEYS, pools, config)
    (outcomes,) = grid.select(KEYS, states, pools, [config], 6)

    alone = [fit(key, x, config) for key, x in zip(KEYS, pools, strict=True)]
    n_steps = [len(fitted.history["pretrain"]["loss"]) for fitted in alone]
    assert states.step.tolist() == n_steps
    assert n_steps == [100, 130]
    for outcome, fitted in zip(outcomes, alone, strict=True):
        assert outcome.picks.tolist() == fitted.ranking.indices[:6].tolist()
        # the same float32 sums in another order, after 260 steps of Adam
        assert outcome.loss == pytest.approx(fitted.history["train"]["loss"][-1], rel=1e-3)


def test_every_pool_meets_every_configuration(outcomes):
    assert [outcome[:2] for outcome in outcomes] == [
        (pool, config) for pool in range(2) for config in range(3)
    ]
    assert len({outcome.loss for outcome in outcomes}) == 6


def test_only_the_cells_that_are_asked_for_are_run(networks, outcomes):
    wanted = [(1, 0), (0, 2), (1, 1), (0, 0), (1, 2)]

    programs = grid.select(KEYS, networks, POOLS, CONFIGS, 6, cells=wanted, max_bytes=TWO_CELLS)

    found = [outcome for program in programs for outcome in program]
    assert [outcome[:2] for outcome in found] == wanted
    assert found[0].picks.tolist() == outcomes[3].picks.tolist()


@pytest.mark.slow
def test_pretraining_side_by_side_is_pretraining_alone(networks):
    alone = grid.pretrain(KEYS[1:], POOLS[1:], CONFIGS[0])

    for together, one in zip(jax.tree.leaves(networks.params), jax.tree.leaves(alone.params), strict=True):
        # the same float32 sums in another order, after 5 steps of Adam
        np.testing.assert_allclose(together[1], one[0], atol=1e-5)


@pytest.mark.parametrize(
    ("n_cells", "fitting", "expected"), [(96, 1000, 96), (96, 50, 48), (7, 3, 3), (5, 0, 1)]
)
def test_cells_are_spread_evenly_over_the_fewest_programs(n_cells, fitting, expected):
    a_cell = grid.AMONG_OTHERS["free"] * plan(100, 5, DualConfig.paper()).n_bytes
    max_bytes = a_cell * (fitting + 0.5)

    assert grid.cells_at_once(n_cells, (100, 5), DualConfig.paper(), max_bytes) == expected


def test_cells_take_a_quarter_of_the_memory():
    n = 20_000
    expected = plan(n, 5, DualConfig.paper())

    fitting = max(1, int(0.25 * expected.device.memory // expected.n_bytes))
    assert grid.cells_at_once(1000, (n, 5), DualConfig.paper()) <= fitting


def test_configurations_of_different_programs_are_refused(networks):
    other = DualConfig.paper(**{**SMALL, "n_clusters": 3})

    with pytest.raises(ValueError, match="weights and rates"):
        next(grid.select(KEYS, networks, POOLS, [CONFIGS[0], other], 6))


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_weights(networks):
    wild = DualConfig.paper(alpha=float("inf"), **SMALL)

    with pytest.raises(ValueError, match="alpha=inf"):
        list(grid.select(KEYS, networks, POOLS, [CONFIGS[0], wild, CONFIGS[1]], 6, max_bytes=TWO_CELLS))


@pytest.mark.slow
@pytest.mark.parametrize("config", [DualConfig.paper(**SMALL), DualConfig(**SMALL)], ids=["free", "simplex"])
def test_a_cell_takes_what_it_is_reckoned_with(config):
    pool = jnp.zeros((1, 400, 5))
    states = jax.eval_shape(grid.pretrain, KEYS[:1], pool, config)
    stacked = jax.tree.map(lambda leaf: jnp.array([leaf] * 4), config)
    cells = jnp.zeros((2, 4), int)

    memory = grid._run.lower(KEYS[:1], states, pool, stacked, cells, 6).compile().memory_analysis()

    reckoned = 4 * grid.AMONG_OTHERS[config.objective] * plan(400, 5, config).n_bytes
    assert 0.75 < memory.temp_size_in_bytes / reckoned < 1.1
