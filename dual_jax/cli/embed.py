"""``dual-jax embed``: an embedding of a pool's text or pictures, made once and kept in a file."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dual_jax.cli import embeddings, outputs, pools
from dual_jax.cli.exchange import ALL
from dual_jax.cli.options import NO_CACHE, add_common, check_writable, keep_compiled_programs, seed_number
from dual_jax.data.errors import InputError
from dual_jax.data.storage import write_atomically

if TYPE_CHECKING:
    from dual_jax.cli.pools import Rows

LSA = "lsa"
COLUMN = "embedding"  # of the file that is written
MARK = b"dual_jax embedding"  # key of its metadata
SUFFIX = ".parquet"

_EMBED = (
    "Embed the text or the pictures of a pool, and write ids, some columns and a list column 'embedding', in "
    "which `dual-jax select` then picks."
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("embed", help="embed text or pictures once, for select", description=_EMBED)
    add = parser.add_argument
    add("pool", metavar="SOURCE", help="a table with text, a folder of pictures or .wav files, an array")
    text = (
        f"{LSA} (latent semantic analysis of text), {embeddings.VIEWS} (learnt from images or series), "
        "module:function (your own, from a list of str to an array), model2vec:DIR, "
        "sentence-transformers:DIR, fastembed:NAME, or jimm:DIR (pictures)"
    )
    add("--with", required=True, metavar="EMBEDDER", dest="embedding", help=text)
    add("--column", metavar="NAME", help="the column to embed; by default the text with the longest cells")
    text = "columns to write beside the embedding; by default the one that is embedded"
    add("--keep", metavar=f"NAME,...|{ALL}", help=text)
    pools.add(parser)
    embeddings.add_of_views(parser)
    text = "where the embedding goes (.parquet); default: %(default)s"
    add("--out", type=Path, default=Path("embedded.parquet"), metavar="FILE", help=text)
    add("--seed", type=seed_number, default=0, help="of what is learnt; default: %(default)s")
    add("--quiet", action="store_true", help="no summary and no progress")
    add_common(parser)
    unused = {"stream": False, "labeled": [], "label_column": None, "features": None, "scale": "standard"}
    parser.set_defaults(run=_run, with_inputs=False, embedding_alone=False, **unused)


def _run(args: argparse.Namespace, command: str) -> None:
    """Check the request, read the pool, embed it, write, and print what was done."""
    _check(args)
    if not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    rows = pools.read(args) if args.embedding == embeddings.VIEWS else pools.read_whole(args)
    if args.column is not None:
        _use_column(args, rows)
    values, column = _embedded(args, rows)
    columns = _kept(args, rows, None if args.embedding == embeddings.VIEWS else column)
    _write(args.out, columns, values)
    if not args.quiet:
        n, width = values.shape
        print(f"{rows.pool.source}: {n:,} rows, {column} embedded in {width:,} columns by {args.embedding}")
        print("\n".join([*outputs.taken(rows.pool, rows.taken), f"embedding: {args.out}"]))


def _check(args: argparse.Namespace) -> None:
    """Refuse an embedder that is not known, and an output that cannot be written or would replace others."""
    from dual_jax.views.embedders import find_embedder

    if args.embedding not in (LSA, embeddings.VIEWS):
        find_embedder(args.embedding)
    if args.out.suffix.lower() != SUFFIX:
        raise InputError(f"--out {args.out} must end in {SUFFIX}")
    check_writable(args.out)
    if args.out.is_file() and args.out.stat().st_size and not _is_ours(args.out):
        raise InputError(f"{args.out} is there and holds no embedding of ours: move it, or give --out")


def _is_ours(path: Path) -> bool:
    """Return whether a file holds an embedding of this command, so that a new one may replace it."""
    from pyarrow import ArrowInvalid, parquet

    try:
        return MARK in (parquet.read_schema(path).metadata or {})
    except (ArrowInvalid, OSError):
        return False


def _use_column(args: argparse.Namespace, rows: "Rows") -> None:
    """Take the column of --column, and no other, for what is embedded."""
    from dual_jax.views.embedders import reads_pictures

    if rows.pool.table is None or args.embedding == embeddings.VIEWS:
        raise InputError(f"--column {args.column} is for a column of text or of paths in a table")
    kinds = dict.fromkeys(rows.pool.table.column_names, "exclude")
    asked = args.kinds.get(args.column, "image" if reads_pictures(args.embedding) else "text")
    args.kinds = kinds | {args.column: asked}


def _embedded(args: argparse.Namespace, rows: "Rows") -> tuple[np.ndarray, str]:
    """Return the embedding in float32, and the column that it is of."""
    from dual_jax.estimators.prepared import Deferred

    if args.embedding == embeddings.VIEWS:
        found = embeddings.prepare(args, rows.pool)
        table: Any = found.table if found else None
        return np.asarray(table.make() if isinstance(table, Deferred) else table, np.float32), "the samples"
    if args.embedding != LSA:
        return embeddings.embed_cells(args, args.embedding, rows.pool)
    if rows.pool.media:
        raise InputError(f"--with {LSA} is for text: give pictures and recordings --with {embeddings.VIEWS}")
    import pyarrow as pa

    from dual_jax.views.text import Text

    cells, column, are_pictures = embeddings.cells_to_embed(args, args.embedding, rows.pool)
    if are_pictures:
        raise InputError(
            f"--with {LSA} is for text, and {column!r} holds pictures: give --with {embeddings.VIEWS}"
        )
    texts = pa.table({column: pa.array(cells, pa.large_string())})
    return Text.fit(texts, column, by_words=True, seed=args.seed).transform(texts), column


def _kept(args: argparse.Namespace, rows: "Rows", column: str | None) -> dict[str, Any]:
    """Return the ids and the columns of the pool that go beside the embedding."""
    from dual_jax.data.ids import text_of_id
    from dual_jax.data.owncolumns import PoolFile, column_names, read_columns

    pool = rows.as_read
    own: Sequence[str] = column_names(pool)
    if args.keep == ALL:
        names = [name for name in own if name not in (pool.id_name, pool.vectors)]
    elif args.keep is not None:
        names = [name for name in args.keep.split(",") if name]
    else:
        names = [name for name in own if name == column]
    if COLUMN in names:
        raise InputError(f"--keep {COLUMN}: the embedding itself has that name; leave the column out")
    kept = read_columns(PoolFile(pool, args.header, args.decimal), names)
    ids = {} if pool.ids is None else {pool.id_name or "id": [*map(text_of_id, pool.ids)]}
    return ids | {name: kept[name] for name in names if name not in ids}


def _write(path: Path, columns: dict[str, Any], values: np.ndarray) -> None:
    """Write the columns and the embedding as a list column."""
    import pyarrow as pa
    from pyarrow import parquet

    flat = pa.array(values.astype(np.float32).ravel())
    vectors = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    table = pa.table({**columns, COLUMN: vectors}).replace_schema_metadata({MARK: b"1"})
    write_atomically(path, lambda file: parquet.write_table(table, file))
