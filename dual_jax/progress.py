"""What a person sees while a fit runs: a bar for each stage, on a terminal or in a notebook, else nothing."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dual_jax.fitting import Chunk

STAGES = {
    "contrast": "Learning the embedding",
    "pretrain": "Training the autoencoder",
    "train": "Training the selection",
    "rank": "Ranking",
}


@contextmanager
def callback(verbose: int = 1) -> Iterator[Callable[[Chunk], None] | None]:
    """Give a function that shows each `Chunk` of a fit, or None where nobody is to see it.

    Bars need rich, which Flax brings; without it there is a line for each chunk. What is shown ends with the
    ``with`` block, however that ends.

    Parameters
    ----------
    verbose : int
        0 is silent, and so is every number when there is neither a terminal nor a notebook.

    Examples
    --------
    >>> with callback(verbose=0) as show:
    ...     show is None
    True
    """
    if verbose <= 0 or not (sys.stderr.isatty() or _is_notebook()):
        yield None
        return
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        yield _print_line
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


def _print_line(chunk: Chunk) -> None:
    done = f"{STAGES[chunk.stage]}: {chunk.step} of {chunk.n_steps}"
    print(", ".join(filter(None, (done, _loss(chunk)))), file=sys.stderr, flush=True)


def _loss(chunk: Chunk) -> str:
    """Return the last loss of a chunk in words; nothing for the ranking, which has none."""
    return f"loss {chunk.terms['loss'][-1]:.4g}" if "loss" in chunk.terms else ""
