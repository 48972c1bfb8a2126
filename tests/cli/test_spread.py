"""``dual-jax spread``: labels of some rows, a guess for each."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from dual_jax.cli import main

N = 60
RNG = np.random.default_rng(0)
CLASS = np.arange(N) % 3
ROWS = (np.array([[0, 0], [9, 0], [0, 9]])[CLASS] + RNG.normal(size=(N, 2))).round(3)
NAMES = np.array(["cat", "dog", "owl"])[CLASS]


@pytest.fixture(autouse=True)
def pool(monkeypatch, tmp_path):
    """A pool of three clusters in an empty folder."""
    monkeypatch.chdir(tmp_path)
    lines = [f"p{i},{a},{b}" for i, (a, b) in enumerate(ROWS)]
    (tmp_path / "pool.csv").write_text("\n".join(["uid,a,b", *lines]))
    done = [f"p{i},{NAMES[i]}" for i in range(6)]
    (tmp_path / "done.csv").write_text("\n".join(["uid,label", *done]))


def spread(*words, status=0):
    assert main(["spread", "pool.csv", *words]) == status


def guessed(path="guessed.csv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_gets_a_label_from_those_of_six(capsys):
    spread("--labels", "done.csv")

    rows = guessed()
    shown = capsys.readouterr().out
    assert [*rows[0]] == ["index", "id", "label", "confidence", "method", "is_labelled", "next_rank"]
    assert [row["label"] for row in rows] == NAMES.tolist()
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(N)]
    assert {row["method"] for row in rows[:6]} == {"label"}
    assert {row["is_labelled"] for row in rows[6:]} == {"false"}
    assert {row["next_rank"] for row in rows[:6]} == {""}
    assert "6 labels of 3 classes" in shown
    assert "of 6 labels left out in turn, spreading guessed 6 right and the linear classifier 6" in shown


def test_guesses_go_to_parquet_and_new_ones_replace_them_but_no_other_file(capsys):
    words = ["--labels", "done.csv", "--quiet", "--out", "guessed.parquet"]
    spread(*words)
    spread(*words)
    assert pd.read_parquet("guessed.parquet")["label"].tolist() == NAMES.tolist()
    spread("--labels", "done.csv", "--out", "done.csv", status=2)
    assert "would replace the input" in capsys.readouterr().err


def test_labels_in_the_pool_itself_are_used_and_are_no_feature():
    frame = pd.read_csv("pool.csv").assign(kind=np.where(np.arange(N) < 6, NAMES, None))
    frame.to_csv("pool.csv", index=False)
    spread("--label-column", "kind", "--quiet")
    assert [row["label"] for row in guessed()] == NAMES.tolist()


def test_rows_are_compared_in_an_embedding_alone_where_that_is_asked():
    pd.read_csv("pool.csv").assign(a=RNG.permutation(ROWS[:, 0]), b=0.5).to_csv("pool.csv", index=False)
    np.savez("features.npz", code=ROWS, closed=ROWS[:, ::-1], ids=[f"p{i}" for i in range(N)])
    spread("--labels", "done.csv", "--embedding", "features.npz", "--embedding-alone", "--quiet")
    assert [row["label"] for row in guessed()] == NAMES.tolist()


def exports():
    """Return the same six labels as the tools export them, by the name of the file."""
    six = [*enumerate(NAMES[:6].tolist())]

    def choice(name):
        return {"type": "choices", "from_name": "kind", "value": {"choices": [name]}}

    category = {"cat": 1, "dog": 2, "owl": 3}
    return {
        "studio.json": json.dumps(
            [{"data": {"row_id": f"p{i}"}, "annotations": [{"result": [choice(name)]}]} for i, name in six]
        ),
        "short.json": json.dumps(
            [{"row_id": f"p{i}", "annotation_id": i, "choice": name} for i, name in six]
        ),
        "doccano.jsonl": "\n".join(json.dumps({"id": f"p{i}", "label": [name]}) for i, name in six),
        "prodigy.jsonl": "\n".join(
            json.dumps({"text": "", "meta": {"id": f"p{i}"}, "answer": "accept", "accept": [name]})
            for i, name in six
        ),
        "argilla.json": json.dumps(
            [{"id": f"p{i}", "responses": {"kind": [{"value": name, "user_id": "u"}]}} for i, name in six]
        ),
        "coco.json": json.dumps(
            {
                "images": [{"id": i, "file_name": f"x/p{i}"} for i, _ in six],
                "annotations": [{"image_id": i, "category_id": category[name]} for i, name in six],
                "categories": [{"id": number, "name": name} for name, number in category.items()],
            }
        ),
        "cvat.xml": "<annotations>"
        + "".join(f'<image name="p{i}"><tag label="{name}"/></image>' for i, name in six)
        + "</annotations>",
        "mine.csv": "uid,kind,note\n" + "\n".join(f"p{i},{name},n{i}" for i, name in six),
    }


@pytest.mark.parametrize("name", exports())
def test_labels_of_every_tool_give_the_same_guesses(name, tmp_path):
    (tmp_path / name).write_text(exports()[name])
    spread("--labels", name, "--quiet", *(["--label-column", "kind"] if name == "mine.csv" else []))
    assert [row["label"] for row in guessed()] == NAMES.tolist()


def test_a_folder_of_yolo_labels_names_the_class_of_each_file(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_text("cat\ndog\nowl\n")
    for i in range(6):
        (tmp_path / "labels" / f"p{i}.txt").write_text(f"{CLASS[i]} .5 .5 .1 .1\n{CLASS[i]} .1 .1 .1 .1\n")
    spread("--labels", "labels", "--quiet")
    assert [row["label"] for row in guessed()] == NAMES.tolist()


def test_rows_of_several_classes_are_counted_and_the_last_of_two_labels_counts(tmp_path, capsys):
    lines = [{"id": f"p{i}", "label": [NAMES[i]]} for i in range(6)] + [{"id": "p9", "label": ["cat", "dog"]}]
    (tmp_path / "tags.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "later.csv").write_text("uid,label\np0,owl\np77,cat\n")
    spread("--labels", "tags.jsonl", "--labels", "later.csv")
    shown = capsys.readouterr().out
    assert "tags.jsonl: 6 labelled, 1 with several classes (not used), 0 unknown" in shown
    assert "later.csv: 1 labelled, 1 unknown" in shown
    assert "1 rows have two different labels; the last one counts" in shown
    assert guessed()[0]["label"] == "owl"


MISTAKES = {
    "no labels": ([], "give --labels FILE"),
    "another form": (["--labels", "done.csv", "--out", "guessed.txt"], "must end in one of .csv, .parquet"),
    "one class": (["--labels", "one.csv"], "only the class 'cat'"),
    "no clear column": (["--labels", "two.csv"], "name it by --label-column"),
    "no row of the pool": (["--labels", "other.csv"], "none of its 1 rows is in the pool"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_status_2(words, message, tmp_path, capsys):
    (tmp_path / "one.csv").write_text("uid,label\np0,cat\np3,cat\n")
    (tmp_path / "two.csv").write_text("uid,first,second\np0,cat,dog\n")
    (tmp_path / "other.csv").write_text("uid,label\nq,cat\n")
    spread(*words, status=2)
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)
