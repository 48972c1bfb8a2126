"""Where the files of data sets are looked for, and what they must be."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from dual_jax.data import datasets
from dual_jax.data.published import DOWNLOADS, SHA256, VARIABLE, cache_dir, find_file, paths_of

FILES = Path(os.environ.get(VARIABLE, ""))
needs_files = pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data folder, and an empty cache."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def test_the_given_folder_comes_before_the_variable_and_the_cache_last(tmp_path, monkeypatch):
    given, variable, cache = tmp_path / "given", tmp_path / "variable", tmp_path / "xdg/dual_jax/data"
    for folder in (given, variable, cache):
        folder.mkdir(parents=True)
        (folder / "x").touch()
    monkeypatch.setenv(VARIABLE, str(variable))

    assert (find_file("x", given), find_file("x")) == (given / "x", variable / "x")
    (variable / "x").unlink()
    assert find_file("x") == cache / "x"


def test_without_the_variable_the_cache_is_in_the_home(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    assert cache_dir() == Path.home() / ".cache/dual_jax/data"


def test_a_missing_file_says_where_it_was_looked_for_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "b"))
    places = r"training.csv is not found in \S+a or \S+b or \S+xdg/dual_jax/data"

    with pytest.raises(
        ValueError, match=f"{places}: run `dual-jax data fetch urban`.*--data-dir.*{VARIABLE}"
    ):
        datasets.load("urban", tmp_path / "a")


def test_every_set_has_files_or_comes_with_scikit_learn():
    bundled = {"digits", "wine", "breast_cancer", "iris"}

    assert set(datasets.names()) == DOWNLOADS.keys() | bundled
    assert sorted(SHA256) == sorted({path for name in DOWNLOADS for path in paths_of(name)})
    assert len(set(SHA256.values())) == len(SHA256)


def test_every_address_is_encrypted_and_every_sum_complete():
    for downloads in DOWNLOADS.values():
        for download in downloads:
            assert all(url.startswith("https://") and " " not in url for url in download.urls)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in SHA256.values())


@needs_files
@pytest.mark.parametrize("path", SHA256)
def test_the_sums_are_those_of_the_files(path):
    content = (FILES / path).read_bytes()
    content = gzip.decompress(content) if path.endswith(".gz") else content

    assert hashlib.sha256(content).hexdigest() == SHA256[path]


@needs_files
@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_set_needs_no_other_file_than_its_own(name, tmp_path):
    for path in paths_of(name):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).symlink_to(FILES / path)

    assert datasets.load(name, tmp_path).x.shape == datasets.describe(name)[:2]
