"""A pool of pictures, recordings or texts: a folder of them, or a text file with a path on each line."""

import os
from collections import Counter
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from dual_jax.data.errors import InputError
from dual_jax.data.media import (
    IMAGES,
    SERIES,
    TEXTS,
    Held,
    below,
    kind_of_file,
    list_folder,
    read_each,
    shown,
)
from dual_jax.data.pictures import SIDE, read_pictures
from dual_jax.data.recordings import read_recordings

LIST = ".txt"
N_NAMED = 3  # kinds of files that an error names
TEXT_COLUMNS = ("path", "text")  # of a folder of texts
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Files(NamedTuple):
    """What files of one kind hold: pictures (n, h, w) or (n, h, w, 3), or recordings (n, times).

    ``is_read`` has an entry for each file that was asked for; ``values`` has those that could be read.
    """

    values: Shaped[np.ndarray, "n ..."]
    kind: str
    is_read: Bool[np.ndarray, " files"]
    skipped: dict[str, str]
    sha256: str
    note: str
    rate: int = 0  # of recordings, samples a second


class FilePool(NamedTuple):
    """A pool of files: what they hold, their names, and the numbers of files of other kinds by suffix."""

    files: Files
    names: Shaped[np.ndarray, " n"]
    others: dict[str, int]


def is_list(source: str | PathLike[str]) -> bool:
    """Return whether a name is of a file that lists paths."""
    return Path(source).suffix.lower() == LIST


def read_file_pool(source: str | PathLike[str]) -> FilePool:
    """Return the pictures or recordings below a folder, or in the files that a text file lists.

    Raises
    ------
    InputError
        When there is none, none can be read, or a list names a file twice.
    """
    if os.path.isdir(source):
        found = list_folder(source)
        if found is None:
            kinds = Counter(kind for _, kind in below(source)).most_common(N_NAMED)
            seen = ", ".join(f"{n:,} {kind}" for kind, n in kinds) or "nothing"
            raise InputError(
                f"{source} is a folder without pictures, .wav files or texts, and none that Hugging Face "
                f"datasets saved; it holds {seen}: convert sound to .wav and texts to .txt, or give a file"
            )
        names, folder, kind, others = found.names, Path(source), found.kind, found.others
    else:
        names, folder, others = _listed(source), Path(source).parent, {}
        kind = kind_of_files(names, str(source))
    files = read_files(names, folder, kind)
    kept = [name for name, is_read in zip(names, files.is_read, strict=True) if is_read]
    return FilePool(files, np.array(kept, str), others)


def is_text_folder(source: str | PathLike[str]) -> bool:
    """Return whether a folder holds texts, and neither pictures nor recordings."""
    found = list_folder(source) if os.path.isdir(source) else None
    return found is not None and found.kind == TEXTS


def read_text_folder(source: str | PathLike[str]) -> tuple[Any, str, dict[str, str]]:
    """Return the paths and the texts below a folder as a table, the sum of the files, and what was skipped.

    Raises
    ------
    InputError
        When none of them can be read.
    """
    import pyarrow as pa

    found = list_folder(source)
    names = found.names if found else []
    texts = read_each(names, source, _as_text, TEXTS)
    kept = [name for name, is_read in zip(names, texts.is_read, strict=True) if is_read]
    columns = [pa.array(cells, pa.large_string()) for cells in (kept, texts.values)]
    return pa.table(columns, names=TEXT_COLUMNS), texts.sha256, texts.skipped


def _as_text(data: bytes) -> str:
    """Return the text in a file: UTF-8, or UTF-16 that says so."""
    try:
        text = data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is no text in UTF-8") from None
    if "\0" in text or not text.strip():
        raise InputError("holds no text")
    return text


def read_files(
    names: Sequence[str | Held],
    folder: str | PathLike[str],
    kind: str,
    *,
    shape: Sequence[int] = (),
    rate: int = 0,
) -> Files:
    """Return the pictures or recordings in files; ``shape`` and ``rate`` are those of former ones, if any.

    Raises
    ------
    InputError
        When no file can be read.
    """
    if kind == IMAGES:
        pictures = read_pictures(names, folder, side=SIDE, shape=shape)
        return Files(
            pictures.values, kind, pictures.is_read, pictures.skipped, pictures.sha256, pictures.note
        )
    sounds = read_recordings(names, folder, rate=rate, length=shape[0] if shape else 0)
    return Files(sounds.values, kind, sounds.is_read, sounds.skipped, sounds.sha256, sounds.note, sounds.rate)


def kind_of_files(names: Sequence[str], where: str) -> str:
    """Return what most names are of, pictures or recordings.

    Raises
    ------
    InputError
        When no name is of either.
    """
    kinds = [kind_of_file(name) for name in names]
    counts = {kind: kinds.count(kind) for kind in (IMAGES, SERIES)}
    if not any(counts.values()):
        seen = f", such as {shown(names[0])!r}" if names else ""
        raise InputError(
            f"{where} names no pictures and no .wav files{seen}: write a path on each line, "
            "or give a table of numbers the suffix .csv or .tsv"
        )
    return max(counts, key=counts.__getitem__)


def _listed(source: str | PathLike[str]) -> list[str]:
    """Return the paths in a text file, in its order."""
    try:
        text = Path(source).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is no UTF-8 text with a path on each line") from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputError(f"{source} is empty")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{source} names {name!r} more than once: name each file once")
        seen.add(name)
    return names
