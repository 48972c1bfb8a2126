"""Figures of a comparison: every method where its records put it, and names that can be read."""

import numpy as np
import pytest

from dual_jax.evaluation import figures
from dual_jax.evaluation.figures import gain_map, learning_curves, log_scale, look, rank_diagram, shown, times
from dual_jax.evaluation.standings import Standings, by_data, critical_difference, mean_ranks
from dual_jax.methods import METHODS
from dual_jax.plots.maps import new

METHODS_SHOWN = ("random", "dual", "dual_paper", "ted", "kmeans", "dcs", "facility")
BLOCKS = tuple((data, budget) for data in ("iris", "wine") for budget in (3, 11, 37))
VALUES = np.random.default_rng(0).uniform(0.3, 0.9, (7, 6))
TABLE = Standings(METHODS_SHOWN, BLOCKS, VALUES, np.zeros_like(VALUES))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_panel_holds_the_curve_of_every_method():
    figure = learning_curves(TABLE, "accuracy")

    panel = figure.axes[1]
    drawn = {tuple(line.get_ydata()) for line in panel.lines}
    assert panel.get_title() == "wine"
    assert drawn == {tuple(row[3:]) for row in VALUES}
    assert {tuple(line.get_xdata()) for line in panel.lines} == {(3, 11, 37)}


def test_dual_random_and_the_best_others_of_a_panel_are_named():
    others = sorted((3, 4, 5, 6), key=lambda i: -VALUES[i, :3].mean())[:2]

    names = texts(learning_curves(TABLE, "accuracy").axes[0])

    assert set(names) == {"DUAL", "DUAL, released", "random", *(METHODS_SHOWN[i] for i in others)}


def test_names_do_not_meet_and_stay_in_the_panel():
    level = Standings(METHODS_SHOWN, BLOCKS, np.full((7, 6), 0.8), np.zeros((7, 6)))

    panel = learning_curves(level, "accuracy").axes[0]

    heights = sorted(text.xyann[1] for text in panel.texts)
    assert np.diff(heights).min() > 0.074  # the gap is .075 of the panel
    assert heights[-1] <= 1.0 + 1e-6  # rounding of the shift


def test_a_method_that_lacks_a_data_set_is_left_out_of_its_panel_only():
    values = VALUES.copy()
    values[3, 4] = np.nan

    figure = learning_curves(TABLE._replace(values=values), "accuracy")

    assert [len(axes.lines) for axes in figure.axes[:2]] == [7, 6]


def test_gains_are_printed_in_points_above_random_best_first():
    figure = gain_map(TABLE, "accuracy")

    points = 100 * (VALUES - VALUES[0])
    mean = points.mean(axis=1)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == [shown(METHODS_SHOWN[i]) for i in np.argsort(-mean)]
    best = points[mean.argmax()]
    expected = [best[:3].mean(), best[3:].mean(), best.mean()]
    assert texts(figure.axes[0])[:3] == [f"{value:+.1f}" for value in expected]


def test_bars_of_ranks_are_as_wide_as_the_critical_difference_over_data_sets():
    figure = rank_diagram(TABLE, "auc")

    bars = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    widths, middles = zip(*((b - a, (a + b) / 2) for a, b in bars), strict=True)
    np.testing.assert_allclose(widths, critical_difference(7, 2))
    np.testing.assert_allclose(sorted(middles), sorted(mean_ranks(by_data(TABLE, VALUES))))
    assert figure.axes[0].get_title().startswith("AUC, 2 data sets: ")


def test_times_have_a_row_a_method_slowest_on_top():
    figure = times({"ted": {"iris": 0.1, "wine": 2.0}, "dual": {"iris": 5.0}})

    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ted", "DUAL"]
    places = [tuple(point) for points in axes.collections for point in points.get_offsets().data]
    assert places == [(0.1, 0), (5.0, 1), (2.0, 0)]


def test_every_method_belongs_to_a_group_and_the_groups_look_different():
    looks = {name: look(name) for name in METHODS}

    assert all(style.group != "other" for style in looks.values())
    assert len({(style.color, style.line) for style in looks.values()}) == len(set(looks.values())) == 6
    assert look("something else").group == "other"
    assert look("dual (beta=0.0)").color == look("dual").color


def test_settings_stay_beside_the_name():
    assert shown("dual_paper (beta=0.0)") == "DUAL, released (beta=0.0)"
    assert shown("ted") == "ted"


@pytest.mark.usefixtures("no_matplotlib")
def test_a_missing_matplotlib_names_the_pip_command():
    with pytest.raises(ImportError, match=r'pip install "dual-jax\[plot\]"'):
        figures.new(1.0)


def test_marks_of_a_logarithmic_axis_leave_room_for_their_numbers():
    axes = new(2.0).add_subplot()
    log_scale(axes, [9, 10, 18, 21, 36, 42])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["42", "21", "9"]
    log_scale(axes, [1, 10, 100, 1000])
    assert sorted(axes.get_xticks()) == [1, 10, 100, 1000]
    log_scale(axes, [7])
    assert axes.get_xticks() == [7]
