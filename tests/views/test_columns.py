"""What a column is taken for, and how its cells become features."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from dual_jax.data.errors import InputError
from dual_jax.views.categories import Categories
from dual_jax.views.columns import column_of_ids, sort
from dual_jax.views.numbers import Numbers
from dual_jax.views.text import Text

NAMES = ["anna smith", "bob jones", "carl miller", "dora lee"]
TURN = {"role": "user"}
CASES = {
    "number": ("age", [1, 2, 3, None] * 15),
    "number of text": ("age", ["1.5", "2", "NA", "-3"] * 15),
    "number with decimal commas": ("price", ["1,5", "2,25", "3,0", ""] * 15),
    "number true or false": ("flag", [True, False] * 30),
    "number a duration": ("took", [datetime.timedelta(seconds=i) for i in range(60)]),
    "date": ("day", [datetime.date(2024, 1, 1 + i % 9) for i in range(60)]),
    "date of text": ("day", [f"2024-01-{1 + i % 28:02d}" for i in range(60)]),
    "number with a currency": ("price", ["€ 1,250.00", "€ 3.50", "€ 12,000.00", None] * 15),
    "number of shares": ("share", [f"{i}.5 %" for i in range(60)]),
    "date with the day first": ("day", [f"{1 + i % 28:02d}/01/2024 10:{i:02d}" for i in range(60)]),
    "category": ("city", ["Rome", "Oslo", None] * 20),
    "category of codes": ("zip", ["01", "02", "10"] * 20),
    "string": ("name", [f"{NAMES[i % 4]} {i}" for i in range(60)]),
    "text": ("notes", [f"the cat number {i} sits here" for i in range(60)]),
    "text of tokens": ("tokens", [["the", "cat", str(i), "sits"] for i in range(60)]),
    "text of conversations": ("messages", [[TURN | {"content": f"where is order {i}"}] for i in range(60)]),
    "category of tags": ("tags", [["red", "round"], ["red"], [], None] * 15),
    "vector": ("embedding", [[0.5, float(i)] for i in range(60)]),
    "id by its name": ("customer_id", list(range(7, 67))),
    "id by its cells": ("file", [f"img_{i}.jpg" for i in range(60)]),
    "exclude constant": ("unit", ["cm"] * 60),
    "exclude a counter": ("size", list(range(1, 101))),
    "number that counts few rows": ("size", list(range(99))),
    "number that counts downwards": ("size", list(range(100, 0, -1))),
    "exclude missing": ("empty", [None] * 60),
    "exclude label": ("label", ["yes", "no"] * 30),
    "exclude a record": ("record", [{"a": i} for i in range(60)]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_column_is_known_by_its_name_and_its_cells(case):
    name, cells = CASES[case]
    (column,) = sort(pa.table({name: cells}), {})
    assert column.kind == case.split()[0], column


def test_what_is_asked_overrules_what_is_found():
    (column,) = sort(pa.table({"stars": [1, 2, 3]}), {"stars": "category"})
    assert str(column) == "stars: category (as asked)"


@pytest.mark.parametrize(
    ("cells", "kinds"),
    [
        (["1,234", "2,500", "950"], ("number:point", "number:comma")),
        (["01/02/2024", "03/04/2024", "05/06/2024"], ("date:%d/%m/%Y", "date:%m/%d/%Y")),
    ],
)
def test_text_that_can_be_read_in_two_ways_is_refused_and_the_caller_decides(cells, kinds):
    table = pa.table({"cells": cells})
    with pytest.raises(InputError, match="in two ways") as error:
        sort(table, {})
    assert all(f"cells={kind}" in str(error.value) for kind in kinds)
    rows = []
    for kind in kinds:
        (column,) = sort(table, {"cells": kind})
        dates = ["cells"] if column.kind == "date" else []
        view = Numbers.fit(table, ["cells"], dates, "none", {"cells": column.form})
        rows.append(view.transform(table)[0, 0])
    assert rows[0] != rows[1]


def test_new_rows_are_read_as_the_pool_was():
    pool = pa.table({"amount": ["1,234.50", "2,000.00"], "day": ["01/13/2024", "02/01/2024"]})
    view = Numbers.fit(pool, ["amount", "day"], ["day"], "none")
    view = Numbers.restored(*(view.state()[0], {"medians": view.medians, **_scaler(view)}))

    rows = view.transform(pa.table({"amount": ["1,234"], "day": ["02/01/2024"]}))
    assert rows[0, 0] == 1234
    assert rows[0, 1] == view.transform(pool)[1, 1]
    with pytest.raises(InputError, match="%m/%d/%Y"):
        view.transform(pa.table({"amount": ["1"], "day": ["13/01/2024"]}))


def _scaler(view):
    return {f"scaler/{i}": part for i, part in enumerate(view.scaler[1:])}


def test_ids_are_a_column_of_single_distinct_words():
    tickets = [f"T-{i:03d}" for i in range(9)]
    days = [f"2024-01-{i + 1:02d}" for i in range(9)]
    assert column_of_ids(pa.table({"day": days, "ticket": tickets})) == "ticket"
    assert column_of_ids(pa.table({"day": days, "ticket": [*tickets[:-1], None]})) is None
    assert column_of_ids(pa.table({"day": days, "ticket": [*tickets[:-1], "T-000"]})) is None


def test_a_missing_number_is_the_median_and_an_infinite_one_too():
    pool = pa.table({"age": [1.0, 2.0, 6.0, None, float("inf")]})
    view = Numbers.fit(pool, ["age"], scale="none")
    np.testing.assert_array_equal(view.transform(pool)[:, 0], [1, 2, 6, 2, 2])


def test_the_end_of_a_year_is_near_its_beginning():
    days = [datetime.date(2023, 1, 1) + datetime.timedelta(days=i) for i in range(800)]
    pool = pa.table({"day": days})
    view = Numbers.fit(pool, ["day"], ["day"], "none")

    rows = view.transform(
        pa.table({"day": [datetime.date(2023, m, d) for m, d in ((1, 1), (7, 1), (12, 31))]})
    )

    assert view.names == ["day", "day_year_sin", "day_year_cos", "day_week_sin", "day_week_cos"]
    new_year, summer, old_year = rows[:, 1:3]
    assert np.linalg.norm(new_year - old_year) < 0.05 < 1.9 < np.linalg.norm(new_year - summer)


def test_rare_levels_share_a_feature_that_new_levels_get_too():
    pool = pa.table({"city": ["Rome"] * 4 + ["Oslo"] * 3 + [None] * 2 + ["Lima", "Bonn"]})
    view = Categories.fit(pool, ["city"])

    assert view.names == ["city=(missing)", "city=Oslo", "city=Rome", "city=(others)"]
    new = view.transform(pa.table({"city": ["Lima", "Quito", "?", "Oslo"]}))
    np.testing.assert_array_equal(new, [[0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])


def test_where_no_level_is_rare_a_new_one_is_zero_everywhere():
    view = Categories.fit(pa.table({"city": ["Rome", "Oslo"] * 3}), ["city"])
    np.testing.assert_array_equal(view.transform(pa.table({"city": ["Lima"]})), [[0, 0]])


def test_a_level_is_the_same_in_any_type_of_number():
    view = Categories.fit(pa.table({"stars": [1, 2, 2, 1]}), ["stars"])
    np.testing.assert_array_equal(view.transform(pa.table({"stars": [2.0, None]})), [[0, 1], [0, 0]])


def test_misspelt_names_are_near_by_character_n_grams_and_rows_have_length_one():
    pool = pa.table({"name": [*NAMES * 5, "anna smyth"]})
    view = Text.fit(pool, "name", by_words=False)

    rows = view.transform(pa.table({"name": ["anna smith", "anna smyth", "bob jones", None]}))

    assert rows[0] @ rows[1] > 0.5 > rows[0] @ rows[2]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0], atol=1e-6)
