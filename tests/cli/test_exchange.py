"""From a pool to a labelling tool, and from its export to the next picks."""

import csv
import json

import numpy as np
import pytest

from dual_jax.cli import main, options
from dual_jax.data.storage import sha256_of

ROWS = np.random.default_rng(0).normal(size=(20, 2)).round(3)
SELECT = ["select", "pool.csv", "--method", "kcenter", "--id-column", "uid"]


@pytest.fixture(autouse=True)
def pool(monkeypatch, tmp_path):
    """A pool of pictures with captions, in an empty folder, without a cache of compiled programs."""
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.chdir(tmp_path)
    lines = [f'0{i},{a},{b},"seen, {i}",img/{i}.jpg' for i, (a, b) in enumerate(ROWS)]
    (tmp_path / "pool.csv").write_text("\n".join(["uid,a,b,caption,path", *lines]))
    (tmp_path / "img").mkdir()
    for i in range(20):
        (tmp_path / "img" / f"{i}.jpg").write_bytes(b"%d" % i)


def table(path="picks.csv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def read(path):
    with open(path) as file:
        return json.load(file)


def run(*words):
    assert main([*SELECT, *words]) == 0


def test_picks_go_out_in_every_form_with_one_receipt(tmp_path):
    names = ["picks.csv", "picks.json", "picks.jsonl", "picks.txt", "picks.parquet"]
    words = ["-n", "3", "--quiet", "--keep", "all", *(word for name in names for word in ("--out", name))]

    run(*words)
    run(*words)  # our own files are replaced

    ids = [row["id"] for row in table()]
    assert [row["path"] for row in table()] == (tmp_path / "picks.txt").read_text().split()
    assert [row["caption"] for row in table()] == [f"seen, {int(name)}" for name in ids]
    assert [task["data"]["row_id"] for task in read("picks.json")] == ids
    receipt = read("picks.receipt.json")
    assert receipt["picks"]["sha256"] == sha256_of("picks.csv")
    assert receipt["picks"]["files"]["picks.txt"] == sha256_of("picks.txt")
    assert read("picks.json")[0]["meta"]["receipt_sha256"] == sha256_of("picks.receipt.json")


def test_an_export_comes_back_and_the_next_batch_offers_neither_labelled_nor_skipped_rows(capsys):
    run("-n", "8", "--keep", "path", "--out", "tasks.json", "--url-prefix", "/data/local-files/?d=")
    tasks = read("tasks.json")
    for place, task in enumerate(tasks):
        task["annotations"] = [{"was_cancelled": place >= 5}] if place < 7 else []
    tasks[0]["data"]["row_id"] = "nobody"
    del tasks[0]["data"]["image"], tasks[0]["data"]["path"]
    with open("export.json", "w") as file:
        json.dump(tasks, file)

    capsys.readouterr()
    run("-n", "14", "--labeled", "export.json", "--out", "next.csv")

    assert tasks[1]["data"]["image"].startswith("/data/local-files/?d=img/")
    seen = {task["data"]["row_id"] for task in tasks[1:7]}
    assert {row["id"] for row in table("next.csv")} == {f"0{i}" for i in range(20)} - seen
    assert "export.json: 4 labelled, 2 skipped, 1 unknown" in capsys.readouterr().out
    receipt = read("next.json")
    assert (receipt["batch"], receipt["input"]["n_labeled"], receipt["input"]["n_skipped"]) == (2, 4, 2)


def test_labels_in_the_pool_and_forbidden_rows_are_honoured(tmp_path):
    lines = (tmp_path / "pool.csv").read_text().splitlines()
    labels = ["y", *(["1", "0"] + [""] * 18)]
    (tmp_path / "pool.csv").write_text("\n".join(map(",".join, zip(lines, labels, strict=True))))
    (tmp_path / "never.txt").write_text("02\nimg/3.jpg\n")

    run("-n", "16", "--label-column", "y", "--forbid", "never.txt", "--quiet")

    assert {row["id"] for row in table()} == {f"0{i}" for i in range(4, 20)}
    assert read("picks.json")["input"]["dropped"]["y"] == "excluded"


def test_labels_in_the_tables_that_come_back_need_no_column_in_the_pool(tmp_path):
    (tmp_path / "done.csv").write_text("uid,y\n00,cat\n01,\n")
    run("-n", "19", "--label-column", "y", "--labeled", "done.csv", "--quiet")
    assert {row["id"] for row in table()} == {f"0{i}" for i in range(1, 20)}


def test_picked_files_are_copied_with_their_rank_before_the_name(tmp_path):
    run("-n", "3", "--quiet", "--keep", "caption,path", "--copy-to", "batch")
    names = sorted(path.name for path in (tmp_path / "batch").iterdir())
    assert names == [f"{row['rank']}_{row['path'].partition('/')[2]}" for row in table()]


def test_columns_of_a_pool_that_stays_on_disk_are_kept(tmp_path):
    import pandas as pd

    pd.read_csv(tmp_path / "pool.csv", dtype={"uid": str}).to_parquet(tmp_path / "pool.parquet")
    words = ["select", "pool.parquet", "--method", "kcenter", "-n", "2", "--quiet"]
    assert main([*words, "--id-column", "uid", "--keep", "caption", "--out", "picks.parquet"]) == 0
    kept = pd.read_parquet(tmp_path / "picks.parquet")
    assert kept["caption"].tolist() == [f"seen, {int(name)}" for name in kept["id"]]


MISTAKES = {
    "a column that is not there": (["--keep", "colour"], "no column 'colour'"),
    "a payload that is not there": (["--task-key", "image=photo"], "no column 'photo'"),
    "a name twice": (["--out", "a.csv", "--out", "img/a.csv"], "names a file twice"),
    "a file of another's": (["--out", "notes.txt"], "was not written by dual-jax"),
    "copies among other files": (["--copy-to", "img"], "is not empty"),
    "copies of texts": (["--copy-to", "new", "--keep", "caption"], "no file 'seen, 0'"),
    "labels nowhere": (["--label-column", "y"], "no column 'y'"),
    "no row of the pool": (["--labeled", "notes.txt"], "none of its 1 rows is in the pool; it has 'mine'"),
    "too many tasks": (["-n", "300000", "--out", "tasks.json"], "250,000 tasks at most"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_status_2(words, message, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine\n")
    assert main([*SELECT, "-n", "2", *words]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert (tmp_path / "notes.txt").read_text() == "mine\n"
