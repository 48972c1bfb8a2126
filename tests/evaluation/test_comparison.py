"""Methods on one table against random: intervals over splits, and words that follow them."""

import numpy as np
import pytest
from scipy import stats

from dual_jax.evaluation.comparison import as_csv, as_markdown, compare, verdict

DRAW = np.random.default_rng(0)


def records(method, values, budget=5, orders=1):
    of = {"settings": "", "budget": budget, "method": method}
    return [
        {**of, "split": split, "order": order, "accuracy": float(value)}
        for split, value in enumerate(values)
        for order in range(orders)
    ]


CHANCE = DRAW.uniform(0.4, 0.6, size=6)
ABOVE = CHANCE + DRAW.normal(0.1, 0.02, size=6)


def test_the_gain_is_over_random_on_the_same_split_with_students_interval():
    point = compare(records("random", CHANCE) + records("ted", ABOVE))[1]
    low, high = stats.ttest_1samp(ABOVE - CHANCE, 0.0).confidence_interval(0.95)
    assert point.gain == pytest.approx((ABOVE - CHANCE).mean())
    assert point.gain - point.gain_half_width == pytest.approx(low)
    assert point.gain + point.gain_half_width == pytest.approx(high)
    assert point.is_better


def test_many_orders_of_a_split_do_not_narrow_the_interval():
    once, often = (compare(records("random", CHANCE, orders=orders))[0] for orders in (1, 20))
    assert often.half_width == pytest.approx(once.half_width)


def test_one_split_proves_nothing():
    points = compare(records("random", [0.5]) + records("ted", [0.9]))
    assert not points[1].is_better
    assert verdict(points) == ["ted is not measurably better than random at any budget (5 picks)."]


def test_words_and_tables_say_at_which_budget_a_method_is_better():
    points = compare(
        records("random", CHANCE)
        + records("random", CHANCE, budget=9)
        + records("ted", ABOVE)
        + records("ted", CHANCE, budget=9)
    )
    assert verdict(points) == ["ted is better than random with 5 picks; not measurably with 9."]
    assert as_markdown(points, "accuracy").count("*") == 1
    assert [line.rsplit(",", 1)[1] for line in as_csv(points, "accuracy").splitlines()[1:]] == [
        *("false", "false"),
        *("true", "false"),
    ]


def test_without_random_there_is_nothing_to_compare_with():
    with pytest.raises(ValueError, match="no records of random"):
        compare(records("ted", ABOVE))
