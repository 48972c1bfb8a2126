"""Picks in every form that people and labelling tools take."""

import csv
import json

import numpy as np
import pytest
from pyarrow import parquet

from dual_jax.data.errors import InputError
from dual_jax.data.exports import (
    FORMS,
    Picks,
    as_csv,
    as_json_lines,
    as_lines,
    as_tasks,
    copy_numbered,
    find_files,
    is_ours,
    kind_of,
)

COLUMNS = {
    "rank": range(1, 3),
    "index": np.array([4, 0]),
    "id": ["007", "a"],
    "score": np.array([0.1, np.nan], np.float32),
}
OWN = {"path": ["p/1.jpg", "a b.jpg"], "id": [5, 6], "score": [None, 2.5], "tags": [["x"], []]}
PICKS = Picks(COLUMNS, OWN, OWN["path"], "image", "path", batch=3)


def test_tasks_of_label_studio_come_in_rank_order_with_the_rows_own_id():
    first, second = json.loads(as_tasks(PICKS, "sum"))
    assert first["meta"]["receipt_sha256"] == "sum"
    assert first["data"] == {
        **{"image": "p/1.jpg", "path": "p/1.jpg", "pool_id": 5, "pool_score": None, "tags": ["x"]},
        **{"row_id": "007", "row_index": 4, "rank": 1, "score": 0.1, "batch": 3},
    }
    assert second["data"]["score"] is None  # JSON has no NaN
    assert "predictions" not in first
    assert "id" not in first["data"]


def test_a_url_prefix_goes_before_the_path_with_its_blanks_escaped():
    tasks = json.loads(as_tasks(PICKS._replace(prefix="/data/local-files/?d="), ""))
    assert tasks[1]["data"]["image"] == "/data/local-files/?d=a%20b.jpg"
    assert tasks[1]["data"]["path"] == "a b.jpg"


def test_json_lines_have_the_payload_the_id_and_where_a_pick_came_from():
    line = json.loads(as_json_lines(PICKS).splitlines()[0])
    assert (line["image"], line["file_name"], line["id"]) == ("p/1.jpg", "p/1.jpg", "007")
    assert line["meta"] == {"rank": 1, "index": 4, "score": 0.1, "batch": 3}
    texts = PICKS._replace(own={"text": ["b\nc", "d"]}, payload=["b\nc", "d"], key="text", column="text")
    assert json.loads(as_json_lines(texts).splitlines()[0]) == {"text": "b\nc", "id": "007"} | {
        "meta": line["meta"]
    }


def test_a_table_keeps_the_names_of_the_pool_but_for_those_that_are_ours(tmp_path):
    rows = [*csv.reader(as_csv(PICKS).splitlines())]
    assert rows[0] == ["rank", "index", "id", "score", "path", "pool_id", "pool_score", "tags"]
    assert rows[1] == ["1", "4", "007", "0.1", "p/1.jpg", "5", "", '["x"]']
    (tmp_path / "picks.parquet").write_bytes(FORMS[".parquet"](PICKS))
    table = parquet.read_table(tmp_path / "picks.parquet")
    assert table.column_names == rows[0]
    assert table["tags"].to_pylist() == OWN["tags"]


def test_a_list_has_a_path_on_each_line_and_refuses_others():
    assert as_lines(PICKS) == "p/1.jpg\na b.jpg\n"
    assert (
        as_lines(PICKS._replace(payload=["a text.", "b"])) == "p/1.jpg\na b.jpg\n"
    )  # paths, where there are
    with pytest.raises(InputError, match="a path on each line"):
        as_lines(PICKS._replace(payload=["a\nb", "c"], own={}))


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet", ".txt"])
def test_our_files_are_known_and_others_are_not(suffix, tmp_path):
    path, receipt = tmp_path / f"picks{suffix}", tmp_path / "receipt.json"
    content = as_tasks(PICKS, "") if suffix == ".json" else FORMS[suffix](PICKS)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if suffix in (".txt", ".csv"):  # which hold no mark, or columns that may be labels
        assert not is_ours(path, receipt)
        from dual_jax.data.storage import sha256_of

        receipt.write_text(json.dumps({"picks": {"files": {path.name: sha256_of(path)}}}))
    assert is_ours(path, receipt)
    path.write_text("mine\n")
    assert not is_ours(path, receipt)


def test_tasks_that_somebody_has_labelled_are_never_replaced(tmp_path):
    tasks = [task | {"annotations": []} for task in json.loads(as_tasks(PICKS, ""))]
    (tmp_path / "picks.json").write_text(json.dumps(tasks))
    assert not is_ours(tmp_path / "picks.json", tmp_path / "receipt.json")
    lines = [json.loads(line) | {"label": ["cat"]} for line in as_json_lines(PICKS).splitlines()]
    (tmp_path / "picks.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert not is_ours(tmp_path / "picks.jsonl", tmp_path / "receipt.json")


def test_files_are_copied_with_their_rank_before_the_name(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.txt", "in/a.txt"):
        (tmp_path / name).write_text(name)
    copy_numbered(find_files(["b.txt", "in/a.txt"], str(tmp_path / "pool.csv")), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1_b.txt", "2_a.txt"]
    with pytest.raises(InputError, match=r"no file 'c\.txt'"):
        find_files(["c.txt"], str(tmp_path))


@pytest.mark.parametrize(
    ("value", "kind"), [("a.png", "image"), ("b/c.WAV", "audio"), ("A dog. Ends", "text"), ("", "text")]
)
def test_what_a_value_is_is_told_by_its_suffix(value, kind):
    assert kind_of(value) == kind
