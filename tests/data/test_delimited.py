"""Separators, decimal commas, encodings and headers of real files."""

import gzip
import io

import numpy as np
import pytest

from dual_jax.data.errors import InputError
from dual_jax.data.tables import read_column, read_pool

NAN = float("nan")
ROWS = [[0.126, -0.132, 0.64], [0.2, 0.3, 1]]
TEXTS = {
    "semicolons without a header": "0,126;-0,132;0,64\n0,2;0,3;1\n",
    "semicolons with a header": "a;b;c\n0,126;-0,132;0,64\n0,2;0,3;1\n",
    "tabs": "0,126\t-0,132\t0,64\n0,2\t0,3\t1\n",
    "quoted, between commas": '"0,126","-0,132","0,64"\n"0,2","0,3","1"\n',
    "Excel's first line": "sep=;\r\na;b;c\r\n0,126;-0,132;0,64\r\n0,2;0,3;1\r\n",
    "blanks around": "a ;b ;c\n 0,126; -0,132 ;0,64\n0,2;0,3;1 \n",
    "plus, minus of print, exponent": "a;b;c\n+0,126;\u22120,132;6,4e-1\n2E-1;0,3;1\n",
    "a separator behind every line": "a;b;c;\n0,126;-0,132;0,64;\n0,2;0,3;1;\n",
    "the same, not behind the header": "a;b;c\n0,126;-0,132;0,64;\n0,2;0,3;1;\n",
    "row names without a name, as R writes": '"a","b","c"\n"s",0.126,-0.132,0.64\n"t",0.2,0.3,1\n',
    "points": "a;b;c\n0.126;-.132;0.64\n0.2;0.3;1.\n",
}


@pytest.fixture
def write(tmp_path):
    def write(text, name="pool.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_separator_and_decimal_mark_are_found(text, write):
    np.testing.assert_allclose(read_pool(write(text)).x, ROWS)


def test_what_was_found_is_said(write):
    found = read_pool(write("400;410\n0,1;0,2\n0,4;0,3\n"))

    assert found.guesses == (
        "columns are separated by ';'",
        "numbers have a decimal comma",
        "the first line is a header: its cells are '400', '410'",
    )
    assert found.feature_names == ("400", "410")


def test_quotes_tell_a_header_of_numbers_only_where_numbers_below_have_none(write):
    assert read_pool(write('"1990","1995"\n3,4\n5,9\n')).feature_names == ("1990", "1995")
    assert read_pool(write('"True","-40.375"\n"False",""\n"False","62.750"\n')).x.shape == (3, 2)


SPLIT = {
    "70,125;False\n27,5;True\n": [[70.125, 0], [27.5, 1]],
    "1,5;red;blue\n2,5;a;b\n": [[1.5], [2.5]],
    "1.5,a;b;c\n2.5,d;e;f\n": [[1.5], [2.5]],
    "1,a;b,2\n3,c;d,4\n": [[1, 2], [3, 4]],
}


@pytest.mark.parametrize(("text", "rows"), SPLIT.items(), ids=repr)
def test_a_separator_inside_cells_is_none(text, rows, write):
    np.testing.assert_array_equal(read_pool(write(text), header=False).x, rows)


@pytest.mark.parametrize("text", ["a;b\n1,234;2\n5;3\n", "a;b\n1,234;2.5\n5;3\n"])
def test_a_comma_that_may_group_thousands_is_asked_about(text, write):
    path = write(text)
    with pytest.raises(InputError, match=r"'1,234'.*--decimal"):
        read_pool(path)
    assert read_pool(path, decimal=",").x[0, 0] == 1.234
    assert "a" in read_pool(path, decimal=".").dropped


def test_the_caller_decides_on_the_header(write):
    path = write("105,33,871\n0.1,0.5,0.2\n0.3,0.1,0.7\n")
    assert read_pool(path, header=True).feature_names == ("105", "33", "871")
    assert read_pool(path, header=False).x.shape == (3, 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_of_any_usual_encoding_gives_the_same_ids(encoding, write):
    pool = read_pool(write("id,größe,b\nä,1,2\nö,3,4\n".encode(encoding)), id_column="id")

    assert pool.ids.tolist() == ["ä", "ö"]
    assert pool.feature_names == ("größe", "b")
    assert ("the text is not UTF-8: it is read as Windows-1252" in pool.guesses) == (encoding == "cp1252")


def test_other_bytes_far_down_are_read_as_windows_1252_too(write):
    lines = "\n".join(f"{i}.5,{i},x" for i in range(200_000))
    assert read_column(write(f"a,b,c\n{lines}\n1,2,ä\n".encode("cp1252")), "c")[-1] == "ä"


@pytest.mark.parametrize("name", ["pool.csv.gz", "pool.jsonl.gz"])
def test_packed_text_is_read(name, write):
    text = "a,b\n1,2\n3,4\n" if "csv" in name else '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n'
    pool = read_pool(write(gzip.compress(text.encode()), name))
    np.testing.assert_array_equal(pool.x, [[1, 2], [3, 4]])


def test_truncated_packed_text_is_one_sentence(write):
    with pytest.raises(InputError, match="cannot be read as gzip"):
        read_pool(write(gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:20], "pool.csv.gz"))


@pytest.mark.parametrize("text", ["a,b\n1,2\n3,4\n", '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n'])
def test_standard_input_is_text_or_json_lines(text, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    np.testing.assert_array_equal(read_pool("-").x, [[1, 2], [3, 4]])


def test_a_broken_line_in_a_large_file_is_named(write):
    lines = "1,2\n" * 300_000
    with pytest.raises(InputError, match="line 300002 has 3 cells, the first line has 2"):
        read_pool(write(f"a,b\n{lines}1,2,3\n"))


def test_types_that_change_far_down_do_not_change_the_table(write):
    lines = "\n".join(["1,2"] * 300_000)
    pool = read_pool(write(f"a,b\n{lines}\n0.5,NA\n-,1e3\n"))
    np.testing.assert_array_equal(pool.x[-2:], [[0.5, NAN], [NAN, 1000]])


def test_codes_with_leading_zeros_are_no_numbers_unless_all_columns_are(write):
    pool = read_pool(write("zip,a,b\n01234,1,2\n90210,3,4\n"))
    assert pool.dropped == {"zip": "codes with leading zeros, not numbers: '01234' in row 0"}
    np.testing.assert_array_equal(read_pool(write("01,02\n03,04\n")).x, [[1, 2], [3, 4]])


def test_a_column_is_read_as_it_is_written(write):
    assert read_column(write("y,a\n01,1\n NA ,2\n0x1F,3\n"), "y").tolist() == ["01", "NA", "0x1F"]
