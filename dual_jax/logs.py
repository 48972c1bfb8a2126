"""What a fit leaves for later reading: lines in Python's log, curves for TensorBoard."""

import logging
import os
import time
from typing import Any

from dual_jax.fitting import Chunk
from dual_jax.progress import STAGES

LOGGER = logging.getLogger("dual_jax")
NEEDS_TENSORBOARD = 'curves for TensorBoard need tensorboardX: pip install "dual-jax[log]"'


class Lines:
    """A callback that logs each break of a fit at level INFO: stage, steps, loss, seconds left in the stage.

    ``logging.basicConfig(filename="fit.log", level=logging.INFO)`` puts the lines into a file.
    """

    def __init__(self) -> None:
        self._begun: tuple[str, int, float] = ("", 0, 0.0)

    def __call__(self, chunk: Chunk) -> None:
        """Log a chunk."""
        stage, step, start = self._begun
        now = time.monotonic()
        if stage != chunk.stage:
            self._begun = chunk.stage, chunk.step, now
            left = ""
        else:
            pace = (now - start) / max(chunk.step - step, 1)
            left = f", about {pace * (chunk.n_steps - chunk.step):.0f} s left"
        loss = f", loss {chunk.terms['loss'][-1]:.4g}" if "loss" in chunk.terms else ""
        LOGGER.info("%s: %d of %d%s%s", STAGES[chunk.stage], chunk.step, chunk.n_steps, loss, left)


class TensorBoard:
    """A callback that writes every term of every step for TensorBoard, under ``stage/term``.

    Parameters
    ----------
    folder : path
        Where the curves go: ``tensorboard --logdir FOLDER`` shows them.

    Raises
    ------
    ImportError
        When tensorboardX is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(NEEDS_TENSORBOARD) from error
        self._writer: Any = SummaryWriter(os.fspath(folder))

    def __call__(self, chunk: Chunk) -> None:
        """Write a chunk and hand it to the disk."""
        for name, values in chunk.terms.items():
            first = chunk.step - len(values) + 1
            for step, value in enumerate(values, first):
                self._writer.add_scalar(f"{chunk.stage}/{name}", float(value), step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
