"""Progress of a fit on the screen: a bar for each stage on a terminal or in a notebook, else lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dual_jax.dual.loop import Chunk

STAGES = {
    "agree": "Learning the embedding",
    "pretrain": "Training the autoencoder",
    "train": "Training the selection",
    "rank": "Ranking",
}
SECONDS = 15.0  # between two lines where there is neither a terminal nor a notebook


@contextmanager
def callback(verbose: int = 1) -> Iterator[Callable[[Chunk], None] | None]:
    """Give a function that shows each `Chunk` of a fit, or None where it is not to be shown.

    Bars need rich, which Flax brings; without it there is a line for each chunk. Where standard error goes
    into a file (nohup, a batch system) there is a line every 15 seconds, so a short fit has none. What is
    shown ends with the ``with`` block, however that ends.

    Parameters
    ----------
    verbose : int
        0 is silent.

    Examples
    --------
    >>> with callback(verbose=0) as show:
    ...     show is None
    True
    """
    if verbose <= 0:
        yield None
        return
    if not (sys.stderr.isatty() or _is_notebook()):
        yield _lines(SECONDS)
        return
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        yield _lines(0.0)
        return
    bars = progress.Progress(
        progress.TextColumn("{task.description:<24}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[loss]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=not _is_notebook()),
    )
    with bars:
        yield _bar_of_each_stage(bars)


def _bar_of_each_stage(bars: Any) -> Callable[[Chunk], None]:
    """Return a function that moves the bar of a chunk's stage and ends the bar of the stage before."""
    tasks: dict[str, Any] = {}
    waiting = bars.add_task("Compiling", total=None, loss="")

    def show(chunk: Chunk) -> None:
        if chunk.stage not in tasks:
            bars.update(waiting, visible=False)
            for task in bars.tasks:
                bars.update(task.id, total=task.completed)  # a stage may stop early
            tasks[chunk.stage] = bars.add_task(STAGES[chunk.stage], total=chunk.n_steps, loss="")
        bars.update(tasks[chunk.stage], completed=chunk.step, loss=_loss(chunk))

    return show


def _is_notebook() -> bool:
    """Return whether this is a notebook, where rich draws bars below the cell."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _lines(seconds: float) -> Callable[[Chunk], None]:
    """Return a function that prints a line for a chunk when the last one is so many seconds old."""
    words, printed = in_words(), time.monotonic()

    def show(chunk: Chunk) -> None:
        nonlocal printed
        line, now = words(chunk), time.monotonic()
        if now - printed >= seconds:
            print(line, file=sys.stderr, flush=True)
            printed = now

    return show


def in_words() -> Callable[[Chunk], str]:
    """Return a function that says of each chunk: stage, steps, last loss, and the time left in the stage.

    It has to see all chunks; of the first in a stage it cannot tell what is left.

    Examples
    --------
    >>> in_words()(Chunk("rank", 0, 1, {}))
    'Ranking: 0 of 1'
    """
    begun = "", 0, 0.0  # stage, steps and time of the first chunk in this stage

    def words(chunk: Chunk) -> str:
        nonlocal begun
        done, loss = f"{STAGES[chunk.stage]}: {chunk.step} of {chunk.n_steps}", _loss(chunk)
        stage, step, start = begun
        left, now = "", time.monotonic()
        if stage != chunk.stage:
            begun = chunk.stage, chunk.step, now
        elif chunk.step < chunk.n_steps:
            pace = (now - start) / max(chunk.step - step, 1)
            left = f"about {span(pace * (chunk.n_steps - chunk.step))} left"
        return ", ".join(filter(None, (done, loss, left)))

    return words


def _loss(chunk: Chunk) -> str:
    """Return the last loss of a chunk in words; nothing for the ranking, which has none."""
    return f"loss {chunk.terms['loss'][-1]:.4g}" if "loss" in chunk.terms else ""


def span(seconds: float) -> str:
    """Return a length of time in words.

    Examples
    --------
    >>> span(7), span(80), span(600), span(9000)
    ('7.0 s', '80 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
