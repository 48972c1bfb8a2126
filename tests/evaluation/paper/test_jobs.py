"""Jobs: what figures need and records lack, and nothing twice."""

import functools

import numpy as np
import pytest

from dual_jax.data.datasets import Dataset
from dual_jax.dual.config import DualConfig
from dual_jax.evaluation.experiment import Entry, finished
from dual_jax.evaluation.paper import jobs as made
from dual_jax.evaluation.paper import protocols, study
from dual_jax.evaluation.paper.costs import Costs
from dual_jax.evaluation.paper.jobs import jobs
from dual_jax.evaluation.paper.protocols import Protocol
from dual_jax.evaluation.paper.study import open_study
from dual_jax.evaluation.records import append, read

RNG = np.random.default_rng(0)
LABELS = np.arange(48) % 3
DATA = Dataset("toy", RNG.normal(size=(48, 4)) + LABELS[:, None], LABELS, ("a", "b", "c"), None, "made up")
PROTOCOL = Protocol(
    "test", ("toy",), ("random", "kcenter"), 2, n_budgets=2, n_random=3, in_both_views=("random",)
)
SMALL = {"latent_dim": 2, "hidden": (4,), "n_clusters": 3, "pretrain_steps": 3, "steps": 2}


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """A few steps of a small network, in place of both configurations."""
    configs = {
        "dual": functools.partial(DualConfig, **SMALL),
        "dual_paper": functools.partial(DualConfig.paper, **SMALL),
    }
    for module in (protocols, study, made):
        monkeypatch.setattr(module, "CONFIGS", configs)


def opened(folder, protocol=PROTOCOL):
    return open_study(protocol, DATA, folder, 0)


def left(study, figures, methods=None, limit=1e9):
    return jobs(study, set(figures), lambda name: methods is None or name in methods, limit)


def do(work):
    return [record for job in work for record in job.run()]


def test_the_work_gives_every_cell_once_and_then_there_is_none_left(tmp_path):
    records = do(left(opened(tmp_path), "23"))

    cells = finished(records)
    assert len(cells) == 2 * 2 * (
        3 * 2 + 1
    )  # splits x budgets x (orders of random in two views, and kcenter)
    assert len(records) == len(cells)
    assert [record.get("kind") for record in read(tmp_path / "test-toy.jsonl")][:2] == ["data", None]
    assert left(opened(tmp_path), "23") == []


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = {cell: r["accuracy"] for cell, r in finished(do(left(opened(whole), "2"))).items()}
    for record in read(whole / "test-toy.jsonl")[:20]:
        append(cut / "test-toy.jsonl", record)

    again = do(left(opened(cut), "2"))

    assert len(again) == len(expected) + 1 - 20
    assert {c: r["accuracy"] for c, r in opened(cut).done.items()} == expected


def test_the_data_sets_row_of_table_1_is_computed_from_it(tmp_path):
    left(opened(tmp_path), "5")
    (row,) = read(tmp_path / "test-toy.jsonl")

    assert (row["rows"], row["features"], row["classes"]) == (48, 4, 3)
    assert row["class_sizes"] == [16, 16]
    assert (row["n_pool"], row["budgets"], row["note"]) == (24, [3, 12], "made up")


def test_only_the_methods_that_are_asked_for_are_run(tmp_path):
    records = do(left(opened(tmp_path), "2", ["kcenter"]))

    assert {record["method"] for record in records if "kind" not in record} == {"kcenter"}


def test_a_method_above_the_limit_is_left_out_with_its_reason_once(tmp_path):
    first = do(left(opened(tmp_path), "2", ["kcenter"], limit=1e-9))
    again = left(opened(tmp_path), "2", ["kcenter"], limit=1e-9)

    (note,) = [record for record in first if record["kind"] == "skipped"]
    assert note["method"] == "kcenter"
    assert note["reason"].endswith(f"limit {1e-9 / 60:.2g}")
    assert again == []
    assert len(do(left(opened(tmp_path), "2", ["kcenter"]))) == 4


def test_records_of_another_seed_are_not_mixed_in(tmp_path):
    do(left(opened(tmp_path), "5"))

    with pytest.raises(ValueError, match="seed 0"):
        open_study(PROTOCOL, DATA, tmp_path, 1)


def test_the_ablation_adds_what_the_comparison_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        made, "measure", lambda study, entries, limit: Costs({e.title: 0 for e in entries}, 0, 2, 1)
    )
    protocol = PROTOCOL._replace(methods=("dual", "random"), ablated=("toy",))

    titles = [job.title for job in left(opened(tmp_path, protocol), "24")]

    assert len(titles) == len(set(titles))
    added = [title for title in titles if not title.startswith(("random", "dual,", "what"))]
    assert added == [
        f"{name}, split {i}" for name in ("dual_wo", "dual_paper", "dual_paper (beta=0.0)") for i in (0, 1)
    ]


@pytest.mark.slow
def test_a_grid_of_settings_is_judged_at_every_budget_in_both_views(tmp_path, monkeypatch):
    cells = [
        (Entry("dual_paper", {"p_q": q}, views=("raw", "latent")), DualConfig.paper(gamma=q, eta=q, **SMALL))
        for q in (0.1, 1.0)
    ]
    monkeypatch.setattr(protocols, "grid", lambda: cells)
    protocol = Protocol("test", ("toy",), n_splits=2, n_budgets=2, n_random=2)

    found = finished(do(left(opened(tmp_path, protocol), "2")))

    of_grid = [cell for cell in found if cell.method == "dual_paper"]
    assert len(of_grid) == 2 * 2 * 2 * 2  # splits x settings x views x budgets
    assert {cell.settings for cell in of_grid} == {"p_q=0.1", "p_q=1.0"}
    assert left(opened(tmp_path, protocol), "2") == []


def test_the_map_holds_a_place_for_every_row_and_two_sets_of_picks(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "MAPPED", ("kcenter", "random"))

    (record,) = [
        r for r in do(left(opened(tmp_path, PROTOCOL._replace(mapped="toy")), "5")) if r["kind"] == "map"
    ]

    assert [np.shape(record["places"][view]) for view in ("raw", "latent")] == [(24, 2), (24, 2)]
    assert [len(set(record["picks"][method])) for method in ("kcenter", "random")] == [3, 3]
    assert len(record["classes"]) == 24
