"""Columns whose cells are files: pictures or recordings as bytes, with or without their paths.

Hugging Face ``datasets`` stores them as ``struct<bytes: binary, path: string>``, and one of both may be
missing; other programs write their bytes as ``binary``. The bytes stay in the table's own memory.
"""

from collections import Counter
from typing import Any

from dual_jax.data.casts import plain
from dual_jax.data.media import N_SIGNATURE, NOUNS, Held, kind_of_bytes, kind_of_file

BYTES, PATH = "bytes", "path"  # fields of a cell
N_LOOKED_AT, SHARE = 100, 0.9  # cells that are looked at, and the share of them that are files of one kind


def can_hold_files(kind: Any) -> bool:
    """Return whether a type of pyarrow's is of bytes, or of bytes and a path.

    Examples
    --------
    >>> import pyarrow as pa
    >>> can_hold_files(pa.struct({"bytes": pa.binary(), "path": pa.string()})), can_hold_files(pa.string())
    (True, False)
    """
    import pyarrow as pa

    if pa.types.is_struct(kind):
        place = kind.get_field_index(BYTES)
        return place >= 0 and _is_binary(kind.field(place).type)
    return _is_binary(kind)


def kind_held(column: Any) -> str | None:
    """Return what most cells of a column hold, "images" or "series"; None where they hold something else.

    At most 100 cells are looked at. Nine of ten must begin as files of one kind, or have a path of one.
    """
    from pyarrow import compute as pc

    column = plain(column)
    if not can_hold_files(column.type):
        return None
    there = pc.indices_nonzero(column.is_valid())
    if not len(there):
        return None
    files = cells_as_files(column.take(there[:: -(-len(there) // N_LOOKED_AT)]))
    files = [file for file in files if not (isinstance(file, Held) and file.data is None)]
    kinds = Counter(
        kind_of_bytes(bytes(memoryview(file.data)[:N_SIGNATURE]))
        if isinstance(file, Held)
        else kind_of_file(file)
        for file in files
    )
    return next((kind for kind in NOUNS if kinds[kind] >= max(1, SHARE * len(files))), None)


def cells_as_files(column: Any) -> list[str | Held]:
    """Return each cell as the file that it holds, or as the path where it holds no bytes."""
    import pyarrow as pa

    column = plain(column)
    paths = [None] * len(column)
    if pa.types.is_struct(column.type):
        paths = _field(column, PATH).to_pylist() if column.type.get_field_index(PATH) >= 0 else paths
        column = _field(column, BYTES)
    files: list[str | Held] = []
    for row, (cell, path) in enumerate(zip(column, paths, strict=True)):
        if path and not cell.is_valid:
            files.append(path)
        else:
            files.append(Held(row, path or "", cell.as_buffer() if cell.is_valid else None))
    return files


def _field(column: Any, name: str) -> Any:
    """Return a field of a column of structures; missing where the structure is."""
    from pyarrow import compute as pc

    return pc.struct_field(column, name)


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)
