"""Ids of rows: their text, by which they are compared and saved, and where each is in the pool."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
from jaxtyping import Int

from dual_jax.data.errors import InputError


def check_ids(ids: Iterable[Any], name: str = "ids") -> list[str]:
    """Return the ids as text, after checking that none is empty or given twice.

    Raises
    ------
    InputError
        Naming the first row without an id, or the first id that is repeated and its rows.
    """
    texts = [text_of_id(value) for value in ids]
    if len(set(texts)) < len(texts):
        repeated = next(text for text, count in Counter(texts).items() if count > 1)
        first = texts.index(repeated)
        second = texts.index(repeated, first + 1)
        what = f"repeats {repeated!r} (rows {first} and {second})" if repeated else f"is empty in row {first}"
        raise InputError(f"{name} {what}: ids must be there and distinct; choose others or use none")
    if "" in texts:
        raise InputError(f"{name} is empty in row {texts.index('')}: every row needs its own id")
    return texts


def text_of_id(value: Any) -> str:
    """Return the text by which ids are compared and saved: the same for an id in any of its types.

    Missing values give '', bytes their text, tuples their parts joined by '/', whole floats the integer.

    Examples
    --------
    >>> text_of_id(np.datetime64("2024-01-31T00:00:00")), text_of_id(("a", np.int64(1))), text_of_id(b"k0")
    ('2024-01-31', 'a/1', 'k0')
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple):
        return "/".join(map(text_of_id, value))
    if isinstance(value, bytes):
        return _text_of_bytes(value)
    if is_gap(value):
        return ""
    if isinstance(value, np.timedelta64 | timedelta):
        return f"{np.timedelta64(value).astype('m8[ns]').astype(np.int64)} ns"
    if isinstance(value, np.datetime64) or hasattr(value, "isoformat"):
        text = str(value) if isinstance(value, np.datetime64) else value.isoformat()
        return re.sub(r"T00:00(:00)?$", "", re.sub(r"(\.\d*?)0+$", r"\1", text).removesuffix("."))
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        return str(int(value))
    return str(value.item() if isinstance(value, np.integer | np.bool_) else value)


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def is_gap(value: Any) -> bool:
    """Return whether a value is None, NaN, or another library's word for a missing one."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def positions_of(wanted: Iterable[Any], ids: Iterable[Any], name: str = "rows") -> Int[np.ndarray, " k"]:
    """Return the position in the pool of each id that is wanted.

    Raises
    ------
    InputError
        When the pool repeats an id, or lacks a wanted one.
    """
    if isinstance(getattr(ids, "dtype", None), np.dtype):
        ids = np.asarray(ids)  # of which float32 keeps its few digits
    lookup = {text: position for position, text in enumerate(check_ids(ids, "the pool's index or id column"))}
    texts = _as_ids(wanted, ids, lookup)
    unknown = [text for text in texts if text not in lookup]
    if unknown:
        shown = ", ".join(repr(text) for text in unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise InputError(
            f"{name}: {len(unknown)} of {len(texts)} ids are not in the pool ({shown}); "
            f"its ids look like {next(iter(lookup))!r}"
        )
    return np.array([lookup[text] for text in texts], np.intp)


def _as_ids(wanted: Iterable[Any], ids: Any, known: Collection[str]) -> list[str]:
    """Return the texts of wanted ids; one that is not known is first read in the type of the ids."""
    dtype = getattr(ids, "dtype", None)
    texts = []
    for value in wanted:
        text = text_of_id(value)
        if text not in known and isinstance(dtype, np.dtype) and dtype.kind in "fmM":
            with suppress(TypeError, ValueError):
                text = text_of_id(np.array([value]).astype(dtype)[0])
        texts.append(text)
    return texts
