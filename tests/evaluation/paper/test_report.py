"""Figures and tables come from the records, all that the records allow and nothing else."""

import gzip
import json

import numpy as np
import pytest

from dual_jax.evaluation.paper import figures
from dual_jax.evaluation.paper.report import report
from dual_jax.evaluation.paper.tables import comparable
from dual_jax.evaluation.records import append
from dual_jax.evaluation.standings import RANDOM, standings

RNG = np.random.default_rng(0)
ALL = {"2", "3", "4", "5", "6"}
BUDGETS = (3, 11, 37)


def cell(
    method, split=0, budget=37, settings="", order=0, view="raw", protocol="fair", data="iris", **changes
):
    names = {"protocol": protocol, "data": data, "split": split, "method": method, "settings": settings}
    where = {"order": order, "view": view, "judge": "svm", "budget": budget}
    scores = {
        "accuracy": float(RNG.uniform()),
        "recall": 0.5,
        "auc": float(RNG.uniform()),
        "is_converged": True,
    }
    return (
        names
        | where
        | scores
        | {"n_pool": 75, "seconds": 0.5, "compile_seconds": 0.0, "judge_seconds": 0.0}
        | changes
    )


def cells(method, orders=1, **names):
    return [
        cell(method, split=split, budget=budget, order=order, **names)
        for split in range(2)
        for order in range(orders)
        for budget in BUDGETS
    ]


COMPARISON = [*cells("random", 3), *cells("dual"), *cells("dual_wo"), *cells("dual_paper"), *cells("ted")]
ABLATION = [cell("dual_paper", split=split, settings="beta=0.0") for split in range(2)]
SENSITIVITY = [
    cell(method, split=split, settings=f"{name}={value}")
    for method in ("dual", "dual_paper")
    for split in range(2)
    for name in ("alpha", "beta", "gamma", "K")
    for value in (1, 10)
]
MAP = {
    "kind": "map",
    "protocol": "fair",
    "data": "iris",
    "places": {view: RNG.normal(size=(30, 2)).tolist() for view in ("raw", "latent")},
    "picks": {"dual": [0, 4, 9], "kmeans": [1, 2, 3]},
    "classes": (np.arange(30) % 3).tolist(),
}
GRID = [
    record
    for view in ("raw", "latent")
    for record in (
        *cells("random", 20, protocol="paper", view=view),
        *(
            r
            for p in range(16)
            for r in cells("dual_paper", settings=f"p_q={p},p_Rq=1", protocol="paper", view=view)
        ),
    )
]


@pytest.fixture
def out(tmp_path):
    (tmp_path / "records").mkdir()
    return tmp_path


def fill(out, records, name="a.jsonl"):
    for record in records:
        append(out / "records" / name, record)


def names(paths):
    return {path.stem for path in paths}


def test_all_figures_of_the_fair_protocol_are_drawn_from_its_records(out):
    fill(out, [*COMPARISON, *ABLATION, *SENSITIVITY, MAP])

    written = report(out, ALL)

    assert names(written) == {
        *(f"fair-{name}-{metric}" for name in ("gains", "ranks") for metric in ("accuracy", "auc")),
        *("fair-figure-2-accuracy", "fair-figure-3-auc", "fair-figure-4-ablation", "fair-figure-5-map"),
        *("fair-figure-6-sensitivity", "fair-seconds", "summary"),
    }
    assert all(path.is_file() for path in written)


def test_only_the_figures_that_are_asked_for_are_drawn(out):
    fill(out, [*COMPARISON, MAP])

    assert names(report(out, {"5"})) == {"fair-figure-5-map", "summary"}


def test_the_grid_is_drawn_beside_random_in_both_views_and_never_among_the_methods(out):
    fill(out, [*COMPARISON, *GRID])

    written = names(report(out, {"2"}))

    assert {"paper-figure-2-accuracy-raw", "paper-figure-2-accuracy-latent"} <= written
    assert {name for name in written if name.startswith("paper")} <= {
        f"paper-figure-2-accuracy-{v}" for v in ("raw", "latent")
    }
    assert "p_q" not in (out / "summary.md").read_text()


def test_a_grid_that_was_cut_off_is_not_drawn_yet(out):
    fill(out, GRID[:-30])

    assert names(report(out, {"2"})) == {"paper-figure-2-accuracy-raw", "summary"}


def test_a_data_set_that_only_random_has_been_through_says_nothing_of_the_others():
    begun = [*COMPARISON, *cells("random", 3, data="wine")]

    assert {block[0] for block in comparable(standings(begun)).blocks} == {"iris"}
    assert comparable(standings(cells("random", 3))).methods == ("random",)


def test_what_sixteen_draws_give_is_counted_alike_for_cells_and_for_random():
    here = [record for record in GRID if record["view"] == "raw"]

    lines = {style.group: line for style, line in figures.freedom(here, "accuracy", "raw").items()}

    runs = np.array(
        [
            [
                [r["accuracy"] for r in here if (r["split"], r["settings"]) == (s, f"p_q={p},p_Rq=1")]
                for p in range(16)
            ]
            for s in range(2)
        ]
    )
    best = [of_split[of_split.mean(axis=1).argmax()] for of_split in runs]
    np.testing.assert_allclose(lines["best of 16 cells, a split"], np.mean(best, axis=0))
    np.testing.assert_allclose(lines["mean of 16 cells"], runs.mean(axis=(0, 1)))
    assert lines["best of 16 random orders"].mean() > lines["random, mean"].mean()


def test_the_summary_has_the_numbers_of_the_records(out):
    fill(out, [record | {"accuracy": 0.25 if record["method"] == RANDOM else 0.5} for record in COMPARISON])

    report(out, {"2"})

    rows = [line.split(" | ") for line in (out / "summary.md").read_text().splitlines()]
    (ted,) = [row for row in rows if row[0] == "| ted" and "+25.00" in row]
    assert ted[1:] == ["50.0 ± 0.0", "+25.00", "2.5", "2.5", "3", "3-0 |"]


def test_compressed_records_and_doubled_ones_count_once(out):
    fill(out, COMPARISON)
    lines = "".join(json.dumps(record) + "\n" for record in COMPARISON)
    (out / "records" / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))

    report(out, {"2"})

    assert f"0 of {len(COMPARISON)} stopped" in (out / "summary.md").read_text()


def test_what_was_left_out_and_what_did_not_converge_is_told(out):
    skipped = {
        "kind": "skipped",
        "protocol": "fair",
        "data": "iris",
        "method": "llr",
        "settings": "",
        "reason": "slow",
    }
    fill(out, [*COMPARISON[:-1], COMPARISON[-1] | {"is_converged": False}, skipped])

    report(out, {"2"})

    text = (out / "summary.md").read_text()
    assert "- iris: llr (slow)" in text
    assert f"1 of {len(COMPARISON)} stopped at the cap on iterations." in text
    assert "| iris, raw | 37: 7% |" in text


def test_a_folder_without_records_says_what_to_do(out):
    with pytest.raises(ValueError, match="holds no records"):
        report(out, ALL)


def test_the_map_shows_each_row_once_and_marks_the_picks():
    figure = figures.picks_map(MAP)

    for axes, picks in zip(figure.axes, (*MAP["picks"].values(), *MAP["picks"].values()), strict=True):
        sizes = [len(dots.get_offsets()) for dots in axes.collections]
        assert (sum(sizes[::2]), sum(sizes[1::2])) == (30, len(picks))


def test_settings_are_compared_split_by_split_with_the_default_of_the_same_program(out):
    scores = {"alpha=1.0": 0.5, "alpha=0.1": 0.75, "beta=1.0": 0.5, "K=2": 0.25}
    varied = [
        cell("dual", split=split, settings=text, accuracy=score + 0.1 * split * (text == "alpha=0.1"))
        for text, score in scores.items()
        for split in range(2)
    ]
    fill(out, [*COMPARISON, *varied])

    report(out, {"6"})

    rows = [line for line in (out / "summary.md").read_text().splitlines() if line.startswith("| DUAL | ")]
    assert "| DUAL | alpha=0.1 | 0.800 | +0.300 ± 0.050 |" in rows
    assert "| DUAL | K=2 | 0.250 | -0.250 ± 0.000 |" in rows
    assert any("default, trained alone" in row for row in rows)
