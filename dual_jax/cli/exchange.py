"""What goes from ``dual-jax select`` to labelling tools, and what comes back from them."""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dual_jax.data.errors import InputError
from dual_jax.data.storage import sha256_of, write_atomically

if TYPE_CHECKING:
    from dual_jax.cli.picked import Picked
    from dual_jax.data.exports import Picks
    from dual_jax.data.owncolumns import PoolFile

DEFAULT_OUT = Path("picks.csv")
ALL = "all"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    text = "rows with a label, as a table or a labelling tool's export; may be given several times"
    add("--labeled", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = "rows with a value there are labelled; in the pool it is no feature"
    add("--label-column", metavar="NAME", help=text)
    text = "an image that a COCO file lists without an annotation counts as labelled"
    add("--empty-is-labeled", action="store_true", help=text)
    text = "rows never to pick, in any form of --labeled; may be given several times"
    add("--forbid", type=Path, action="append", default=[], metavar="FILE", help=text)
    text = (
        ".csv, .parquet, .json (tasks of Label Studio), .jsonl or .txt (a path on each line); may be given "
        "several times; default: picks.csv"
    )
    add("--out", type=Path, action="append", default=[], metavar="FILE", help=text)
    add("--keep", metavar=f"NAME,...|{ALL}", help="columns of the pool to write beside the picks")
    text = "what a labelling tool calls the path or text, and the pool's column of it, such as image=path"
    add("--task-key", metavar="NAME[=COLUMN]", help=text)
    text = "goes before each path in .json and .jsonl, such as '/data/local-files/?d='"
    add("--url-prefix", default="", metavar="URL", help=text)
    add("--copy-to", type=Path, metavar="DIR", help="copy the picked files there, the rank before each name")


def check(args: argparse.Namespace) -> None:
    """Refuse forms that are not known; without --out the picks go to picks.csv."""
    from dual_jax.data.exports import FORMS, TASKS

    args.out = args.out or [DEFAULT_OUT]
    for path in args.out:
        suffix = path.suffix.lower()
        if suffix not in (*FORMS, TASKS):
            raise InputError(f"--out {path} must end in one of {', '.join((*FORMS, TASKS))}")
        if suffix == TASKS and isinstance(args.n_to_select, int):
            _check_tasks(path, args.n_to_select)
    if len({path.name for path in args.out}) < len(args.out):
        raise InputError("--out names a file twice: give each form a name of its own")
    if args.copy_to is not None:
        _check_copies(args.copy_to)


def _check_tasks(path: Path, n_picks: int) -> None:
    """Refuse more tasks than a labelling tool takes."""
    from dual_jax.data.exports import MAX_TASKS

    if n_picks > MAX_TASKS:
        raise InputError(f"--out {path}: Label Studio takes {MAX_TASKS:,} tasks at most; write .jsonl")


def _check_copies(folder: Path) -> None:
    """Refuse to mix copies with other files."""
    from dual_jax.cli.options import check_folder

    check_folder(folder, "--copy-to")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"--copy-to {folder} is not empty: give a new or an empty folder")


def receipt_path(outs: Sequence[Path]) -> Path:
    """Return where the receipt goes: beside the first file, as .json, or .receipt.json if that is tasks."""
    path = outs[0].with_suffix(".json")
    return outs[0].with_suffix(".receipt.json") if path in outs else path


def wanted_columns(args: argparse.Namespace, file: "PoolFile") -> tuple[list[str], str | None]:
    """Return the columns to keep, and that of what is to be labelled, None for the ids.

    That is the one of --task-key, else the first of --keep, else the first column of paths, or of text.

    Raises
    ------
    InputError
        When there is no such column, or a file that would be copied is not there.
    """
    from dual_jax.data.exports import find_files, kind_of
    from dual_jax.data.owncolumns import check_names, column_names

    pool, names = file.pool, [name for name in (args.keep or "").split(",") if name]
    if args.keep == ALL:
        names = [name for name in column_names(pool) if name not in (pool.id_name, pool.vectors)]
        if not names:
            raise InputError(f"--keep {ALL}: {pool.source} has no columns of its own")
    key, _, asked = (args.task_key or "").partition("=")
    if asked:
        payload = asked
    elif key in column_names(pool):
        payload = key
    elif names and args.keep != ALL:
        payload = names[0]
    else:
        payload = _guessed(args, file)
    check_names(pool, [*names, *([payload] if payload else [])])
    if _holds_files(file, payload):
        _check_held(args, payload)
    elif args.copy_to is not None:
        own = [name for name in (payload, *names) if not _holds_files(file, name)]
        columns = [_texts(file, name) for name in (*own, None)]
        find_files(next((cells for cells in columns if kind_of(cells[0]) != "text"), columns[0]), pool.source)
    return names, payload


def _holds_files(file: "PoolFile", column: str | None) -> bool:
    """Return whether the cells of a column are pictures or recordings, not their paths."""
    from dual_jax.data.filecells import kind_held

    table = file.pool.table
    return table is not None and column in table.column_names and kind_held(table[column]) is not None


def _check_held(args: argparse.Namespace, column: str | None) -> None:
    """Refuse to name files that only a table holds."""
    if args.copy_to is None:
        raise InputError(
            f"column {column!r} holds the files themselves, which no task can: write them to a folder by "
            "--copy-to DIR, or name another column by --task-key NAME=COLUMN"
        )


def _guessed(args: argparse.Namespace, file: "PoolFile") -> str | None:
    """Return the first column of paths, else the one of text; None where the ids are all there is.

    A person looks at texts and not at their paths. A column that holds files comes before one of text where
    files are copied, and else after it. Of several columns of text it is the one that
    `dual_jax.PoolEncoder` reads by words, that with the longest cells if there are more.
    """
    from dual_jax.data.exports import kind_of
    from dual_jax.data.owncolumns import column_names, list_ids, text_columns

    if not _shows_payload(args):
        return None
    columns = text_columns(file)
    columns.pop(file.pool.id_name or "", None)
    columns.pop(args.label_column, None)
    candidates: dict[str | None, list[str]] = dict(columns.items()) | {None: list_ids(file.pool)}
    if columns and kind_of(candidates[None][0]) == "file":
        del candidates[None]
    paths = [name for name, cells in candidates.items() if kind_of(cells[0]) != "text"]
    held = [name for name in column_names(file.pool) if _holds_files(file, name)]
    if not paths and held and (args.copy_to is not None or not columns):
        return held[0]
    return paths[0] if paths else _text_to_read(columns)


def _shows_payload(args: argparse.Namespace) -> bool:
    """Return whether an output holds what is to be labelled under a name of its own, or files are copied."""
    return args.copy_to is not None or any(p.suffix.lower() not in (".csv", ".parquet") for p in args.out)


def _text_to_read(columns: Mapping[str, list[str]]) -> str | None:
    """Return the column of text that a person reads; of others that with the longest cells."""
    if not columns:
        return None
    import pyarrow as pa

    from dual_jax.views.columns import column_to_read, mean_length, sort

    table = pa.table({name: pa.array(cells, pa.large_string()) for name, cells in columns.items()})
    return column_to_read(table, sort(table, {})) or max(columns, key=lambda name: mean_length(table[name]))


def _texts(file: "PoolFile", column: str | None, rows: Any = None) -> list[str]:
    """Return a column of the pool as text; the ids for None."""
    from dual_jax.data.casts import spelt_out
    from dual_jax.data.ids import text_of_id
    from dual_jax.data.owncolumns import list_ids, read_columns

    if column is not None:
        return [*map(text_of_id, spelt_out(read_columns(file, [column], rows)[column]).to_pylist())]
    ids = list_ids(file.pool)
    return ids if rows is None else [ids[row] for row in rows]


def gather(args: argparse.Namespace, picked: "Picked", columns: Mapping[str, Sequence[Any]]) -> "Picks":
    """Return the picks with the pool's own columns, which are read again from its file."""
    from dual_jax.data.exports import TASKS, Picks, kind_of, name_copies
    from dual_jax.data.owncolumns import read_columns

    source = picked.source
    for path in args.out:  # a share is a number of rows only now
        if path.suffix.lower() == TASKS:
            _check_tasks(path, len(picked.indices))
    own = read_columns(source.file, source.keep, picked.indices).to_pydict()
    if _holds_files(source.file, source.payload):
        names = name_copies(_held(picked))
        payload = [(args.copy_to / name).as_posix() for name in names]
    else:
        payload = _texts(source.file, source.payload, picked.indices)
    key = (args.task_key or "").partition("=")[0] or (kind_of(payload[0]))
    return Picks(columns, own, payload, key, source.payload, args.url_prefix, source.labels.n_batches + 1)


def _held(picked: "Picked") -> list[Any]:
    """Return the picked files of a column of the pool that holds files, or their paths."""
    from dual_jax.data.exports import find_files
    from dual_jax.data.filecells import cells_as_files
    from dual_jax.data.media import Held

    pool = picked.source.file.pool
    files = cells_as_files(pool.table[picked.source.payload])
    picks = [files[row] for row in picked.indices]
    return [file if isinstance(file, Held) else find_files([file], pool.source)[0] for file in picks]


def write_tables(args: argparse.Namespace, picks: "Picks") -> dict[str, str | None]:
    """Write every file but tasks; return the sum of each, None for tasks, which hold that of the receipt."""
    from dual_jax.data.exports import FORMS, TASKS

    contents = {path: FORMS[path.suffix.lower()](picks) for path in args.out if path.suffix.lower() != TASKS}
    for path, content in contents.items():
        write_atomically(path, content)
    return {path.name: sha256_of(path) if path in contents else None for path in args.out}


def write_tasks(args: argparse.Namespace, picked: "Picked", picks: "Picks", receipt: str) -> None:
    """Write tasks, which name the receipt by its sum, and copy files."""
    from dual_jax.data.exports import TASKS, as_tasks, copy_numbered, find_files, paths_of

    digest = hashlib.sha256(receipt.encode()).hexdigest()
    for path in args.out:
        if path.suffix.lower() == TASKS:
            write_atomically(path, as_tasks(picks, digest))
    if args.copy_to is not None:
        is_held = _holds_files(picked.source.file, picked.source.payload)
        files = _held(picked) if is_held else find_files(paths_of(picks), picked.source.pool.source)
        copy_numbered(files, args.copy_to)


def summary(args: argparse.Namespace, picked: "Picked") -> Iterator[str]:
    """Give a line for each file of labelled rows, and for rows that are never picked."""
    from dual_jax.data.receipt import is_receipt

    source = picked.source
    if source.payload is not None and _shows_payload(args) and "=" not in (args.task_key or ""):
        yield f"shown to the labeller: column {source.payload!r} (--task-key NAME=COLUMN chooses another)"
    for count in source.labels.counts:
        if is_receipt(count.file):
            yield f"{count.file}: a receipt; this is batch {source.labels.n_batches + 1}"
        else:
            numbers = (count.labelled, "labelled"), (count.skipped, "skipped"), (count.unknown, "unknown")
            yield f"{count.file}: {', '.join(f'{number:,} {what}' for number, what in numbers)}"
    if args.forbid:
        yield f"forbidden: {int(source.is_forbidden.sum()):,} rows"
    if args.copy_to is not None:
        yield f"copied: {len(picked.indices):,} files to {args.copy_to}"
