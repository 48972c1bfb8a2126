"""What a fit leaves for later reading: lines in Python's log, curves for TensorBoard."""

import logging
import os
from typing import Any

from dual_jax.data.errors import MissingPackageError
from dual_jax.dual.loop import Chunk
from dual_jax.estimators.progress import in_words

LOGGER = logging.getLogger("dual_jax")
NEEDS_TENSORBOARD = 'curves for TensorBoard need tensorboardX: pip install "dual-jax[log]"'


class Lines:
    """A callback that logs each break of a fit at level INFO: stage, steps, loss, time left in the stage.

    ``logging.basicConfig(filename="fit.log", level=logging.INFO)`` puts the lines into a file.
    """

    def __init__(self) -> None:
        self._words = in_words()

    def __call__(self, chunk: Chunk) -> None:
        """Log a chunk."""
        LOGGER.info("%s", self._words(chunk))


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
            raise MissingPackageError(NEEDS_TENSORBOARD) from error
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
