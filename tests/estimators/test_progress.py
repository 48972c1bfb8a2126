"""What is shown while a fit runs, and when nothing is."""

import io
import sys

import numpy as np
import pytest

from dual_jax.dual.loop import Chunk
from dual_jax.estimators import progress

CHUNKS = (
    Chunk("pretrain", 50, 200, {"loss": np.array([2.0, 0.5])}),
    Chunk("pretrain", 100, 200, {"loss": np.array([0.5, 0.25])}),
    Chunk("train", 50, 50, {"loss": np.array([0.125])}),
    Chunk("rank", 0, 1, {}),
    Chunk("rank", 1, 1, {}),
)


def terminal(monkeypatch):
    """A terminal as standard error; called in the test itself, as pytest sets its own after fixtures."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return stream


def test_a_terminal_shows_each_stage_in_words_with_its_steps_and_loss(monkeypatch):
    shown = terminal(monkeypatch)
    with progress.callback(verbose=1) as show:
        for chunk in CHUNKS:
            show(chunk)

    for words in ("Training the autoencoder", "Training the selection", "Ranking", "loss 0.125", "50/50"):
        assert words in shown.getvalue()


def test_a_stage_that_stops_early_is_shown_as_complete(monkeypatch):
    shown = terminal(monkeypatch)
    with progress.callback() as show:
        show(CHUNKS[1])
        show(CHUNKS[2])

    assert "100/100" in shown.getvalue()


def test_something_is_shown_while_the_first_steps_compile(monkeypatch):
    shown = terminal(monkeypatch)
    with progress.callback():
        pass

    assert "Compiling" in shown.getvalue()


def test_the_cursor_comes_back_after_an_error(monkeypatch):
    shown = terminal(monkeypatch)
    with pytest.raises(KeyboardInterrupt), progress.callback():
        raise KeyboardInterrupt

    assert shown.getvalue().rstrip().endswith("\x1b[?25h")


def test_verbose_0_shows_nothing(monkeypatch):
    shown = terminal(monkeypatch)
    with progress.callback(verbose=0) as show:
        assert show is None

    assert shown.getvalue() == ""


@pytest.fixture
def clock(monkeypatch):
    """Five seconds pass from each look at the clock to the next, and there are two for a chunk."""
    monkeypatch.setattr(progress.time, "monotonic", iter(range(0, 1000, 5)).__next__)


@pytest.mark.usefixtures("clock")
def test_without_a_terminal_there_is_a_line_every_quarter_of_a_minute_with_the_time_left(capsys):
    with progress.callback(verbose=1) as show:
        for step in (50, 100, 150, 200):
            show(CHUNKS[0]._replace(step=step, n_steps=1000))

    assert capsys.readouterr().err.splitlines() == [
        "Training the autoencoder: 100 of 1000, loss 0.5, about 3 min left",
        "Training the autoencoder: 200 of 1000, loss 0.5, about 3 min left",
    ]


def test_a_short_fit_without_a_terminal_shows_nothing(capsys):
    with progress.callback(verbose=1) as show:
        for chunk in CHUNKS:
            show(chunk)

    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("clock")
def test_without_rich_there_is_a_line_for_each_chunk_with_the_time_left(monkeypatch):
    shown = terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)

    with progress.callback() as show:
        for chunk in CHUNKS[:4]:
            show(chunk)

    assert shown.getvalue().splitlines() == [
        "Training the autoencoder: 50 of 200, loss 0.5",
        "Training the autoencoder: 100 of 200, loss 0.25, about 20 s left",
        "Training the selection: 50 of 50, loss 0.125",
        "Ranking: 0 of 1",
    ]
