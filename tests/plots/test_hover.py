"""The map of a page: its drawing and its data agree, and a browser shows the row under the pointer."""

import json
import re
from html.parser import HTMLParser

import browser
import numpy as np
import pytest

from dual_jax.plots.cards import Card, Shown
from dual_jax.plots.hover import BEFORE, MAX_ID, MAX_ROWS, MAX_TEXTS, UNKNOWN, Cloud, rows_drawn
from dual_jax.plots.hover import as_html as as_map
from dual_jax.plots.maps import place, sample
from dual_jax.plots.page import as_html
from dual_jax.plots.thumbnails import sheet

DRAW = np.random.default_rng(0)
N, PICKS = 40, np.array([7, 3, 30])
X = DRAW.normal(size=(N, 3))
LABELED = np.isin(np.arange(N), [5, 6])
EVIL = "</script><script>document.title='taken'</script><b>&\"'"
FOUND = browser.find()


def nearest(x, chosen):
    return chosen[np.linalg.norm(x[:, None] - x[chosen][None], axis=2).argmin(1)]


def cloud_of(x=X, picks=PICKS, labeled=LABELED, **more):
    rows = rows_drawn(sample(len(x), MAX_ROWS), picks, labeled)
    chosen = np.concatenate([np.flatnonzero(labeled), picks])
    known = {"representative": nearest(x, chosen)[rows], "n_pool": len(x)} | more
    return Cloud(place(x, rows), picks, labeled[rows], **known)


def cards_of(picks=PICKS, ids=None):
    return [
        Card(rank, Shown(int(row), ids[row] if ids else f"row {row}"), [f"represents {rank} rows"])
        for rank, row in enumerate(picks, 1)
    ]


def page_of(cloud, cards):
    return as_html("pool", ["a line"], [], ["rank"], [[1]], "{}", picks=cards, cloud=cloud)


def data_of(markup):
    return json.loads(re.search(r'<script type="application/json" id="pool">(.*?)</script>', markup)[1])


def places_of(markup, name):
    path = re.search(rf'class="{name}[^"]*" d="([^"]*)"', markup)[1]
    return np.array(re.findall(r"M(\d+) (\d+)", path), int).reshape(-1, 2)


def test_drawing_and_data_hold_every_row_once_and_in_the_same_order():
    markup = as_map(cloud_of(), ["one", "two", "three"])

    data = data_of(markup)
    pool, labeled = places_of(markup, "cloud"), places_of(markup, "labeled")
    assert data["counts"] == [N - 5, 2, 3] == [len(pool), len(labeled), markup.count('class="pick"')]
    assert sorted(data["rows"]) == list(range(N))
    assert data["rows"][-5:] == [5, 6, *PICKS]


def test_places_keep_the_order_of_the_map_along_both_axes():
    cloud = cloud_of()
    markup = as_map(cloud, [])

    rows, drawn = data_of(markup)["rows"][: N - 5], places_of(markup, "cloud")
    where = cloud.placed.places[rows]
    assert np.array_equal(np.argsort(where[:, 0]), np.argsort(drawn[:, 0], kind="stable"))
    assert np.array_equal(np.argsort(where[:, 1]), np.argsort(-drawn[:, 1], kind="stable"))


def test_each_row_names_the_pick_that_it_is_nearest_to():
    data = data_of(as_map(cloud_of(), []))

    ranks = {5: BEFORE, 6: BEFORE} | {int(pick): rank for rank, pick in enumerate(PICKS, 1)}
    expected = [ranks[row] for row in nearest(X, np.array([5, 6, *PICKS]))[data["rows"]]]
    assert data["owners"] == expected


def test_rows_of_no_known_pick_say_so():
    assert {*data_of(as_map(cloud_of(representative=None), []))["owners"]} == {UNKNOWN}


def test_an_axis_without_spread_is_drawn_in_the_middle():
    line = np.outer(np.arange(5.0), [1.0, 0.3, 0.1])
    markup = as_map(cloud_of(line, np.array([1]), np.zeros(5, bool)), [])
    x, y = places_of(markup, "cloud").T
    assert len(np.unique(x)) == 4
    assert len(np.unique(y)) == 1


def test_texts_that_are_too_long_together_are_left_out_and_long_ids_are_cut():
    ids, long = [f"{'a' * 50}{i}" for i in range(N)], ["word " * (MAX_TEXTS // N)] * N
    short = data_of(as_map(cloud_of(ids=ids, texts=["a text"] * N), []))
    assert {*short["texts"]} == {"a text"}
    assert {*map(len, short["ids"])} == {MAX_ID}
    assert len(short["ids"]) == len({*short["ids"]})
    assert len(data_of(as_map(cloud_of(texts=long), []))["texts"][0]) <= 120


class Marks(HTMLParser):
    """The elements of a page and their attributes, in order."""

    def __init__(self, markup):
        super().__init__()
        self.found = []
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_neither_ids_nor_texts_become_markup():
    ids = [f"{EVIL}{i}" for i in range(N)]
    page = page_of(cloud_of(ids=ids, texts=ids), cards_of(ids=ids))

    marks = Marks(page).found
    assert [tag for tag, _ in marks].count("script") == 2
    assert not [tag for tag, _ in marks if tag == "b"]
    assert not [name for _, attributes in marks for name in attributes if name.startswith(("on", "style"))]
    assert "b\\u003e" in page
    assert any(EVIL in attributes.get("aria-label", "") for _, attributes in marks)


def test_a_large_pool_makes_a_page_of_stated_size():
    n = MAX_ROWS + 1000
    x, picks = DRAW.normal(size=(n, 2)), np.arange(300)
    ids = [f"{'folder/' * 9}{i:06d}.jpg" for i in range(n)]
    rows = rows_drawn(sample(n, MAX_ROWS), picks, np.zeros(n, bool))
    owners = picks[DRAW.integers(len(picks), size=len(rows))]
    cloud = Cloud(
        place(x, rows), picks, np.zeros(len(rows), bool), owners, [ids[row] for row in rows], n_pool=n
    )
    page = page_of(cloud, cards_of(picks[:100], ids))

    assert f"({len(rows):,} of {n:,} rows drawn)" in page
    assert len(page.encode()) < 5_000_000


pytest_browser = pytest.mark.skipif(FOUND is None, reason="no Chromium is installed here")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A browser in which pages are shown one after the other."""
    with browser.Browser(FOUND, tmp_path_factory.mktemp("profile")) as open_browser:
        yield open_browser


def at_pixels(page, number):
    """Return where the browser has drawn a row, by its number in the data."""
    x, y = page.evaluate(
        "(() => { const map = document.getElementById('map'), places = [];"
        "const read = (path) => {"
        "for (const m of path.matchAll(/M(\\d+) (\\d+)/g)) places.push([+m[1], +m[2]]); };"
        "for (const name of ['.cloud', '.labeled']) read(map.querySelector(name).getAttribute('d'));"
        f"const p = places[{number}], m = map.getScreenCTM();"
        "return [m.a * p[0] + m.e, m.d * p[1] + m.f]; })()"
    )
    return x, y


def tip(page):
    return page.evaluate(
        "document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText"
    )


@pytest_browser
def test_in_a_browser_the_pointer_and_the_keys_show_the_right_row(shown, tmp_path):
    ids = [f"name {i}" for i in range(N)]
    cloud = cloud_of(ids=ids, former=np.array([5, 7, 3]))
    markup = page_of(cloud, cards_of(ids=ids))
    (tmp_path / "page.html").write_text(markup, "utf-8")
    shown.messages.clear()
    shown.open(tmp_path / "page.html")
    data = data_of(markup)

    shown.move(*at_pixels(shown, 4))
    assert tip(shown).startswith(data["ids"][4])
    assert ("represented by pick" in tip(shown)) == (data["owners"][4] > 0)
    shown.move(*at_pixels(shown, data["counts"][0] + 1))
    assert tip(shown) == "name 6\nlabelled before"
    shown.move(2, 2)
    assert tip(shown) == ""

    said = []
    shown.evaluate("document.querySelector('.skip').focus()")
    for key in ("Tab", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "Home", "End"):
        shown.press(key)
        said.append(tip(shown).split(";")[0])
    first, second, third = (f"pick {rank}, name {row}" for rank, row in enumerate(PICKS, 1))
    assert said == [first, second, third, third, second, first, third]
    n_reached = shown.evaluate("document.getElementById('reach').getAttribute('d').split('h0').length - 1")
    assert n_reached == data["owners"][: N - 5].count(3)
    shown.press("Escape")
    assert tip(shown) == ""
    shown.press("Enter")
    assert shown.evaluate("location.hash") == "#pick-3"
    assert shown.messages == []


@pytest_browser
def test_in_a_browser_a_hostile_id_is_text_and_its_image_is_shown(shown, tmp_path):
    ids = [f"{EVIL}{i}" for i in range(N)]
    tiles = sheet(np.arange(N * 16, dtype=np.uint8).reshape(N, 4, 4))
    markup = page_of(cloud_of(ids=ids, texts=ids, sheet=tiles), cards_of(ids=ids))
    (tmp_path / "page.html").write_text(markup, "utf-8")
    shown.messages.clear()
    shown.open(tmp_path / "page.html")

    shown.move(*at_pixels(shown, 3))
    assert tip(shown).count("</script>") >= 1
    row = int(shown.evaluate("document.getElementById('tip').dataset.row"))
    first = "document.querySelector('#tip canvas').getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    assert shown.evaluate(first) == row * 16 % 256
    assert shown.evaluate("document.title") == "pool"
    assert shown.messages == []


@pytest_browser
def test_in_a_browser_fifty_thousand_rows_are_shown_by_the_same_pointer(shown, tmp_path):
    x = np.random.default_rng(1).uniform(size=(MAX_ROWS, 2))
    picks = np.arange(0, MAX_ROWS, 1000)
    rows = np.arange(MAX_ROWS)
    cloud = Cloud(place(x, rows), picks, np.zeros(MAX_ROWS, bool), picks[rows // 1000], n_pool=MAX_ROWS)
    markup = page_of(cloud, cards_of(picks))
    (tmp_path / "page.html").write_text(markup, "utf-8")
    shown.messages.clear()
    shown.open(tmp_path / "page.html")

    data = data_of(markup)
    drawn = places_of(markup, "cloud")
    for number in (0, 20_000, 49_000):
        shown.move(*at_pixels(shown, number))
        row = int(shown.evaluate("document.getElementById('tip').dataset.row"))
        is_at = np.linalg.norm(drawn[data["rows"].index(row)] - drawn[number]) if row % 1000 else 0
        assert is_at < 8  # the pointer is at whole pixels, of 4 units each
    assert shown.messages == []
