"""What labelling tools give back: exactly the rows that were labelled, and those that were skipped."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dual_jax.data.annotations import Labels, read_labels, read_rows
from dual_jax.data.errors import InputError
from dual_jax.data.exports import Picks, as_csv, as_json_lines, as_lines, as_tasks
from dual_jax.data.owncolumns import PoolFile
from dual_jax.data.tables import read_pool

N = 9
KEYS = ("data", "annotations", "image_id", "id", "label", "responses", "answer", "was_cancelled", "name")
PATHS = [f"cats/{i} x.jpg" for i in range(N)]
TEXTS = [f"sentence {i}, say" for i in range(N)]
IDS = [f"00{i}" for i in range(N)]
FRAME = pd.DataFrame({"uid": IDS, "a": np.arange(N) ** 2 * 0.5, "text": TEXTS, "path": PATHS})


@pytest.fixture
def pool(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("pool.csv", index=False)
    return PoolFile(read_pool("pool.csv", id_column="uid"))


def write(name, content):
    with open(name, "w", encoding="utf-8") as file:
        file.write(content if isinstance(content, str) else json.dumps(content))
    return name


def picks_of(rows, payload=TEXTS, key="text", prefix=""):
    columns = {"rank": [*range(1, len(rows) + 1)], "index": rows, "id": [IDS[i] for i in rows]}
    columns["score"] = np.ones(len(rows), np.float32)
    return Picks(columns, {}, [payload[i] for i in rows], key, None, prefix)


def tasks(rows, states, prefix="", drop=()):
    """Return our tasks as Label Studio exports them."""
    picks = picks_of(rows, PATHS, "image", prefix)
    found = json.loads(as_tasks(picks, ""))
    for task, state in zip(found, states, strict=True):
        task["annotations"] = {
            "labelled": [{"was_cancelled": True}, {"was_cancelled": False}],
            "skipped": [{"was_cancelled": True}],
            "open": [],
        }[state]
        task["data"] = {key: value for key, value in task["data"].items() if key not in drop}
    return found


def label_studio(rows, states):
    return write("out.json", tasks(rows, states))


def label_studio_by_path(rows, states):
    drop = ("row_id", "row_index", "rank")
    return write("out.json", tasks(rows, states, "/data/local-files/?d=photos/", drop))


def label_studio_uploaded(rows, states):
    found = tasks(rows, states, drop=("row_id", "image"))
    for row, task in zip(rows, found, strict=True):
        task["file_upload"] = f"1a2b3c4d-{PATHS[row].partition('/')[2]}"
    return write("out.json", found)


def label_studio_short(rows, states):
    pairs = zip(json.loads(as_tasks(picks_of(rows), "")), states, strict=True)
    found = [
        {**task["data"], "id": 4, "annotation_id": 3 if state == "labelled" else ""} for task, state in pairs
    ]
    return write("out.json", found)


def label_studio_csv(rows, states):
    pairs = zip(rows, states, strict=True)
    lines = [f"4,{IDS[row]},{'' if state != 'labelled' else 8},cat" for row, state in pairs]
    return write("out.csv", "\n".join(["id,row_id,annotation_id,choice", *lines]))


def coco(rows, states):
    images = [{"id": row + 50, "file_name": PATHS[row].partition("/")[2]} for row in rows]
    done = [row + 50 for row, state in zip(rows, states, strict=True) if state == "labelled"]
    return write("out.json", {"images": images, "annotations": [{"id": 1, "image_id": i} for i in done * 2]})


def lines_with(rows, states, marks, drop=()):
    records = [json.loads(line) for line in as_json_lines(picks_of(rows)).splitlines()]
    pairs = zip(records, states, strict=True)
    records = [
        {key: value for key, value in record.items() if key not in drop} | marks[s] for record, s in pairs
    ]
    return write("out.jsonl", "\n".join(map(json.dumps, records)))


def doccano(rows, states):
    empty = {"label": []}
    marks = {"labelled": {"label": [[0, 3, "x"]]}, "open": empty, "skipped": empty}
    return lines_with(rows, states, marks)


def doccano_by_text(rows, states):
    return lines_with(rows, states, {"labelled": {"cats": {"x": 0}}, "open": {}, "skipped": {}}, ("id",))


def prodigy(rows, states):
    words = {"labelled": "reject", "skipped": "ignore", "open": None}
    return lines_with(rows, states, {state: {"answer": word} for state, word in words.items()}, ("id",))


def argilla(rows, states):
    marks = {"labelled": {"responses": {"x": [{"value": 0}]}}, "open": {"responses": {}}}
    return lines_with(rows, states, marks | {"skipped": {"responses": []}})


def cvat(rows, states):
    images = "".join(
        f'<image id="{row}" name="{PATHS[row]}">{"<box/>" if state == "labelled" else ""}</image>'
        for row, state in zip(rows, states, strict=True)
    )
    return write("out.xml", f'<?xml version="1.0"?><annotations><meta><task/></meta>{images}</annotations>')


def own_table(rows, states):
    pairs = zip(rows, states, strict=True)
    lines = [f"{IDS[row]},{'cat' if state == 'labelled' else 'NA'}" for row, state in pairs]
    return write("out.csv", "\n".join(["uid,y", *lines]))


def own_parquet(rows, states):
    labels = ["cat" if state == "labelled" else None for state in states]
    pd.DataFrame({"index": rows, "y": labels}).to_parquet("out.parquet")
    return "out.parquet"


TELL_SKIPPED = (label_studio, label_studio_by_path, label_studio_uploaded, prodigy)
TOOLS = (
    *(*TELL_SKIPPED, label_studio_short, label_studio_csv, coco, doccano, doccano_by_text, argilla, cvat),
    *(own_table, own_parquet),
)


@pytest.mark.parametrize("export", TOOLS, ids=lambda export: export.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_exactly_the_rows_that_were_labelled_come_back(export, seed, pool):
    random = np.random.default_rng(seed)
    rows = [int(row) for row in random.permutation(N)[:6]]
    states = ["labelled", *random.choice(["labelled", "skipped", "open"], 5)]

    found = read_labels([export(rows, states)], pool, label_column="y" if "own" in export.__name__ else None)

    of = lambda state: sorted(row for row, s in zip(rows, states, strict=True) if s == state)  # noqa: E731
    assert np.flatnonzero(found.is_labelled).tolist() == of("labelled")
    assert np.flatnonzero(found.is_skipped).tolist() == (of("skipped") if export in TELL_SKIPPED else [])
    assert (found.counts[0].labelled, found.counts[0].unknown) == (len(of("labelled")), 0)


def test_a_folder_of_yolo_labels_names_images_by_their_stems(pool, tmp_path):
    (tmp_path / "set" / "labels" / "train").mkdir(parents=True)
    for name in ("3 x", "5 x"):
        (tmp_path / "set" / "labels" / "train" / f"{name}.txt").write_text("")  # nothing in the image
    (tmp_path / "set" / "classes.txt").write_text("cat")
    assert np.flatnonzero(read_labels(["set"], pool).is_labelled).tolist() == [3, 5]


@pytest.mark.parametrize("name", ["picks.csv", "picks.txt", "picks.jsonl"])
def test_former_picks_are_labelled_rows_in_every_form(name, pool):
    forms = {"picks.csv": as_csv, "picks.txt": as_lines, "picks.jsonl": as_json_lines}
    write(name, forms[name](picks_of([4, 2], PATHS, "image")))
    assert np.flatnonzero(read_labels([name], pool).is_labelled).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uid\n002\n007\n002\n", [2, 7]),
        ("rank,index,id,score\n1,0,007,0.5\n", [7]),  # the pool may have been sorted since
        ("index\n2\n2\n0\n", [0, 2]),
        ("uid\n", []),
    ],
)
def test_labelled_rows_are_found_by_id_or_position(text, expected, pool):
    assert np.flatnonzero(read_labels([write("done.csv", text)], pool).is_labelled).tolist() == expected


def test_files_add_up_and_each_is_counted(pool):
    paths = [
        label_studio([0, 1, 2], ["labelled", "skipped", "open"]),
        write("more.csv", "uid\n001\n003\nno\n"),
    ]
    found = read_labels(paths, pool)
    assert np.flatnonzero(found.is_labelled).tolist() == [0, 1, 3]
    assert not found.is_skipped.any()  # labelled by the other file
    assert [count[1:] for count in found.counts] == [(1, 1, 1, 0), (2, 0, 0, 1)]


def test_a_file_that_matches_no_row_is_refused_with_an_id_of_each_side(pool):
    with pytest.raises(InputError, match=r"none of its 2 rows .* it has '0', .* look like '000'"):
        read_labels([write("done.csv", "uid\n0\n1\n")], pool)


def test_a_name_that_two_rows_have_names_neither(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("pool.csv", "path,a\nx/1.jpg,1\ny/1.jpg,2\ny/2.jpg,3\n")
    pool = PoolFile(read_pool("pool.csv", id_column="path"))
    images = [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}]
    found = read_labels([write("out.json", {"images": images})], pool, is_empty_labelled=True)
    assert (found.is_labelled.tolist(), found.counts[0].unknown) == ([False, False, True], 1)


def test_a_column_of_labels_in_the_pool_says_which_rows_have_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("pool.csv", "a,y\n1,0\n2,\n3,NA\n4,cat\n")
    found = read_labels([], PoolFile(read_pool("pool.csv", exclude=["y"])), label_column="y")
    assert found.is_labelled.tolist() == [True, False, False, True]


def test_a_column_of_labels_that_neither_the_pool_nor_a_table_has_is_a_mistake(pool):
    with pytest.raises(InputError, match=r"done\.csv has no column 'y': its columns are 'uid'"):
        read_labels([write("done.csv", "uid\n001\n")], pool, label_column="y")
    lines = doccano([1, 2], ["labelled", "open"])  # an export says it in its own way
    assert np.flatnonzero(read_labels([lines], pool, label_column="y").is_labelled).tolist() == [1]


def test_the_batch_counts_on_from_receipts_and_tasks(pool):
    parts = {"command": "dual-jax select", "input": {}, "picks": {}, "versions": {}}
    write("first.csv", "index,id,rank\n0,000,1\n")
    write("first.json", parts | {"batch": 4})
    assert read_labels(["first.csv"], pool).n_batches == 4
    assert read_labels(["first.json"], pool).is_labelled.sum() == 0
    found = tasks([0], ["labelled"])
    found[0]["data"]["batch"] = 7
    assert read_labels(["first.csv", write("out.json", found)], pool).n_batches == 7


def test_forbidden_rows_are_those_that_a_file_names(pool):
    paths = [write("never.txt", "003\ncats/4 x.jpg\n"), label_studio([0, 1], ["open", "skipped"])]
    assert np.flatnonzero(read_rows(paths, pool)).tolist() == [0, 1, 3, 4]


def test_entities_and_external_references_are_refused(pool, tmp_path):
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'
    with pytest.raises(InputError, match="document type"):
        read_labels([write("out.xml", text)], pool)
    (tmp_path / "out.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError):
        read_labels(["out.xml"], pool)


BROKEN = {
    "out.json": ["", "[", "3", "{}", '"x"', "[1]", "[[]]", "[" * 100_000, '[{"data": {}, "annotations": 3}]'],
    "coco.json": ['{"images": [{}], "annotations": [{"image_id": []}]}', '{"images": [1]}', '{"images": []'],
    "out.jsonl": ["{", "[]\n", '{"answer": []}', '{"label": 1}', '{"data": 1}', "\x00"],
    "out.xml": ["", "<a>", "<a/>", "<annotations><image/></annotations>", "<image name='q'/>"],
    "done.csv": ["", "name\n1\n", "uid\nno\n", 'uid\n"a\n'],
    "out.txt": ["nobody\n"],
    "done.xyz": ["uid\n"],
    "out.parquet": ["PAR1"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_a_broken_export_is_a_mistake_that_names_the_file(name, text, pool):
    with pytest.raises(InputError, match=name):
        read_labels([write(name, text)], pool)


def outcome(name):
    """Return the exact type of what reading labels gives or raises."""
    try:
        return type(read_labels([name], PoolFile(read_pool("pool.csv", id_column="uid")), label_column="y"))
    except Exception as error:
        return type(error)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("export", TOOLS, ids=lambda export: export.__name__)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_export_gives_labels_or_a_clear_error(export, data, pool):
    name = export([1, 4, 7], ["labelled", "skipped", "open"])
    with open(name, "rb") as file:
        content = bytearray(file.read())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        if name.endswith((".json", ".jsonl")) and data.draw(st.booleans()):
            value = re.compile(rb'"[^"]*"|[\d.]+|true|false|null|\{\}|\[\]').search(content, start)
            place = slice(*value.span()) if value else slice(start, start)
            content[place] = json.dumps(data.draw(JUNK)).encode()
        else:
            junk = data.draw(st.binary(max_size=4))
            content[start : start + data.draw(st.sampled_from([0, len(junk), 10**6]))] = junk
    with open(name, "wb") as file:
        file.write(content)

    assert outcome(name) in (Labels, InputError)


def test_an_export_that_is_not_there_is_a_mistake(pool):
    with pytest.raises(InputError, match=r"there is no file 'none\.json'"):
        read_labels(["none.json"], pool)


@pytest.mark.parametrize(
    ("name", "cells"),
    [("id", IDS), ("file_name", PATHS), ("image", [f"/photos/{path}" for path in PATHS])],
)
def test_a_table_of_ids_or_paths_by_their_usual_names_needs_no_option(pool, name, cells):
    pd.DataFrame({name: [cells[4], cells[1]], "label": ["cat", "dog"]}).to_csv("done.csv", index=False)

    found = read_labels(["done.csv"], pool)

    assert np.flatnonzero(found.is_labelled).tolist() == [1, 4]
