"""The command line: what it writes, what it says, and every mistake found before any training."""

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import dual_jax
from dual_jax.cli import main, options, outputs, select
from dual_jax.data import datasets
from dual_jax.data import storage as store
from dual_jax.data.errors import InputError, InputTypeError, MissingPackageError
from dual_jax.dual.checkpoint import NAME, Checkpoint
from dual_jax.dual.config import DualConfig
from dual_jax.methods.facts import listed
from dual_jax.numerics import programs, scaling
from dual_jax.views import encoder, spectra

ROWS = np.random.default_rng(0).normal(size=(30, 3)).round(3)
IDS = [f"{i:03d}" for i in range(30)]
quick = partial(DualConfig, pretrain_steps=3, steps=3, latent_dim=2, hidden=(4,), n_clusters=3, n_exact=30)


@pytest.fixture(autouse=True)
def short(monkeypatch, tmp_path):
    """A few steps of a small network, in an empty folder, without a cache of compiled programs."""
    monkeypatch.setattr(select, "_config", lambda method, knobs: quick(**knobs))
    monkeypatch.setenv(options.NO_CACHE, "1")
    monkeypatch.setattr("dual_jax.estimators.progress.SECONDS", 600.0)  # however slow the machine
    monkeypatch.chdir(tmp_path)


def table(rows=ROWS, ids=IDS, header="id,a,b,c"):
    lines = [",".join([name, *map(str, row)]) for name, row in zip(ids, rows, strict=True)]
    return "\n".join([header, *lines]) + "\n"


def write(name, content):
    with open(name, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def picks(path="picks.csv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def receipt(path="picks.json"):
    with open(path) as file:
        return json.load(file)


def test_select_writes_ranked_picks_with_their_ids_and_a_receipt(tmp_path):
    write("pool.csv", table())

    status = main(["select", "pool.csv", "-n", "5", "--id-column", "id"])

    assert status == 0
    assert [pick["rank"] for pick in picks()] == ["1", "2", "3", "4", "5"]
    assert all(pick["id"] == IDS[int(pick["index"])] and float(pick["score"]) for pick in picks())
    assert len({pick["index"] for pick in picks()}) == 5
    assert sorted(os.listdir(tmp_path)) == ["picks.csv", "picks.json", "pool.csv"]


def test_a_column_that_is_excluded_is_no_feature():
    write("pool.csv", table())
    header = table().splitlines()[0].split(",")
    words = ["select", "pool.csv", "-n", "5", "--method", "kcenter"]
    assert main([*words, "--id-column", "id", "--exclude", header[-1]]) == 0
    assert receipt()["input"]["dropped"][header[-1]] == "excluded"
    assert main([*words, "--exclude", "no_such_column"]) == 2


def test_the_receipt_says_how_the_picks_were_made():
    write("pool.csv", table(rows=[["?", 1, 2], *ROWS[1:]]))
    write("done.csv", "id\n007\n011\n")

    files = ["pool.csv", "--id-column", "id", "--labeled", "done.csv"]
    status = main(["select", *files, "-n", "5", "--impute", "median", "--seed", "3"])

    found = receipt()
    data = found["input"]
    assert data["sha256"] == store.sha256_of("pool.csv")
    assert status == 0
    assert (data["shape"], data["imputed_cells"], data["n_labeled"]) == ([30, 3], 1, 2)
    assert (data["dropped"], data["scaling"]) == ({"id": "the id column"}, "standard")
    assert (found["seed"], found["method"], found["configuration"]["steps"]) == (3, "dual", 3)
    assert found["picks"]["sha256"] == store.sha256_of("picks.csv")
    assert found["steps"] == {"pretrain": 3, "train": 3}
    assert np.isfinite(found["final_terms"]["loss"])


def test_the_receipt_names_versions_devices_memory_and_time():
    write("pool.npy", npy(ROWS))

    main(["select", "pool.npy", "-n", "5"])

    found = receipt()
    assert found["versions"]["jax"] == jax.__version__
    assert set(found["versions"]) >= {
        "dual-jax",
        "python",
        "jaxlib",
        "flax",
        "optax",
        "numpy",
        "scikit-learn",
    }
    assert found["devices"] == {"platform": "cpu", "kind": "cpu", "count": jax.device_count()}
    assert found["peak_memory"]["host_bytes"] > 1 << 20
    assert set(found["seconds"]) == {"load", "compile", "run", "write", "total"}
    assert found["started"].endswith("+00:00")


def test_the_summary_says_what_was_picked_used_and_left_out(capsys):
    write("pool.csv", table(header="id,a b,b,c"))

    main(["select", "pool.csv", "-n", "5", "--id-column", "id", "--plot", "map.png"])

    shown = capsys.readouterr()
    for words in ("pool.csv: 5 of 30 rows picked", "a b, b, c", "left out: id (the id column)", "map.png"):
        assert words in shown.out
    assert shown.err == ""


def test_a_long_fit_without_a_terminal_tells_the_time_left_on_standard_error(monkeypatch, capsys):
    monkeypatch.setattr(select, "_config", lambda *_: DualConfig(pretrain_steps=150, steps=1, tolerance=0.0))
    monkeypatch.setattr("dual_jax.estimators.progress.SECONDS", 0.0)
    assert main(["select", "iris", "-n", "5"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any("100 of 150" in line and line.endswith(" s left") for line in lines)
    assert main(["select", "iris", "-n", "5", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing(capsys):
    write("pool.npy", npy(ROWS))

    assert main(["select", "pool.npy", "-n", "5", "--quiet"]) == 0

    assert capsys.readouterr() == ("", "")


def test_without_ids_the_id_is_the_index():
    write("pool.npy", npy(ROWS))

    main(["select", "pool.npy", "-n", "5"])

    assert all(pick["id"] == pick["index"] for pick in picks())


def test_awkward_ids_come_back_as_they_were():
    ids = ["007", "7", "1e3", "a,b", 'say "x"', "é", "=1+1", *(f"r{i}" for i in range(23))]
    quoted = ['"' + name.replace('"', '""') + '"' for name in ids]
    write("pool.csv", table(ids=quoted))

    main(["select", "pool.csv", "-n", "30", "--id-column", "id"])

    assert [pick["id"] for pick in picks()] == [ids[int(pick["index"])] for pick in picks()]
    assert {pick["id"] for pick in picks()} == set(ids)


def test_picks_of_one_round_are_labelled_rows_of_the_next():
    write("pool.csv", table())
    common = ["select", "pool.csv", "--id-column", "id"]

    main([*common, "-n", "10"])
    main([*common, "-n", "20", "--labeled", "picks.csv", "--out", "next.csv"])

    first, second = ({pick["id"] for pick in picks(name)} for name in ("picks.csv", "next.csv"))
    assert not first & second
    assert first | second == set(IDS)


def test_the_picks_of_a_round_are_never_written_over_by_the_next(capsys):
    write("pool.npy", npy(ROWS))
    main(["select", "pool.npy", "-n", "5", "--quiet"])
    before = picks()

    status = main(["select", "pool.npy", "-n", "5", "--labeled", "picks.csv"])

    assert status == 2
    assert "would replace the input" in capsys.readouterr().err
    assert picks() == before


def test_the_plot_is_drawn_in_the_format_of_its_name():
    write("pool.npy", npy(ROWS))

    main(["select", "pool.npy", "-n", "5", "--plot", "map.svg"])

    with open("map.svg") as file:
        assert "pool.npy: 5 of 30 rows picked" in file.read()


def test_the_seed_and_the_method_reach_the_fit(monkeypatch):
    seen = []
    monkeypatch.setattr(select, "_config", lambda method, knobs: seen.append(method) or quick())
    write("pool.npy", npy(ROWS))

    main(["select", "pool.npy", "-n", "5", "--seed", "1", "--method", "dual_paper"])
    first = picks()
    main(["select", "pool.npy", "-n", "5", "--seed", "2", "--method", "dual_paper"])

    assert set(seen) == {"dual_paper"}
    assert first != picks()


def test_duals_two_methods_are_configurations_and_their_knobs_are_its_fields(monkeypatch):
    monkeypatch.undo()

    assert select._config("dual", {}) == DualConfig(n_exact=1)
    assert select._config("dual_paper", {"beta": 0.2}) == DualConfig.paper(n_exact=1, beta=0.2)


@pytest.mark.parametrize(("pool", "method", "is_nested"), [("iris", "ted", True), ("wine", "kmeans", False)])
def test_any_method_picks_and_its_receipt_says_whether_the_order_is_nested(pool, method, is_nested):
    assert main(["select", pool, "-n", "5", "--method", method, "--quiet", "--seed", "3"]) == 0

    expected = dual_jax.Selector(method, 5, random_state=3).fit(datasets.load(pool).x).sample_indices_
    found = receipt()
    assert [int(pick["index"]) for pick in picks()] == expected.tolist()
    assert (found["method"], found["is_nested"], found["knobs"]) == (method, is_nested, {})
    assert (found["steps"], found["final_terms"]) == ({}, {})


def test_knobs_reach_the_method_and_the_receipt_in_the_type_of_their_defaults():
    write("pool.npy", npy(ROWS))
    words = ["select", "pool.npy", "-n", "5", "--method", "ted", "--quiet"]

    main(words)
    first = picks()
    main([*words, "--knob", "kernel=rbf", "--knob", "width=2"])

    assert receipt()["knobs"] == {"kernel": "rbf", "width": 2.0}
    assert receipt()["configuration"] == {"regularization": 0.01, "kernel": "rbf", "width": 2.0}
    assert picks() != first


def test_labelled_rows_and_the_scaling_reach_any_method():
    write("pool.npy", npy(ROWS))
    write("done.csv", "index\n3\n")

    main(["select", "pool.npy", "-n", "5", "--method", "ted", "--labeled", "done.csv", "--scale", "l2"])

    expected = dual_jax.Selector("ted", 5, scale="l2").fit(ROWS, labeled=[3]).sample_indices_
    assert [int(pick["index"]) for pick in picks()] == expected.tolist()


@pytest.mark.parametrize("method", [pytest.param("dual", marks=pytest.mark.slow), "ted"])
def test_an_embedding_is_used_beside_the_pool_and_the_receipt_has_its_sum(method):
    z = np.random.default_rng(1).normal(size=(30, 2))
    write("pool.npy", npy(ROWS))
    write("z.npy", npy(z))

    words = ["select", "pool.npy", "-n", "5", "--method", method, "--embedding", "z.npy", "--plot", "map.svg"]
    assert main([*words, "--seed", "3"]) == 0

    make = {"dual": partial(dual_jax.DUALSelector, config=quick()), "ted": partial(dual_jax.Selector, "ted")}
    expected = make[method](n_to_select=5, random_state=3).fit(ROWS, embedding=z).sample_indices_
    assert [int(pick["index"]) for pick in picks()] == expected.tolist()
    about = {"source": "z.npy", "sha256": store.sha256_of("z.npy"), "shape": [30, 2]}
    assert receipt()["input"]["embedding"] == about


@pytest.mark.parametrize(
    ("shape", "kind"),
    [pytest.param((12, 12), "images", marks=pytest.mark.slow), ((2, 64), "series")],
)
def test_an_embedding_of_images_or_series_is_learnt_from_the_pool_and_picked_in_alone(
    monkeypatch, shape, kind
):
    learn = partial(encoder.learn, steps=2, n_views=2)
    monkeypatch.setattr(encoder, "learn", learn)
    samples = np.random.default_rng(0).normal(size=(30, *shape))
    write("samples.npy", npy(samples))
    write("rows.npy", npy(samples.reshape(30, -1)))
    words = ["-n", "5", "--method", "medoids", "--embedding", "views"]
    text = "x".join(map(str, shape))

    assert main(["select", "samples.npy", *words]) == 0
    first, about = picks(), receipt()["input"]["embedding"]
    assert main(["select", "rows.npy", *words, "--sample-shape", text]) == 0

    learnt = learn(jax.random.fold_in(jax.random.key(0), 1), samples, kind=kind)
    codes = np.asarray(encoder.encode(learnt, samples))
    assert (picks(), receipt()["input"]["embedding"]) == (first, about)
    assert (about["shape"], about["kind"], about["n_steps"]) == ([30, 16], kind, 2)
    expected = dual_jax.Selector("medoids", 5).fit(codes).sample_indices_
    assert [int(pick["index"]) for pick in first] == expected.tolist()


def test_an_embedding_of_series_is_their_log_spectra():
    series = np.random.default_rng(0).normal(size=(30, 128))
    write("pool.npy", npy(series))
    words = ["select", "pool.npy", "-n", "5", "--method", "ted", "--embedding", "spectral"]

    assert main([*words, "--sample-shape", "2x64"]) == 0

    z = spectra.log_spectra(series, n_channels=2)
    expected = dual_jax.Selector("ted", 5).fit(series, embedding=z).sample_indices_
    assert [int(pick["index"]) for pick in picks()] == expected.tolist()
    assert receipt()["input"]["embedding"]["shape"] == list(z.shape)


@pytest.mark.slow
def test_a_column_like_ids_of_a_pool_on_disk_is_used_where_that_is_asked():
    import pyarrow as pa
    from pyarrow import parquet

    columns = {f"f{j}": ROWS[:, j] for j in range(ROWS.shape[1])} | {"id": np.arange(len(ROWS)) ** 2}
    parquet.write_table(pa.table(columns), "pool.parquet")

    assert main(["select", "pool.parquet", "-n", "3", "--stream", "--use", "id"]) == 0

    assert receipt()["input"]["shape"] == [len(ROWS), ROWS.shape[1] + 1]


def test_a_pool_left_on_disk_is_ranked_and_labelled_rows_are_not():
    write("pool.npy", npy(ROWS))
    write("done.csv", "index\n7\n")

    status = main(["select", "pool.npy", "-n", "5", "--stream", "--labeled", "done.csv"])

    assert status == 0
    assert len({pick["index"] for pick in picks()} - {"7"}) == 5
    assert (receipt()["is_nested"], receipt()["input"]["n_labeled"]) == (False, 1)
    assert receipt()["input"]["sha256"] == store.sha256_of("pool.npy")


def test_ids_of_a_table_left_on_disk_name_the_picks_and_the_labelled_rows():
    pd.DataFrame(ROWS).rename(columns=str).assign(id=IDS).to_parquet("pool.parquet", row_group_size=7)
    write("done.csv", "id\n007\n")

    words = ["--stream", "--id-column", "id", "--labeled", "done.csv"]
    assert main(["select", "pool.parquet", "-n", "5", *words]) == 0

    assert len({pick["id"] for pick in picks()} - {"007"}) == 5
    assert all(pick["id"] == IDS[int(pick["index"])] for pick in picks())


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (npy(ROWS), ["--method", "ted", "--explain"], "--explain, --method ted would need the whole pool"),
        (npy(ROWS[:, 0]), [], "holds float64 of shape (30,)"),
        (b"x", [], "not what its name says"),
        (npy(ROWS)[:-9], [], "broken or truncated"),
        (npy(ROWS), ["--id-column", "id"], "columns have no names"),
        (npy(ROWS), ["--knob", "readout=norms"], "needs C for every row"),
        (npy(ROWS[:, :1]), [], "at least two rows (samples) and two columns"),
        (npy(np.where(np.arange(30)[:, None] == 4, np.nan, ROWS)), [], "row 4 (from 0)"),
    ],
)
def test_a_pool_that_cannot_be_streamed_is_a_mistake(content, words, said, capsys):
    write("pool.npy", content)
    assert main(["select", "pool.npy", "-n", "5", "--stream", *words]) == 2
    assert said in capsys.readouterr().err


def test_picks_can_be_made_in_the_embedding_alone(capsys):
    z = np.random.default_rng(1).normal(size=(30, 2))
    write("pool.csv", table())
    write("z.npy", npy(z))
    words = ["select", "pool.csv", "-n", "5", "--id-column", "id", "--method", "ted", "--plot", "map.svg"]

    assert main([*words, "--embedding", "z.npy", "--embedding-alone"]) == 0

    expected = dual_jax.Selector("ted", 5).fit(z).sample_indices_
    assert [int(pick["index"]) for pick in picks()] == expected.tolist()
    assert receipt()["input"]["shape"] == [30, 3]
    assert "used: 2 features (z.npy) alone" in capsys.readouterr().out


def test_an_embedding_with_ids_is_matched_by_them(capsys):
    z = np.random.default_rng(1).normal(size=(30, 2)).round(3)
    write("pool.csv", table())
    write("z.csv", table(z, IDS, "id,u,v"))
    write("turned.csv", table([*z[::-1], [9, 9]], [*IDS[::-1], "more"], "id,u,v"))
    words = ["select", "pool.csv", "-n", "5", "--method", "ted", "--id-column", "id", "--embedding"]

    main([*words, "z.csv"])
    first = picks()
    main([*words, "turned.csv"])

    assert picks() == first
    assert "beside them: 2 features (turned.csv)" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["dual", "ted"])
def test_picks_are_explained_when_asked_for_and_serve_as_labelled_rows_as_before(method):
    write("pool.csv", table())
    words = ["select", "pool.csv", "-n", "5", "--id-column", "id", "--method", method]

    main([*words, "--explain"])
    main([*words, "--explain", "--labeled", "picks.csv", "--out", "next.csv"])

    first, second = picks(), picks("next.csv")
    assert (first[0]["nearest_id"], first[0]["distance"]) == ("", "")
    assert all(pick["nearest_id"] in {p["id"] for p in first[:i]} for i, pick in enumerate(first) if i)
    assert sum(int(pick["represents"]) for pick in first) == 30
    assert all(float(pick["distance"]) > 0 and int(pick["cluster"]) >= 0 for pick in second)


def test_the_help_lists_every_method_and_says_whose_objective_is_inferred(capsys):
    main(["select", "--help"])
    assert listed() in " ".join(capsys.readouterr().out.split())


def test_the_scalings_on_offer_are_those_of_the_scaler():
    assert {*options.SCALINGS} == {*scaling.SCALINGS, "auto", "counts"}


GOOD = table()
MISTAKES = {
    "empty file": ("", [], "is empty"),
    "header only": ("id,a,b\n", [], "has a header and no rows"),
    "one row": ("id,a,b\nx,1,2\n", [], "1 sample(s)"),
    "one column": ("id,a\nx,1\ny,2\nz,3\n", [], "1 feature(s)"),
    "NaN": (GOOD + "x,1,,2\n", [], "NaN at row 30, column 1"),
    "NaN names the flag": (GOOD + "x,1,,2\n", [], "--impute median"),
    "infinity": (GOOD + "x,1,2,inf\n", [], "inf at row 30, column 2"),
    "no feature": ("id,label,b\nx,u,k\ny,w,k\n", [], "no column that is a feature"),
    "constant table": ("id,a,b\nx,1,2\ny,1,2\nz,1,2\n", [], "the same"),
    "0 picks": (GOOD, ["-n", "0"], "n_to_select=0"),
    "more picks than rows": (GOOD, ["-n", "31"], "n_to_select=31 is not between 1 and the 30"),
    "picks that are no number": (GOOD, ["-n", "five"], "'five' is no number of rows, such as 50 or 10%"),
    "duplicate ids": (GOOD + "000,1,2,3\n", [], "repeats '000'"),
    "missing id": (GOOD + ",1,2,3\n", [], "empty in row 30"),
    "no such id column": (GOOD, ["--id-column", "name"], "no column 'name'"),
    "broken line": (GOOD + "x,1\n", [], "line 32 has 2 cells"),
    "broken quotes": (GOOD + 'x,"1,2,3\n', [], "repair its quotes"),
    "Excel under the name of text": (b"PK\x03\x04" + b"x" * 50, [], "not what its name says"),
    "no text": (GOOD.encode() + b"\0,1,2,3\n", [], "is not text: byte"),
    "unknown method": (GOOD, ["--method", "magic"], "invalid choice: 'magic'"),
    "unknown knob": (GOOD, ["--knob", "stepz=3"], "no knob 'stepz' (did you mean steps"),
    "knob of another method": (GOOD, ["--method", "kcenter", "--knob", "a=1"], "no knob 'a'; it takes none"),
    "knob without a value": (GOOD, ["--knob", "steps"], "'steps' is not NAME=VALUE"),
    "knob of another type": (
        GOOD,
        ["--method", "ted", "--knob", "width=wide"],
        "width='wide' cannot be used",
    ),
    "knob out of range": (GOOD, ["--method", "ted", "--knob", "width=-1"], "width=-1 is out of range"),
    "knob of DUAL out of range": (GOOD, ["--knob", "power=3"], "power=3.0 is out of range"),
    "knob that the method refuses": (
        GOOD,
        ["--method", "ted", "--knob", "kernel=x"],
        "kernel='x' is unknown",
    ),
    "unknown scaling": (GOOD, ["--scale", "log"], "invalid choice: 'log'"),
    "unknown imputation": (GOOD, ["--impute", "mean"], "invalid choice: 'mean'"),
    "negative seed": (GOOD, ["--seed=-1"], "no integer from 0"),
    "a flag of another version": (GOOD, ["--magic", "z.npy"], "unrecognized arguments"),
    "no such embedding": (GOOD, ["--embedding", "z.npy"], "there is no file 'z.npy'"),
    "no shape of images": (
        GOOD,
        ["--embedding", "views"],
        "the shape of a row is not known: give --sample-shape",
    ),
    "mirror images of nothing": (GOOD, ["--flip"], "--flip says something of --embedding views: give one"),
    "images of another size": (
        GOOD,
        ["--embedding", "views", "--sample-shape", "2x2"],
        "--sample-shape 2x2 is 4 numbers, but a row of pool.csv has 3",
    ),
    "series of images": (
        GOOD,
        ["--embedding", "spectral", "--sample-shape", "1x1x3"],
        "is for series, not f",
    ),
    "series of another length": (GOOD, ["--embedding", "spectral", "--sample-shape", "2x2"], "is 4 numbers"),
    "series too short": (GOOD, ["--embedding", "spectral", "--sample-shape", "3x1"], "or longer series"),
    "no embedding to be alone": (GOOD, ["--embedding-alone"], "--embedding-alone says something of an --emb"),
    "one column alone": (GOOD, ["--embedding", "one.npy", "--embedding-alone"], "and this has one"),
    "a shape that is none": (GOOD, ["--sample-shape", "3by1"], "'3by1' is no shape such as 28x28"),
    "a shape for nothing": (GOOD, ["--sample-shape", "3"], "--sample-shape says something of an --embedding"),
    "an embedding of other rows": (
        GOOD,
        ["--embedding", "short.npy"],
        "short.npy: the embedding has 29 rows",
    ),
    "an embedding with NaN": (GOOD, ["--embedding", "nan.npy"], "nan.npy: the embedding has NaN at row 2"),
    "an embedding of words": (GOOD, ["--embedding", "words.npy"], "instead of numbers"),
    "an embedding that lacks ids": (GOOD, ["--embedding", "few.csv"], "no row for 29 of 30 ids of the pool"),
    "no such labelled file": (GOOD, ["--labeled", "none.csv"], "none.csv"),
    "plot of another kind": (GOOD, ["--plot", "map.gif"], "must end in .png"),
    "plot in no folder": (GOOD, ["--plot", "no/map.png"], "does not exist; create it first"),
    "output in no folder": (GOOD, ["--out", "no/picks.csv"], "does not exist; create it first"),
    "output is a folder": (GOOD, ["--out", "folder.csv"], "it is a folder"),
    "output of another kind": (GOOD, ["--out", "picks.xlsx"], "must end in one of .csv, .jsonl"),
    "output is the pool": (GOOD, ["--out", "pool.csv"], "would replace the input"),
}


@pytest.fixture
def no_fit(monkeypatch):
    for half in ("DUALSelector.run", "Selector.run"):
        monkeypatch.setattr(f"dual_jax.{half}", lambda *_, **__: pytest.fail("the fit has begun"))


def assert_mistake(arguments, words, capsys):
    files = {name: os.stat(name).st_mtime_ns for name in os.listdir()}

    status = main(["select", *arguments])

    shown = capsys.readouterr()
    assert status == 2
    assert words in shown.err
    assert (shown.out, shown.err.count("\n"), "Traceback" in shown.err) == ("", 1, False)
    assert files == {name: os.stat(name).st_mtime_ns for name in os.listdir()}


@pytest.mark.usefixtures("no_fit")
@pytest.mark.parametrize(("content", "arguments", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_status_2_before_any_fit(content, arguments, words, capsys):
    write("pool.csv", content)
    write("picks.csv", "rank,index,id,score\n")
    write("short.npy", npy(ROWS[1:]))
    write("nan.npy", npy(np.where(np.arange(30)[:, None] == 2, np.nan, ROWS)))
    write("words.npy", npy(ROWS.astype(str)))
    write("one.npy", npy(ROWS[:, :1]))
    write("few.csv", "id,z\n000,1\n")
    os.mkdir("folder.csv")

    assert_mistake(["pool.csv", "-n", "1", "--id-column", "id", *arguments], words, capsys)


@pytest.mark.usefixtures("no_fit")
def test_a_pool_that_memory_does_not_hold_is_a_mistake_with_advice(monkeypatch, capsys):
    write("pool.csv", table())
    monkeypatch.setattr("dual_jax.dual.room.free_memory", lambda: 20e3)

    assert_mistake(["pool.csv", "-n", "1", "--id-column", "id"], "30 x 3 takes 0.0 GB on a device", capsys)


@pytest.mark.parametrize("words", [[], ["--stream"]], ids=["in memory", "streamed"])
def test_the_receipt_has_the_sizes_that_were_chosen_for_the_pool(words, monkeypatch):
    monkeypatch.setattr(select, "_config", lambda method, knobs: DualConfig(pretrain_steps=2, steps=2))
    write("pool.npy", npy(ROWS))

    assert main(["select", "pool.npy", "-n", "3", "--quiet", *words]) == 0

    used = receipt()["configuration"]
    assert used == used | DualConfig().sizes(30)._asdict()


def test_its_advice_can_be_followed_by_a_knob():
    write("pool.csv", table())

    assert main(["select", "pool.csv", "-n", "3", "--knob", "dictionary_size=7", "--quiet"]) == 0

    assert receipt()["configuration"]["dictionary_size"] == 7


BROKEN_FILES = {
    "truncated .npy": ("pool.npy", npy(ROWS)[:-9], "broken or truncated"),
    "objects in .npy": ("pool.npy", npy(np.array([[1, "a"], [2, "b"]], object)), "never unpickled"),
    "text under the name of .npy": ("pool.npy", GOOD, "not what its name says"),
    "text in .npy": ("pool.npy", npy(ROWS.astype(str)), "instead of numbers"),
    "unknown ending": ("pool.xyz", GOOD, "ends in none of"),
}


@pytest.mark.usefixtures("no_fit")
@pytest.mark.parametrize(("name", "content", "words"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_file_that_cannot_be_used_is_a_mistake(name, content, words, capsys):
    write(name, content)

    assert_mistake([name, "-n", "1"], words, capsys)


@pytest.mark.usefixtures("no_fit")
@pytest.mark.parametrize(
    ("labeled", "words"),
    [
        (
            "id\nnone\n",
            "none of its 1 rows is in the pool; it has 'none', and ids of the pool look like '000'",
        ),
        ("index\n30\n", "none of its 1 rows is in the pool; it has '30'"),
        ("name\n000\n", "needs a column 'id' or 'index'"),
        ("id\n" + "\n".join(IDS), "no candidate is left"),
        ("id\n" + "\n".join(IDS[1:]), "n_to_select=2 is not between 1 and the 1 candidates"),
    ],
)
def test_labelled_rows_that_do_not_fit_the_pool_are_a_mistake(labeled, words, capsys):
    write("pool.csv", GOOD)
    write("done.csv", labeled)

    assert_mistake(["pool.csv", "-n", "2", "--id-column", "id", "--labeled", "done.csv"], words, capsys)


@pytest.mark.usefixtures("no_fit")
def test_a_misspelt_pool_is_a_mistake_with_a_hint(capsys):
    assert_mistake(["digit", "-n", "1"], "did you mean digits?", capsys)


@pytest.mark.usefixtures("no_fit")
def test_a_folder_that_may_not_be_written_is_a_mistake(monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    assert_mistake(["iris", "-n", "1"], "permission denied", capsys)


@pytest.mark.usefixtures("no_fit")
def test_a_missing_extra_is_a_mistake_that_names_the_command(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert_mistake(["iris", "-n", "1", "--plot", "map.png"], 'pip install "dual-jax[plot]"', capsys)


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


FAILURES = {
    "not finite": (FloatingPointError("loss is nan at step 3"), "loss is nan at step 3"),
    "several lines": (ValueError("first\nsecond"), "first (ValueError; --traceback shows where)"),
    "no message": (RuntimeError(), "RuntimeError"),
    "out of memory": (MemoryError(), "use a smaller pool"),
    "out of the device's memory": (RuntimeError("RESOURCE_EXHAUSTED: 12 GB"), "use a smaller pool"),
}


@pytest.mark.parametrize("kind", [InputError, InputTypeError, MissingPackageError])
def test_an_invalid_request_is_status_2_wherever_it_is_found(kind, monkeypatch, capsys):
    monkeypatch.setattr("dual_jax.DUALSelector.run", failing(kind("late\nand found")))

    assert main(["select", "iris", "-n", "1"]) == 2
    assert capsys.readouterr().err == "dual-jax: error: late and found\n"


@pytest.mark.parametrize(("error", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_one_line_and_status_1(error, words, monkeypatch, capsys):
    monkeypatch.setattr(select, "_pick", failing(error))

    status = main(["select", "iris", "-n", "1"])

    shown = capsys.readouterr()
    assert (status, shown.out, shown.err.count("\n")) == (1, "", 1)
    assert words in shown.err
    assert os.listdir() == []


def test_the_traceback_is_shown_when_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(select, "_pick", failing(RuntimeError("no")))

    main(["select", "iris", "-n", "1", "--traceback"])

    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_fit_that_control_c_ended_goes_on_with_resume(monkeypatch):
    words, save = ["select", "iris", "-n", "3", "--quiet"], Checkpoint.save
    assert main(words) == 0
    whole = picks()

    def save_and_press_control_c(self, progress, *, at_once=False):
        save(self, progress, at_once=at_once)
        if not at_once:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "save", save_and_press_control_c)
    assert main([*words, "--resume", "kept", "--out", "again.csv"]) == 130
    assert os.listdir("kept") == [NAME]
    monkeypatch.setattr(Checkpoint, "save", save)
    assert main([*words, "--resume", "kept", "--out", "again.csv"]) == 0
    assert picks("again.csv") == whole


def test_a_folder_that_keeps_another_fit_is_a_mistake_and_stays_as_it_is(capsys):
    kept = Path("kept", NAME)
    assert main(["select", "iris", "-n", "3", "--quiet", "--resume", "kept"]) == 0
    before = kept.read_bytes()
    assert main(["select", "wine", "-n", "3", "--quiet", "--resume", "kept"]) == 2
    assert "keeps the fit of another pool" in capsys.readouterr().err
    assert kept.read_bytes() == before
    kept.write_bytes(before[:-99])
    assert main(["select", "iris", "-n", "3", "--quiet", "--resume", "kept"]) == 2
    assert "or broken" in capsys.readouterr().err


def test_a_knob_that_leaves_no_number_to_score_by_is_a_mistake(capsys):
    assert main(["select", "iris", "-n", "3", "--method", "llr", "--knob", "mu=0"]) == 2
    assert "llr with mu=0.0 gave a score that is no finite number" in capsys.readouterr().err


def test_a_method_without_long_fits_has_nothing_to_resume(capsys):
    assert main(["select", "iris", "-n", "3", "--method", "ted", "--resume", "kept"]) == 2
    assert "keeps the long fits of dual and dual_paper" in capsys.readouterr().err


def test_control_c_is_status_130_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(select, "_pick", failing(KeyboardInterrupt))

    assert main(["select", "iris", "-n", "1"]) == 130
    assert capsys.readouterr().err == "dual-jax: interrupted\n"


def test_a_write_that_fails_keeps_the_old_picks(monkeypatch, capsys):
    write("pool.npy", npy(ROWS))
    write("picks.csv", "rank,index,id,score\n")
    monkeypatch.setattr(os, "fsync", failing(OSError(28, "No space left on device")))

    status = main(["select", "pool.npy", "-n", "5"])

    assert status == 1
    assert "No space left" in capsys.readouterr().err
    with open("picks.csv") as file:
        assert file.read() == "rank,index,id,score\n"
    assert sorted(os.listdir()) == ["picks.csv", "pool.npy"]


def test_a_plot_that_fails_costs_no_picks(monkeypatch):
    from dual_jax.plots import maps as plots

    write("pool.npy", npy(ROWS))
    monkeypatch.setattr(plots, "pool_map", failing(RuntimeError("no")))

    assert main(["select", "pool.npy", "-n", "5", "--plot", "map.png"]) == 1
    assert (len(picks()), receipt()["picks"]["n"]) == (5, 5)


def test_data_list_shows_sizes_classes_and_where_each_set_comes_from(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DUAL_JAX_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    status = main(["data", "list", "--data-dir", str(tmp_path)])

    lines = {line.split()[0]: line.split(maxsplit=4)[1:] for line in capsys.readouterr().out.splitlines()}
    assert status == 0
    assert lines["digits"] == ["1,797", "64", "10", "scikit-learn"]
    assert lines["mnist"][:3] == ["60,000", "784", "10"]
    assert lines["mnist"][3] == "missing: dual-jax data fetch mnist"


def test_data_list_of_no_folder_is_a_mistake(capsys):
    assert main(["data", "list", "--data-dir", "none"]) == 2
    assert "none is no folder" in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_failure(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr("dual_jax.data.datasets.names", lambda: ())

    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["data", "list"]) == 0


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["select", "--help"]])
def test_version_and_help_are_status_0(words, capsys):
    assert main(words) == 0
    assert (
        f"dual-jax {dual_jax.__version__}" if words == ["--version"] else "usage"
    ) in capsys.readouterr().out


def test_help_imports_neither_jax_nor_the_methods_nor_scikit_learn():
    heavy = (
        "{'dual_jax.methods.dual', 'dual_jax.estimators.dual_selector', 'dual_jax.estimators.selector', "
        "'sklearn', 'jax', 'pyarrow'}"
    )
    code = (
        f"import sys; from dual_jax import cli; cli.main(['select', '-h']); print({heavy} & {{*sys.modules}})"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.splitlines()[-1] == "set()"


def test_no_command_is_a_mistake(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def cache_setting(monkeypatch, tmp_path):
    """Where JAX is told to keep programs, in a process that has the right to; set back afterwards."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    for name in (options.NO_CACHE, "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(select, "_pick", lambda *_: None)
    monkeypatch.setattr(outputs, "write", lambda *_: None)
    jax.config.update(names[0], None)
    yield lambda: jax.config.jax_compilation_cache_dir
    for name, value in before.items():
        jax.config.update(name, value)
    programs.keep_in(None)


def test_compiled_programs_are_kept_in_a_folder_for_the_user_alone(cache_setting, tmp_path):
    main(["select", "iris", "-n", "1"])

    folder = tmp_path / "cache" / "dual_jax" / "xla"
    assert cache_setting() == str(folder)
    for kept in (folder, folder / options.OWN):
        assert os.name == "nt" or kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("how", ["flag", "variable", "own folder", "no folder"])
def test_the_cache_of_programs_can_be_switched_off_and_never_fails(how, cache_setting, monkeypatch, tmp_path):
    flags = ["--no-compile-cache"] if how == "flag" else []
    if how == "variable":
        monkeypatch.setenv(options.NO_CACHE, "1")
    if how == "own folder":
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    if how == "no folder":
        (tmp_path / "cache").write_text("a file is in the way")

    assert main(["select", "iris", "-n", "1", *flags]) == 0
    assert cache_setting() is None


@pytest.mark.slow
def test_two_processes_with_the_same_seed_write_the_same_bytes(tmp_path):
    def run(name):
        command = [sys.executable, "-m", "dual_jax", "select", "digits", "-n", "50", "--out", f"{name}.csv"]
        root = os.path.dirname(os.path.dirname(dual_jax.__file__))
        env = {**os.environ, "PYTHONPATH": root, "XLA_FLAGS": ""}  # one device, as a user has
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done, hashlib.sha256((tmp_path / f"{name}.csv").read_bytes()).hexdigest()

    (first, first_sum), (_, second_sum) = run("first"), run("second")

    assert first_sum == second_sum
    assert "50 of 1,797 rows picked" in first.stdout
    progress = r"[A-Z][\w -]+: \d+ of \d+(, loss \S+)?(, about .+ left)?"
    of_plugin = ("WARNING: All log messages before absl", "I0000")  # JAX's for a GPU, where it is installed
    lines = [line for line in first.stderr.splitlines() if not line.startswith(of_plugin)]
    assert all(re.fullmatch(progress, line) for line in lines)  # and no warning


@pytest.mark.parametrize("words", [["--method", "kcenter"], pytest.param([], marks=pytest.mark.slow)])
def test_a_report_is_one_page_with_the_picks_and_the_receipt_in_it(words, tmp_path):
    assert main(["select", "iris", "-n", "4", "--quiet", "--report", "page.html", *words]) == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == (2 if words else 4)
    assert "iris: 4 of 150 rows picked" in page
    assert "<th>represents</th>" in page
    assert "&quot;seed&quot;: 0" in page
    assert "cluster" not in (tmp_path / "picks.csv").read_text()  # that needs --explain


def test_a_report_must_be_a_page(capsys):
    assert main(["select", "iris", "-n", "4", "--report", "page.pdf"]) == 2
    assert "must end in .html" in capsys.readouterr().err


def test_the_curves_of_a_fit_are_written_where_asked(tmp_path, capsys):
    pytest.importorskip("tensorboardX")
    assert main(["select", "iris", "-n", "3", "--quiet", "--log", "curves"]) == 0
    assert b"train/self_expression" in b"".join(p.read_bytes() for p in (tmp_path / "curves").iterdir())
    assert main(["select", "iris", "-n", "3", "--method", "ted", "--log", "curves"]) == 2
    assert "ted has none" in capsys.readouterr().err


def test_what_the_terminals_letters_and_a_notebooks_plots_lack_here_does_no_harm(tmp_path):
    pool, plot = tmp_path / "pool.csv", tmp_path / "map.png"
    pool.write_text("\u5e45,b\n" + "\n".join(f"{i},{i * i % 7}" for i in range(9)), encoding="utf-8")
    env = {**os.environ, "PYTHONIOENCODING": "cp1252", "MPLBACKEND": "of a kernel elsewhere"}
    words = ["select", str(pool), "-n", "2", "--method", "kcenter", "--out", str(tmp_path / "picks.csv")]
    command = [sys.executable, "-m", "dual_jax", *words, "--plot", str(plot)]
    run = subprocess.run(command, env=env, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert b"used: 2 features (?, b)" in run.stdout
    assert plot.stat().st_size


def test_a_file_that_is_not_ours_is_not_replaced(tmp_path, capsys):
    pool, notes = tmp_path / "pool.csv", tmp_path / "val.json"
    pool.write_text("a,b\n" + "\n".join(f"{i},{i * i % 7}" for i in range(9)))
    notes.write_text('{"mine": 1}')
    words = ["select", str(pool), "-n", "2", "--method", "kcenter", "--out", str(tmp_path / "val.csv")]
    assert main(words) == 2
    assert "val.json is there and was not written by dual-jax" in capsys.readouterr().err
    assert notes.read_text() == '{"mine": 1}'
    notes.unlink()
    assert main(words) == main(words) == 0  # our own files are replaced
