"""Records: whole lines, whatever kills the writer."""

import gzip

import pytest

from dual_jax.evaluation.records import append, read, read_folder


def test_records_come_back_in_order(tmp_path):
    path = tmp_path / "a.jsonl"
    for i in range(3):
        append(path, {"i": i, "text": "ä\n"})

    assert read(path) == [{"i": i, "text": "ä\n"} for i in range(3)]


def test_no_file_is_no_records(tmp_path):
    assert read(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize("torn", [b'{"i": 1', b'{"i": 1}'])
def test_a_torn_last_line_is_not_read_and_makes_place_for_the_next_record(tmp_path, torn):
    path = tmp_path / "a.jsonl"
    append(path, {"i": 0})
    path.write_bytes(path.read_bytes() + torn)

    assert read(path) == [{"i": 0}]
    append(path, {"i": 2})
    assert read(path) == [{"i": 0}, {"i": 2}]


def test_a_file_of_nothing_but_a_torn_line_starts_anew(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"i"')

    append(path, {"i": 2})

    assert path.read_bytes() == b'{"i": 2}\n'


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"i": 0}\n{"i"\n{"i": 2}\n')

    with pytest.raises(ValueError, match=r"a\.jsonl, line 2"):
        read(path)


def test_a_folder_gives_its_plain_and_compressed_files_by_name(tmp_path):
    append(tmp_path / "b.jsonl", {"file": "b"})
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"file": "a"}\n'))
    (tmp_path / "c.txt").write_text("no records")

    assert read_folder(tmp_path) == [{"file": "a"}, {"file": "b"}]


def test_numbers_that_json_has_not_are_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "a.jsonl"

    with pytest.raises(ValueError, match="not JSON compliant"):
        append(path, {"accuracy": float("nan")})

    assert not path.exists()
