"""A pick is shown as what it is: values beside the pool's, a sentence, a picture; and what it represents."""

import numpy as np
import pytest

from dual_jax.plots.cards import MAX_CARDS, MAX_VALUES, Card, Shown, Value, as_html, spoken, values_of

X = np.random.default_rng(0).normal(size=(101, 12))
NAMES = [f"c{i}" for i in range(12)]


def test_values_stand_beside_the_medians_and_their_place_in_the_pool():
    x = X[:, :3]

    (values,) = values_of(x, np.array([40]), NAMES[:3])

    assert [value.name for value in values] == ["c0", "c1", "c2"]
    for j, value in enumerate(values):
        assert float(value.value) == pytest.approx(x[40, j], rel=1e-3)  # four digits are shown
        assert float(value.typical) == pytest.approx(np.median(x[:, j]), rel=1e-3)
        assert value.share == pytest.approx(((x[:, j] < x[40, j]).sum() + 0.5) / 101)


def test_of_many_columns_the_most_unusual_come_first_whatever_their_units():
    x = X * np.logspace(-3, 3, 12)
    x[7, [9, 2]] = np.median(x, axis=0)[[9, 2]] + [50 * x[:, 9].std(), 20 * x[:, 2].std()]

    (values,) = values_of(x, np.array([7]), NAMES)

    assert [value.name for value in values[:2]] == ["c9", "c2"]
    assert len(values) == MAX_VALUES


def test_large_numbers_are_written_out():
    (values,) = values_of(np.array([[50_000.0], [2.5], [1.0]]), np.array([0]), ["loan"])
    assert values[0][1:3] == ("50,000", "2.5")


def test_missing_cells_and_constant_columns_do_no_harm():
    x = X[:, :3].copy()
    x[4, 1], x[:, 2] = np.nan, 5.0

    (values,) = values_of(x, np.array([4]), NAMES[:3])

    assert [value.name for value in values] == ["c0", "c2"]
    assert values[1] == Value("c2", "5", "5", 0.5 * 101 / 101)


def test_a_card_holds_picture_sentence_values_neighbours_and_the_row_before():
    shown = Shown(3, "a<b", "data:image/png;base64,AA==", "one & two", [Value("age", "9", "2", 0.9)])
    card = Card(1, shown, ["represents 4 rows"], [Shown(8, "eight")], Shown(5, "five"), "nearest: pick 2")

    page = as_html([card])

    for part in ("a&lt;b", "one &amp; two", "represents 4 rows", "eight", "five", "nearest: pick 2"):
        assert part in page
    assert 'data-row="3"' in page
    assert 'aria-label="90% of the pool is below"' in page
    assert 'href="#map-1"' in page


def test_a_pick_is_said_in_one_sentence():
    assert spoken(Card(2, Shown(3, "x"), ["a", "b"])) == "pick 2, x; a; b"


def test_cards_without_values_explain_none():
    assert "median" not in as_html([Card(1, Shown(0, "x"))])
    assert MAX_CARDS >= 10
