"""What work will take: told from a small run where the pool is large, and from typical times else."""

import numpy as np
import pytest

from dual_jax.data.datasets import Dataset
from dual_jax.dual.config import DualConfig
from dual_jax.evaluation.experiment import Entry, Picked
from dual_jax.evaluation.paper import costs
from dual_jax.evaluation.paper.protocols import Protocol
from dual_jax.evaluation.paper.study import open_study

RNG = np.random.default_rng(0)
PROTOCOL = Protocol("test", ("toy",), n_splits=2, n_budgets=2)


def toy(folder, n):
    labels = np.arange(n) % 2
    return open_study(
        PROTOCOL, Dataset("toy", RNG.normal(size=(n, 2)), labels, ("a", "b"), None, ""), folder, 0
    )


@pytest.fixture
def asked(monkeypatch):
    """Picking that takes 2 s and compiles in 5 more at the first time; gives the pools that were asked."""
    seen = []

    def pick(entry, key, pool, budgets):
        compiling = 0.0 if seen else 5.0
        seen.append((len(pool), *budgets))
        return {budget: Picked(np.arange(budget), 2.0 + compiling, compiling) for budget in budgets}

    monkeypatch.setattr(costs, "pick", pick)
    monkeypatch.setattr(costs, "_fit_seconds", lambda study: 0.5)
    return seen


def test_small_pools_have_typical_times_without_any_run(tmp_path, asked):
    found = costs.measure(toy(tmp_path, 40), [Entry("ted"), Entry("random", n_orders=20)], 60.0)

    assert asked == []
    assert found.of_run(Entry("random", n_orders=20)) > found.of_run(Entry("ted")) > 0


@pytest.mark.parametrize(("method", "growth"), [("facility", 16), ("llr", 64)])
def test_large_pools_are_probed_on_a_quarter_and_carried_over_by_the_methods_growth(
    tmp_path, asked, method, growth
):
    study = toy(tmp_path, 2000)

    found = costs.measure(study, [Entry(method)], 1e6)

    assert asked == [(250, 125), (250, 125)]
    assert found.of_run(Entry(method)) == pytest.approx(2.0 * growth + costs.COMPILE / 2)


def test_what_is_hopeless_is_not_probed_twice_and_left_out(tmp_path, asked):
    found = costs.measure(toy(tmp_path, 2000), [Entry("llr")], 6.0)

    assert len(asked) == 1
    assert found.too_long(Entry("llr")) == "picking would take some 5 minutes, limit 0.1"


def test_methods_that_are_not_nested_run_at_every_budget(tmp_path, asked):
    study = toy(tmp_path, 2000)

    found = costs.measure(study, [Entry("facility"), Entry("kmeans")], 1e6)

    assert found.of_run(Entry("kmeans")) == pytest.approx(2 * found.of_run(Entry("facility")))
    assert asked[-1] == (250, sum(study.budgets) // 2 // 4)  # a quarter of the mean budget


def test_the_default_of_dual_is_never_left_out():
    takes_hours = costs.Costs({"dual": 1e4, "dual_wo": 1e4}, 0.5, 2, 60.0)

    assert not takes_hours.too_long(Entry("dual"))
    assert "limit 1" in takes_hours.too_long(Entry("dual_wo"))


def test_dual_takes_four_times_as_long_on_twice_the_rows():
    small, large = (costs.dual_seconds(n, 40, DualConfig()) for n in (4000, 8000))

    assert 3.5 < large / small < 4.0  # the network's part grows with the rows alone


def test_fits_are_shared_by_two_cores():
    assert costs.Costs({}, 0.5, 2, 60.0).of_fits(80) == 20.0


def test_a_fit_on_a_large_pool_is_timed_on_random_picks_and_kept(tmp_path):
    study = toy(tmp_path, 1300)

    seconds = costs._fit_seconds(study)

    assert len(study.done) == 2
    assert seconds == pytest.approx(np.mean([record["judge_seconds"] for record in study.done.values()]))
    assert open_study(PROTOCOL, study.data, tmp_path, 0).done == study.done
