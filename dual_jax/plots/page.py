"""Pages: a selection as one HTML file that needs no other file or address; Markdown tables.

A page has one script and one style of its own, and its content security policy allows nothing else to run
or to be loaded.
"""

import base64
import hashlib
import html
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from dual_jax.plots import cards, hover
from dual_jax.plots.thumbnails import data_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 200  # picks in the table; with `cards.MAX_CARDS` and `hover.MAX_ROWS` they bound the page's size


class Picture(NamedTuple):
    """A figure, and the sentence below it that says how to read it."""

    figure: "Figure"
    caption: str


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, without a last line end; columns after the first are numbers.

    Examples
    --------
    >>> print(markdown(("method", "gain"), [("ted", "+1.2")]))
    | method | gain |
    | --- | ---: |
    | ted | +1.2 |
    """
    rule = ("---", *["---:"] * (len(head) - 1))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def as_html(
    title: str,
    summary: Sequence[str],
    pictures: Sequence[Picture],
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    receipt: str,
    *,
    picks: Sequence[cards.Card] = (),
    cloud: hover.Cloud | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
        A line; all text is escaped.
    summary : sequence of str
        A paragraph each.
    pictures : sequence of Picture
        In the order of the page.
    head, rows
        The table of picks, best first; the first `MOST_ROWS` are shown and the others counted.
    receipt : str
        JSON, as written beside the picks.
    picks : sequence of Card
        The first picks as what they are, best first.
    cloud : Cloud, optional
        The map that shows a row where the pointer or the keyboard is.

    Examples
    --------
    >>> page = as_html("Picks of <a>", ["2 of 9"], [], ["rank"], [[1], [2]], "{}")
    >>> "Picks of &lt;a&gt;" in page, "http:" in page
    (True, False)
    """
    style, script = (
        files("dual_jax.plots").joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        *(f"<p>{html.escape(line)}</p>" for line in summary),
        _map(cloud, picks),
        f"<h2>Picks, best first</h2>{_rest(picks, rows)}{cards.as_html(picks)}" if picks else "",
        "<h2>Pictures</h2>" if pictures else "",
        *map(_figure, pictures),
        _table(head, rows),
        f"<h2>Receipt</h2>\n<pre>{html.escape(receipt)}</pre>",
        f"<script>{script}</script>" if cloud else "",
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{_policy(style, script)}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body>\n</html>\n"
    )


def _policy(style: str, script: str) -> str:
    """Return the policy by which only this style, this script and pictures inside the page are used."""
    digests = (hashlib.sha256(text.encode()).digest() for text in (style, script))
    of_style, of_script = (base64.b64encode(digest).decode() for digest in digests)
    return (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        f"style-src 'sha256-{of_style}'; script-src 'sha256-{of_script}'; base-uri 'none'; "
        "form-action 'none'\">"
    )


def _map(cloud: hover.Cloud | None, picks: Sequence[cards.Card]) -> str:
    if cloud is None:
        return ""
    skip = '<a class="skip" href="#after">Skip the map</a>'
    drawing = hover.as_html(cloud, [*map(cards.spoken, picks)])
    return f'<h2>The pool, and what is picked</h2>\n{skip}\n{drawing}\n<div id="after" tabindex="-1"></div>'


def _rest(picks: Sequence[cards.Card], rows: Sequence[Any]) -> str:
    n = len(rows) - len(picks)
    return f"<p>The first {len(picks):,}; {n:,} more are in the table below.</p>" if n > 0 else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = "\n".join(_row("td", row) for row in rows[:MOST_ROWS])
    rest = f"<p>and {len(rows) - MOST_ROWS:,} more.</p>" if len(rows) > MOST_ROWS else ""
    table = f"<table>\n{_row('th', head)}\n{cells}\n</table>"
    return f'<h2>Table of picks</h2>\n<div class="wide">{table}</div>\n{rest}'


def _row(tag: str, cells: Sequence[Any]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _figure(picture: Picture) -> str:
    content = io.BytesIO()
    picture.figure.savefig(content, format="png")
    alt = html.escape(picture.caption, quote=True)
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>"
    return f'<figure><img alt="{alt}" src="{data_uri(content.getvalue(), "image/png")}">{caption}</figure>'
