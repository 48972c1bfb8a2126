"""What the network brings is compared in the same cells, by data set."""

from bench.kinds import KINDS, over_medoids
from bench.quality import SETS, is_full


def test_every_pool_of_the_tournament_has_one_kind_but_those_at_full_size():
    named = [name for of in KINDS.values() for name in of]
    assert sorted(named) == sorted(name for name in SETS if not is_full(name))


def test_points_over_medoids_are_means_over_the_cells_that_both_have():
    cells = {("a", 0, 2): (0.5, 0.4), ("a", 1, 2): (0.7, 0.8), ("b", 0, 2): (0.5, None)}
    records = [
        {"data": d, "split": s, "budget": b, "method": method, "settings": "", "judge": "svm", "accuracy": of}
        for (d, s, b), pair in cells.items()
        for method, of in zip(("dual", "medoids"), pair, strict=True)
        if of is not None
    ]
    records.append({**records[0], "judge": "nearest", "accuracy": 0.0})
    found = over_medoids(records, "svm", "")
    assert {name: round(value, 9) for name, value in found.items()} == {"a": 0.0}
