"""``dual-jax embed``, and embedders by name in ``select``."""

import csv
import json
import sys

import numpy as np
import pandas as pd
import pytest

from dual_jax.cli import main

N = 30
RNG = np.random.default_rng(0)
WORDS = ["red", "blue", "cat", "dog", "runs", "sits", "tree", "house"]
NOTES = [" ".join(RNG.choice(WORDS, 6)) for _ in range(N)]
OWN = "def embed(cells):\n    return [[cell.count(letter) for letter in 'aeiour'] for cell in cells]\n"


@pytest.fixture(autouse=True)
def pool(monkeypatch, tmp_path):
    """A pool of notes from towns, and an embedder of the user's own, in the working folder."""
    monkeypatch.chdir(tmp_path)
    towns = RNG.choice(["Rome", "Oslo"], N)
    ids = [f"u{i}" for i in range(N)]
    pd.DataFrame({"uid": ids, "town": towns, "notes": NOTES}).to_csv("pool.csv", index=False)
    (tmp_path / "own_embedder.py").write_text(OWN)
    yield
    sys.modules.pop("own_embedder", None)


def run(*words, status=0):
    assert main([*words]) == status


def select(*words):
    run("select", *words, "-n", "4", "--method", "kcenter", "--no-compile-cache")
    with open("picks.csv", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def test_text_is_embedded_once_and_select_picks_in_the_embedding(capsys):
    run("embed", "pool.csv", "--with", "lsa", "--keep", "notes,town", "--out", "embedded.parquet")

    frame = pd.read_parquet("embedded.parquet")
    assert [*frame.columns] == ["uid", "notes", "town", "embedding"]
    assert frame["notes"].tolist() == NOTES
    lengths = np.linalg.norm(np.stack(frame["embedding"]), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)
    assert "notes embedded in 8 columns by lsa" in capsys.readouterr().out
    picks = select("embedded.parquet", "--scale", "none")
    np.save("embedding.npy", np.stack(frame["embedding"]))
    run("select", "embedding.npy", "-n", "4", "--method", "kcenter", "--scale", "none", "--out", "other.csv")
    assert picks == [f"u{i}" for i in pd.read_csv("other.csv")["index"]]


def test_a_function_of_the_users_own_embeds_for_embed_and_for_select(capsys):
    run("embed", "pool.csv", "--with", "own_embedder:embed", "--out", "embedded.parquet", "--quiet")
    expected = select("embedded.parquet")

    alone = select("pool.csv", "--embedding", "own_embedder:embed", "--embedding-alone")

    assert alone == expected
    with open("picks.json") as file:
        about = json.load(file)["input"]["embedding"]
    assert (about["source"], about["column"]) == ("own_embedder:embed", "notes")
    select("pool.csv", "--embedding", "own_embedder:embed")
    shown = capsys.readouterr().out
    assert "column notes: exclude (embedded)" in shown
    assert "beside them: 6 features (own_embedder:embed)" in shown


def test_a_pool_of_text_alone_is_picked_in_its_embedding_alone(capsys):
    pd.read_csv("pool.csv")[["uid", "notes"]].to_csv("pool.csv", index=False)
    select("pool.csv", "--embedding", "own_embedder:embed")
    assert "used: 6 features (own_embedder:embed) alone" in capsys.readouterr().out


def test_another_column_is_embedded_where_that_is_asked():
    run("embed", "pool.csv", "--with", "own_embedder:embed", "--column", "town", "--quiet")
    frame = pd.read_parquet("embedded.parquet")
    assert [*frame.columns] == ["uid", "town", "embedding"]
    assert frame["embedding"][0].tolist() == [frame["town"][0].count(x) for x in "aeiour"]


def test_pictures_reach_an_embedder_as_paths(tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    for i in range(3):
        image.new("L", (16, 16), 80 * i).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "own_embedder.py").write_text(
        "import os\ndef embed(paths):\n    return [[os.path.getsize(p), 1] for p in paths]\n"
    )
    run("embed", "photos", "--with", "own_embedder:embed", "--quiet")
    frame = pd.read_parquet("embedded.parquet")
    assert frame["id"].tolist() == ["0.png", "1.png", "2.png"]
    assert frame["embedding"][1][0] == (tmp_path / "photos" / "1.png").stat().st_size


@pytest.mark.slow
def test_images_get_the_code_that_is_learnt_from_them():
    np.save("images.npy", RNG.random((20, 12, 12)).astype(np.float32))
    run("embed", "images.npy", "--with", "views", "--sample-shape", "12x12", "--quiet")
    assert np.stack(pd.read_parquet("embedded.parquet")["embedding"]).shape == (20, 16)


def test_the_labeller_is_shown_the_text_and_not_the_town(capsys):
    select("pool.csv", "--out", "picks.csv", "--out", "tasks.json")
    with open("tasks.json") as file:
        assert json.load(file)[0]["data"]["text"] in NOTES
    assert "shown to the labeller: column 'notes'" in capsys.readouterr().out


def test_a_conversation_is_picked_by_its_words_and_shown_as_one_text_or_as_it_is():
    chats = [[{"role": "user", "content": note}, {"role": "shop", "content": "thanks"}] for note in NOTES]
    pd.DataFrame({"messages": chats}).to_json("chats.jsonl", orient="records", lines=True)

    select("chats.jsonl", "--keep", "messages", "--out", "picks.csv", "--out", "tasks.json")

    with open("tasks.json") as file:
        task = json.load(file)[0]["data"]
    assert task["messages"] in chats
    assert task["text"] == " ".join(turn["content"] for turn in task["messages"])


MISTAKES = {
    "no such embedder": (["pool.csv", "--with", "bert"], "names no embedder"),
    "no such function": (["pool.csv", "--with", "own_embedder:none"], "own_embedder has no none"),
    "no text": (["digits", "--with", "lsa"], "has no column of text"),
    "another form": (["pool.csv", "--with", "lsa", "--out", "e.csv"], "must end in .parquet"),
    "a file of another's": (
        ["pool.csv", "--with", "lsa", "--out", "mine.parquet"],
        "no embedding of ours",
    ),
    "no such column": (["pool.csv", "--with", "lsa", "--column", "text"], "no column 'text'"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_status_2(words, message, capsys):
    pd.DataFrame({"a": [1]}).to_parquet("mine.parquet")
    run("embed", *words, status=2)
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_an_embedder_gets_the_pictures_of_a_table_and_a_broken_one_is_never_picked(tmp_path, capsys):
    import pyarrow as pa
    from drawn import draw_pictures
    from pyarrow import parquet

    names = draw_pictures(tmp_path / "photos", 8)
    cells = [{"bytes": (tmp_path / "photos" / name).read_bytes(), "path": name} for name in names]
    cells[3]["bytes"] = b"\x89PNG no picture"
    parquet.write_table(pa.table({"uid": [f"u{i}" for i in range(8)], "image": cells}), "pictures.parquet")
    own = "import os\ndef embed(paths):\n    return [[os.path.getsize(path), 1.0] for path in paths]\n"
    (tmp_path / "own_embedder.py").write_text(own)

    run("embed", "pictures.parquet", "--with", "own_embedder:embed", "--out", "embedded.parquet")
    table = parquet.read_table("embedded.parquet")
    words = ["--embedding", "own_embedder:embed", "--method", "kcenter", "--no-compile-cache"]
    run("select", "pictures.parquet", "-n", "7", *words)

    sizes = np.array([len(cell["bytes"]) for i, cell in enumerate(cells) if i != 3], np.float32)
    found = np.array(table["embedding"].to_pylist())[:, 0]
    np.testing.assert_allclose(found, np.insert(sizes, 3, sizes.mean()), rtol=1e-6)
    assert "row 3 (003.png): " in capsys.readouterr().out
    with open("picks.csv", newline="") as file:
        assert sorted(row["id"] for row in csv.DictReader(file)) == [f"u{i}" for i in range(8) if i != 3]
