"""Whatever stands in a file or on the command line: work that could begin, or one sentence and status 2.

Everything up to the point before training, in this process. ``DUAL_JAX_FUZZ`` is the number of inputs for
each property, 200 by default and 5,000 in the full checks.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dual_jax.cli import _parser, main, options
from dual_jax.data.errors import InputError
from dual_jax.data.tables import read_pool

N_EXAMPLES = int(os.environ.get("DUAL_JAX_FUZZ", "200"))
fuzzed = settings(
    max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def npy(shape):
    stream = io.BytesIO()
    np.save(stream, np.arange(float(np.prod(shape))).reshape(shape))
    return stream.getvalue()


def npz():
    stream = io.BytesIO()
    np.savez(stream, x=np.eye(3), id=np.array(["a", "b", "c"]))
    return stream.getvalue()


SOUND = [
    (".npy", npy((4, 3))),
    (".npz", npz()),
    (".csv", b"id,a,b\nr0,1,2\nr1,3,4\nr2,5,6\n"),
    (".tsv", b"a\tb\n1\t2\n3\t4\n5\t7\n"),
]
CELLS = st.one_of(
    st.floats(width=32).map(str),
    st.text(alphabet='abc01.,;"\n\t #é', max_size=6),
    st.sampled_from(["", "nan", "inf", "1e999", "0x1", "1_0", "٣"]),
)


@st.composite
def damaged(draw):
    """A sound file of any format with some of its bytes cut, changed or added."""
    suffix, content = draw(st.sampled_from(SOUND))
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        removed, added = draw(st.integers(0, 12)), draw(st.binary(max_size=8))
        content[place : place + removed] = added
    return suffix, bytes(content)


@st.composite
def tables(draw):
    """Text with rows and cells, of any make."""
    separator = draw(st.sampled_from(",;\t|"))
    rows = draw(st.lists(st.lists(CELLS, max_size=4), max_size=6))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
    return draw(st.sampled_from([".csv", ".tsv"])), text.encode(draw(st.sampled_from(["utf-8", "utf-16"])))


def outcome(act):
    """Return what an act returns, or the error of an invalid request."""
    try:
        return act()
    except InputError as error:
        return error


def read(tmp_path, suffix, content):
    path = tmp_path / f"pool{suffix}"
    path.write_bytes(content)
    found = outcome(lambda: read_pool(path))
    assert str(found).strip() if isinstance(found, Exception) else found.x.ndim == 2


@fuzzed
@given(damaged())
def test_a_damaged_file_is_read_or_refused(tmp_path, file):
    read(tmp_path, *file)


@fuzzed
@given(tables())
def test_any_text_as_a_table_is_read_or_refused(tmp_path, file):
    read(tmp_path, *file)


@fuzzed
@given(st.sampled_from([suffix for suffix, _ in SOUND]), st.binary(max_size=200))
def test_any_bytes_as_a_file_are_read_or_refused(tmp_path, suffix, content):
    read(tmp_path, suffix, content)


WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "iris",
                "pool.csv",
                "nope",
                "-n",
                "3",
                "0",
                "-1",
                "1e3",
                "--method",
                "ted",
                "kcenter",
                "--knob",
            ),
            *("width=2", "width", "mu=nan", "--labeled", "done.csv", "--id-column", "id", "--scale", "l2"),
            *(
                "--impute",
                "median",
                "--out",
                "p.csv",
                "p.txt",
                "--plot",
                "m.png",
                "--seed",
                "--report",
                "r.html",
            ),
            *("--embedding", "spectral", "contrastive", "--sample-shape", "2x2", "--resume", "kept", "--log"),
            *("select", "compare", "plan", "data", "list", "reproduce", "--budgets", "3,5", "--label-column"),
            *("--devices", "v5e:8", "tpu", "--pool-size", "10", "--features", "4", "--quick", "--draw-only"),
        ]
    ),
    st.text(max_size=6),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DUAL_JAX_DATA", raising=False)
    Path("pool.csv").write_bytes(SOUND[2][1])
    Path("done.csv").write_text("id\nr1\n")


WORK = ("select._pick", "select._pick_from_disk", "outputs.write", "compare._compare", "plan._show")
WORK += ("reproduce._do", "reproduce._draw", "data._download")


def without_work(patch):
    """Let every command end where its checks do."""
    for name in WORK:
        patch.setattr(f"dual_jax.cli.{name}", lambda *_: None)


@fuzzed
@given(st.lists(WORDS, max_size=9))
def test_any_words_end_in_work_or_in_a_sentence(folder, words):
    def parse_and_check():
        args = _parser().parse_args(words)
        return args.run(args, "dual-jax")

    try:
        with pytest.MonkeyPatch.context() as patch:
            without_work(patch)
            found = outcome(parse_and_check)
    except SystemExit as stop:  # argparse's own, after its own sentence
        found = stop.code
    assert found in (None, 0, 2) or str(found).strip()


@fuzzed
@given(st.lists(WORDS, max_size=5))
def test_select_on_a_sound_pool_never_ends_in_a_traceback(folder, words):
    with pytest.MonkeyPatch.context() as patch:
        without_work(patch)
        assert main(["select", "pool.csv", "-n", "2", *words]) in (0, 2)
