"""What -n and its companions may say on the command line, and what the receipt and the summary tell of it."""

import csv
import json

import numpy as np
import pytest

from dual_jax.cli import main, options

N = 40
ROWS = np.random.default_rng(0).normal(size=(N, 2)).round(3)
COSTS = np.random.default_rng(1).integers(1, 4, N)
SELECT = ["select", "pool.csv", "--method", "kcenter", "--id-column", "uid"]
COVER = ["select", "pool.csv", "--method", "facility", "--id-column", "uid"]


@pytest.fixture(autouse=True)
def pool(monkeypatch, tmp_path):
    """Rows of eight patients with costs and weights, in an empty folder."""
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.chdir(tmp_path)
    lines = [f"r{i},{a},{b},p{i % 8},{COSTS[i]},{int(i < 10)}" for i, (a, b) in enumerate(ROWS)]
    (tmp_path / "pool.csv").write_text("\n".join(["uid,a,b,patient,minutes,matters", *lines]))


def picked():
    with open("picks.csv", newline="") as file:
        return [int(row["index"]) for row in csv.DictReader(file)]


def receipt():
    with open("picks.json") as file:
        return json.load(file)


def test_a_share_of_the_candidates_is_picked():
    assert main([*SELECT, "-n", "10%", "--exclude", "patient,minutes,matters"]) == 0

    assert len(picked()) == 4


def test_groups_are_kept_are_no_feature_and_the_summary_says_so(capsys):
    assert main([*SELECT, "-n", "12", "--per-group", "patient=1", "--exclude", "minutes,matters"]) == 0

    shown = capsys.readouterr().out
    assert len({i % 8 for i in picked()}) == len(picked()) == 8
    assert "left out: patient (groups)" in shown
    assert "groups: rows of 8, at most 1 of each (patient)" in shown
    assert "limits: 8 picks of at most 12: no other row is left that per_group allows" in shown
    assert receipt()["limits"]["columns"] == {"patient": "groups"}
    assert receipt()["limits"]["end"].startswith("8 picks of at most 12")
    assert "patient" not in receipt()["input"]["columns"]


def test_labelled_rows_count_for_their_group(tmp_path):
    (tmp_path / "done.csv").write_text("uid\nr0\nr1\n")
    words = ["--per-group", "patient=1", "--exclude", "minutes,matters", "--labeled", "done.csv"]

    assert main([*SELECT, "-n", "12", *words]) == 0

    assert sorted(i % 8 for i in picked()) == [2, 3, 4, 5, 6, 7]


def test_until_needs_no_number_and_says_how_many_picks_it_took(capsys):
    assert main([*SELECT, "--until", "0.5", "--exclude", "patient,minutes,matters"]) == 0

    assert 1 < len(picked()) < N
    assert f"limits: {len(picked())} picks of at most 40: enough for the mean" in capsys.readouterr().out


def test_near_duplicates_go(capsys):
    words = ["--min-distance", "0.9", "--exclude", "patient,minutes,matters", "--scale", "none"]

    assert main([*SELECT, "-n", "40", *words]) == 0

    apart = np.linalg.norm(ROWS[:, None] - ROWS, axis=-1) + np.diag(np.full(N, np.inf))
    among = apart[np.ix_(picked(), picked())]
    assert among.min() >= np.quantile(apart.min(1), 0.9) * (1 - 1e-4)
    assert "no other row is left that min_distance allows" in capsys.readouterr().out


@pytest.mark.parametrize(("amount", "total"), [("12.5", 12.5), ("25%", 0.25 * COSTS.sum())])
def test_with_a_column_of_costs_the_number_is_what_all_picks_may_cost(amount, total, capsys):
    words = ["--cost-column", "minutes", "--exclude", "patient,matters"]

    assert main([*COVER, "-n", amount, *words]) == 0

    spent = COSTS[picked()].sum()
    assert total - 1 < spent <= total
    assert receipt()["limits"]["spent"] == spent
    assert f"cost: {spent} of {total:g} (minutes)" in capsys.readouterr().out


def test_a_column_of_weights_says_which_rows_want_cover():
    words = ["--exclude", "patient,minutes", "--scale", "none"]

    assert main([*COVER, "-n", "3", "--weight-column", "matters", *words]) == 0
    weighted = picked()
    assert main([*COVER, "-n", "3", *words, "--exclude", "patient,minutes,matters"]) == 0

    apart = np.linalg.norm(ROWS[:10, None] - ROWS, axis=-1)
    assert apart[:, weighted].min(1).mean() < apart[:, picked()].min(1).mean()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "how many rows to pick is missing: give -n 50, -n 10% or --until 0.3"),
        (["-n", "100%"], "-n 100% is no share"),
        (["-n", "2.5"], "-n 2.5 is no number of rows"),
        (["--until", "1.5"], "until=1.5 is no share"),
        (["-n", "5", "--min-distance", "2"], "min_distance=2.0 is no quantile"),
        (["-n", "5", "--per-group", "patient"], "'patient' is not COLUMN=N"),
        (["-n", "5", "--per-group", "doctor=2"], "no column 'doctor'"),
        (
            ["-n", "5", "--weight-column", "matters"],
            "kcenter cannot keep weights; it keeps until",
        ),
        (["--cost-column", "minutes", "--until", "0.5"], "--cost-column is for picks within a total cost"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(words, message, capsys):
    assert main([*SELECT, *words]) == 2

    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-n", "9", "--cost-column", "matters"], "--cost-column matters is 0 in row 10 (from 0)"),
        (["-n", "9", "--cost-column", "patient"], "--cost-column patient holds text, not numbers: 'p0'"),
        (["-n", "0.5", "--cost-column", "minutes"], "no row may be picked within the limits"),
    ],
)
def test_a_column_that_cannot_be_used_is_named_with_the_cell(words, message, capsys):
    assert main([*COVER, *words]) == 2

    assert message in capsys.readouterr().err


def test_a_streamed_pool_takes_no_limits(capsys):
    assert main(["select", "pool.csv", "--stream", "-n", "5", "--per-group", "patient=2"]) == 2

    assert "--per-group would need the whole pool in memory" in capsys.readouterr().err
