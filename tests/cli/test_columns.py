"""``dual-jax select`` of pools with columns that are no numbers."""

import csv
import json

import numpy as np
import pytest

from dual_jax.cli import main

N = 40


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_pool(**columns):
    with open("pool.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def select(*words):
    main(["select", "pool.csv", "-n", "4", "--method", "kcenter", "--no-compile-cache", *words])
    with open("picks.csv", newline="") as file:
        picks = list(csv.DictReader(file))
    with open("picks.json") as file:
        return picks, json.load(file)["input"]


def mixed():
    rng = np.random.default_rng(0)
    return {
        "uid": [f"u{i}" for i in range(N)],
        "age": rng.integers(18, 80, N).tolist(),
        "city": rng.choice(["Rome", "Oslo", "Paris"], N).tolist(),
        "unit": ["cm"] * N,
        "label": ["yes", "no"] * (N // 2),
    }


def test_each_column_has_a_line_that_says_what_it_is_taken_for_and_why(capsys):
    write_pool(**mixed())

    picks, used = select()

    shown = capsys.readouterr().out
    assert "column city: category (3 distinct in 40 rows)" in shown
    assert "column unit: exclude (the same in every row: cm)" in shown
    assert used["columns"]["label"] == "exclude (named as a label)"
    assert used["dropped"].keys() == {"uid", "unit", "label"}
    assert used["shape"] == [N, 4]
    assert picks[0]["id"].startswith("u")


def test_what_is_said_by_as_overrules_what_is_found(capsys):
    write_pool(**mixed())

    _, used = select("--as", "age=category,city=exclude,uid=id")

    assert used["columns"]["age"] == "category (as asked)"
    assert used["dropped"]["city"] == "as asked"
    assert used["id_column"] == "uid"


def test_a_table_of_numbers_is_picked_from_as_without_the_encoder():
    rows = np.random.default_rng(0).normal(size=(N, 3)).round(6)
    write_pool(**dict(zip("abc", rows.T.tolist(), strict=True)))

    picks, used = select()

    from dual_jax.estimators.selector import Selector

    expected = Selector("kcenter", 4, random_state=0).fit(rows).sample_indices_
    assert [int(pick["index"]) for pick in picks] == expected.tolist()
    assert used["columns"] == {}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ("town=category", "no column 'town'"),
        ("city=colour", "cannot be 'colour'"),
        ("city", "is not NAME=KIND"),
    ],
)
def test_what_cannot_be_asked_ends_with_status_2_and_the_reason(kinds, words, capsys):
    write_pool(**mixed())
    try:
        status = main(["select", "pool.csv", "-n", "4", "--as", kinds])
    except SystemExit as stop:  # of argparse
        status = stop.code
    assert status == 2
    assert words in capsys.readouterr().err


def word_counts():
    """Return counts of 60 words in 40 texts, most of them 0."""
    rng = np.random.default_rng(0)
    return rng.poisson(1.2 / np.arange(1, 61) ** 0.9, (N, 60))


def indices(name, *words):
    assert main(["select", name, "-n", "4", "--method", "kcenter", "--no-compile-cache", *words]) == 0
    with open("picks.csv", newline="") as file:
        return [int(row["index"]) for row in csv.DictReader(file)]


def test_counts_of_words_are_told_and_picked_in_by_their_directions_unless_numbers_are_asked_for(capsys):
    from scipy.sparse import csr_array, save_npz

    from dual_jax.estimators.selector import Selector
    from dual_jax.views.counts import Counts

    rows = word_counts()
    save_npz("counts.npz", csr_array(rows))
    write_pool(**{f"w{i}": column for i, column in enumerate(rows.T.tolist())})
    directions = Counts.fit_rows(rows).transform_rows(rows)

    found = indices("counts.npz")

    shown = capsys.readouterr().out
    assert "column 0 to 59: counts (whole numbers up to" in shown
    assert "--scale standard takes numbers" in shown
    expected = Selector("kcenter", 4, scale="none", random_state=0).fit(directions).sample_indices_
    assert found == expected.tolist()
    assert indices("pool.csv") == found
    n_varied = np.count_nonzero(np.ptp(rows, axis=0))
    assert f"column w0 to w59 ({n_varied} columns): counts" in capsys.readouterr().out
    plain = Selector("kcenter", 4, random_state=0).fit(rows).sample_indices_.tolist()
    assert indices("pool.csv", "--scale", "standard") == indices("counts.npz", "--scale", "standard") == plain
    assert "counts" not in capsys.readouterr().out.replace("counts.npz", "")


def test_few_columns_are_counts_only_where_that_is_asked(capsys):
    write_pool(**{f"w{i}": column for i, column in enumerate(word_counts()[:, :9].T.tolist())})
    indices("pool.csv")
    assert "counts" not in capsys.readouterr().out
    indices("pool.csv", "--scale", "counts")
    assert "column w0 to w8 (9 columns): counts" in capsys.readouterr().out


def test_a_folder_of_texts_is_picked_from_shown_and_copied(tmp_path):
    (tmp_path / "texts").mkdir()
    words = np.array(["printer", "network", "reset", "slow", "laptop", "screen", "error"])
    rng = np.random.default_rng(0)
    for i in range(N):
        (tmp_path / "texts" / f"{i:02d}.txt").write_text(" ".join(rng.choice(words, 12)))
    (tmp_path / "texts" / "broken.txt").write_bytes(b"\xff\xfe\xfd")
    out = ["--out", "p.csv", "--out", "p.json", "--out", "p.txt", "--copy-to", "copied"]

    main(["select", "texts", "-n", "4", "--method", "kcenter", "--no-compile-cache", *out])

    with open("p.csv", newline="") as file:
        ids = [pick["id"] for pick in csv.DictReader(file)]
    assert (tmp_path / "p.txt").read_text().split() == ids
    tasks = json.loads((tmp_path / "p.json").read_text())
    assert [task["data"]["text"] for task in tasks] == [
        (tmp_path / "texts" / name).read_text() for name in ids
    ]
    assert sorted(path.name for path in (tmp_path / "copied").iterdir()) == [
        f"{rank}_{name}" for rank, name in enumerate(ids, 1)
    ]
    receipt = json.loads((tmp_path / "p.receipt.json").read_text())
    assert "broken.txt" in json.dumps(receipt)


def test_amounts_count_although_all_other_columns_are_numbers(capsys):
    prices = [f"$1,{place:03d}.50" for place in range(N)]
    write_pool(a=[*range(N)][::-1], b=[place % 7 for place in range(N)], price=prices)

    _, used = select()

    assert "column price: number" in capsys.readouterr().out
    assert used["shape"] == [N, 3]


def test_a_counter_is_a_feature_only_where_that_is_asked(capsys):
    rows = range(1, 101)
    write_pool(size=rows, age=[i % 9 for i in rows], kind=["ab"[i % 2] for i in rows])

    _, plain = select()
    assert "row numbers: 'size'" in capsys.readouterr().out
    _, asked = select("--as", "size=number")
    assert "row numbers" not in capsys.readouterr().out
    assert asked["shape"][1] == plain["shape"][1] + 1


def test_a_column_of_distinct_words_gives_the_ids(capsys):
    rows = range(N)
    write_pool(ticket=[f"T-{i:03d}" for i in rows], age=[i % 9 for i in rows], size=[i % 5 for i in rows])

    picks, _ = select()

    assert picks[0]["id"].startswith("T-")
    assert "row ids: 'ticket'" in capsys.readouterr().out
