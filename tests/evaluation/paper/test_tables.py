"""Tables hold what the records say."""

from dual_jax.evaluation.paper.tables import seconds, times_table


def record(method, split, budget, seconds, data="iris"):
    cell = {"method": method, "data": data, "split": split, "budget": budget}
    return cell | {"seconds": 1.0 + seconds, "compile_seconds": 1.0}


def test_the_time_of_a_method_is_its_fastest_split_at_the_largest_budget():
    records = [record("ted", 0, 37, 9.0), record("ted", 1, 37, 2.0), record("ted", 1, 3, 0.1)]

    assert seconds(records) == {"ted": {"iris": 2.0}}


def test_times_are_told_for_each_data_set_the_quickest_method_first():
    found = seconds([record("dual", 0, 9, 3.0), record("ted", 0, 9, 0.25), record("ted", 0, 9, 1.5, "wine")])

    rows = times_table(found).splitlines()[-2:]

    assert rows == ["| ted | 0.25 | 1.50 |", "| DUAL | 3.00 | - |"]


def test_without_a_comparison_there_is_no_table_of_times():
    assert times_table({}) == ""
