"""Files that survive: a killed run leaves either the old one or the new one, and none holds code.

Arrays go into an uncompressed .npz beside a JSON text that says what they are; reading one runs nothing. JAX
is imported where a pytree is written or read: the command line's help needs none.
"""

import dataclasses
import hashlib
import json
import os
import platform
import secrets
import stat
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import numpy as np

from dual_jax.data.errors import InputError

PACKAGES = ("dual-jax", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")
ABOUT = "about"  # name of the JSON text among the arrays
HALVES = "bfloat16"  # names, in that text, of the arrays of this type
FORMAT = 1
UNFINISHED = ".dual-jax-"  # prefix of the name of an unfinished file

Writer = Callable[[IO[bytes]], Any]


def write_atomically(path: str | os.PathLike[str], data: bytes | str | Writer) -> None:
    """Replace the file at ``path`` by ``data`` in one step, or leave it as it was.

    The bytes go to a hidden file in the same folder, to the disk, and then take the name. A symbolic link is
    followed, an existing file keeps its permissions, and a device or pipe is written to directly.

    Parameters
    ----------
    path : path
        Where to write; its folder must exist.
    data : bytes, str or function
        The whole content; text is written as UTF-8, line ends as they are. A function writes it to the open
        file that it is given.

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
    write = data if callable(data) else _writer(data)
    if target.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {target.parent} does not exist; create it first")
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            write(file)
        return
    _replace(target, write)


def _writer(data: bytes | str) -> Writer:
    content = data.encode() if isinstance(data, str) else data
    return lambda file: file.write(content)


def _replace(target: Path, write: Writer) -> None:
    """Write beside ``target`` and rename over it."""
    beside = target.with_name(f"{UNFINISHED}{secrets.token_hex(8)}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
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


def write_arrays(path: str | os.PathLike[str], kind: str, about: dict[str, Any], tree: Any) -> None:
    """Write the arrays of a pytree and what they are, atomically.

    Parameters
    ----------
    path : path
        Where to write; its folder must exist.
    kind : str
        What the file is, for `read_arrays` to look at.
    about : dict
        Anything that JSON can hold.
    tree : pytree
        Its leaves are stored under the names of `_name`, for instance ``pool/x``.
    """
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = {_name(where): np.asarray(leaf) for where, leaf in leaves}
    # NumPy's files know no bfloat16: such arrays are kept as their bits, and the text names them.
    halves = [name for name, array in arrays.items() if array.dtype.name == HALVES]
    arrays |= {name: arrays[name].view(np.uint16) for name in halves}
    text = json.dumps(
        {"format": FORMAT, "kind": kind, HALVES: halves, **about}, allow_nan=False, default=_from_numpy
    )
    write_atomically(path, lambda file: np.savez(file, **{ABOUT: np.array(text)}, **arrays))  # type: ignore


def _name(where: Any) -> str:
    """Return the keys, fields and places that lead to a leaf of a pytree, joined by ``/``."""
    import jax

    return jax.tree_util.keystr(where, simple=True, separator="/")


def _from_numpy(value: Any) -> Any:
    """Return a number of NumPy's as JSON's; a TypeError for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written to a file: {value!r}")


def read_arrays(
    path: str | os.PathLike[str], kind: str, *, with_arrays: bool = True
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `write_arrays` wrote: what the arrays are, and the arrays by their names, or none of them.

    Raises
    ------
    ValueError
        When the file is none of that kind, is broken, or was written by a later version.
    """
    try:
        with open(path, "rb") as raw:
            file = np.load(raw, allow_pickle=False)
            names = getattr(file, "files", ())  # an .npy file has none
            arrays = {name: file[name] for name in names if with_arrays or name == ABOUT}
        about = json.loads(str(arrays.pop(ABOUT)))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no dual-jax {kind}, or broken: {error}") from error
    if not isinstance(about, dict) or about.get("kind") != kind:
        raise InputError(f"{path} is no dual-jax {kind}")
    if not isinstance(number := about.get("format"), int) or number > FORMAT:
        raise InputError(f"{path} has format {number} and this version reads up to {FORMAT}: upgrade")
    halves = about.pop(HALVES, [])
    return about, {
        name: array.view(_bfloat16()) if name in halves else array for name, array in arrays.items()
    }


def _bfloat16() -> Any:
    import jax.numpy as jnp

    return jnp.bfloat16


def filled(
    like: Any, arrays: dict[str, np.ndarray], within: str, *, path: str | os.PathLike[str] = ""
) -> Any:
    """Return a pytree of the structure and shapes of ``like`` with its leaves taken from ``arrays``.

    Parameters
    ----------
    like : pytree
        Of arrays or their shapes.
    arrays : dict
        From `read_arrays`.
    within : str
        The key under which the pytree was in the one that was written.
    path : path
        Of the file, for the error.

    Raises
    ------
    ValueError
        When an array is missing or has another shape or type.
    """

    import jax

    def leaf(where: Any, shape: Any) -> np.ndarray:
        name = f"{within}/{_name(where)}"
        array = arrays.get(name)
        if array is None or (array.shape, array.dtype) != (shape.shape, shape.dtype):
            seen = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
            wanted = f"{shape.dtype}{list(shape.shape)}"
            raise InputError(f"{path} holds {seen} for {name}, wanted {wanted}: it is of other settings")
        return array

    return jax.tree_util.tree_map_with_path(leaf, like)


def as_json(receipt: dict[str, Any]) -> str:
    """Return a receipt as indented JSON; numbers that are not finite become null, as JSON has none.

    Examples
    --------
    >>> print(as_json({"loss": np.float32(0.5), "bad": float("nan")}))
    {
      "loss": 0.5,
      "bad": null
    }
    <BLANKLINE>
    """
    return json.dumps(_plain(receipt), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Return the versions of Python and of every package that the picks depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def configuration(config: Any) -> dict[str, Any]:
    """Return every field of a settings dataclass; `as_json` gives functions by their name."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a folder
        return "not installed"


def _plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value
