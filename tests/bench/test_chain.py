"""Greedy, chain and swaps are compared at the same budgets, as differences by data set."""

import numpy as np
import pytest

from bench import chain


def test_budgets_are_the_sets_of_a_chain_and_three_quarters_of_each():
    assert chain.budgets(400) == ([6, 12, 25, 50, 100, 200], [9, 18, 37, 75, 150])


def test_scores_are_shares_of_the_test_rows_in_per_cent():
    x = np.array([[0.0], [1.0], [9.0], [10.0]], np.float32)
    half = chain.Half(x, np.array([0, 0, 1, 1]), x, np.array([0, 0, 0, 1]))
    assert chain.scores(half, np.array([0, 3]), "nearest") == {
        "accuracy": 75.0,
        "recall": pytest.approx(83.333),
        "smallest": 100.0,
    }
    assert chain.scores(half, np.array([0, 1]), "svm")["accuracy"] == 75.0  # one class alone


def test_differences_are_means_over_budgets_and_splits_of_each_set_over_the_greedy():
    points = {("a", "greedy"): (50, 60), ("a", "chain"): (52, 61), ("b", "greedy"): (70, 80)}
    points |= {("b", "chain"): (70, 79)}
    records = [
        {"data": data, "readout": readout, "is_swapped": place == 0, "accuracy": value}
        for (data, readout), values in points.items()
        for place, value in enumerate(values)
    ]
    assert chain.differences(records, "chain", "accuracy", "all").tolist() == [1.5, -0.5]
    assert chain.differences(records, "chain", "accuracy", "swapped").tolist() == [2.0, 0.0]
    assert chain.differences(records, "chain", "accuracy", "between").tolist() == [1.0, -1.0]
