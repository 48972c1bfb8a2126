"""Writing results: the old file or the new one, and nothing else in the folder."""

import hashlib
import os
import stat

import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.data.storage import read_arrays, sha256_of, write_arrays, write_atomically


def test_a_written_file_holds_the_text_and_is_alone_in_its_folder(tmp_path):
    write_atomically(tmp_path / "picks.csv", "rank,index\r\n1,é\n")

    assert (tmp_path / "picks.csv").read_bytes() == "rank,index\r\n1,é\n".encode()
    assert os.listdir(tmp_path) == ["picks.csv"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch):
    path = tmp_path / "picks.csv"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["picks.csv"]


def test_the_bytes_are_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))

    write_atomically(tmp_path / "picks.csv", b"new")

    assert steps == ["fsync", "replace"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_an_existing_file_keeps_its_permissions_and_a_new_one_gets_the_usual(tmp_path):
    (tmp_path / "usual").touch()
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o640)

    write_atomically(tmp_path / "old", "x")
    write_atomically(tmp_path / "new", "x")

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("old", "new", "usual")]
    assert modes[0] == 0o640
    assert modes[1] == modes[2]


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")

    write_atomically(tmp_path / "link.csv", "new")

    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="POSIX devices")
def test_a_device_is_written_to_and_not_replaced():
    write_atomically(os.devnull, "anything")

    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist"):
        write_atomically(tmp_path / "nowhere" / "picks.csv", "x")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        write_atomically(tmp_path, "x")


def test_the_sum_is_that_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")

    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_arrays_come_back_in_their_types(tmp_path):
    tree = {"half": jnp.array([[0.1, -3.0]], jnp.bfloat16), "whole": np.arange(3)}

    write_arrays(tmp_path / "kept.npz", "pair", {"n": 2}, tree)
    about, arrays = read_arrays(tmp_path / "kept.npz", "pair")

    assert about["n"] == 2
    for name, array in tree.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
