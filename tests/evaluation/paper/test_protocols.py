"""What is run is what the paper ran, as far as that is known."""

import dataclasses

import jax

from dual_jax.data.datasets import names
from dual_jax.evaluation.paper import protocols
from dual_jax.evaluation.paper.protocols import CONFIGS, PROTOCOLS
from dual_jax.methods import METHODS


def test_the_fair_protocol_runs_every_method_on_the_papers_data():
    fair = PROTOCOLS["fair"]

    assert [entry.method for entry in fair.entries()] == ["random", *sorted(set(METHODS) - {"random"})]
    assert set(fair.data) <= set(names())
    assert (fair.n_splits, fair.n_budgets, fair.scale) == (5, 8, "standard")
    assert not any(entry.knobs for entry in fair.entries())


def test_random_has_twenty_orders_and_both_views():
    (random,) = [entry for entry in PROTOCOLS["fair"].entries() if entry.method == "random"]

    assert (random.n_orders, random.views) == (20, ("raw", "latent"))


def test_every_figure_of_a_protocol_is_of_data_that_it_runs():
    for protocol in PROTOCOLS.values():
        assert {*protocol.ablated, protocol.mapped, protocol.varied} - {""} <= set(protocol.data)


def test_the_grid_is_the_released_one():
    """The released weights p_q and p_Rq are alpha = beta = p_Rq and gamma = eta = p_q / p_Rq."""
    cells = protocols.grid()

    assert len({entry.settings for entry, _ in cells}) == 16
    for entry, config in cells:
        p_q, p_rq = entry.knobs["p_q"], entry.knobs["p_Rq"]
        assert config.alpha == config.beta == p_rq
        assert config.gamma == config.eta == p_q / p_rq


def test_a_list_of_variations_is_one_program_and_changes_one_setting_at_a_time():
    for method, make in CONFIGS.items():
        for settings in protocols.variations(method):
            assert len({jax.tree.structure(config) for _, config in settings}) == 1
            for entry, config in settings:
                changed = {
                    f.name
                    for f in dataclasses.fields(config)
                    if getattr(config, f.name) != getattr(make(), f.name)
                }
                ((name, _),) = entry.knobs.items()
                assert changed <= {"gamma": {"gamma", "eta"}, "K": {"n_clusters"}}.get(name, {name})


def test_the_check_has_the_released_budgets_and_no_scaling():
    check = PROTOCOLS["check"]

    assert check.budgets(9, 84) == tuple(range(5, 81, 5))
    assert check.scale == "none"
    assert check.network == "dual_paper"
