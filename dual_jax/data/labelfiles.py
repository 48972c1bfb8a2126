"""The files of labelling tools as entries: what each calls its row, and whether that is labelled.

Label Studio, COCO, doccano, Prodigy, Argilla, CVAT and YOLO are told by their own keys; anything else is a
table, or a list of ids, of the user's own. Nothing in a file is executed or fetched: XML with a document
type, which could declare entities, is refused.
"""

import gzip
import json
import os
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

from dual_jax.data.arrow import is_saved_set
from dual_jax.data.casts import is_textual, plain, texts_of
from dual_jax.data.cells import is_missing
from dual_jax.data.delimited import check_column
from dual_jax.data.errors import InputError
from dual_jax.data.files import parsing, suffix_of
from dual_jax.data.ids import text_of_id
from dual_jax.data.labelvalues import (
    LABELS,
    OF_SHORT,
    classes_in,
    of_prodigy,
    of_responses,
    of_short_task,
    of_task,
)
from dual_jax.data.rawtable import read_table

LABELLED, SKIPPED, OPEN = "labelled", "skipped", "open"
ID, INDEX, FILE, STEM, TEXT = "id", "index", "file", "stem", "text"  # kinds of keys
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file
NO_ROWS = ("classes.txt",)  # of a YOLO export: the names of the classes
OF_PICKS = ("rank", "index", "id", "score", "batch")  # columns of our own files of picks
OF_IDS = ("id", "path", "file", "filename", "file_name", "image", "photo", "audio")  # columns of ids
CLASS_NAMES = ("label", "labels", "class", "target")  # what a column of classes is often called


class Key(NamedTuple):
    """What an entry calls its row: an id, a position, a file's path or name without suffix, or a text."""

    kind: str
    value: str


class Entry(NamedTuple):
    """A row of an export, and the names of its classes, where the file has them.

    ``batch`` is that of the picks it came from, 0 where it does not say.
    """

    keys: tuple[Key, ...]
    state: str
    batch: int = 0
    classes: tuple[str, ...] = ()


class Reading(NamedTuple):
    """How the user's own columns are called, and whether a listed image without annotations is labelled.

    ``id_names`` are names of the column of ids, () where the pool has none; ``label_column`` is that of the
    labels in tables, which they may lack only where the pool has it. ``needs_classes``: a table is refused
    whose column of classes is neither named nor found.
    """

    has_ids: bool = False
    id_names: tuple[str, ...] = ()
    label_column: str | None = None
    is_empty_labelled: bool = False
    is_label_in_pool: bool = False
    needs_classes: bool = False


def read_entries(path: str | PathLike[str], how: Reading) -> list[Entry]:
    """Return the entries of a file, or of a folder of YOLO labels.

    Raises
    ------
    InputError
        When it is missing, broken, or of no form that is known.
    """
    where, suffix = str(path), suffix_of(path)
    if not os.path.exists(path):
        raise InputError(f"there is no file {where!r} to read labelled rows from")
    if os.path.isdir(path) and not is_saved_set(path):
        return [*_from_yolo(Path(path))]
    if suffix not in (".json", ".jsonl", ".ndjson", ".xml", ".txt"):
        return _from_table(path, how)
    with parsing(where, suffix):
        if suffix == ".txt":
            return [*_from_lines(_content(path).decode("utf-8-sig"))]
        if suffix == ".xml":
            return _from_cvat(where, _content(path))
        return _from_json(where, _content(path).decode("utf-8-sig"), suffix == ".json", how)


def _content(path: str | PathLike[str]) -> bytes:
    """Return the bytes of a file, unpacked where its name ends in .gz."""
    data = Path(path).read_bytes()
    return gzip.decompress(data) if Path(path).suffix.lower() == ".gz" else data


def _from_lines(text: str) -> Iterator[Entry]:
    """Give an entry for each line: an id or a path."""
    for line in map(str.strip, text.splitlines()):
        if line:
            yield Entry((Key(ID, line), Key(FILE, line)), LABELLED)


def _from_yolo(folder: Path) -> Iterator[Entry]:
    """Give an entry for each file of labels, which may be empty: then there is nothing in the image."""
    labels = folder / "labels"
    files = sorted(path for path in (labels if labels.is_dir() else folder).rglob("*.txt"))
    files = [path for path in files if path.name not in NO_ROWS]
    if not files:
        raise InputError(f"{folder} holds no .txt file: give a file, or a folder of YOLO labels")
    names = _class_names(folder / NO_ROWS[0]) or _class_names(labels / NO_ROWS[0])
    for path in files:
        lines = path.read_text("utf-8", "replace").splitlines()
        numbers = dict.fromkeys(line.split()[0] for line in lines if line.strip())
        known = {str(place): name for place, name in enumerate(names)}
        classes = tuple(known.get(number, number) for number in numbers)
        yield Entry((Key(STEM, path.stem),), LABELLED, classes=classes)


def _class_names(path: Path) -> list[str]:
    """Return the names of classes by their numbers, where a YOLO export has them."""
    return path.read_text("utf-8", "replace").splitlines() if path.is_file() else []


def _from_cvat(where: str, data: bytes) -> list[Entry]:
    """Return the images of CVAT's XML; those with a child are labelled."""
    names: list[str] = []
    are_labelled: list[bool] = []
    classes: list[list[str]] = []
    open_elements: list[str] = []

    def refuse(*_: Any) -> None:
        raise InputError(f"{where} declares a document type, which CVAT does not and which can do harm")

    def start(element: str, attributes: dict[str, str]) -> None:
        if element == "image":
            names.append(attributes["name"])
            are_labelled.append(False)
            classes.append([])
        elif open_elements and open_elements[-1] == "image":
            are_labelled[-1] = True
            classes[-1].append(attributes.get("label", ""))
        open_elements.append(element)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.Parse(data, True)
    if not names:
        raise InputError(f"{where} holds no element <image>: export as 'CVAT for images'")
    return [
        Entry(_file_keys(name), LABELLED if is_labelled else OPEN, classes=classes_in(own))
        for name, is_labelled, own in zip(names, are_labelled, classes, strict=True)
    ]


def _from_json(where: str, text: str, is_whole: bool, how: Reading) -> list[Entry]:
    """Return the entries of JSON, or of JSON lines."""
    found = json.loads(text) if is_whole else [json.loads(line) for line in text.split("\n") if line.strip()]
    if isinstance(found, dict) and isinstance(found.get("images"), list):
        return _from_coco(found, how)
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise InputError(f"{where} is neither a list of objects nor COCO: export it as JSON from the tool")
    return [*_from_records(where, found, how)]


def _from_coco(found: dict[str, Any], how: Reading) -> list[Entry]:
    """Return the images of COCO; those that an annotation names are labelled."""
    names = {category.get("id"): category.get("name") for category in found.get("categories", [])}
    annotated: dict[Any, list[Any]] = {}
    for annotation in found.get("annotations", []):
        number = annotation.get("category_id")
        annotated.setdefault(annotation["image_id"], []).append(names.get(number, number))
    return [
        Entry(
            _file_keys(image["file_name"]),
            LABELLED if how.is_empty_labelled or image["id"] in annotated else OPEN,
            classes=classes_in(annotated.get(image["id"], [])),
        )
        for image in found["images"]
    ]


def _from_records(where: str, records: Sequence[dict[str, Any]], how: Reading) -> Iterator[Entry]:
    """Give the entries of objects, by the keys that the tools use."""
    known = dict.fromkeys(key for record in records for key in record)
    if any(isinstance(record.get("data"), dict) for record in records):
        yield from (_task(record, how) for record in records)
    elif "annotation_id" in known:
        yield from (_short_task(record, how) for record in records)
    elif "answer" in known:
        states = {"accept": LABELLED, "reject": LABELLED, "ignore": SKIPPED}
        for record in records:
            state = states.get(record["answer"], OPEN)
            yield Entry(_text_keys(record, how), state, _batch(record), of_prodigy(record))
    elif known.keys() & {"responses", *LABELS} and how.label_column not in known:
        names = ("responses",) if "responses" in known else LABELS
        for record in records:
            state = LABELLED if any(_is_filled(record.get(name)) for name in names) else OPEN
            classes = classes_in([record.get(name) for name in names])
            if "responses" in known:
                classes = of_responses(record.get("responses"), how.label_column)
            yield Entry(_text_keys(record, how), state, _batch(record), classes)
    else:
        yield from _own_rows(where, records, [*known], how)


def _is_filled(labels: Any) -> bool:
    """Return whether there is a label; 0 and False are some."""
    return labels not in (None, "", [], {})


def _task(record: dict[str, Any], how: Reading) -> Entry:
    """Return a task of Label Studio's whole export."""
    annotations = record.get("annotations", record.get("completions")) or []
    are_skipped = [bool(annotation.get("was_cancelled")) for annotation in annotations]
    state = OPEN if not are_skipped else SKIPPED if all(are_skipped) else LABELLED
    data = record.get("data") or {}
    keys = _task_keys(data, how.id_names, record.get("file_upload"))
    return Entry(keys, state, _batch(data), of_task(annotations, how.label_column))


def _short_task(record: dict[str, Any], how: Reading) -> Entry:
    """Return a task of Label Studio's short JSON, CSV or TSV, whose ``id`` is the tool's own."""
    names = [name for name in how.id_names if name != "id"]
    state = LABELLED if _is_filled(record["annotation_id"]) else OPEN
    return Entry(_task_keys(record, names), state, _batch(record), of_short_task(record, how.label_column))


def _task_keys(data: dict[str, Any], id_names: Sequence[str], upload: Any = None) -> tuple[Key, ...]:
    """Return what a task calls its row: its id, then any path in it."""
    ids = [Key(ID, text_of_id(data[name])) for name in ("row_id", *id_names) if _is_filled(data.get(name))]
    paths = [value for value in (*data.values(), upload) if isinstance(value, str) and _is_path(value)]
    return (*ids, *(key for path in paths for key in _file_keys(path)))


def _is_path(text: str) -> bool:
    return "\n" not in text and re.search(r"\.\w{1,5}$", text) is not None


def _file_keys(path: str) -> tuple[Key, ...]:
    """Return a path out of a URL, and the same without what an upload put before its name."""
    _, is_local, below = path.partition("?d=")
    plain_path = unquote(below) if is_local else urlsplit(path).path if "://" in path else path
    folder, slash, name = plain_path.rpartition("/")
    paths = dict.fromkeys((plain_path, unquote(plain_path), folder + slash + UPLOAD.sub("", name)))
    return tuple(Key(FILE, path) for path in paths)


def _text_keys(record: dict[str, Any], how: Reading) -> tuple[Key, ...]:
    """Return what a line of doccano's, Prodigy's or Argilla's calls its row."""
    meta = record.get("meta")
    ids = [record.get(name) for name in (*how.id_names, "id")]
    ids += [meta.get("id")] if isinstance(meta, dict) else []
    keys = [Key(ID, text_of_id(value)) for value in ids if _is_filled(value)]
    for name in ("filename", "file_name", "image"):
        if isinstance(path := record.get(name), str):
            keys += _file_keys(path)
    return (*keys, *([Key(TEXT, record["text"])] if isinstance(record.get("text"), str) else []))


def _batch(record: dict[str, Any]) -> int:
    """Return the number of the batch that an object says it is of."""
    meta = record.get("meta")
    value = record.get("batch", meta.get("batch") if isinstance(meta, dict) else None)
    return int(str(value)) if str(value).isdecimal() else 0


def _from_table(path: str | PathLike[str], how: Reading) -> list[Entry]:
    """Return the rows of a table: Label Studio's CSV, or one of the user's own."""
    raw = read_table(path, header=True, decimal=".")
    names = set(raw.table.column_names)
    wanted = {*how.id_names, *OF_PICKS, *OF_IDS, "row_id", "annotation_id", how.label_column}
    others = names - wanted
    if how.needs_classes:
        named = {name for name in others if name in OF_SHORT or name.lower() in CLASS_NAMES}
        wanted |= named or (others if len(others) == 1 else set())
    wanted &= names
    raw = read_table(path, named=sorted(filter(None, wanted)), header=True, decimal=".")
    if "annotation_id" in names:  # then a path may be in any column
        wanted |= {name for name in names if is_textual(plain(raw.table[name]).type)}
    order = [name for name in raw.table.column_names if name in wanted]
    columns = [texts_of(raw.table[name]).tolist() for name in order]
    records = [dict(zip(order, cells, strict=True)) for cells in zip(*columns, strict=True)]
    if "annotation_id" in names:
        return [_short_task(record, how) for record in records]
    return [*_own_rows(raw.where, records, raw.table.column_names, how)]


def _own_rows(
    where: str, records: Sequence[dict[str, Any]], names: Sequence[str], how: Reading
) -> Iterator[Entry]:
    """Give the rows of the user's own table, or of former picks."""
    metas = [record["meta"] for record in records if isinstance(record.get("meta"), dict)]
    is_picks = "id" in names and (
        any("index" in meta for meta in metas) or (how.has_ids and "index" in names)
    )
    usual = OF_IDS if is_picks or (how.has_ids and "index" not in names) else ()
    known = [name for name in (*how.id_names, *usual) if name in names]
    if not known and "index" not in names:
        own = how.id_names[:1] or (("id", "path") if how.has_ids else ())
        wanted = " or ".join(map(repr, (*own, "index")))
        raise InputError(f"{where} needs a column {wanted}: its columns are {', '.join(map(repr, names))}")
    if how.label_column is not None and not how.is_label_in_pool:
        check_column(where, how.label_column, names)
    kind, name = (ID, known[0]) if known else (INDEX, "index")
    column = how.label_column
    of_class = _class_column(where, names, name, how) if how.needs_classes else column
    for record in records:
        is_labelled = column is None or column not in names or has_label(record.get(column))
        cell = text_of_id(record.get(name))
        keys = Key(kind, cell), *(_file_keys(cell) if name in OF_IDS[1:] else ())
        classes = classes_in(record.get(of_class)) if of_class else ()
        yield Entry(keys, LABELLED if is_labelled else OPEN, _batch(record), classes)


def _class_column(where: str, names: Sequence[str], key: str, how: Reading) -> str | None:
    """Return the column of classes of a user's own table: as told, by its name, or the only other one.

    Raises
    ------
    InputError
        When none of these is there, and the pool has none either.
    """
    if how.label_column is not None:
        return how.label_column
    others = [name for name in names if name not in (key, *how.id_names, *OF_PICKS, *OF_IDS)]
    found = [name for name in others if name.lower() in CLASS_NAMES] or others
    if len(found) != 1:
        raise InputError(
            f"{where}: which column holds the labels is not clear from {', '.join(map(repr, names))}: name "
            "it by --label-column"
        )
    return found[0]


def has_label(value: Any) -> bool:
    """Return whether the cell of a column of labels holds one."""
    return not is_missing(value if isinstance(value, str) else "" if value in ([], {}) else text_of_id(value))
