"""Picks in the forms that people and labelling tools take, and which of these files are ours.

``.csv`` and ``.parquet`` are tables; ``.json`` are tasks of Label Studio; ``.jsonl`` is for doccano,
Prodigy, Argilla and Hugging Face datasets; ``.txt`` is a path on each line, for CVAT, YOLO, FiftyOne and
rsync. What is to be labelled, a path or a text, is called the payload here.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from dual_jax.data.errors import InputError
from dual_jax.data.filecells import BYTES, PATH
from dual_jax.data.ids import text_of_id
from dual_jax.data.media import N_SIGNATURE, Held, kind_of_bytes
from dual_jax.data.receipt import COLUMNS, is_picks
from dual_jax.data.storage import sha256_of, versions, write_atomically

KINDS = {
    "image": (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".svg", ".heic"),
    "audio": (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".aac"),
    "file": (".txt", ".pdf", ".mp4", ".html", ".npy"),
}
MAX_TASKS = 250_000  # what Label Studio takes in one file
MARK = b"dual_jax"  # key of the metadata of our Parquet files
OF_TASKS = ("row_id", "row_index", "rank", "score", "batch", "id")  # names that a task keeps for itself
OF_LINES = ("id", "meta", "file_name")  # and those that a line keeps
OF_TOOLS = {"annotations", "completions", "answer", "label", "labels", "cats", "entities", "responses"}


class Picks(NamedTuple):
    """Picks, best first: our columns, the pool's own, and what is to be labelled.

    ``own`` maps names to values in the order of the picks; ``payload`` is the value that a person looks at,
    ``column`` the name of the pool's column that it is, ``key`` what a tool calls it, and ``prefix`` goes
    before it to make a URL.
    """

    columns: Mapping[str, Sequence[Any]]
    own: Mapping[str, Sequence[Any]]
    payload: Sequence[str]
    key: str
    column: str | None = None
    prefix: str = ""
    batch: int = 1


def kind_of(value: str) -> str:
    """Return whether a value names an image, a recording or another file, or is a text.

    Examples
    --------
    >>> kind_of("cats/1.JPG"), kind_of("A cat. It sleeps.")
    ('image', 'text')
    """
    suffix = os.path.splitext(value)[1].lower()
    return next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), "text")


def as_csv(picks: Picks) -> str:
    """Return picks as delimited text: our columns, then the pool's own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = dict(picks.columns) | _renamed(picks.own, picks.columns)
    writer.writerow(columns)
    writer.writerows(zip(*(map(_cell, values) for values in columns.values()), strict=True))
    return text.getvalue()


def as_tasks(picks: Picks, receipt_sha256: str) -> str:
    """Return picks as tasks of Label Studio in rank order; the receipt is named by its sum."""
    meta = {"tool": f"dual_jax {versions()['dual-jax']}", "receipt_sha256": receipt_sha256}
    own = _renamed(_beside_payload(picks), (*OF_TASKS, picks.key))
    tasks = []
    for place, (rank, index, name, score) in enumerate(_ours(picks)):
        data = {
            **{picks.key: _url(picks, place)},
            **{column: _plain(values[place]) for column, values in own.items()},
            **{"row_id": name, "row_index": index, "rank": rank, "score": score, "batch": picks.batch},
        }
        tasks.append({"data": data, "meta": meta})
    return json.dumps(tasks, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def as_json_lines(picks: Picks) -> str:
    """Return picks as an object on each line, with the pool's own columns beside id and payload."""
    own = _renamed(_beside_payload(picks), (*OF_LINES, picks.key))
    lines = []
    for place, (rank, index, name, score) in enumerate(_ours(picks)):
        value = _url(picks, place)
        shown = {"image": value, "file_name": picks.payload[place]} if picks.key == "image" else {}
        meta = {"rank": rank, "index": index, "score": score, "batch": picks.batch}
        record = {
            **(shown or {picks.key: value}),
            **{column: _plain(values[place]) for column, values in own.items()},
            **{"id": name, "meta": meta},
        }
        lines.append(json.dumps(record, ensure_ascii=False, allow_nan=False))
    return "".join(f"{line}\n" for line in lines)


def as_lines(picks: Picks) -> str:
    """Return the path of each pick on a line of its own.

    Raises
    ------
    InputError
        When one is empty or has several lines.
    """
    values = paths_of(picks)
    for value in values:
        if not value.strip() or len(value.splitlines()) > 1:
            raise InputError(f"a list of picks has a path on each line, which {value!r} is not: use .csv")
    return "".join(f"{value}\n" for value in values)


def as_parquet(picks: Picks) -> bytes:
    """Return picks as Parquet: our columns, then the pool's own in their types."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = dict(picks.columns) | _renamed(picks.own, picks.columns)
    table = pa.table({name: pa.array([*map(_unboxed, values)]) for name, values in columns.items()})
    stream = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({MARK: versions()["dual-jax"].encode()}), stream)
    return stream.getvalue()


FORMS: dict[str, Callable[[Picks], str | bytes]] = {
    ".csv": as_csv,
    ".jsonl": as_json_lines,
    ".txt": as_lines,
    ".parquet": as_parquet,
}
TASKS = ".json"  # whose tasks name the receipt, and are written after all others


def _ours(picks: Picks) -> list[tuple[int, int, str, float | None]]:
    """Return rank, position, id and score of each pick, in the types of JSON."""
    ranks, indices, ids, scores = (picks.columns[name] for name in COLUMNS)
    return [
        (int(rank), int(index), text_of_id(name), float(str(score)) if np.isfinite(score) else None)
        for rank, index, name, score in zip(ranks, indices, ids, scores, strict=True)
    ]


def paths_of(picks: Picks) -> Sequence[str]:
    """Return the payload, or where that is text the first of the pool's columns and ids that are paths."""
    columns = (picks.payload, *picks.own.values(), picks.columns.get("id", ()))
    return next(
        (cells for cells in columns if len(cells) and kind_of(str(cells[0])) != "text"), picks.payload
    )


def _beside_payload(picks: Picks) -> dict[str, Sequence[Any]]:
    """Return the pool's columns without the payload, where it goes under its own name."""
    hidden = picks.column if picks.column == picks.key else None
    return {name: values for name, values in picks.own.items() if name != hidden}


def _url(picks: Picks, place: int) -> str:
    value = picks.payload[place]
    return picks.prefix + quote(value) if picks.prefix else value


def _renamed(own: Mapping[str, Sequence[Any]], taken: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return the pool's columns; a name that has another meaning in the file gets ``pool_`` before it."""
    return {f"pool_{name}" if name in taken else name: values for name, values in own.items()}


def _unboxed(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    value = _unboxed(value)
    if _is_file(value):
        return value.get(PATH) if isinstance(value, dict) else None
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return text_of_id(value)


def _is_file(value: Any) -> bool:
    """Return whether a value is a picture or a recording; of which text has the path alone."""
    if isinstance(value, dict):
        return set(value) == {BYTES, PATH}
    return isinstance(value, bytes) and kind_of_bytes(value[:N_SIGNATURE]) is not None


def _cell(value: Any) -> Any:
    """Return a value as a cell of text; numbers of NumPy's keep the fewest digits that give them again."""
    if value is None or isinstance(value, str | int | float | np.generic):
        return value
    if _is_file(value):
        return _plain(value)
    return json.dumps(_plain(value)) if isinstance(value, list | dict) else text_of_id(value)


def is_ours(path: Path, receipt: Path) -> bool:
    """Return whether a file of picks is ours and holds no labels, so that it may be replaced.

    Lists of paths hold no mark of ours, and a column beside ours in a table may be the user's labels: such
    files are known by the sum in the receipt.
    """
    known = {".csv": is_picks, TASKS: _are_our_tasks, ".jsonl": _is_our_line, ".parquet": _is_our_table}
    try:
        return known.get(path.suffix.lower(), lambda _: False)(path) or _is_in_receipt(path, receipt)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return False


def _are_our_tasks(path: Path) -> bool:
    tasks = json.loads(path.read_text("utf-8"))
    are_ours = tasks and all(task["meta"]["tool"].startswith("dual_jax") for task in tasks)
    return are_ours and not any(OF_TOOLS & set(task) for task in tasks)


def _is_our_line(path: Path) -> bool:
    with open(path, encoding="utf-8") as file:
        record = json.loads(file.readline())
    return set(record["meta"]) == {"rank", "index", "score", "batch"} and not OF_TOOLS & set(record)


def _is_our_table(path: Path) -> bool:
    from pyarrow import parquet

    return MARK in (parquet.read_schema(path).metadata or {})


def _is_in_receipt(path: Path, receipt: Path) -> bool:
    sums = json.loads(receipt.read_text("utf-8"))["picks"].get("files", {})
    return sums.get(path.name) == sha256_of(path)


def find_files(values: Sequence[str], pool: str) -> list[Path]:
    """Return the files that paths name, from the folder of the pool or from here.

    Raises
    ------
    InputError
        Naming the first that is not there.
    """
    base = Path(pool) if os.path.isdir(pool) else Path(pool).parent
    files = []
    for value in values:
        found = next((path for path in (base / value, Path(value)) if value and path.is_file()), None)
        if found is None:
            raise InputError(f"there is no file {value!r}, neither here nor in {base}, that could be copied")
        files.append(found)
    return files


def name_copies(files: Sequence[Path | Held]) -> list[str]:
    """Return the names of copies of files, the rank before each.

    Examples
    --------
    >>> name_copies([Path("cats/tom.jpg"), Held(7, "", b"GIF89a")])
    ['1_tom.jpg', '2_7.gif']
    """
    width = len(str(len(files)))
    names = [file.file_name if isinstance(file, Held) else file.name for file in files]
    return [f"{rank:0{width}d}_{name}" for rank, name in enumerate(names, 1)]


def copy_numbered(files: Sequence[Path | Held], folder: Path) -> None:
    """Copy files, or write those that a table holds, into a folder, the rank before each name."""
    folder.mkdir(exist_ok=True)
    for name, file in zip(name_copies(files), files, strict=True):
        if isinstance(file, Held):
            write_atomically(folder / name, file.contents())
        else:
            with open(file, "rb") as source:
                write_atomically(folder / name, partial(shutil.copyfileobj, source))
