"""Columns whose cells are files: which are, what they hold, and that malformed ones are named."""

import numpy as np
import pyarrow as pa
import pytest
from drawn import draw_pictures, record
from hypothesis import given, settings
from hypothesis import strategies as st

from dual_jax.data.errors import InputError
from dual_jax.data.filecells import cells_as_files, kind_held
from dual_jax.data.media import Held, kind_of_bytes
from dual_jax.data.pictures import read_pictures
from dual_jax.data.recordings import read_recordings

CELL = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def contents(folder, names):
    return [(folder / name).read_bytes() for name in names]


def cells(data, paths=None):
    paths = paths or [None] * len(data)
    structs = [{"bytes": own, "path": path} for own, path in zip(data, paths, strict=True)]
    return pa.chunked_array([pa.array(structs, CELL)])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), CELL])
def test_pictures_in_cells_are_those_of_their_files(tmp_path, kind):
    names = draw_pictures(tmp_path, 6)
    data = contents(tmp_path, names)
    column = cells(data) if kind == CELL else pa.chunked_array([pa.array(data, kind)])

    assert kind_held(column) == "images"
    found = read_pictures(cells_as_files(column), tmp_path)
    np.testing.assert_array_equal(found.values, read_pictures(names, tmp_path).values)


def test_recordings_in_cells_are_those_of_their_files_even_of_silence(tmp_path):
    from scipy.io import wavfile

    names = record(tmp_path, 4)
    wavfile.write(tmp_path / names[0], 8000, np.zeros(500, np.int16))  # whose bytes are valid UTF-8
    column = cells(contents(tmp_path, names))
    assert kind_held(column) == "series"
    found = read_recordings(cells_as_files(column))
    np.testing.assert_array_equal(found.values, read_recordings(names, tmp_path).values)
    silent = pa.chunked_array([pa.array(contents(tmp_path, names[:1]), pa.binary())])
    assert kind_held(silent) == "series"


def test_a_cell_without_bytes_is_its_path_and_one_without_both_is_missing(tmp_path):
    names = draw_pictures(tmp_path, 3)
    first, second, _ = contents(tmp_path, names)
    column = cells([first, None, None, second], ["a.png", names[1], None, None])
    files = cells_as_files(column)
    assert [file if isinstance(file, str) else file.name for file in files] == [
        "row 0 (a.png)",
        names[1],
        "row 2",
        "row 3",
    ]
    found = read_pictures(files, tmp_path)
    assert found.is_read.tolist() == [True, True, False, True]
    assert found.skipped == {"row 2": "is missing"}


def test_a_slice_of_a_column_has_the_bytes_of_its_own_rows(tmp_path):
    data = contents(tmp_path, draw_pictures(tmp_path, 6))
    files = cells_as_files(cells(data).slice(2, 3))
    assert [file.contents() for file in files] == data[2:5]


@pytest.mark.parametrize(
    "column",
    [
        [b"k0", b"k1"],  # ids
        ["a.png", "b.png"],
        [{"bytes": b"no picture", "path": None}],
        [{"bytes": None, "path": None}],
        [{"width": 3, "height": 4}],
        [[1, 2], [3, 4]],
    ],
)
def test_other_columns_hold_no_files(column):
    assert kind_held(pa.chunked_array([pa.array(column)])) is None
    assert kind_held(pa.chunked_array([pa.array(column)]).slice(0, 0)) is None


def test_webp_and_wav_begin_alike_and_differ():
    assert kind_of_bytes(b"RIFF\x10\0\0\0WEBPVP8 ") == "images"
    assert kind_of_bytes(b"RIFF\x10\0\0\0WAVEfmt ") == "series"
    assert kind_of_bytes(b"RIFF\x10\0\0\0AVI LIST") is None


def test_copies_are_called_by_their_path_or_row_with_the_suffix_of_the_format():
    named = [Held(3, "cats/tom.jpg", b""), Held(4, "", b"\x89PNG\r\n"), Held(5, "tom", b"GIF89a")]
    assert [file.file_name for file in named] == ["tom.jpg", "4.png", "tom.gif"]


def test_pictures_in_several_row_groups_are_read_in_order(tmp_path):
    from pyarrow import parquet

    from dual_jax.data.owncolumns import PoolFile, read_columns
    from dual_jax.data.tables import read_pool

    data = contents(tmp_path, draw_pictures(tmp_path, 7))
    table = pa.table({"size": [*range(7)], "image": cells(data)})
    parquet.write_table(table, tmp_path / "pool.parquet", row_group_size=3)

    pool = read_pool(tmp_path / "pool.parquet", any_columns=True)

    assert [file.contents() for file in cells_as_files(pool.table["image"])] == data
    assert pool.x.ravel().tolist() == [*range(7)]
    assert pool.dropped == {"image": "pictures, not numbers"}
    again = read_columns(PoolFile(pool), ["image"], [6, 0])["image"]
    assert [cell["bytes"] for cell in again.to_pylist()] == [data[6], data[0]]


def outcome(read, data):
    """Return what is said of one file that a cell holds; '' where it can be read."""
    try:
        return "" if read(cells_as_files(cells([data]))).is_read.all() else "skipped alone"
    except InputError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM"]))
def test_malformed_pictures_in_cells_are_skipped_by_their_row(rest, head):
    said = outcome(read_pictures, head + rest)
    assert not said or (said.startswith("none of 1 pictures can be read: row 0 ") and "\n" not in said)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_malformed_recordings_in_cells_are_skipped_by_their_row(rest):
    said = outcome(read_recordings, b"RIFF\x40\0\0\0WAVE" + rest)
    assert not said or (said.startswith("none of 1 recordings can be read: row 0 ") and "\n" not in said)
