"""Parquet, Arrow, Feather, JSON and saved Hugging Face data sets to a table of pyarrow.

pyarrow is imported when a file is read. It gets streams of its own, not Python's, and reads these files
without threads: one that let go of a Python object while the process ended was aborted by the C++ runtime
("terminate called without an active exception", https://github.com/apache/arrow/issues/36389 and 50482).
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from dual_jax.data.errors import InputError
from dual_jax.data.filecells import can_hold_files
from dual_jax.data.files import Source, parsing
from dual_jax.data.storage import sha256_of

SAVED = "state.json"  # in a folder that Hugging Face datasets saved
RANGE = "__index_level_0__"  # what pandas calls an index without a name in a file
SPLITS = "dataset_dict.json"  # in a folder of several of these


class Remarks(NamedTuple):
    """What a schema says: the columns of a frame's index or its range, and columns of class labels."""

    index_names: tuple[str, ...]
    labels: tuple[str, ...]
    counted: range | None


def read_parquet(source: Source) -> Any:
    """Return the table in a Parquet file."""
    file = open_parquet(source.where, source.open())
    with parsing(source.where, ".parquet"):
        return read_row_groups(file)


def read_row_groups(file: Any, names: Sequence[str] | None = None) -> Any:
    """Return columns of a Parquet file, all by default.

    A table of pictures is read by row groups, as pyarrow refuses structures with more than 2 GB of bytes in
    one piece ("Nested data conversions not implemented for chunked array outputs").
    """
    import pyarrow as pa

    schema = file.schema_arrow
    kinds = schema.types if names is None else [schema.field(name).type for name in names]
    if file.num_row_groups < 2 or not any(map(can_hold_files, kinds)):
        return file.read(names, use_threads=False)
    groups = range(file.num_row_groups)
    return pa.concat_tables([file.read_row_group(group, names, use_threads=False) for group in groups])


def open_parquet(where: str, source: Any) -> Any:
    """Return a Parquet file, from its path or its bytes, as pyarrow reads it."""
    from pyarrow import parquet

    with parsing(where, ".parquet"):
        return parquet.ParquetFile(source)


def read_arrow(source: Source) -> Any:
    """Return the table in an Arrow or Feather file, in the file's form or the stream's."""
    from pyarrow import feather, ipc

    with source.open() as file:
        head = bytes(file.read(8))
    with parsing(source.where, "Arrow"), source.open() as file:
        if head.startswith(b"FEA1"):
            return feather.read_table(file, use_threads=False)
        reader = ipc.open_file(file) if head.startswith(b"ARROW1") else ipc.open_stream(file)
        return reader.read_all()


def read_json_lines(source: Source, named: Collection[str] = ()) -> Any:
    """Return the table in JSON lines; columns of ``named`` that hold text are not taken for dates.

    Objects in objects become columns of their own: ``{"data": {"text": ..}}`` has a column ``data.text``.
    """
    import pyarrow as pa
    from pyarrow import json as arrow_json

    read = arrow_json.ReadOptions(use_threads=False, block_size=1 << 24)
    for schema in (pa.schema([(name, pa.string()) for name in named]), None):
        try:
            with source.open() as file:
                options = arrow_json.ParseOptions(explicit_schema=schema)
                return _flat(arrow_json.read_json(file, read, options))
        except pa.ArrowInvalid:
            continue
    with parsing(source.where, "JSON lines"):
        return _flat(pa.Table.from_pylist(_objects(source)))


def read_json(source: Source) -> Any:
    """Return the table in a JSON file: a list of objects, or columns as pandas writes them.

    Raises
    ------
    InputError
        When it holds something else.
    """
    import pyarrow as pa

    with parsing(source.where, "JSON"), source.open() as file:
        value = json.loads(bytes(file.read()).decode("utf-8-sig"))
    if isinstance(value, dict):
        lists = [part for part in value.values() if _are_objects(part)]
        value = lists[0] if len(lists) == 1 else value
    with parsing(source.where, "a table in JSON"):
        if _are_objects(value):
            names = dict.fromkeys(name for row in value for name in row)  # of all rows, not of the first
            return _flat(pa.table({name: [row.get(name) for row in value] for name in names}))
        if isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values()):
            return _from_frame(value)
    raise InputError(
        f'{source.where} is no list of objects: write each sample as one, as [{{"name": value, ...}}, ...]'
    )


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _from_frame(columns: dict[str, dict[str, Any]]) -> Any:
    """Return the table of columns by row, as pandas writes a frame unless told otherwise."""
    import pyarrow as pa

    rows = [*next(iter(columns.values()))]
    table = pa.table({name: [column.get(row) for row in rows] for name, column in columns.items()})
    is_counted = rows == [*map(str, range(len(rows)))]
    return _flat(table if is_counted else table.append_column(RANGE, pa.array(rows)))


def _flat(table: Any) -> Any:
    """Return a table whose objects are columns of their own."""
    import pyarrow as pa

    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    return table


def _objects(source: Source) -> list[dict[str, Any]]:
    """Return the objects of JSON lines by Python's reader, which says what is wrong in which line."""
    with source.open() as file:
        lines = bytes(file.read()).decode("utf-8-sig").splitlines()
    objects = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise InputError(f"{source.where}: line {number} is no JSON ({error}): repair it") from None
        if isinstance(value, dict):
            objects.append(value)
        elif value is not None:
            raise InputError(
                f"{source.where}: line {number} holds no object: write each sample as one, as "
                '{"name": value, ...}'
            )
    return objects


def is_saved_set(path: str | PathLike[str]) -> bool:
    """Return whether a folder is one, or several, that Hugging Face ``datasets`` saved."""
    return any((Path(path) / name).is_file() for name in (SAVED, SPLITS))


def read_saved_set(path: str | PathLike[str]) -> tuple[Any, str]:
    """Return the table that Hugging Face ``datasets`` saved in a folder, and the sum of its files.

    Raises
    ------
    InputError
        When the folder holds several splits, or a file of it is missing or broken.
    """
    import pyarrow as pa

    folder, where = Path(path), str(path)
    if not (folder / SAVED).is_file():
        splits = sorted(child.name for child in folder.iterdir() if (child / SAVED).is_file())
        raise InputError(f"{where} holds several data sets: give one of {', '.join(map(repr, splits))} in it")
    with parsing(str(folder / SAVED), "JSON"):
        state = json.loads((folder / SAVED).read_text("utf-8"))
        names = [Path(entry["filename"]).name for entry in state["_data_files"]]
    if state.get("_indices_data_files"):
        raise InputError(f"{where} has rows in another order than its files: save it after flatten_indices()")
    files = [folder / name for name in names]
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(f"{missing[0]} is missing: save the data set again")
    sources = [Source(str(file), ".arrow", sha256_of(file), _opener(file)) for file in files]
    with parsing(where, "a saved data set"):
        table = pa.concat_tables(map(read_arrow, sources))
    return table, hashlib.sha256("".join(source.sha256 for source in sources).encode()).hexdigest()


def _opener(path: Path) -> Any:
    import pyarrow as pa

    return lambda: pa.memory_map(str(path))


def remarks_of(schema: Any) -> Remarks:
    """Return what the writer noted in a schema: pandas its index, Hugging Face its class labels."""
    metadata = schema.metadata or {}
    index: list[Any] = _noted(metadata, b"pandas").get("index_columns", [])
    features: dict[str, Any] = _noted(metadata, b"huggingface").get("info", {}).get("features", {})
    labels = [
        name
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    ]
    return Remarks(
        tuple(name for name in index if isinstance(name, str) and name in schema.names),
        tuple(name for name in labels if name in schema.names),
        next((_range(entry) for entry in index if isinstance(entry, dict)), None),
    )


def _range(entry: dict[str, Any]) -> range | None:
    """Return the index that pandas keeps as a range, but for one that only counts the rows."""
    parts = [entry.get(key) for key in ("start", "stop", "step")]
    if not all(isinstance(part, int) for part in parts) or not parts[2]:
        return None
    found = range(*parts)  # type: ignore[arg-type]
    return None if found.step == 1 and found.start in (0, 1) else found


def with_range(table: Any, remarks: Remarks, n_rows: int) -> tuple[Any, tuple[str, ...]]:
    """Return a table, or the first rows of it, with its index as a column, and the names of that."""
    import pyarrow as pa

    if remarks.counted is None or len(remarks.counted) != n_rows or RANGE in table.column_names:
        return table, remarks.index_names
    return table.append_column(RANGE, pa.array(remarks.counted[: table.num_rows])), (RANGE,)


def _noted(metadata: dict[bytes, bytes], key: bytes) -> dict[str, Any]:
    try:
        found = json.loads(metadata.get(key, b"{}"))
    except ValueError:  # another program's
        return {}
    return found if isinstance(found, dict) else {}
