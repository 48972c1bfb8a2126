"""Pages: a selection as one HTML file that needs no other file or address; Markdown tables."""

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 200  # picks in the table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem .15rem 0; text-align: right; border-bottom: 1px solid #ddd; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: .8rem; }
"""


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
    summary: str,
    pictures: Sequence[Picture],
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    receipt: str,
) -> str:
    """Return the page.

    Parameters
    ----------
    title, summary
        A line each; all text is escaped.
    pictures
        In the order of the page.
    head, rows
        The table of picks, best first; the first `MOST_ROWS` are shown and the others counted.
    receipt
        JSON, as written beside the picks.

    Examples
    --------
    >>> page = as_html("Picks of <a>", "2 of 9", [], ["rank"], [[1], [2]], "{}")
    >>> "Picks of &lt;a&gt;" in page, "http" in page
    (True, False)
    """
    cells = "\n".join(_row("td", row) for row in rows[:MOST_ROWS])
    rest = f"<p>and {len(rows) - MOST_ROWS:,} more.</p>" if len(rows) > MOST_ROWS else ""
    figures = "\n".join(_figure(picture) for picture in pictures)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n<h1>{html.escape(title)}</h1>\n<p>{html.escape(summary)}</p>\n{figures}\n"
        f"<h2>Picks, best first</h2>\n<table>\n{_row('th', head)}\n{cells}\n</table>\n{rest}\n"
        f"<h2>Receipt</h2>\n<pre>{html.escape(receipt)}</pre>\n</html>\n"
    )


def _row(tag: str, cells: Sequence[Any]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _figure(picture: Picture) -> str:
    content = io.BytesIO()
    picture.figure.savefig(content, format="png")
    data = base64.b64encode(content.getvalue()).decode()
    alt = html.escape(picture.caption, quote=True)
    caption = f"<figcaption>{html.escape(picture.caption)}</figcaption>"
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">{caption}</figure>'
