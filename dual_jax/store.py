"""Writing results so that a killed run leaves either the old file or the new one."""

import hashlib
import os
import secrets
import stat
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Replace the file at ``path`` by ``data`` in one step, or leave it as it was.

    The bytes go to a hidden file in the same folder, to the disk, and then take the name. A symbolic link is
    followed, an existing file keeps its permissions, and a device or pipe is written to directly.

    Parameters
    ----------
    path : path
        Where to write; its folder must exist.
    data : bytes or str
        The whole content; text is written as UTF-8, line ends as they are.

    Raises
    ------
    ValueError
        When the folder does not exist or ``path`` is a folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "picks.csv", "rank,index\\n1,7\\n")
    ...     (Path(folder) / "picks.csv").read_text()
    'rank,index\\n1,7\\n'
    """
    target = Path(path).resolve()
    content = data.encode() if isinstance(data, str) else data
    if target.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    _replace(target, content)


def _replace(target: Path, content: bytes) -> None:
    """Write ``content`` beside ``target`` and rename it over it."""
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 sum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
