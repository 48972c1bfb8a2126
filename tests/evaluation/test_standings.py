"""Who stands where: SciPy's and the textbook's numbers, by hand where they are small."""

import itertools

import numpy as np
import pytest

from dual_jax.evaluation.standings import (
    best_of,
    by_data,
    complete,
    critical_difference,
    curves,
    friedman,
    gains,
    mean_ranks,
    standings,
    wins,
)

RNG = np.random.default_rng(0)


def record(method, accuracy, data="iris", budget=3, split=0, order=0, settings="", view="raw"):
    cell = {"data": data, "budget": budget, "split": split, "order": order, "method": method}
    return cell | {"settings": settings, "view": view, "judge": "svm", "accuracy": accuracy}


RECORDS = [
    *(
        record("random", a, split=s, order=o)
        for (s, o), a in zip([(0, 0), (0, 1), (1, 0)], [0.1, 0.3, 0.6], strict=True)
    ),
    *(record("ted", a, split=s) for s, a in enumerate([0.5, 0.3])),
    *(
        record(m, a, data="wine", budget=b)
        for m, b, a in [("random", 3, 0.4), ("ted", 3, 0.2), ("random", 9, 0.8)]
    ),
    record("ted", 0.9, view="latent"),
]


def test_orders_are_averaged_before_splits():
    table = standings(RECORDS)

    assert table.methods == ("random", "ted")
    assert table.blocks == (("iris", 3), ("wine", 3), ("wine", 9))
    np.testing.assert_allclose(table.values, [[0.4, 0.4, 0.8], [0.4, 0.2, np.nan]])
    spreads = [np.std(of, ddof=1) for of in ([0.1, 0.3, 0.6], [0.5, 0.3])]
    np.testing.assert_allclose(table.spreads[:, 0], spreads)


def test_settings_are_rows_of_their_own_and_views_are_kept_apart():
    table = standings([record("dual", 0.5), record("dual", 0.7, settings="beta=0.0")])

    assert table.methods == ("dual", "dual (beta=0.0)")
    assert standings(RECORDS, view="latent").values.tolist() == [[0.9]]


def test_gains_wins_and_means_over_a_data_sets_budgets():
    table = standings(RECORDS)

    np.testing.assert_allclose(gains(table)[1, :2], [0.0, -0.2], atol=1e-12)
    assert wins(table) == [(0, 0), (0, 1)]
    np.testing.assert_allclose(by_data(table, table.values)[0], [0.4, 0.6])
    assert complete(table).methods == ("random",)


def test_a_mean_over_fewer_splits_is_none():
    table = standings([*RECORDS, record("dual", 0.9, split=1)])
    assert np.isnan(table.row("dual")[0])


def test_mean_ranks_share_ties():
    values = np.array([[0.9, 0.1], [0.5, 0.1], [0.2, 0.7]])

    assert mean_ranks(values).tolist() == [1.75, 2.25, 2.0]


def test_nemenyis_critical_values_are_those_of_the_table():
    """Demsar, JMLR 2006, Table 5(a): q for 2, 5 and 10 classifiers at 5 %, printed to three places."""
    for k, q in ((2, 1.960), (5, 2.728), (10, 3.164)):
        unit = np.sqrt(k * (k + 1) / 6.0)
        assert critical_difference(k, 1) / unit == pytest.approx(q, abs=1e-3)
    assert critical_difference(5, 40) == pytest.approx(critical_difference(5, 10) / 2)


def test_friedmans_test_sees_what_is_alike_and_what_is_not():
    alike = RNG.normal(size=(4, 60))
    apart = alike + 3.0 * np.arange(4)[:, None]

    assert friedman(alike) > 0.01  # this draw's p is .6
    assert friedman(apart) < 1e-20


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_expected_best_is_the_mean_over_all_subsets(k):
    values = RNG.normal(size=5)

    expected = np.mean([max(subset) for subset in itertools.combinations(values, k)])

    assert best_of(values, k) @ values == pytest.approx(expected)
    assert best_of(values, k).sum() == pytest.approx(1.0)


def test_too_few_values_for_the_best_of_many_are_refused():
    with pytest.raises(ValueError, match="3 values cannot give the best of 16"):
        best_of(np.zeros(3), 16)


def test_curves_have_a_row_a_run_and_a_column_a_budget():
    runs = [
        record("random", 0.1 * o + b, budget=b, order=o, split=s)
        for s in (0, 1)
        for o in (1, 0)
        for b in (9, 3)
    ]

    found = curves(runs[:-1], "accuracy", view="raw")

    assert list(found) == [0, 1]
    np.testing.assert_allclose(found[0], [[3.0, 9.0], [3.1, 9.1]])
    np.testing.assert_allclose(found[1], [[3.1, 9.1]])  # the other run lacks a budget
