"""Whatever stands in a file or on the command line: work that could begin, or one sentence and status 2.

Everything up to the point before training, in this process. Where the generator knows what a file holds, any
other table is a failure. ``DUAL_JAX_FUZZ`` is the number of inputs for each property, 200 by default and
10,000 in the full checks.
"""

import csv
import gzip
import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from dual_jax.cli import _parser, main, options
from dual_jax.data.errors import InputError
from dual_jax.data.tables import read_pool

N_EXAMPLES = int(os.environ.get("DUAL_JAX_FUZZ", "200"))
fuzzed = settings(
    max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def npy(shape):
    stream = io.BytesIO()
    np.save(stream, np.arange(float(np.prod(shape))).reshape(shape))
    return stream.getvalue()


def npz():
    stream = io.BytesIO()
    np.savez(stream, x=np.eye(3), id=np.array(["a", "b", "c"]))
    return stream.getvalue()


SOUND = [
    (".npy", npy((4, 3))),
    (".npz", npz()),
    (".csv", b"id,a,b\nr0,1,2\nr1,3,4\nr2,5,6\n"),
    (".tsv", b"a\tb\n1\t2\n3\t4\n5\t7\n"),
]
CELLS = st.one_of(
    st.floats(width=32).map(str),
    st.text(alphabet='abc01.,;"\n\t #é', max_size=6),
    st.sampled_from(["", "nan", "inf", "1e999", "0x1", "1_0", "٣"]),
)


@st.composite
def damaged(draw):
    """A sound file of any format with some of its bytes cut, changed or added."""
    suffix, content = draw(st.sampled_from(SOUND))
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        removed, added = draw(st.integers(0, 12)), draw(st.binary(max_size=8))
        content[place : place + removed] = added
    return suffix, bytes(content)


@st.composite
def tables(draw):
    """Text with rows and cells, of any make."""
    separator = draw(st.sampled_from(",;\t|"))
    rows = draw(st.lists(st.lists(CELLS, max_size=4), max_size=6))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
    return draw(st.sampled_from([".csv", ".tsv"])), text.encode(draw(st.sampled_from(["utf-8", "utf-16"])))


def outcome(act):
    """Return what an act returns, or the error of an invalid request."""
    try:
        return act()
    except InputError as error:
        return error


def read(tmp_path, suffix, content):
    path = tmp_path / f"pool{suffix}"
    path.write_bytes(content)
    found = outcome(lambda: read_pool(path))
    assert str(found).strip() if isinstance(found, InputError) else found.x.ndim == 2


@fuzzed
@given(damaged())
def test_a_damaged_file_is_read_or_refused(tmp_path, file):
    read(tmp_path, *file)


@fuzzed
@given(tables())
def test_any_text_as_a_table_is_read_or_refused(tmp_path, file):
    read(tmp_path, *file)


@fuzzed
@given(st.sampled_from([suffix for suffix, _ in SOUND]), st.binary(max_size=200))
def test_any_bytes_as_a_file_are_read_or_refused(tmp_path, suffix, content):
    read(tmp_path, suffix, content)


class Known(NamedTuple):
    """A file, and what it holds: the features, the ids or None, and whether the reader may ask instead."""

    suffix: str
    content: bytes
    x: np.ndarray
    ids: list[str] | None
    may_ask: bool
    options: dict[str, str]


GAPS = ["", "NA", "N/A", "#N/A", "<NA>", "null", "None", "?", "-", "nan"]
KINDS = ("decimal", "integer", "truth", "with gaps")


def column(rng, kind, n):
    """Return numbers that every type and three decimals hold exactly."""
    values = rng.integers(-800, 800, n) / 8 + 1 / 8 * (kind == "decimal")
    if kind == "integer":
        values = np.floor(values)
    if kind == "truth":
        values = (values > 0) * 1.0
    if kind == "with gaps":
        values[rng.integers(n)] = np.nan
    return values


@st.composite
def known_columns(draw):
    """Columns with a type each, how the rows are named, and a column of text."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=6))
    n = draw(st.integers(3, 9))
    columns = [(kind, column(rng, kind, n)) for kind in kinds]
    index = draw(st.sampled_from([None, "", "customer_id", "code"]))
    ids = None
    if index is not None:
        ids = [f"{number:04}" if index == "code" else str(number) for number in rng.permutation(n) + 5]
    words = list(rng.choice(["red", "a b", "é", "x;y", "2024-01-31"], n)) if draw(st.booleans()) else None
    return rng, columns, index, ids, words


def usable(columns):
    """Return the columns that are features: not those of gaps alone."""
    return np.column_stack([values for _, values in columns])


def as_text(kind, value, rng, decimal):
    if np.isnan(value):
        return str(rng.choice(GAPS))
    if kind == "truth":
        return str(bool(value))
    if kind == "integer":
        return str(int(value))
    return f"{value:.3f}".replace(".", decimal)


@st.composite
def known_delimited(draw):
    """Text of any make: headers of names, of years, or none; separators, decimal marks, encodings, ids."""
    rng, columns, index, ids, words = draw(known_columns())
    header = draw(st.sampled_from(["names", "years", "none"]))
    separator, decimal = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(".,"))
    if header == "none":
        index = ids = None
    names = [str(1990 + i) if header == "years" else f"x{i}" for i in range(len(columns))]
    n = len(columns[0][1])
    rows = [names] if header != "none" else []
    rows += [[as_text(kind, values[i], rng, decimal) for kind, values in columns] for i in range(n)]
    if words:
        cells = ["colour", *words] if header != "none" else words
        rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    if ids:
        rows = [[cell, *row] for row, cell in zip(rows, [index, *ids], strict=True)]
    text = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end).writerows(rows)
    content = text.getvalue().encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    suffix = draw(st.sampled_from([".csv", ".tsv", ".csv.gz"]))
    content = gzip.compress(content, 1) if suffix.endswith("gz") else content
    options = {"id_column": "code"} if index == "code" else {}
    may_ask = header != "names" or decimal == ","
    return Known(suffix, content, usable(columns), ids, may_ask, options)


@st.composite
def known_binary(draw):
    """Parquet, Arrow and JSON lines, their columns in the types that writers choose."""
    rng, columns, index, ids, words = draw(known_columns())
    frame = pd.DataFrame()
    for place, (kind, values) in enumerate(columns):
        types = {
            "truth": [bool, "boolean", "int8"],
            "integer": ["int16", "int64", "Int32", "float32"],
            "decimal": ["float32", "float64", "text"],
            "with gaps": ["float32", "Float64", "text"],
        }
        wanted = draw(st.sampled_from(types[kind]))
        cells = [as_text(kind, value, rng, ".") for value in values]
        frame[f"x{place}"] = cells if wanted == "text" else pd.array(values, dtype="float64").astype(wanted)
    if words:
        frame["colour"] = words
    suffix, stream = draw(st.sampled_from([".parquet", ".feather", ".arrow", ".jsonl"])), io.BytesIO()
    if ids and suffix == ".jsonl" and index != "code":
        index = "customer_id"
    if ids:
        values = [name.encode() for name in ids] if index == "code" and suffix != ".jsonl" else ids
        typed = values if index == "code" else [int(name) for name in ids]
        frame = frame.set_index(pd.Index(typed, name=index or None))
    if suffix == ".jsonl":
        (frame.reset_index() if ids else frame).to_json(stream, orient="records", lines=True)
    else:
        table = pa.Table.from_pandas(frame)
        if suffix == ".parquet":
            parquet.write_table(table, stream, row_group_size=draw(st.integers(1, 9)))
        else:
            opener = ipc.new_file if suffix == ".feather" else ipc.new_stream
            with opener(stream, table.schema) as writer:
                writer.write_table(table)
    options = {"id_column": "code"} if index == "code" and ids else {}
    return Known(suffix, stream.getvalue(), usable(columns), ids, False, options)


@fuzzed
@given(st.one_of(known_delimited(), known_binary()))
def test_a_known_table_is_read_as_it_was_written_or_asked_about(tmp_path, known):
    path = tmp_path / f"pool{known.suffix}"
    path.write_bytes(known.content)
    pool = outcome(lambda: read_pool(path, **known.options))
    if isinstance(pool, InputError):
        assert known.may_ask, pool
        assert "--header" in str(pool) or "--decimal" in str(pool)
        return
    np.testing.assert_array_equal(pool.x, known.x)
    assert (None if pool.ids is None else pool.ids.tolist()) == known.ids


WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "iris",
                "pool.csv",
                "nope",
                "-n",
                "3",
                "0",
                "-1",
                "1e3",
                "--method",
                "ted",
                "kcenter",
                "--knob",
            ),
            *("width=2", "width", "mu=nan", "--labeled", "done.csv", "--id-column", "id", "--scale", "l2"),
            *(
                "--impute",
                "median",
                "--out",
                "p.csv",
                "p.txt",
                "--plot",
                "m.png",
                "--seed",
                "--report",
                "r.html",
            ),
            *("--embedding", "spectral", "views", "--sample-shape", "2x2", "--resume", "kept", "--log"),
            *("select", "compare", "plan", "data", "list", "reproduce", "--budgets", "3,5", "--label-column"),
            *("--devices", "v5e:8", "tpu", "--pool-size", "10", "--features", "4", "--quick", "--draw-only"),
        ]
    ),
    st.text(max_size=6),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DUAL_JAX_DATA", raising=False)
    Path("pool.csv").write_bytes(SOUND[2][1])
    Path("done.csv").write_text("id\nr1\n")


WORK = ("select._pick", "select._pick_from_disk", "outputs.write", "compare._compare", "plan._show")
WORK += ("reproduce._do", "reproduce._draw", "data._download")


def without_work(patch):
    """Let every command end where its checks do."""
    for name in WORK:
        patch.setattr(f"dual_jax.cli.{name}", lambda *_: None)


@fuzzed
@given(st.lists(WORDS, max_size=9))
def test_any_words_end_in_work_or_in_a_sentence(folder, words):
    def parse_and_check():
        args = _parser().parse_args(words)
        return args.run(args, "dual-jax")

    try:
        with pytest.MonkeyPatch.context() as patch:
            without_work(patch)
            found = outcome(parse_and_check)
    except SystemExit as stop:  # argparse's own, after its own sentence
        found = stop.code
    assert found in (None, 0, 2) or str(found).strip()


@fuzzed
@given(st.lists(WORDS, max_size=5))
def test_select_on_a_sound_pool_never_ends_in_a_traceback(folder, words):
    with pytest.MonkeyPatch.context() as patch:
        without_work(patch)
        assert main(["select", "pool.csv", "-n", "2", *words]) in (0, 2)
