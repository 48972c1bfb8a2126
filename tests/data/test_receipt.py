"""Which files are ours, so that new ones may replace them."""

import json

import pytest

from dual_jax.data.receipt import is_picks, is_receipt

RECEIPT = {"command": "dual-jax select iris -n 3", "input": {}, "picks": {}, "versions": {}, "more": 1}


def test_a_receipt_is_known_by_its_parts(tmp_path):
    path = tmp_path / "picks.json"
    path.write_text(json.dumps(RECEIPT))
    assert is_receipt(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '"dual-jax"',
        '{"accuracy": 0.9}',
        json.dumps(RECEIPT | {"command": "make"}),
        json.dumps({key: value for key, value in RECEIPT.items() if key != "picks"}),
        "[" * 100_000,
        "\xff",
    ],
)
def test_other_files_are_none(text, tmp_path):
    path = tmp_path / "val.json"
    path.write_text(text, encoding="latin-1")
    assert not is_receipt(path)
    assert not is_receipt(tmp_path / "absent.json")
    assert not is_receipt(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rank,index,id,score\n1,0,a,0.5\n", True),
        ("rank,index,id,score,label\n", False),
        ("rank,index\n", False),
        ("rank,index,id,scores\n", False),
        ("", False),
        ("\xff", False),
    ],
)
def test_a_file_of_picks_is_known_by_its_header(text, expected, tmp_path):
    path = tmp_path / "val.csv"
    path.write_text(text, encoding="latin-1")
    assert is_picks(path) is expected
    assert not is_picks(tmp_path)
