"""The map of a page: a drawing (SVG) that works without a script, and the data that the page's script shows.

The places of the rows are in the drawing alone, in whole units of a box of `WIDTH` x `HEIGHT`; the data
beside it go in the same order: rows of the pool, rows labelled before, picks from the first to the last.
"""

import json
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from dual_jax.plots.cards import MAX_SHORT, shorten
from dual_jax.plots.maps import Placed
from dual_jax.plots.thumbnails import Sheet

MAX_ROWS = 50_000  # of the pool on the map; of more a sample
MAX_LABELED = 5_000
MAX_ID = 40  # characters of an id
MAX_TEXTS = 1_000_000  # characters of all texts; where they are longer, they are left out
WIDTH, HEIGHT, MARGIN = 4000, 2600, 130
FLAT = 1e-6  # of the other axis: an axis with less spread holds rounding alone
BEFORE, UNKNOWN = 0, -1  # instead of a pick's rank: a row labelled before, or not known


class Cloud(NamedTuple):
    """The rows of a pool on a map, and what is known of them.

    Attributes
    ----------
    placed
        The m rows that are drawn, picks among them, and their places.
    picks
        (k,) positions in the pool, best first.
    labeled
        (m,) which of the drawn rows had a label before.
    representative
        (m,) positions of the pick or labelled row that each drawn row is nearest to; None where not known.
    ids
        (m,) what the rows are called; None for their positions.
    texts
        (m,) sentences; None where the rows are none.
    sheet
        Images of the drawn rows, in their order; None where they are none.
    n_pool
        Rows of the pool, of which m are drawn.
    former
        (k,) position of the nearest row that was labelled or picked before each pick, -1 for none.
    """

    placed: Placed
    picks: Int[np.ndarray, " k"]
    labeled: Bool[np.ndarray, " m"]
    representative: Int[np.ndarray, " m"] | None = None
    ids: Sequence[str] | None = None
    texts: Sequence[str] | None = None
    sheet: Sheet | None = None
    n_pool: int = 0
    former: Int[np.ndarray, " k"] | None = None


def rows_drawn(
    sample: Int[np.ndarray, " s"], picks: Int[np.ndarray, " k"], labeled: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """Return a sample of the pool, all picks, and the first `MAX_LABELED` rows with a label; ascending."""
    return np.union1d(sample, np.concatenate([picks, np.flatnonzero(labeled)[:MAX_LABELED]])).astype(int)


class _Order(NamedTuple):
    """Places in ``placed.rows`` by group, and of all one after the other."""

    pool: Int[np.ndarray, " a"]
    labeled: Int[np.ndarray, " b"]
    picks: Int[np.ndarray, " k"]

    @property
    def all(self) -> Int[np.ndarray, " m"]:
        return np.concatenate(self)


def _order(cloud: Cloud) -> _Order:
    rows = cloud.placed.rows
    picks = np.searchsorted(rows, cloud.picks)
    is_pick = np.zeros(len(rows), bool)
    is_pick[picks] = True
    return _Order(np.flatnonzero(~is_pick & ~cloud.labeled), np.flatnonzero(~is_pick & cloud.labeled), picks)


def as_html(cloud: Cloud, sentences: Sequence[str]) -> str:
    """Return drawing, legend, note and data.

    Parameters
    ----------
    cloud : Cloud
        What is drawn.
    sentences : sequence of str
        What is said of the first picks; these have a card and can be reached by keyboard. No more than there
        are picks.
    """
    order, at = _order(cloud), _scaled(cloud.placed.places)
    data = _json(_data(cloud, order))
    sheet = f'<img id="sheet" hidden alt="" src="{escape(cloud.sheet.uri)}">' if cloud.sheet else ""
    return (
        f'<figure class="map">{_drawing(cloud, order, at, sentences)}'
        '<div id="tip" role="tooltip" hidden></div>'
        f"<figcaption>{_legend(cloud, order)}</figcaption></figure>\n{sheet}\n"
        f'<script type="application/json" id="pool">{data}</script>'
    )


def _scaled(places: Float[np.ndarray, "m 2"]) -> Int[np.ndarray, "m 2"]:
    """Return places in whole units of the drawing, whose second axis goes down."""
    low, spread = places.min(axis=0), np.ptp(places, axis=0)
    is_flat = spread <= FLAT * spread.max()
    shares = np.where(is_flat, 0.5, (places - low) / np.where(is_flat, 1.0, spread))
    shares[:, 1] = 1 - shares[:, 1]
    return np.round(MARGIN + shares * (np.array([WIDTH, HEIGHT]) - 2 * MARGIN)).astype(int)


def _drawing(cloud: Cloud, order: _Order, at: Int[np.ndarray, "m 2"], sentences: Sequence[str]) -> str:
    """Return the drawing; each pick with a sentence is a link to its card."""
    n, n_cards = len(order.pool), len(sentences)
    size = "few" if n < 1000 else "some" if n < 10_000 else "many"
    links = "".join(
        _link(rank, at[row], sentence)
        for rank, (row, sentence) in enumerate(zip(order.picks, sentences, strict=False), 1)
    )
    first, second = map(escape, cloud.placed.names)
    label = f"Map of {n + len(order.labeled):,} rows of the pool and {len(order.picks):,} picks"
    return (
        f'<svg id="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{label}">'
        f'<path class="cloud {size}" d="{_dots(at[order.pool])}"/><path id="reach" class="{size}" d=""/>'
        f'<path class="labeled" d="{_crosses(at[order.labeled])}"/>'
        f'<path class="rest" d="{_dots(at[order.picks[n_cards:]])}"/><path id="former" d=""/>{links}'
        f'<circle id="ring" r="46" cx="-99" cy="-99"/>'
        f'<text x="{WIDTH // 2}" y="{HEIGHT - 20}" text-anchor="middle">{first}</text>'
        f'<text x="60" y="{HEIGHT // 2}" text-anchor="middle" '
        f'transform="rotate(-90 60 {HEIGHT // 2})">{second}</text></svg>'
    )


def _dots(at: Int[np.ndarray, "m 2"]) -> str:
    """Return a path of no length at each place, which round ends make a dot."""
    return "".join(f"M{x} {y}h0" for x, y in at.tolist())


def _crosses(at: Int[np.ndarray, "m 2"]) -> str:
    return "".join(f"M{x} {y}m-28-28l56 56m0-56l-56 56" for x, y in at.tolist())


def _link(rank: int, at: Int[np.ndarray, "2"], sentence: str) -> str:
    x, y = at.tolist()
    radius, label = (58 if rank < 100 else 72), escape(sentence, quote=True)
    return (
        f'<a id="map-{rank}" class="pick" href="#pick-{rank}" aria-label="{label}">'
        f'<circle cx="{x}" cy="{y}" r="{radius}"/><text x="{x}" y="{y + 26}">{rank}</text></a>'
    )


def _legend(cloud: Cloud, order: _Order) -> str:
    """Return what the marks mean, and how the map is used."""
    n_drawn, n_pool = len(cloud.placed.rows), cloud.n_pool or len(cloud.placed.rows)
    drawn = "" if n_drawn == n_pool else f" ({n_drawn:,} of {n_pool:,} rows drawn)"
    marks = [("cloud few", "M30 30h0", f"pool{drawn}")]
    marks += [("labeled", "M30 30m-22-22l44 44m0-44l-44 44", "labelled before")] if len(order.labeled) else []
    marks += [("rest", "M30 30h0", "picked; the number is the rank")]
    if cloud.representative is not None:
        marks += [("reach few", "M30 30h0", "rows that the pick in focus represents")]
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 60 60" aria-hidden="true"><path class="{name}" d="{path}"/></svg>'
        f"{escape(text)}</li>"
        for name, path, text in marks
    )
    return (
        f'<ul class="legend">{keys}</ul>Point at a row to see what it is. Tab and the arrow keys go from '
        "pick to pick, Home and End to the first and the last, Enter to the pick's card. A dashed line leads "
        "to the nearest row that was labelled or picked before."
    )


def _data(cloud: Cloud, order: _Order) -> dict[str, object]:
    """Return what the script shows, in the order of the drawing's places."""
    rows, all_rows = cloud.placed.rows, order.all
    place_of = {int(rows[place]): number for number, place in enumerate(all_rows)}
    data: dict[str, object] = {
        "counts": [len(part) for part in order],
        "rows": rows[all_rows].tolist(),
        "owners": _owners(cloud)[all_rows].tolist(),
    }
    if cloud.ids is not None:
        data["ids"] = [_cut(cloud.ids[place]) for place in all_rows]
    if cloud.texts is not None:
        texts = [shorten(cloud.texts[place], MAX_SHORT) for place in all_rows]
        data |= {"texts": texts} if sum(map(len, texts)) <= MAX_TEXTS else {}
    if cloud.former is not None:
        data["former"] = [place_of.get(row, UNKNOWN) for row in cloud.former.tolist()]
    if cloud.sheet is not None:
        data["tiles"] = all_rows.tolist()
        data["tile"] = [cloud.sheet.width, cloud.sheet.height, cloud.sheet.n_columns]
    return data


def _owners(cloud: Cloud) -> Int[np.ndarray, " m"]:
    """Return for each drawn row the rank of the pick that represents it, `BEFORE` or `UNKNOWN`."""
    if cloud.representative is None:
        return np.full(len(cloud.placed.rows), UNKNOWN)
    sorter = np.argsort(cloud.picks)
    found = np.searchsorted(cloud.picks, cloud.representative, sorter=sorter)
    nearest = sorter[np.minimum(found, len(sorter) - 1)]
    return np.where(cloud.picks[nearest] == cloud.representative, nearest + 1, BEFORE)


def _cut(name: str) -> str:
    """Return an id, its middle left out where it is long: of a path the end says most."""
    return name if len(name) <= MAX_ID else f"{name[:9]}…{name[-(MAX_ID - 10) :]}"


def _json(data: object) -> str:
    """Return data so that nothing in them can end the element that holds them."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
