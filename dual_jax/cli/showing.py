"""Rows of a pool as a person sees them, for the page: pictures, curves, sentences, or values."""

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dual_jax.data.errors import InputError
from dual_jax.data.media import IMAGES, Held

if TYPE_CHECKING:
    from dual_jax.cli.picked import Picked, Source
    from dual_jax.plots.cards import Card, Shown, Value
    from dual_jax.plots.hover import Cloud
    from dual_jax.plots.maps import Placed
    from dual_jax.plots.thumbnails import Sheet
    from dual_jax.selection.explanation import Explanation

MIN_SIDE = 4  # pixels; what is narrower is a series in channels
MAX_NEIGHBOURS = 4  # that are shown of the rows that a pick represents
MAX_UNNAMED = 16  # features without names that are shown; of an embedding each alone means nothing
MAX_CATEGORIES = 4


class Looks(NamedTuple):
    """What there is to see of the rows of a pool.

    Attributes
    ----------
    ids
        Of all rows; None for positions.
    samples
        Rows of pixels or of a series, (n, d), with the ``shape`` of each; None where they are neither.
    files
        Of pictures, one for each row, their paths or the files themselves, and the folders of the paths.
    texts
        Sentences of all rows.
    numbers, names
        Columns of numbers, (n, d), and their names.
    categories
        Columns of other cells by their names.
    """

    ids: Any = None
    samples: Any = None
    shape: tuple[int, ...] = ()
    files: Sequence[str | Held] | None = None
    folders: Sequence[Path] = ()
    texts: Sequence[str] | None = None
    numbers: Any = None
    names: Sequence[str] = ()
    categories: Mapping[str, Sequence[str]] = {}

    def name(self, row: int) -> str:
        """Return what a row is called."""
        from dual_jax.data.ids import text_of_id

        if self.ids is not None:
            return text_of_id(self.ids[row])
        file = self.files[row] if self.files else f"row {row}"
        return file.name if isinstance(file, Held) else file


def is_image(shape: Sequence[int]) -> bool:
    """Return whether samples of a shape are pictures, grey or in colour.

    Examples
    --------
    >>> is_image((8, 8)), is_image((2, 500)), is_image(())
    (True, False, False)
    """
    return len(shape) in (2, 3) and min(shape[:2]) >= MIN_SIDE and tuple(shape[2:]) in ((), (3,), (4,))


def find_looks(args: argparse.Namespace, source: "Source") -> Looks:
    """Return what there is to see of a pool's rows."""
    pool, as_read = source.pool, source.file.pool
    looks = Looks(ids=pool.ids)
    shape = tuple(args.sample_shape or pool.sample_shape)
    if shape and not source.columns:
        looks = looks._replace(samples=pool.x, shape=shape)
        return _with_files(looks, source) if pool.media == "images" else looks
    if names := _names(source):
        looks = looks._replace(numbers=as_read.x, names=names)
    return looks if as_read.table is None else _with_cells(looks, source)


def _names(source: "Source") -> Sequence[str]:
    """Return the names of the columns of numbers that are worth a look; none of an embedding."""
    pool = source.file.pool
    n_columns = pool.x.shape[1]
    if pool.feature_names is None:
        return [f"feature {i}" for i in range(n_columns)] if n_columns <= MAX_UNNAMED else []
    return pool.feature_names if pool.vectors is None else []


def _with_files(looks: Looks, source: "Source") -> Looks:
    """Add the picture files that the samples were read from: of a folder, of a list, or of a column."""
    where = Path(source.pool.source)
    if source.file.pool.table is not None:
        return _with_cells(looks, source)
    folder = where if where.is_dir() else where.parent
    return looks._replace(files=[*map(str, looks.ids)], folders=(folder,))


def _with_cells(looks: Looks, source: "Source") -> Looks:
    """Add the columns of a table that are no numbers."""
    from dual_jax.data.casts import texts_of
    from dual_jax.data.exports import kind_of
    from dual_jax.data.filecells import cells_as_files, kind_held

    table, kinds = source.file.pool.table, _kinds(source)
    held = {name: media for name in kinds if (media := kind_held(table[name]))}
    plain = [name for name, kind in kinds.items() if kind != "vector" and name not in held]
    cells: dict[str, Any] = {name: texts_of(table[name]).tolist() for name in plain}
    files = [name for name in cells if kind_of(next(filter(None, cells[name]), "")) == "image"]
    cells |= {name: cells_as_files(table[name]) for name, media in held.items() if media == IMAGES}
    if files := files or [name for name in held if name in cells]:
        where = source.pool.source
        looks = looks._replace(files=cells[files[0]], folders=(Path(where).parent, Path()))
    asked = source.payload if source.payload in cells and source.payload not in files else None
    text = asked or next((name for name, kind in kinds.items() if kind == "text"), None)
    looks = looks._replace(texts=cells[text]) if text else looks
    names = [name for name, kind in kinds.items() if kind in ("category", "string", "date") and name != text]
    return looks._replace(categories={name: cells[name] for name in names[:MAX_CATEGORIES]})


def _kinds(source: "Source") -> dict[str, str]:
    """Return what each column of the pool's table is that holds no plain numbers."""
    from dual_jax.views.columns import sort

    table, features = source.file.pool.table, source.file.pool.feature_names or ()
    known = {name: taken.partition(" (")[0] for name, taken in source.columns.items()}
    rest = [name for name in table.column_names if name not in known and name not in features]
    known |= {column.name: column.kind for column in sort(table.select(rest), {})} if rest else {}
    return {name: known[name] for name in table.column_names if known.get(name, "number") != "number"}


def look_at(looks: Looks, rows: Sequence[int]) -> dict[int, "Shown"]:
    """Return some rows as a person sees them, by their positions."""
    from dual_jax.plots.cards import Shown, values_of

    rows = [*map(int, rows)]
    pictures = _pictures(looks, rows)
    has_numbers = looks.numbers is not None
    values = values_of(looks.numbers, np.asarray(rows), looks.names) if has_numbers else [[] for _ in rows]
    return {
        row: Shown(
            row,
            looks.name(row),
            picture,
            looks.texts[row] if looks.texts else "",
            [*numbers, *_categories(looks, row)],
        )
        for row, picture, numbers in zip(rows, pictures, values, strict=True)
    }


def _pictures(looks: Looks, rows: Sequence[int]) -> list[str]:
    """Return a picture of each row as a data URI; '' where there is none."""
    from dual_jax.plots import thumbnails

    if looks.files is not None:
        return [_of_file(looks, looks.files[row]) for row in rows]
    if looks.samples is not None and is_image(looks.shape):
        pixels = looks.samples[np.asarray(rows)].reshape(-1, *looks.shape)
        return thumbnails.thumbnails(thumbnails.to_bytes(pixels))
    if looks.samples is not None:
        series = looks.samples[np.asarray(rows)]
        n_channels = looks.shape[0] if len(looks.shape) == 2 else 1
        return [thumbnails.curves(row.reshape(n_channels, -1)) for row in series]
    return ["" for _ in rows]


def _of_file(looks: Looks, file: str | Held) -> str:
    """Return a small copy of a picture file as a data URI; '' where it cannot be read."""
    from dual_jax.data.pictures import as_jpeg, thumbnail
    from dual_jax.plots.thumbnails import SIDE, data_uri

    places: list[Any] = [file] if isinstance(file, Held) else [folder / file for folder in looks.folders]
    for place in places:
        if isinstance(place, Held) or (file and os.path.isfile(place)):
            with suppress(InputError):
                return data_uri(as_jpeg(thumbnail(place, SIDE)), "image/jpeg")
    return ""


def _categories(looks: Looks, row: int) -> Iterable["Value"]:
    from dual_jax.plots.cards import category

    return (category(cells, row, name) for name, cells in looks.categories.items())


def cards_of(picked: "Picked", looks: Looks) -> list["Card"]:
    """Return the first picks as cards: what each is, what is known of it, and what it represents."""
    from dual_jax.plots.cards import MAX_CARDS, Card
    from dual_jax.selection.explanation import represented

    picks, why = picked.indices[:MAX_CARDS], picked.why
    near = [represented(why, pick, MAX_NEIGHBOURS).tolist() if why else [] for pick in picks]
    formers = why.nearest[: len(picks)].tolist() if why else [-1] * len(picks)
    wanted = {*picks.tolist(), *(row for rows in near for row in rows), *formers} - {-1}
    shown = look_at(looks, sorted(wanted))
    return [
        Card(
            place + 1,
            shown[int(pick)],
            _facts(picked, place),
            [shown[row]._replace(values=()) for row in near[place]],
            shown[former]._replace(values=()) if (former := formers[place]) >= 0 else None,
            _link(picked, place),
        )
        for place, pick in enumerate(picks)
    ]


def _facts(picked: "Picked", place: int) -> list[str]:
    """Return what is known of a pick, in a few words each."""
    why = picked.why
    score = [f"score {picked.scores[place]:.4g}"] if np.isfinite(picked.scores[place]) else []
    if why is None:
        return score
    n, n_pool = int(why.n_represented[place]), len(picked.source.pool.x)
    rows = "row" if n == 1 else "rows"
    return [f"represents {n:,} {rows} ({n / n_pool:.1%} of the pool)", *score]


def _link(picked: "Picked", place: int) -> str:
    """Return which of the rows before a pick is the nearest one, and how far it is."""
    why: Explanation | None = picked.why
    if why is None or why.nearest[place] < 0:
        return ""
    former, distance = int(why.nearest[place]), float(why.distance[place])
    if picked.source.is_labeled[former]:
        return f"nearest before it: labelled already, at distance {distance:.3g}"
    rank = int(np.flatnonzero(picked.indices == former)[0]) + 1
    return f"nearest before it: pick {rank}, at distance {distance:.3g}"


def cloud_of(picked: "Picked", placed: "Placed", looks: Looks) -> "Cloud":
    """Return the rows of the map and what is known of them."""
    from dual_jax.plots.hover import Cloud

    rows, why = placed.rows, picked.why
    return Cloud(
        placed,
        picked.indices,
        picked.source.is_labeled[rows],
        why.representative[rows] if why else None,
        [looks.name(row) for row in rows] if looks.ids is not None or looks.files else None,
        [looks.texts[row] for row in rows] if looks.texts else None,
        _sheet(looks, rows),
        len(picked.source.pool.x),
        why.nearest if why else None,
    )


def _sheet(looks: Looks, rows: np.ndarray) -> "Sheet | None":
    """Return the images of the map's rows in one; None where they are none, or too many or too large."""
    from dual_jax.plots import thumbnails

    is_small = len(rows) * int(np.prod(looks.shape[:2])) <= thumbnails.MAX_SHEET
    if looks.samples is None or not is_image(looks.shape) or not is_small:
        return None
    return thumbnails.sheet(thumbnails.to_bytes(looks.samples[rows].reshape(-1, *looks.shape)))
