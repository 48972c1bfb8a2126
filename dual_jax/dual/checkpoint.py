"""Saving a long fit in a folder, so that it continues after a crash as if it had never stopped."""

import hashlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dual_jax.data.errors import InputError
from dual_jax.data.storage import (
    UNFINISHED,
    as_json,
    configuration,
    filled,
    read_arrays,
    versions,
    write_arrays,
)
from dual_jax.dual.loop import Chunk, Progress
from dual_jax.dual.state import TrainState

NAME = "fit.npz"
KIND = "checkpoint"
SECONDS = 30.0


class Checkpoint:
    """A folder that saves the progress of a fit; give it to `dual_jax.fit` as ``checkpointer``.

    The same fit, started again with the same folder, continues from there: on the same devices with exactly
    the same numbers, on others up to rounding. A finished fit is saved too, so that starting it again takes
    no time. Another pool, seed, setting, or version of the package is refused. Of several processes the
    first one writes, into a folder that all of them read. If one is killed, the last saved state remains.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    seconds : float
        Time between two saves; a stopped fit is saved at once.

    Examples
    --------
    >>> import tempfile, jax, dual_jax as dj
    >>> x, config = jax.random.normal(jax.random.key(0), (40, 5)), dj.DualConfig(pretrain_steps=50, steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = dj.fit(jax.random.key(1), x, config, checkpointer=Checkpoint(folder))
    ...     again = dj.fit(jax.random.key(1), x, config, checkpointer=Checkpoint(folder))
    >>> bool((first.ranking.indices == again.ranking.indices).all())
    True
    """

    def __init__(self, folder: str | os.PathLike[str], seconds: float = SECONDS):
        self.folder = Path(folder)
        self.seconds = seconds
        self._fingerprint = ""
        self._places = 0
        self._written = 0.0

    def places(self) -> int | None:
        """Return the dictionary size of the saved fit; None without one."""
        path = self.folder / NAME
        return _read(path, with_arrays=False)[0].get("places") if path.exists() else None

    def open(self, inputs: Any, shapes: Callable[[str], TrainState]) -> Progress | None:
        """Return the progress of the fit of these inputs, or None if the folder holds none.

        Raises
        ------
        InputError
            The folder holds the fit of other inputs, or cannot be used.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot use {self.folder} to keep the fit: {error.strerror}") from error
        if jax.process_index() == 0:
            for rest in self.folder.glob(f"{UNFINISHED}*.tmp"):  # of a save that was killed
                rest.unlink(missing_ok=True)
        self._fingerprint, self._written = _fingerprint(inputs), time.monotonic()
        self._places = inputs[3].n_places
        path = self.folder / NAME
        self._check_shared(path)
        if not path.exists():
            return None
        about, arrays = _read(path)
        if about["inputs"] != self._fingerprint:
            raise InputError(
                f"{self.folder} keeps the fit of another pool, seed, setting or version: give an empty "
                f"folder, or delete {path} if that fit is not needed any more"
            )
        history: dict[str, dict[str, np.ndarray]] = {stage: {} for stage in about["history"]}
        for stage, names in about["history"].items():
            history[stage] = {name: arrays[f"history/{stage}/{name}"] for name in names}
        state = filled(shapes(about["stage"]), arrays, "state", path=path)
        mean_loss = math.inf if about["mean_loss"] is None else about["mean_loss"]
        return Progress(about["stage"], about["step"], state, mean_loss, about["is_over"], history)

    def save(self, progress: Callable[[], Progress], *, at_once: bool = False) -> None:
        """Write the progress of the fit if it is time, or ``at_once``."""
        if not at_once and not self._is_due():
            return
        stage, step, state, mean_loss, is_over, history = progress()
        about = {
            "stage": stage,
            "step": step,
            "mean_loss": mean_loss if math.isfinite(mean_loss) else None,
            "is_over": is_over,
            "inputs": self._fingerprint,
            "places": self._places,
            "history": {stage: list(terms) for stage, terms in history.items()},
        }
        if jax.process_index() == 0:
            write_arrays(self.folder / NAME, KIND, about, {"state": state, "history": history})
        self._written = time.monotonic()

    def _is_due(self) -> bool:
        """Return whether it is time to write: of several processes the first one's clock decides."""
        is_due = time.monotonic() - self._written >= self.seconds
        return bool(_of_all(is_due)[0])

    def _check_shared(self, path: Path) -> None:
        _of_all(0)  # the first process is here, so its last save is complete
        sizes = _of_all(path.stat().st_size % (1 << 31) if path.exists() else 0)
        if (sizes != sizes[0]).any():
            raise InputError(f"the processes find different fits in {self.folder}: give one that all share")


@contextmanager
def stopping_at_a_break() -> Iterator[Callable[[Chunk], None]]:
    """Give a callback that ends a fit after the chunk in which Ctrl-C is pressed, so that it is saved.

    A second Ctrl-C ends it at once. Outside the main thread, which alone receives the signal, and if a
    handler from outside of Python is installed, nothing changes.
    """
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or former is None:
        yield lambda _: None
        return
    is_wanted = threading.Event()

    def note(*_: Any) -> None:
        is_wanted.set()
        signal.signal(signal.SIGINT, former)

    def stop(_: Chunk) -> None:
        if is_wanted.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)


def _read(path: Path, *, with_arrays: bool = True) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        return read_arrays(path, KIND, with_arrays=with_arrays)
    except ValueError as error:
        raise InputError(str(error)) from error


def _of_all(number: int) -> np.ndarray:
    """Return one number from each process, in order."""
    if jax.process_count() == 1:
        return np.array([number])
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(np.int32(number)))


def _fingerprint(inputs: Any) -> str:
    """Return a checksum of all that decides the picks: key, pool, settings, masks, and the versions."""
    key, x, config, sizes, labeled, candidates = inputs
    digest = hashlib.sha256()
    for array in (jax.random.key_data(key), x, labeled, candidates):
        digest.update(np.ascontiguousarray(array).tobytes() + str(np.shape(array)).encode())
    # Blocks depend on the devices, and the number of exact picks does not affect training.
    of_devices = {"block_rows": None, "n_tiles": None, "multiple": None, "carries_sums": None, "kernel": None}
    settings = configuration(config) | sizes._asdict() | of_devices | {"n_exact": None}
    told_apart = {name: _identity(value) for name, value in settings.items()}
    digest.update(as_json(told_apart | versions()).encode())
    return digest.hexdigest()


def _identity(value: Any, depth: int = 6) -> Any:
    """Return a text that identifies a setting; for a function, its name and bound arguments."""
    inside = partial(_identity, depth=depth - 1)
    if isinstance(value, tuple | list | dict):
        return [*map(inside, value.items() if isinstance(value, dict) else value)]
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, partial):
        return ["partial", *map(inside, (value.func, value.args, value.keywords))]
    if not callable(value):
        is_plain = value is None or isinstance(value, int | float | str | np.generic | jax.Array)
        return value if is_plain else type(value).__qualname__
    held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    held += [getattr(value, name, None) or () for name in ("__defaults__", "__self__", "__wrapped__")]
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return [name, *map(inside, held)] if depth > 0 else name
