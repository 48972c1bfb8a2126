"""Files of pictures, of recordings and of texts: which a folder holds, and reading many at once.

A file that cannot be read is left out by its name and with the reason; no other file is the worse for it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from dual_jax.data.errors import InputError

IMAGES, SERIES, TEXTS = "images", "series", "texts"
SUFFIXES = {
    IMAGES: (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    SERIES: (".wav",),
    TEXTS: (".txt", ".md"),
}
SIGNATURES = {  # the first bytes of their formats, where a dot is any byte, and the suffix of a file
    IMAGES: {
        b"\xff\xd8\xff": ".jpg",
        b"\x89PNG": ".png",
        b"GIF8": ".gif",
        b"BM": ".bmp",
        b"RIFF....WEBP": ".webp",
        b"II*\0": ".tif",
        b"MM\0*": ".tif",
    },
    SERIES: {b"RIFF....WAVE": ".wav", b"RIFX....WAVE": ".wav"},
}
N_SIGNATURE = 12  # bytes, at most, of a signature
NOUNS = {IMAGES: "pictures", SERIES: "recordings", TEXTS: "texts"}
HIDDEN = "hidden"


class Held(NamedTuple):
    """A file that is a cell of a table: its row, its path or '', and its bytes, None where it is missing."""

    row: int
    path: str
    data: Any  # bytes, or a buffer of pyarrow

    @property
    def name(self) -> str:
        """What to call it."""
        return f"row {self.row} ({self.path})" if self.path else f"row {self.row}"

    @property
    def file_name(self) -> str:
        """A name for a copy: that of its path, or its row, with the suffix of its format."""
        name = PurePath(self.path).name or str(self.row)
        return name if kind_of_file(name) else name + suffix_of_bytes(self.contents()[:N_SIGNATURE])

    def contents(self) -> bytes:
        """Return the bytes, none where they are missing."""
        return b"" if self.data is None else bytes(memoryview(self.data))


class Folder(NamedTuple):
    """The pictures, the recordings or the texts below a folder, and its other files.

    ``names`` are paths relative to the folder, with ``/`` between folders, in the order of their characters.
    ``others`` counts the other files by suffix; hidden ones and linked folders under those words.
    """

    kind: str
    names: list[str]
    others: dict[str, int]


class SkippedFilesWarning(UserWarning):
    """Some files of a pool cannot be read."""


class Loaded(NamedTuple):
    """What was read of files: a value for each that could be read, and why the others could not.

    ``is_read`` has an entry for each file that was asked for, and ``sha256`` is the sum over the names and
    the bytes of all of them.
    """

    values: list[Any]
    is_read: Bool[np.ndarray, " n"]
    skipped: dict[str, str]
    sha256: str


def kind_of_file(name: str | PathLike[str]) -> str | None:
    """Return whether a name is of a picture, a recording or a text, or None.

    Examples
    --------
    >>> kind_of_file("cats/Tom.JPG"), kind_of_file("dog.wav"), kind_of_file("notes.pdf")
    ('images', 'series', None)
    """
    suffix = Path(name).suffix.lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def kind_of_bytes(head: bytes) -> str | None:
    """Return whether the first bytes of a file are of a picture or a recording, or None.

    Examples
    --------
    >>> kind_of_bytes(b"\\x89PNG\\r\\n"), kind_of_bytes(b"RIFF\\0\\0\\0\\0WAVE"), kind_of_bytes(b"RIFF")
    ('images', 'series', None)
    """
    suffix = suffix_of_bytes(head)
    return next((kind for kind, known in SIGNATURES.items() if suffix in known.values()), None)


def suffix_of_bytes(head: bytes) -> str:
    """Return the suffix of a file of pictures or recordings that begins so, '' of any other.

    Examples
    --------
    >>> suffix_of_bytes(b"GIF89a")
    '.gif'
    """
    for signature, suffix in (pair for known in SIGNATURES.values() for pair in known.items()):
        own = head[: len(signature)]
        is_same = all(wanted in (b, ord(".")) for wanted, b in zip(signature, own, strict=False))
        if len(own) == len(signature) and is_same:
            return suffix
    return ""


def begins_as(path: str | PathLike[str], kind: str) -> bool:
    """Return whether a file is there and its first bytes are those of a format of this kind."""
    try:
        with open(path, "rb") as file:
            return kind_of_bytes(file.read(N_SIGNATURE)) == kind
    except OSError:
        return False


def list_folder(folder: str | PathLike[str]) -> Folder | None:
    """Return the pictures below a folder, or the recordings if there are more; None where there is nothing.

    Texts count where there are neither, as labels of pictures are often texts beside them. Hidden files
    and folders (``.name``) are left out, and links to folders are not followed.
    """
    found: dict[str, list[str]] = {kind: [] for kind in SUFFIXES}
    others: dict[str, int] = {}
    for name, kind in below(folder):
        if kind in found:
            found[kind].append(name)
        else:
            others[kind] = others.get(kind, 0) + 1
    kind = max((IMAGES, SERIES), key=lambda kind: len(found[kind]))
    kind = kind if found[kind] else TEXTS
    if not found[kind]:
        return None
    for other in found.keys() - {kind}:
        for name in found[other]:
            suffix = Path(name).suffix.lower()
            others[suffix] = others.get(suffix, 0) + 1
    return Folder(kind, sorted(found[kind]), dict(sorted(others.items())))


def below(folder: str | PathLike[str]) -> Iterator[tuple[str, str]]:
    """Give each file below a folder by its relative path, and its kind or else its suffix."""
    for place, folders, files in os.walk(folder):
        here = Path(place).relative_to(folder)
        for name in [*folders]:
            if name.startswith(".") or os.path.islink(os.path.join(place, name)):
                folders.remove(name)
                yield (here / name).as_posix(), HIDDEN if name.startswith(".") else "linked folders"
        for name in files:
            path = (here / name).as_posix()
            kind = HIDDEN if name.startswith(".") else kind_of_file(name)
            yield path, kind or Path(name).suffix.lower() or "no suffix"


def read_each(
    files: Sequence[str | Held], folder: str | PathLike[str], decode: Callable[[bytes], Any], kind: str
) -> Loaded:
    """Return what ``decode`` makes of the bytes of each file, several files at a time.

    Parameters
    ----------
    files : sequence of str or Held
        Paths, taken from ``folder`` where they are relative, or files that a table holds.
    folder : path
        Where they begin.
    decode : function of bytes
        May raise anything for a file that is broken.
    kind : str
        ``"images"``, ``"series"`` or ``"texts"``, for errors.

    Raises
    ------
    InputError
        When no file can be read.
    """
    names = [file.name if isinstance(file, Held) else file for file in files]
    with ThreadPoolExecutor() as pool:
        results = [*pool.map(partial(_read_one, os.fspath(folder), decode), files)]
    skipped = {shown(name): reason for name, (_, _, reason) in zip(names, results, strict=True) if reason}
    if len(skipped) and not any(not reason for _, _, reason in results):
        name, reason = next(iter(skipped.items()))
        raise InputError(f"none of {len(names):,} {NOUNS[kind]} can be read: {name} {reason}")
    lines = (f"{shown(name)}\0{digest}\n" for name, (_, digest, _) in zip(names, results, strict=True))
    return Loaded(
        [value for value, _, reason in results if not reason],
        np.array([not reason for _, _, reason in results], bool),
        skipped,
        hashlib.sha256("".join(lines).encode()).hexdigest(),
    )


def shown(name: str) -> str:
    """Return a file's name as text that can be printed and written, whatever bytes it holds.

    Examples
    --------
    >>> shown("caf\\udce9.png")
    'caf\\\\udce9.png'
    """
    return name.encode("utf-8", "backslashreplace").decode()


def _read_one(folder: str, decode: Callable[[bytes], Any], file: str | Held) -> tuple[Any, str, str]:
    """Return what a file holds, the sum of its bytes, and why it cannot be read, '' where it can."""
    digest = ""
    try:
        data = _held(file) if isinstance(file, Held) else _contents(folder, file)
        digest = hashlib.sha256(data).hexdigest()
        return (decode(data), digest, "") if data else (None, digest, "is empty")
    except InputError as error:
        return None, digest, str(error)
    except Exception as error:  # decoders raise anything for broken files
        if isinstance(error, OSError) and error.strerror:
            return None, digest, f"cannot be read: {error.strerror}"
        return None, digest, f"is broken or truncated: {_first_line(error)}"


def _held(file: Held) -> bytes:
    if file.data is None:
        raise InputError("is missing")
    return file.contents()


def _contents(folder: str, name: str) -> bytes:
    path = os.path.join(folder, name)
    if shown(name) != name:
        raise InputError("has a name that is no UTF-8")
    if not os.path.isfile(path):
        raise InputError("is no file that is there")
    with open(path, "rb") as file:
        return file.read()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
