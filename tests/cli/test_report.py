"""The page of a report: what the command puts on it, for a table with text, a second round, and images."""

import base64
import csv
import html
import io
import json
import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from dual_jax.cli import main, options
from dual_jax.cli.picked import Source
from dual_jax.cli.showing import find_looks, look_at
from dual_jax.data.owncolumns import PoolFile
from dual_jax.data.tables import read_pool

SENTENCES = [
    f"The {word} of number {i} is <b>{i * i % 7}</b> here" for i in range(30) for word in ("one", "two")
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.chdir(tmp_path)


def picked():
    with open("picks.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def page_of(*words):
    options = ["--method", "kcenter", "--quiet", "--report", "page.html"]
    assert main(["select", *words, *options]) == 0
    return Path("page.html").read_text("utf-8")


def data_of(page):
    return json.loads(re.search(r'id="pool">(.*?)</script>', page)[1])


def test_a_second_round_shows_sentences_values_and_the_rows_labelled_before():
    rows = [f"u{i},{text},{i % 5},{['oak', 'elm'][i % 3 > 1]}" for i, text in enumerate(SENTENCES)]
    Path("pool.csv").write_text("\n".join(["uid,said,size,tree", *rows, ""]), "utf-8")
    Path("done.csv").write_text("uid\nu3\nu8\n", "utf-8")

    page = page_of("pool.csv", "-n", "4", "--id-column", "uid", "--labeled", "done.csv")

    data, first = data_of(page), SENTENCES[int(picked()[0]["index"])]
    assert data["counts"] == [54, 2, 4]
    assert data["ids"][54:] == ["u3", "u8", *(row["id"] for row in picked())]
    assert data["texts"][-4] == first
    assert "2 rows were labelled before (crosses on the map)" in page
    assert f"<blockquote>{html.escape(first)}</blockquote>" in page
    assert "<b>" not in page
    assert "<td>size</td>" in page
    assert "<td>mostly oak</td>" in page
    assert "labelled already, at distance" in page


@pytest.mark.slow
def test_the_page_of_images_shows_them_and_a_tile_for_every_row():
    page = page_of("digits", "-n", "3")

    shown = {int(row) for row in re.findall(r'<img class="thumb" data-row="(\d+)"', page)}
    assert {int(row["index"]) for row in picked()} <= shown
    assert data_of(page)["tile"] == [8, 8, 43]  # 43 x 43 tiles hold 1,797


@pytest.mark.slow
def test_the_pictures_that_a_column_names_are_shown_and_missing_ones_are_not():
    Image = pytest.importorskip("PIL.Image")
    Path("photos").mkdir()
    x = np.random.default_rng(0).normal(size=(9, 2)).round(2)
    for i in range(8):
        Image.new("RGB", (40, 40), (30 * i, 0, 0)).save(f"photos/{i}.png")
    rows = [f"photos/{i}.png,{a},{b}" for i, (a, b) in enumerate(x)]
    Path("pool.csv").write_text("\n".join(["path,a,b", *rows, ""]), "utf-8")

    page = page_of("pool.csv", "-n", "9")

    shown = re.findall(r'data-row="(\d+)" alt="photos/(\d).png" src="data:image/', page)
    assert {row for row, _ in shown} == {*map(str, range(8))}
    assert all(row == name for row, name in shown)


@pytest.mark.parametrize("where", ["photos", "photos/list.txt"])
def test_of_a_folder_and_of_a_list_of_pictures_the_files_themselves_are_shown(where):
    Image = pytest.importorskip("PIL.Image")
    Path("photos/inner").mkdir(parents=True)
    colors = {"a.png": (200, 0, 0), "inner/b.jpg": (0, 200, 0), "inner/c.png": (0, 0, 200)}
    for name, color in colors.items():
        Image.new("RGB", (300, 150), color).save(f"photos/{name}")
    Path("photos/list.txt").write_text("\n".join(colors), "utf-8")
    pool = read_pool(where)
    source = Source(PoolFile(pool), pool, 0, None, None, None, [], None, {})

    shown = look_at(find_looks(Namespace(sample_shape=()), source), [0, 1, 2])

    for row in shown.values():
        picture = Image.open(io.BytesIO(base64.b64decode(row.picture.partition(",")[2])))
        assert picture.size == (96, 48)  # in its proportions, not as the method sees it
        assert np.argmax(picture.getpixel((9, 9))) == np.argmax(colors[row.id])
    assert [row.id for row in shown.values()] == [*colors]
