"""Reading pools: every format, every kind of damage, and nothing but results or one-line errors."""

import gzip
import hashlib
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dual_jax.data.delimited import unique_names
from dual_jax.data.errors import InputError
from dual_jax.data.tables import Pool, read_column, read_pool

NAN = float("nan")


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def parquet(frame, **options):
    return frame.to_parquet(None, **options)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_a_csv_gives_numbers_names_ids_and_what_was_left_out(write):
    path = write("pool.csv", "id,a,b,kind\n007,1,2.5,x\n7,?,-1e3,y\n")

    pool = read_pool(path, id_column="id")

    np.testing.assert_array_equal(pool.x, [[1, 2.5], [NAN, -1000]])
    assert pool.ids.tolist() == ["007", "7"]
    assert pool.feature_names == ("a", "b")
    assert pool.dropped == {"id": "the id column", "kind": "text, not numbers: 'x' in row 0"}
    assert (pool.source, pool.id_name, pool.sha256) == (
        str(path),
        "id",
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


ROWS = [[1, 2], [3, 4]]
GOOD_TEXT = {
    "no header": "1,2\n3,4\n",
    "no last line end": "1,2\n3,4",
    "CRLF": "a,b\r\n1,2\r\n3,4\r\n",
    "CR": "a,b\r1,2\r3,4\r",
    "byte order mark": "\ufeffa,b\n1,2\n3,4\n",
    "quotes": '"a","b, c"\n"1","2"\n"3","4"\n',
    "semicolons": "a;b\n1;2\n3;4\n",
    "tabs": "a\tb\n1\t2\n3\t4\n",
    "bars": "a|b\n1|2\n3|4\n",
    "quoted line end": '"a\nb",c\n1,2\n3,4\n',
    "blanks": " a , b \n 1 , 2 \n\n 3 ,4\n  \n",
    "numbered header": "0,1\n1.0,2\n3,4\n",
    "numbered header from 1": "1,2\n1,2.\n3,4\n",
    "half a header": "a,2\n1,2\n3,4\n",
    "row numbers": ",a,b\n0,1,2\n1,3,4\n",
    "pandas' saved row numbers": "Unnamed: 0,a,b\n1,1,2\n2,3,4\n",
    "an id that counts": "ID,a,b\n1,1,2\n2,3,4\n",
    "same names": "a,a\n1,2\n3,4\n",
    "no names": ",\n1,2\n3,4\n",
}


@pytest.mark.parametrize("text", GOOD_TEXT.values(), ids=GOOD_TEXT)
def test_the_same_table_is_read_however_it_is_written(text, write):
    np.testing.assert_array_equal(read_pool(write("pool.csv", text)).x, ROWS)


def test_a_column_that_counts_a_hundred_rows_is_no_feature_and_that_is_said(write):
    counted = "size,a,b\n" + "\n".join(f"{i},{i % 7},{i % 5}" for i in range(100))

    pool = read_pool(write("pool.csv", counted))
    assert pool.feature_names == ("a", "b")
    assert pool.dropped == {"size": "row numbers"}
    assert "row numbers: 'size' counts the rows" in " ".join(pool.guesses)

    assert read_pool(write("pool.csv", counted), use=["size"]).x.shape == (100, 3)
    assert read_pool(write("few.csv", counted.rpartition("\n")[0])).x.shape == (99, 3)
    assert read_pool(write("alone.csv", "size\n" + "\n".join(map(str, range(100))))).x.shape == (100, 1)


def test_a_tsv_is_split_at_tabs(write):
    np.testing.assert_array_equal(read_pool(write("pool.TSV", "a\tb\n1\t2\n3\t4\n")).x, ROWS)


def test_two_lines_of_integers_are_data_and_no_header(write):
    pool = read_pool(write("pool.csv", "0,1,2\n3,4,5\n"))

    assert pool.x.shape == (2, 3)
    assert pool.feature_names is None


@pytest.mark.parametrize("missing", ["", "NA", "n/a", "nan", "NaN", "?", "null", "None", " "])
def test_missing_cells_are_nan(missing, write):
    np.testing.assert_array_equal(
        read_pool(write("pool.csv", f"a,b\n1,{missing}\n3,4\n")).x, [[1, NAN], [3, 4]]
    )


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (("x", "1"), "text, not numbers: 'x' in row 0"),
        (("1", "1_000"), "text, not numbers: '1_000' in row 1"),
        (("2024-01-31", "2024-02-01"), "dates or times, not numbers: date32[day]"),
        (("", "?"), "every cell is missing"),
    ],
)
def test_a_column_without_numbers_is_left_out_with_its_reason(cells, reason, write):
    pool = read_pool(write("pool.csv", f"a,odd,b\n1,{cells[0]},2\n3,{cells[1]},4\n"))

    np.testing.assert_array_equal(pool.x, ROWS)
    assert pool.dropped == {"odd": reason}


def test_text_far_down_is_found_and_its_row_named(write):
    lines = "\n".join(f"{i}.5,{i}" for i in range(9000))

    pool = read_pool(write("pool.csv", f"a,b\n{lines}\n1,oops\n"))

    assert pool.x.shape == (9001, 1)
    assert pool.dropped == {"b": "text, not numbers: 'oops' in row 9000"}


def test_a_constant_column_stays(write):
    assert read_pool(write("pool.csv", "a,b\n1,2\n1,3\n")).x.shape == (2, 2)


def test_an_excluded_column_is_no_feature_and_can_be_read_alone(write):
    path = write("pool.csv", "a,b,y\n1,2,01\n3,4,02\n")

    pool = read_pool(path, exclude=["y"])

    assert pool.feature_names == ("a", "b")
    assert pool.dropped == {"y": "excluded"}
    assert read_column(path, "y").tolist() == ["01", "02"]


def test_made_up_names_take_no_name_that_is_there():
    assert unique_names(["a", "a", "a.1", "", "a"]) == ("a", "a.2", "a.1", "column 3", "a.3")


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [("f4", "f4"), ("f2", "f4"), ("u1", "f4"), ("?", "f4"), ("f8", "f8"), ("i4", "f8"), (">f8", "f8")],
)
def test_a_npy_is_read_in_the_smallest_type_that_holds_it(stored, dtype, write):
    pool = read_pool(write("pool.npy", npy(np.array([[1, 0], [0, 1]], stored))))

    assert pool.x.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(pool.x, np.eye(2))


def test_images_are_flattened_and_that_is_said(write):
    pool = read_pool(write("pool.npy", npy(np.arange(12).reshape(2, 3, 2))))

    np.testing.assert_array_equal(pool.x, np.arange(12).reshape(2, 6))
    assert pool.note == "samples of shape (3, 2) flattened to rows"
    assert pool.sample_shape == (3, 2)


@pytest.mark.parametrize("key", ["x", "embeddings", "anything"])
def test_the_table_of_an_archive_is_found(key, write):
    pool = read_pool(write("pool.npz", npz(**{key: np.array(ROWS), "y": np.array([0, 1])})))

    np.testing.assert_array_equal(pool.x, ROWS)
    assert pool.dropped == {"y": "another array of the archive"}


def test_an_array_of_an_archive_can_be_read_alone_and_bytes_are_text(write):
    path = write("pool.npz", npz(x=np.array(ROWS), key=np.array([b"a", b"b"])))

    assert read_column(path, "key").tolist() == ["a", "b"]
    assert read_pool(path, id_column="key").ids.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="no column 'z'"):
        read_column(path, "z")


def test_a_named_table_comes_before_others_and_ids_may_be_numbers(write):
    path = write("pool.npz", npz(x=np.array(ROWS), other=np.eye(3), key=np.array([30, 10])))

    pool = read_pool(path, id_column="key")

    np.testing.assert_array_equal(pool.x, ROWS)
    assert pool.ids.tolist() == [30, 10]


def test_a_parquet_gives_what_the_csv_gives(write):
    frame = pd.DataFrame({"id": ["007", "7"], "a": [1, None], "b": [True, False], "c": ["x", "y"]})
    frame["d"] = pd.to_datetime(["2024-01-01", "2024-01-02"])
    frame["e"] = [["u"], ["v"]]

    pool = read_pool(write("pool.parquet", parquet(frame)), id_column="id")

    np.testing.assert_array_equal(pool.x, [[1, 1], [NAN, 0]])
    assert pool.ids.tolist() == ["007", "7"]
    assert pool.feature_names == ("a", "b")
    assert set(pool.dropped) == {"id", "c", "d", "e"}


def test_a_saved_frame_index_is_no_feature(write):
    frame = pd.DataFrame({"a": [1, 3], "b": [2, 4]}, index=pd.Index([0, 1], name="index")).reset_index()

    assert read_pool(write("pool.parquet", parquet(frame))).feature_names == ("a", "b")


def test_a_built_in_set_is_a_pool_without_labels():
    pool = read_pool("digits")

    assert pool.x.shape == (1797, 64)
    assert (pool.source, pool.ids, len(pool.sha256)) == ("digits", None, 64)


def test_a_file_comes_before_a_built_in_set_of_its_name(write, tmp_path, monkeypatch):
    write("iris", "1,2\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match="ends in none of"):
        read_pool("iris")


def test_an_unknown_name_is_compared_with_sets_and_files(write, tmp_path):
    write("pool.csv", "1,2\n")

    with pytest.raises(
        ValueError, match=r"neither a file nor a built-in .*\(urban, .* did you mean .*pool.csv"
    ):
        read_pool(tmp_path / "pol.csv")
    with pytest.raises(ValueError, match="did you mean digits"):
        read_pool("digit")


FRAME = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
BAD_FILES = {
    "empty csv": ("p.csv", b"", "is empty"),
    "empty npy": ("p.npy", b"", "is empty"),
    "blank csv": ("p.csv", b"\n \r\n", "is empty"),
    "only a byte order mark": ("p.csv", b"\xef\xbb\xbf", "is empty"),
    "header only": ("p.csv", b"a,b\n", "has a header and no rows"),
    "only text": ("p.csv", b"a,b\nx,y\n", "no column of numbers .*'x' in row 0"),
    "short line": ("p.csv", b"a,b\n1,2\n3\n", "line 3 has 1 cells, the first line has 2"),
    "long line": ("p.csv", b"1,2\r\n\r\n3,4,5\r\n", "line 3 has 3 cells, the first line has 2"),
    "open quote": ("p.csv", b'a,b\n1,2\n"3,4\n5,6\n', "line 3 is broken"),
    "stray quote": ("p.csv", b'a,b\n1,"2"x\n', "line 2 is broken"),
    "giant cell": ("p.csv", b'a,b\n1,"' + b"x" * 200_000, "line 2 is broken"),
    "NUL": ("p.csv", b"a,b\n1,\x002\n", "NUL"),
    "npz named csv": ("p.csv", npz(x=np.eye(2)), "not what its name says: .* zip"),
    "npy named csv": ("p.csv", npy(np.eye(2)), r"not what its name says: .* \.npy"),
    "gzip named csv": ("p.csv", gzip.compress(b"1,2\n", mtime=0), "not what its name says: .* gzip"),
    "html named csv": ("p.csv", b"\n<!DOCTYPE html><html>", "not what its name says: .* HTML"),
    "parquet named csv": ("p.csv", parquet(FRAME), "not what its name says: .* Parquet"),
    "csv named npy": ("p.npy", b"1,2\n", "not what its name says: .* text"),
    "csv named npz": ("p.npz", b"1,2\n", "not what its name says: .* text"),
    "csv named parquet": ("p.parquet", b"1,2\n", "not what its name says: .* text"),
    "pickle named npy": ("p.npy", b"\x80\x04.", "not what its name says: .* pickle"),
    "other suffix": ("p.doc", b"1,2\n", "ends in none of .npy, .npz, .parquet, "),
    "a table named as a list": ("p.txt", b"1,2\n", "give a table of numbers the suffix .csv or .tsv"),
    "truncated npy": ("p.npy", npy(np.eye(9))[:-100], "broken or truncated"),
    "npy without its header": ("p.npy", npy(np.eye(9))[:20], "broken or truncated"),
    "npy that claims too much": (
        "p.npy",
        npy(np.eye(9)).replace(b"9, 9), }    ", b"9, 9999999), }"),
        "broken or trunc",
    ),
    "truncated npz": ("p.npz", npz(x=np.eye(9))[:-100], "broken or truncated"),
    "damaged npz": (
        "p.npz",
        npz(x=np.eye(9)).replace(np.ones(1).tobytes(), b"12345678"),
        "broken or truncated",
    ),
    "truncated parquet": ("p.parquet", parquet(FRAME)[:-100], "broken or truncated"),
    "object npy": ("p.npy", npy(np.array([[1, "a"]], object)), "never unpickled"),
    "object npz": ("p.npz", npz(x=np.array([[1, "a"]], object)), "never unpickled"),
    "text npy": ("p.npy", npy(np.array([["1", "2"]])), "instead of numbers"),
    "complex npy": ("p.npy", npy(np.eye(2, dtype=complex)), "Complex"),
    "record npy": ("p.npy", npy(np.zeros((2, 2), "f4,f4")), "instead of numbers"),
    "one number": ("p.npy", npy(np.array(1.0)), r"shape \(\), not one row"),
    "one dimension": ("p.npy", npy(np.ones(3)), r"shape \(3,\), not one row"),
    "no rows": ("p.npy", npy(np.ones((0, 3))), r"shape \(0, 3\), not one row"),
    "two tables": ("p.npz", npz(a=np.eye(2), b=np.eye(2)), r"several tables \(a, b\)"),
    "two named tables": ("p.npz", npz(x=np.eye(2), X=np.eye(2)), r"several tables \(x, X\)"),
    "no table": ("p.npz", npz(y=np.ones(2)), r"no table \(y\)"),
    "only text in parquet": ("p.parquet", parquet(FRAME.astype(str) + "x"), "no column of numbers"),
    "parquet without rows": ("p.parquet", parquet(FRAME[:0]), "no rows"),
    "parquet without columns": ("p.parquet", parquet(FRAME[[]]), "no (rows|column of numbers)"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_one_line_of_value_error_that_names_it(name, content, message, write):
    path = write(name, content)

    with pytest.raises(ValueError, match=message) as error:
        read_pool(path)

    assert type(error.value) is InputError
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_archive_of_something_else_is_refused(write):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("sheet.xml", "<xml/>")

    with pytest.raises(ValueError, match="no table"):
        read_pool(write("p.npz", stream.getvalue()))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", "id,a,b\nx,1,2\nx,3,4\n", r"column 'id' repeats 'x' \(rows 0 and 1\)"),
        ("p.csv", "id,a,b\nx,1,2\n,3,4\n", "column 'id' is empty in row 1"),
        ("p.csv", "a,b\n1,2\n3,4\n", "has no column 'id': its columns are 'a', 'b'"),
        ("p.csv", "id,id,b\n1,2,3\n", "more than one column 'id'"),
        ("p.npy", npy(np.eye(2)), "has no column 'id', as its columns have no names"),
        ("p.npz", npz(x=np.eye(2)), "has no column 'id'"),
        ("p.npz", npz(x=np.eye(2), id=np.arange(3)), r"ids 'id' have shape \(3,\), the pool has \(2, 2\)"),
        ("p.npz", npz(x=np.eye(2), id=np.array([1, 1])), "column 'id' repeats '1'"),
        ("p.parquet", parquet(FRAME), "has no column 'id'"),
        (
            "p.parquet",
            parquet(pd.DataFrame({"id": ["x", None], "a": [1, 2]})),
            "column 'id' is empty in row 1",
        ),
    ],
)
def test_bad_ids_are_refused(name, content, message, write):
    with pytest.raises(ValueError, match=message):
        read_pool(write(name, content), id_column="id")


FORMATS = {
    ".npy": npy(np.arange(12.0).reshape(4, 3)),
    ".npz": npz(x=np.arange(12.0).reshape(4, 3), id=np.arange(4)),
    ".csv": b'id,a,b\n1,2.5,"x, y"\n2,?,z\n3,-1e3,""\n',
    ".tsv": b"id\ta\n1\t2\n2\t3\n",
    ".parquet": parquet(FRAME.assign(id=["x", "y"])),
}


def outcome(path, id_column=None):
    """Return the exact type of what reading gives or raises: a subclass would be a parser's own error."""
    try:
        return type(read_pool(path, id_column=id_column))
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=6),
    length=st.floats(0, 1.2),
    junk=st.binary(max_size=40),
    id_column=st.sampled_from([None, "id"]),
)
def test_damage_of_any_kind_gives_a_pool_or_a_clear_error(suffix, edits, length, junk, id_column, tmp_path):
    content = bytearray(FORMATS[suffix])
    for where, replacement in edits:
        start = int(where * len(content))
        content[start : start + len(replacement)] = replacement
    path = tmp_path / f"pool{suffix}"
    path.write_bytes(bytes(content[: int(length * len(content))]) + (junk if length > 1 else b""))

    assert outcome(path, id_column) in (Pool, InputError)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text("ab01.,;\t\n\r\"'-_ ?é\ufeff\0", max_size=40))
def test_any_text_gives_a_pool_or_a_clear_error(suffix, text, tmp_path):
    path = tmp_path / f"pool{suffix}"
    path.write_text(text, newline="")

    assert outcome(path) in (Pool, InputError)


@pytest.mark.parametrize(
    "content",
    [
        '[{"a": 1, "b": "x"}, {"a": 2}]',
        '{"rows": [{"a": 1, "b": "x"}, {"a": 2}], "n": 2}',
        '{"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": null}}',
    ],
    ids=["a list", "under a name", "as pandas writes a frame"],
)
def test_a_table_in_json_is_read_in_each_of_its_forms(write, content):
    pool = read_pool(write("pool.json", content), any_columns=True)
    assert pool.table.to_pydict() == {"a": [1, 2], "b": ["x", None]}


def test_the_index_of_a_frame_in_json_is_no_feature(write):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 5.0]}, index=["k1", "k0"])
    pool = read_pool(write("pool.json", frame.to_json()))
    assert pool.ids.tolist() == ["k1", "k0"]
    np.testing.assert_array_equal(pool.x, [[1, 3], [2, 5]])


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", '"text"', "[]", "{}", '{"a": [1, 2]}', '[{"a": 1}', "[[1, 2], [3, 4]]", '[{"a": 1}, 3]'],
)
def test_json_that_holds_no_table_is_refused_in_a_sentence(write, content):
    with pytest.raises(InputError, match=r"JSON|list of objects"):
        read_pool(write("pool.json", content))


def test_objects_in_objects_are_columns_of_their_own(write):
    tasks = '[{"data": {"text": "a b", "n": {"x": 1}}}, {"data": {"text": "c", "n": {"x": 2}}}]'
    lines = '{"data": {"text": "a b", "n": {"x": 1}}}\n{"data": {"text": "c", "n": {"x": 2}}}\n'
    for name, content in (("pool.json", tasks), ("pool.jsonl", lines)):
        table = read_pool(write(name, content), any_columns=True).table
        assert table.to_pydict() == {"data.n.x": [1, 2], "data.text": ["a b", "c"]}


def test_a_folder_of_texts_is_a_pool_with_their_paths_as_ids(write, tmp_path):
    (tmp_path / "sub").mkdir()
    for name, content in (
        ("b.txt", "second"),
        ("sub/a.md", "\ufefffirst"),
        ("wide.txt", "third".encode("utf-16")),
        ("latin.txt", b"caf\xe9"),
        ("bytes.txt", b"a\0b"),
        ("empty.txt", b""),
        ("notes.pdf", b"%PDF"),
    ):
        write(name, content)

    pool = read_pool(tmp_path, any_columns=True)

    assert pool.ids.tolist() == ["b.txt", "sub/a.md", "wide.txt"]
    assert pool.table["text"].to_pylist() == ["second", "first", "third"]
    assert pool.skipped.keys() == {"latin.txt", "bytes.txt", "empty.txt"}
