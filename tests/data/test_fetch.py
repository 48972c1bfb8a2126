"""Downloads from a server on this machine: what is kept, what is refused, and what is said."""

import gzip
import hashlib
import io
import socket
import sys
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

import pytest

from dual_jax.cli import main
from dual_jax.data import datasets
from dual_jax.data import fetch as fetching
from dual_jax.data.fetch import fetch
from dual_jax.data.published import DOWNLOADS, SHA256, Download

TEXT = b"5,67,3,5,3,1\r\n4,43,1,1,?,1\r\n5,58,4,5,3,0\r\n"  # as UCI's mammographic masses


class Answer(NamedTuple):
    body: bytes
    status: int = 200
    n_missing: int = 0


class Site(NamedTuple):
    address: str
    answers: dict[str, list[Answer]]
    asked: list[str]

    def serve(self, path, *answers):
        """Answer in this order, the last one again and again; return the address."""
        self.answers[path] = [Answer(answer) if isinstance(answer, bytes) else answer for answer in answers]
        return self.address + path


class Handler(BaseHTTPRequestHandler):
    def __init__(self, answers, asked, *args):
        self.answers, self.asked = answers, asked
        super().__init__(*args)

    def do_GET(self):
        self.asked.append(self.path)
        left = self.answers.get(self.path, [Answer(b"", 404)])
        body, status, n_missing = left.pop(0) if len(left) > 1 else left[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + n_missing))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "WAITS", (0.0, 0.0))
    answers, asked = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, answers, asked)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Site(f"http://127.0.0.1:{server.server_port}", answers, asked)
        server.shutdown()
        thread.join()


@pytest.fixture
def publish(monkeypatch):
    """Return a function that makes up a data set of files at addresses."""

    def add(name, urls, **files):
        files = {f"{name}/{file.replace('_', '.')}": content for file, content in files.items()}
        for path, content in files.items():
            monkeypatch.setitem(SHA256, path, hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(DOWNLOADS, name, (Download(tuple(urls), tuple(files)),))

    return add


def zipped(**members):
    return zip_of(*members.items())


def zip_of(*members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return stream.getvalue()


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_fetched_set_is_loaded_from_the_cache(site, tmp_path, monkeypatch):
    path, source = "mammographic_mass/mammographic_masses.data", datasets.SOURCES["mammographic"]
    monkeypatch.delenv("DUAL_JAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(SHA256, path, hashlib.sha256(TEXT).hexdigest())
    monkeypatch.setitem(datasets.SOURCES, "mammographic", source._replace(shape=(3, 5), class_sizes=(2, 1)))
    url = site.serve("/a.zip", zip_of(("readme", "x"), ("mammographic mass/m.data", TEXT)))
    monkeypatch.setitem(DOWNLOADS, "mammographic", (Download((url,), (path,)),))

    assert fetch("mammographic") == [tmp_path / "dual_jax/data" / path]
    assert datasets.load("mammographic").x.tolist() == [[5, 67, 3, 5, 3], [4, 43, 1, 1, 3], [5, 58, 4, 5, 3]]
    assert datasets.describe("mammographic").place == f"cache {tmp_path}/dual_jax/data"


@pytest.mark.parametrize(
    "served",
    [
        TEXT,
        gzip.compress(TEXT),
        zipped(other=b"x", renamed=TEXT),
        zip_of(("folder/", b""), ("folder/inner.zip", zipped(a=TEXT))),
        zipped(a=zipped(b=gzip.compress(TEXT))),
        zipped(a=TEXT.replace(b"\r\n", b"\n")),
    ],
    ids=["plain", "gzip", "zip", "zip in zip", "three deep", "other line ends"],
)
def test_a_file_is_found_by_its_sum_and_kept_as_published(served, site, publish, tmp_path):
    publish("toy", [site.serve("/a", served)], a_data=TEXT)

    fetch("toy", tmp_path)

    assert files_in(tmp_path) == ["toy/a.data"]
    assert (tmp_path / "toy/a.data").read_bytes() == TEXT


def test_the_sum_of_a_gz_file_is_that_of_what_it_holds(site, publish, tmp_path):
    publish("toy", [site.serve("/a.gz", gzip.compress(TEXT, 1, mtime=7))], a_gz=TEXT)

    fetch("toy", tmp_path)

    assert gzip.decompress((tmp_path / "toy/a.gz").read_bytes()) == TEXT
    assert fetch("toy", tmp_path) == []


def test_what_is_there_is_not_fetched_again_unless_it_was_changed(site, publish, tmp_path):
    publish("toy", [site.serve("/a.zip", zipped(a=b"1", b=b"2"))], a_data=b"1", b_gz=b"2")

    written = [len(fetch("toy", tmp_path)), len(fetch("toy", tmp_path))]
    (tmp_path / "toy/a.data").write_bytes(b"edited")
    (tmp_path / "toy/b.gz").write_bytes(gzip.compress(b"2")[:-1])

    assert (written, len(fetch("toy", tmp_path)), len(site.asked)) == ([2, 0], 2, 2)
    assert (tmp_path / "toy/a.data").read_bytes() == b"1"


def test_sets_that_share_an_archive_are_one_download(site, publish, tmp_path):
    url = site.serve("/a.zip", zipped(a=b"1", b=b"2"))
    publish("shape", [url], a_data=b"1")
    publish("margin", [url], a_data=b"2")

    fetch("shape", tmp_path)

    assert fetch("margin", tmp_path) == []
    assert (files_in(tmp_path), site.asked) == (["margin/a.data", "shape/a.data"], ["/a.zip"])


GOOD = zipped(a=TEXT)
OUTSIDE = "a link or a name that points out of the archive"
ABSENT = "does not hold the published a.data: it is not there or has another sha256"
REFUSED = {
    "corrupt": (GOOD[:35] + b"\0" + GOOD[36:], "is broken or truncated, it cannot be read as zip"),
    "truncated": (GOOD[:-30], "is broken or truncated, it cannot be read as zip"),
    "truncated gzip": (gzip.compress(TEXT)[:-9], "is broken or truncated, it cannot be read as gzip"),
    "broken inside": (zipped(a=TEXT, b=GOOD[:-30]), "is broken or truncated"),
    "parent": (zip_of(("x/../../evil", b"x"), ("a", TEXT)), f"'x/../../evil', {OUTSIDE}"),
    "absolute": (zip_of(("/evil", b"x"), ("a", TEXT)), f"'/evil', {OUTSIDE}"),
    "backslash": (zip_of(("..\\evil", b"x"), ("a", TEXT)), OUTSIDE),
    "drive": (zip_of(("C:evil", b"x"), ("a", TEXT)), OUTSIDE),
    "link": (zip_of((link("a.data"), b"/etc/passwd"), ("a", TEXT)), f"'a.data', {OUTSIDE}"),
    "another sum": (zipped(a=TEXT + b"\r\n"), ABSENT),
    "a web page": (b"<html>moved</html>", ABSENT),
    "four deep": (zipped(a=zipped(a=zipped(a=GOOD))), ABSENT),
    "LZW": (zip_of(("a.data.Z", b"\x1f\x9d\x90")), "Python cannot unpack: `uncompress a.data.Z` does"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_the_published_archive_leaves_nothing(case, site, publish, tmp_path):
    served, message = REFUSED[case]
    publish("toy", [site.serve("/a.zip", served)], a_data=TEXT)

    with pytest.raises(OSError, match=r"^toy could not be fetched: http://127") as error:
        fetch("toy", tmp_path)

    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert (files_in(tmp_path), len(site.asked)) == ([], 1)


@pytest.mark.parametrize("served", [GOOD, gzip.compress(TEXT), zipped(a=GOOD)], ids=["zip", "gzip", "nested"])
def test_an_archive_unpacks_to_no_more_than_the_limit(served, site, publish, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "LIMIT", len(TEXT) - 1)
    publish("toy", [site.serve("/a.zip", served)], a_data=TEXT)

    with pytest.raises(OSError, match="unpacks to more than"):
        fetch("toy", tmp_path)


def test_the_limit_is_for_all_members_together(site, publish, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "LIMIT", 3 * len(TEXT) - 1)
    publish("toy", [site.serve("/a.zip", zipped(a=TEXT, b=TEXT[1:], c=TEXT))], a_data=TEXT)

    assert len(fetch("toy", tmp_path)) == 1
    publish("bomb", [site.serve("/b.zip", zipped(a=TEXT, b=TEXT, c=TEXT))], b_data=b"x")
    with pytest.raises(OSError, match="unpacks to more than"):
        fetch("bomb", tmp_path)


def test_the_next_address_is_tried_and_every_failure_told(site, publish, tmp_path):
    urls = [site.address + "/gone.zip", site.serve("/page", b"<html>"), site.serve("/a.zip", GOOD)]
    publish("toy", urls[:2], a_data=TEXT)
    publish("complete", urls, a_data=TEXT)

    with pytest.raises(OSError, match=r"gone.zip answers 404 Not Found; \S+/page does not hold"):
        fetch("toy", tmp_path)
    assert len(fetch("complete", tmp_path)) == 1


def test_a_missing_page_is_asked_for_once_and_a_busy_server_three_times(site, publish, tmp_path):
    publish("gone", [site.address + "/gone"], a_data=TEXT)
    publish("busy", [site.serve("/busy", Answer(b"", 503), Answer(b"", 429), Answer(TEXT))], a_data=TEXT)

    with pytest.raises(OSError, match="answers 404"):
        fetch("gone", tmp_path)
    fetch("busy", tmp_path)

    assert site.asked == ["/gone", "/busy", "/busy", "/busy"]


def test_a_connection_that_breaks_off_is_tried_again_and_told(site, publish, tmp_path):
    half = Answer(GOOD[:40], n_missing=len(GOOD) - 40)
    publish("toy", [site.serve("/a.zip", half)], a_data=TEXT)

    with pytest.raises(OSError, match=r"a.zip breaks off"):
        fetch("toy", tmp_path)
    assert (files_in(tmp_path), len(site.asked)) == ([], 3)
    site.serve("/a.zip", half, GOOD)
    assert len(fetch("toy", tmp_path)) == 1


def test_without_a_server_it_says_offline_and_what_to_do(publish, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "WAITS", ())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        publish("toy", [f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"], a_data=TEXT)
        by_hand = f"put toy/a.data into {tmp_path} by hand"

        with pytest.raises(
            OSError, match=rf"no server .*is this machine online\?\); try again, or {by_hand}"
        ):
            fetch("toy", tmp_path)


def test_without_pooch_the_extra_is_named(publish, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    publish("toy", ["http://127.0.0.1/a.zip"], a_data=TEXT)

    with pytest.raises(ImportError, match=r'pip install "dual-jax\[data\]"'):
        fetch("toy", tmp_path)


def test_a_set_without_files_cannot_be_fetched():
    with pytest.raises(ValueError, match=r"nothing to fetch for 'iris': known are urban, .*scikit-learn"):
        fetch("iris")


def test_the_command_fetches_into_the_cache_what_is_not_there(site, publish, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    publish("toy", [site.serve("/a.zip", GOOD)], a_data=TEXT)

    statuses = [main(["data", "fetch", "toy"]), main(["data", "fetch", "toy"])]

    cache = tmp_path / "dual_jax/data"
    assert (statuses, files_in(cache)) == ([0, 0], ["toy/a.data"])
    assert capsys.readouterr().out == f"toy: fetched into {cache}\ntoy: already in {cache}\n"


def test_the_command_goes_on_after_a_failure_and_ends_with_status_1(site, publish, tmp_path, capsys):
    publish("gone", [site.address + "/gone"], a_data=b"1")
    publish("toy", [site.serve("/a.zip", GOOD)], a_data=TEXT)

    assert main(["data", "fetch", "gone", "toy", "--data-dir", str(tmp_path)]) == 1

    seen = capsys.readouterr()
    assert files_in(tmp_path) == ["toy/a.data"]
    assert "answers 404" in seen.err.splitlines()[0]
    assert "1 of 2 data sets not fetched: gone" in seen.err.splitlines()[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["iris"], "nothing to fetch for 'iris'"),
        (["urban", "--data-dir", "none"], "none is no folder"),
        (["urban"], "cannot write into"),
        ([], "NAME"),
    ],
)
def test_a_mistake_is_told_before_any_download(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert main(["data", "fetch", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_command_without_pooch_is_a_mistake(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pooch", None)

    assert main(["data", "fetch", "urban"]) == 2
    assert 'pip install "dual-jax[data]"' in capsys.readouterr().err
