"""Each pick as what it is: a picture, a text, or its values against those of the pool; and its neighbours."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MAX_CARDS = 100  # picks that have a card; the others are in the table
MAX_TEXT, MAX_SHORT = 1000, 120  # characters of a pick's text, and of a neighbour's
PLACE = (
    "Place: where a value is in the pool, the smallest on the left and the median in the middle. Of many "
    "columns those are shown in which the row is farthest from the median."
)
MAX_VALUES = 8  # of a row that has many: those that are farthest from the pool's medians


class Value(NamedTuple):
    """A cell of a row and what is typical of the pool.

    ``share`` is the share of the pool below it, None for a category.
    """

    name: str
    value: str
    typical: str
    share: float | None = None


class Shown(NamedTuple):
    """A row of the pool as a person sees it: position, id, and what there is of picture, text and values.

    ``picture`` is a data URI; '' where there is none.
    """

    row: int
    id: str
    picture: str = ""
    text: str = ""
    values: Sequence[Value] = ()


class Card(NamedTuple):
    """A pick, best first, what is known of it in sentences, and rows that it represents.

    ``former`` is the nearest row that was labelled or picked before, and ``link`` says which of both it was.
    """

    rank: int
    shown: Shown
    facts: Sequence[str] = ()
    neighbours: Sequence[Shown] = ()
    former: Shown | None = None
    link: str = ""


def values_of(
    x: Float[np.ndarray, "n d"], rows: Int[np.ndarray, " k"], names: Sequence[str]
) -> list[list[Value]]:
    """Return the cells of some rows beside the pool's medians, those of the most unusual first if many.

    How unusual a cell is: its distance from the median in units of the pool's interquartile range, or of its
    standard deviation where that range is 0. Missing cells are left out.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [2.0, 0.0], [9.0, 5.0]])
    >>> age = values_of(x, np.array([2]), ["age", "sons"])[0][0]
    >>> age.name, age.value, age.typical, round(age.share, 3)
    ('age', '9', '2', 0.833)
    """
    x = np.asarray(x, np.float64)
    if not x.size:
        return [[] for _ in rows]
    lower, medians, upper = np.nanpercentile(x, [25, 50, 75], axis=0)
    spread = np.where(upper > lower, upper - lower, np.nanstd(x, axis=0))
    found = []
    for row in x[rows]:
        far = np.abs(row - medians) / np.where(spread > 0, spread, 1.0)
        is_there = np.isfinite(row)
        order = np.argsort(np.where(is_there, -far, np.inf), kind="stable")[:MAX_VALUES]
        order = np.sort(order) if x.shape[1] <= MAX_VALUES else order
        columns = order[is_there[order]]
        found.append([_value(x[:, j], row[j], names[j], medians[j]) for j in columns])
    return found


def _value(column: Float[np.ndarray, " n"], value: float, name: str, median: float) -> Value:
    share = float(np.mean(column < value) + np.mean(column == value) / 2)
    return Value(name, _number(value), _number(median), share)


def _number(value: float) -> str:
    """Return a number in four digits, or whole where it has more."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def category(cells: Sequence[str], row: int, name: str) -> Value:
    """Return a cell of a column of categories beside the most frequent one.

    Examples
    --------
    >>> category(["oak", "oak", "elm"], 2, "tree")
    Value(name='tree', value='elm', typical='mostly oak', share=None)
    """
    levels, counts = np.unique(np.asarray(cells, str), return_counts=True)
    return Value(name, cells[row], f"mostly {levels[np.argmax(counts)]}")


def shorten(text: str, n: int) -> str:
    """Return a text cut to ``n`` characters, its white space as single blanks.

    Examples
    --------
    >>> shorten("a  long story", 8)
    'a long …'
    """
    text = " ".join(text.split())
    return text if len(text) <= n else text[: n - 1] + "…"


def spoken(card: Card) -> str:
    """Return a card as one sentence, for the map and for those who listen to the page."""
    return f"pick {card.rank}, {'; '.join([shorten(card.shown.id, MAX_SHORT), *card.facts])}"


def as_html(cards: Sequence[Card]) -> str:
    """Return the cards as a list; everything from the pool is escaped."""
    note = f"<p>{PLACE}</p>\n" if any(card.shown.values for card in cards) else ""
    return f'{note}<ol class="cards">\n{"".join(map(_card, cards))}</ol>'


def _card(card: Card) -> str:
    shown, facts = card.shown, "".join(f"<li>{escape(fact)}</li>" for fact in card.facts)
    near = "".join(f"<li>{_small(row)}</li>" for row in card.neighbours)
    around = f'<h4>represents, nearest first</h4><ul class="near">{near}</ul>' if near else ""
    former = (
        f'<h4>{escape(card.link)}</h4><ul class="near"><li>{_small(card.former)}</li></ul>'
        if card.former
        else ""
    )
    return (
        f'<li class="card" id="pick-{card.rank}"><h3><a href="#map-{card.rank}" '
        f'title="show on the map">{card.rank}</a> <span class="id">{escape(shown.id)}</span></h3>'
        f'{_what(shown)}<ul class="facts">{facts}</ul>{around}{former}</li>\n'
    )


def _what(shown: Shown) -> str:
    """Return picture, text and values of a row, as far as there are any."""
    parts = [_picture(shown)] if shown.picture else []
    parts += [f"<blockquote>{escape(shorten(shown.text, MAX_TEXT))}</blockquote>"] if shown.text else []
    parts += [_values(shown.values)] if shown.values else []
    return "".join(parts)


def _picture(shown: Shown) -> str:
    alt, source = escape(shown.id, quote=True), escape(shown.picture, quote=True)
    return f'<img class="thumb" data-row="{shown.row}" alt="{alt}" src="{source}">'


def _small(shown: Shown) -> str:
    name = f'<span class="id">{escape(shorten(shown.id, MAX_SHORT))}</span>'
    text = f" <q>{escape(shorten(shown.text, MAX_SHORT))}</q>" if shown.text else ""
    return (_picture(shown) if shown.picture else "") + name + text


def _values(values: Sequence[Value]) -> str:
    head = "<tr><th>column</th><th>value</th><th>median</th><th>place</th></tr>"
    return f'<table class="values">{head}{"".join(map(_line, values))}</table>'


def _line(value: Value) -> str:
    cells = (value.name, shorten(value.value, MAX_SHORT), shorten(value.typical, MAX_SHORT))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}<td>{_strip(value.share)}</td></tr>"


def _strip(share: float | None) -> str:
    """Return a line from the smallest to the largest of the pool, with the value on it."""
    if share is None:
        return ""
    place = 3 + 54 * share
    return (
        f'<svg class="strip" viewBox="0 0 60 10" role="img" aria-label="{share:.0%} of the pool is below">'
        f'<path class="scale" d="M3 5h54M30 2v6"/><circle class="at" cx="{place:.1f}" cy="5" r="3"/></svg>'
    )
