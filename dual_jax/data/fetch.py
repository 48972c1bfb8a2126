"""Downloading the published files of the data sets into a folder.

A download is searched for the files by their sha256, whatever a server names them and however it nests
archives; nothing else of it is ever written, and a file is written whole or not at all.
"""

import gzip
import hashlib
import io
import os
import stat
import time
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

from dual_jax import __version__
from dual_jax.data.errors import InputError, MissingPackageError
from dual_jax.data.files import parsing
from dual_jax.data.published import DOWNLOADS, SHA256, cache_dir, check_name
from dual_jax.data.storage import write_atomically

GZIP, ZIP, LZW = b"\x1f\x8b", b"PK\x03\x04", b"\x1f\x9d"
DEPTH = 3  # archives in archives
LIMIT = 1 << 28  # bytes that one download may unpack to; MNIST's images are 47 MB
TIMEOUT = 30.0  # seconds without an answer
WAITS = (1.0, 3.0)  # seconds before the second and the third try
FINAL = {*range(400, 500)} - {408, 425, 429}  # answers that a second try does not change


def fetch(name: str, folder: str | os.PathLike[str] | None = None) -> list[Path]:
    """Download the files of a data set, but for those that are there, and return what was written.

    Other sets' files that come in the same archive are kept as well.

    Parameters
    ----------
    name : str
        A key of `dual_jax.data.published.DOWNLOADS`.
    folder : path, optional
        Where to put them; by default `cache_dir`, where `dual_jax.data.datasets.load` finds them.

    Returns
    -------
    list of Path
        Empty when all were there.

    Raises
    ------
    ValueError
        When there is no such data set.
    ImportError
        Without the ``data`` extra, when something is to be downloaded.
    OSError
        When no address can be reached, or none has the published files; nothing of that download is written.
    """
    check_name(name)
    folder = cache_dir() if folder is None else Path(folder)
    written = []
    for download in DOWNLOADS[name]:
        absent = [path for path in download.paths if not _is_there(folder / path, SHA256[path])]
        if absent:
            found = _first_complete(name, download.urls, absent, folder)
            written += [_keep(folder / path, content) for path, content in found.items()]
    return written


def downloader() -> Any:
    """Return pooch's downloader.

    Raises
    ------
    ImportError
        Without the ``data`` extra.
    """
    try:
        from pooch import HTTPDownloader
    except ImportError as error:
        raise MissingPackageError('downloading needs pooch: pip install "dual-jax[data]"') from error
    headers = {"User-Agent": f"dual_jax/{__version__}", "Accept-Encoding": "identity"}
    return HTTPDownloader(chunk_size=1 << 16, timeout=TIMEOUT, headers=headers)


def _is_there(path: Path, digest: str) -> bool:
    """Return whether a file is the published one; a broken archive is not."""
    try:
        return path.is_file() and digest in _find(str(path), path.read_bytes(), [digest])
    except ValueError:
        return False


def _first_complete(
    name: str, urls: Collection[str], absent: Collection[str], folder: Path
) -> dict[str, bytes]:
    """Return the known files, by their paths, from the first address that has all the absent ones."""
    paths = {digest: path for path, digest in SHA256.items()}
    errors: list[Exception] = []
    for url in urls:
        try:
            data = _download(url)
            found = {paths[digest]: content for digest, content in _find(url, data, paths).items()}
            _check_complete(url, data, [path for path in absent if path not in found])
            return found
        except MissingPackageError:
            raise
        except (OSError, ValueError) as error:
            errors.append(error)
    is_offline = all(isinstance(error, ConnectionError) for error in errors)
    what = "no server can be reached (is this machine online?)" if is_offline else "; ".join(map(str, errors))
    raise OSError(
        f"{name} could not be fetched: {what}; try again, or put {', '.join(absent)} into {folder} by hand"
    ) from errors[0]


def _download(url: str) -> bytes:
    """Return what is at an address; try again unless the server's answer says that this is of no use."""
    http = downloader()
    from requests import RequestException  # comes with pooch

    for wait in (0.0, *WAITS):
        time.sleep(wait)
        data = io.BytesIO()
        try:
            http(url, data, None)
            return data.getvalue()
        except RequestException as error:
            problem = _problem(url, error)
            if error.response is not None and error.response.status_code in FINAL:
                break
    raise problem


def _problem(url: str, error: Any) -> OSError:
    """Return what went wrong at an address: a ConnectionError when nothing answered."""
    from requests import ConnectionError as Unreachable
    from requests import Timeout

    if error.response is not None:
        error.response.close()
        return OSError(f"{url} answers {error.response.status_code} {error.response.reason}")
    if isinstance(error, Unreachable | Timeout):
        return ConnectionError(f"{url} cannot be reached ({type(error).__name__})")
    return OSError(f"{url} breaks off ({type(error).__name__})")


def _find(where: str, data: bytes, wanted: Collection[str]) -> dict[str, bytes]:
    """Return, by its sum, each wanted file in ``data``.

    Line ends become those of the published file: copies of UCI's text files are known with either.
    """
    found = {}
    for content in _unpacked(where, data):
        unix = content.replace(b"\r\n", b"\n")
        for form in (content, unix, unix.replace(b"\n", b"\r\n")):
            digest = hashlib.sha256(form).hexdigest()
            if digest in wanted:
                found[digest] = form
    return found


def _check_complete(where: str, data: bytes, absent: Collection[str]) -> None:
    """Refuse a download that lacks files."""
    if not absent:
        return
    file = Path(next(iter(absent))).name
    if any(content.startswith(LZW) for content in _unpacked(where, data)):
        raise InputError(f"{where} holds LZW files, which Python cannot unpack: `uncompress {file}.Z` does")
    raise InputError(f"{where} does not hold the published {file}: it is not there or has another sha256")


def _unpacked(where: str, data: bytes) -> Iterator[bytes]:
    """Yield ``data``, and what is in it if it is a zip or gzip archive, archives in it unpacked too.

    Raises
    ------
    ValueError
        When an archive is broken, unpacks to too much, or has a member that no published one has.
    """
    room = LIMIT
    stack = [(data, 0)]
    while stack:
        content, depth = stack.pop()
        yield content
        for member in _members(where, content, room) if depth < DEPTH else ():
            room -= len(member)
            stack.append((member, depth + 1))


def _members(where: str, data: bytes, room: int) -> Iterator[bytes]:
    """Yield the files in an archive, of at most ``room`` bytes together; none of what is no archive."""
    if data.startswith(GZIP):
        with parsing(where, "gzip"):
            content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(room + 1)
        yield _within(where, content, room)
    elif data.startswith(ZIP):
        with parsing(where, "zip"):
            archive = zipfile.ZipFile(io.BytesIO(data))
        for member in archive.infolist():
            _check_member(where, member)
            with parsing(where, "zip"), archive.open(member) as file:
                content = file.read(room + 1)
            yield _within(where, content, room)
            room -= len(content)


def _within(where: str, content: bytes, room: int) -> bytes:
    """Return the content after checking that it has not filled the room that was left."""
    if len(content) > room:
        raise InputError(f"{where} unpacks to more than {LIMIT:,} bytes: it is not the published archive")
    return content


def _check_member(where: str, member: zipfile.ZipInfo) -> None:
    """Refuse links, and names that point out of the folder that an archive is unpacked into.

    No member is written under its own name, but an archive with such a one is not the published one.
    """
    name = PureWindowsPath(member.filename)  # both kinds of slash, and drives
    if name.anchor or ".." in name.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(
            f"{where} holds {member.filename!r}, a link or a name that points out of the archive: "
            "it is not the published one"
        )


def _keep(path: Path, content: bytes) -> Path:
    """Write a file, compressed if its name says so, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, gzip.compress(content, 6, mtime=0) if path.suffix == ".gz" else content)
    return path
