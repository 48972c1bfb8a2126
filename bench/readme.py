"""Write the numbers of `bench/results/` into the pages that show them.

    python -m bench.readme            # write
    python -m bench.readme --check    # exit status 1 if a page differs from the results

A table is the text between ``<!-- bench: NAME -->`` and ``<!-- end -->``; nothing else of a page changes.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.default import TABLES as OF_DEFAULT
from bench.kinds import TABLES as OF_KINDS
from bench.step import EAGER
from dual_jax.data.storage import write_atomically
from dual_jax.evaluation.figures import shown
from dual_jax.evaluation.paper.report import by_protocol
from dual_jax.evaluation.paper.tables import comparable, compared
from dual_jax.evaluation.records import read, read_folder
from dual_jax.evaluation.standings import by_data, complete, firsts, gains, mean_ranks, standings, wins
from dual_jax.plots.page import markdown

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGES = (
    ROOT / "README.md",
    ROOT / "bench" / "README.md",
    RESULTS / "quality" / "README.md",
    RESULTS / "quality" / "embeddings.md",
    ROOT / "dual_jax" / "methods" / "README.md",
    ROOT / "dual_jax" / "views" / "README.md",
)
PLACE = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def results(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def milliseconds(value: float) -> str:
    return f"{1e3 * value:.1f} ms"


def mebibytes(value: float) -> str:
    return f"{value:.0f} MiB" if value < 1000 else f"{value / 1024:.1f} GiB"


def kmeans(name: str = "kmeans") -> str:
    """Return our k-means and scikit-learn's."""
    rows = [
        (
            what,
            seconds(r["ours_s"]),
            seconds(r["scikit_learn_s"]),
            f"{r['time_ratio']:.2f}",
            f"{r['inertia_ratio']:.4f}",
        )
        for what, r in results(name)["records"].items()
    ]
    return markdown(("k-means", "dual_jax", "scikit-learn", "time, ratio", "inertia, ratio"), rows)


def methods() -> str:
    """Return our methods and those of other libraries."""
    goal = {
        "facility": ("similarity", "{:.1f}"),
        "kcenter": ("radius", "{:.3f}"),
        "kmedoids": ("mean_distance", "{:.4f}"),
    }
    rows = []
    for r in results("methods")["records"]:
        name, form = goal.get(r["method"], ("mean_distance", "{:.4f}"))
        what = f"{r['method']}, {r['n_select']} of {r['n']:,} x {r['d']}"
        if "seconds" in r:
            costs = (seconds(r["seconds"]), mebibytes(r["peak_mib"]), f"{form.format(r[name])} ({name})")
        else:
            costs = (r.get("failed", "not installed"), "", "")
        rows.append((what, f"{r['library']} {r.get('version', '')}".strip(), *costs))
    return markdown(("method", "library", "time", "memory", "objective"), rows)


def method_cost() -> str:
    """Return time and memory of every entry of METHODS."""
    rows = [
        (
            r["entry"],
            f"{r['n_select']} of {r['n']:,} x {r['d']}",
            seconds(r["compile_s"]) if "compile_s" in r else r["failed"],
            seconds(r["run_s"]) if "run_s" in r else "",
            mebibytes(r["peak_mib"]) if "peak_mib" in r else "",
        )
        for r in results("method_cost")["records"]
    ]
    return markdown(("entry", "pool", "compile", "run", "peak memory"), rows)


def plan_check() -> str:
    """Return the plan relative to the compiler's bytes and to the clock."""
    rows = []
    for r in results("plan")["records"]:
        stages = r["stages"].values()
        shown = [
            f"{min(of):.2f} to {max(of):.2f}"
            for of in ([s["bytes_ratio"] for s in stages], [s["seconds_ratio"] for s in stages])
        ]
        what = f"{r['n']:,} x {r['d']}, m = {r['m']:,}, {r['objective']}"
        rows.append((what, *shown, f"{r['fit_seconds_ratio']:.2f}"))
    head = ("pool", "bytes of a stage, plan / compiler", "seconds of a step, plan / clock", "of the fit")
    return markdown(head, rows)


def tpu() -> str:
    """Return the largest pool that each TPU topology holds, and how far the plan is from the compiler."""
    import dual_jax as dj
    from bench.tpu import settings

    rows = []
    for r in results("tpu")["records"]:
        config = settings(r["objective"], r["topology"], r["n"])
        step = dj.plan(r["n"], r["d"], config, r["topology"]).stages["train"]
        rows.append(
            (
                f"{r['topology']}, {r['objective']}",
                f"{r['n']:,}",
                f"{r['bytes'] / 1e9:.1f} GB",
                f"{r['bytes'] / r['memory_bytes']:.0%}",
                f"{r['temporary_bytes'] / step.arrays['C']:.0%}",
                f"{step.n_bytes / r['bytes']:.2f}",
            )
        )
    head = ("topology", "largest n", "a chip", "of its memory", "temporaries / C", "plan / compiler")
    return markdown(head, rows)


def passes() -> str:
    """Return what the compilers of a GPU and of a TPU say of DUAL's programs."""
    rows = []
    for r in results("passes")["records"]:
        name = {"step": "a step", "chunk": "a step of the fit's loop"}[r["program"]]
        rows.append(
            (
                f"{r['devices']}, {r['objective']}, n = {r['n']:,}, {name}",
                str(r["n_blocks"]),
                f"{r['passes']:.1f}",
                f"{r['kernels']:,}",
                f"{r['temporaries_of_c']:.2f}",
                f"{r['cycles_per_register']:.0f}" if "cycles_per_register" in r else "",
                f"{r['compile_cpu_s']:.0f} s",
            )
        )
    head = ("program", "blocks", "passes", "kernels", "temporaries / C", "cycles a register", "compile, CPU")
    return markdown(head, rows)


def grid() -> str:
    """Return the time of a grid of weights as one program, and of the same runs in other ways."""
    if not (RESULTS / "grid.json").exists():
        return "Not measured yet."
    rows = []
    for r in results("grid")["records"]:
        ways = [r.get(way, {}) for way in ("vmapped", "programs_of_one", "one_after_another", "pytorch")]
        times, least = [way.get("seconds") for way in ways], ways[0]["seconds"]
        shown = [f"{seconds(time)} ({time / least:.1f})" if time else "-" for time in times]
        same = f"{r['same_picks']:.1%}" if "same_picks" in r else "-"
        rows.append((f"{r['cells']} cells of {r['n']:,} x {r['d']}", *shown, same))
    head = ("grid", "one vmapped program", "programs of one", "one after another", "PyTorch", "same picks")
    return markdown(head, rows)


def step(name: str = "step") -> str:
    """Return a step, its floor, the network's part, and PyTorch: eager, and the quickest."""
    rows = []
    for r in results(name)["records"]:
        faster = r.get("times_faster") or {}
        best = min(faster, key=lambda peer: faster[peer], default="")
        rows.append(
            (
                f"{r['objective']}, n = {r['n']:,}",
                milliseconds(r["ours"]["median_s"]),
                milliseconds(r["ours"]["network_s"]),
                milliseconds(r["floor_s"]),
                f"{r['times_floor']:.1f}",
                f"{faster[EAGER]:.1f}" if EAGER in faster else "",
                f"{faster[best]:.1f} ({best})" if best else "",
                f"{r['ours']['memory_bytes'] / (12 * r['m'] * r['n']):.2f}",
            )
        )
    head = (
        "full C",
        "a step",
        "the network alone",
        "floor",
        "times the floor",
        f"times faster than {EAGER}",
        "than the quickest PyTorch",
        "memory / 12 m n",
    )
    return markdown(head, rows)


def devices() -> str:
    """Return a step's time and exchange on several devices."""
    rows = [
        (
            f"{r['scaling']}, {r['n']:,} x {r['m']:,}",
            str(r["devices"]),
            milliseconds(r["median_s"]) if "median_s" in r else r["failed"],
            f"{r['exchanged_bytes'] / 1e6:.2f} MB" if "exchanged_bytes" in r else "",
            f"{4 * r['n'] * r['m'] / 1e6:.0f} MB",
        )
        for r in sorted(results("devices")["records"], key=lambda r: (r["scaling"], r["devices"]))
    ]
    return markdown(("scaling, C", "devices", "a step", "exchanged", "C"), rows)


def start() -> str:
    """Return the time before a result: imports, tracing, compiling."""
    found = results("start")
    imports = found["imports"]
    rows = [
        ("import jax, flax.nnx, optax", seconds(imports["base_s"])),
        ("import dual_jax", f"{seconds(imports['ours_s'])}, {imports['ratio']:.2f} times that"),
    ]
    for r in found["records"]:
        rows += [
            (f"{what}, a pool of {r['n']:,} x {r['d']:,}", seconds(r[name]))
            for what, name in (("trace", "trace_s"), ("compile", "compile_s"), ("a fit, compiled", "fit_s"))
        ]
    return markdown(("what", "time"), rows)


def paper() -> str:
    """Return the best methods on the paper's data sets: its entries, baselines and the five best."""
    records = by_protocol(read_folder(RESULTS / "reproduction" / "records"))["fair"]
    table = complete(comparable(standings(compared(records))))
    points, counts, best = 100 * by_data(table, gains(table)), wins(table), firsts(table.values)
    ranks = mean_ranks(by_data(table, table.values))
    order = sorted(range(len(ranks)), key=lambda i: -points[i].mean())
    named = {"dual", "dual_wo", "dual_paper", "medoids", "kmeans", "random"}
    rows = [
        (
            shown(table.methods[i]),
            f"{points[i].mean():+.2f}",
            f"{ranks[i]:.1f}",
            f"{(points[i] > 0).sum()} of {len(table.data)}",
            "-".join(map(str, counts[i])),
            f"{best[i]} of {len(table.blocks)}",
        )
        for place, i in enumerate(order)
        if place < 5 or table.methods[i] in named
    ]
    head = (
        "method",
        "points over random",
        f"mean rank of {len(ranks)}",
        "data sets above random",
        "budgets won-lost",
        "best at",
    )
    return markdown(head, rows)


def large() -> str:
    """Return the cost of large pools, each piece in a separate process."""
    from bench.large import FEATURES, N_SELECT

    words = {
        "greedy": f"the exact greedy, {N_SELECT:,} picks, compiled",
        "kmeans": "20 iterations of k-means, K = 100, compiled",
        "select": f"`dual-jax select`, {N_SELECT:,} picks, from file to file",
        "stream": f"`dual-jax select --stream`, {N_SELECT:,} picks, the pool left on disk",
    }
    rows = [
        (
            f"{words[kind]}, {r['n']:,} x {FEATURES}",
            seconds(r["seconds"]) if r["seconds"] < 100 else f"{r['seconds'] / 60:.1f} min",
            mebibytes(r["peak_mib"]),
        )
        for r in results("large")["records"]
        if (kind := r["piece"].partition("_")[0]) in words and "seconds" in r
    ]
    return markdown(("what", "time", "peak memory of the process"), rows)


def mnist() -> str:
    """Return accuracy on MNIST's test set from picks of its 60,000 training images."""
    (of_mnist,) = (r for r in results("large")["records"] if r["piece"].startswith("mnist"))
    lines: dict[str, dict[str, str]] = {}
    for r in of_mnist["accuracy"]:
        percents = 100 * np.array(r["accuracy"])
        spread = f" ± {percents.std(ddof=1):.1f}" if len(percents) > 1 else ""
        text = f"{percents.mean():.1f}{spread}"
        lines.setdefault(f"{r['method']}, {r['judge']}", {})[f"{r['budget']:,} picks"] = text
    head = ("method, classifier", *next(iter(lines.values())))
    return markdown(head, [(name, *line.values()) for name, line in lines.items()])


def embedding() -> str:
    """Return the gain of an embedding."""
    from bench.embedding import table

    return table(read(RESULTS / "embedding.jsonl.gz"))


def spaces() -> str:
    """Return what text and categories give beside numbers, of the encoder of today."""
    from bench.columns import table

    shown = ("random", "numbers", "encoder")
    return table([r for r in read(RESULTS / "columns.jsonl") if r["space"] in shown])


def spectra() -> str:
    """Return what the log spectrum gives on series."""
    from bench.embedding import table

    records = read(RESULTS / "embedding.jsonl.gz")
    return table([r for r in records if r["data"] == "semg" and r["method"] in ("random", "medoids")])


def choices() -> str:
    """Return the results of ways to choose a dictionary, and of a full C."""
    from bench.dictionary import table

    return table(read(RESULTS / "dictionary_choice.jsonl"))


def quality() -> str:
    """Return the short table of the tournament."""
    from bench.quality import in_order, of_capped, overview

    return overview(of_capped(in_order(RESULTS / "quality")))


def ladder() -> str:
    """Return the differences of the settings that were chosen from."""
    from bench.quality import differences, in_order

    return differences(in_order(RESULTS / "quality" / "ladder"))


TABLES: dict[str, Callable[[], str]] = {
    "quality": quality,
    "ladder": ladder,
    **OF_KINDS,
    "choices": choices,
    **OF_DEFAULT,
    "embedding": embedding,
    "spaces": spaces,
    "spectra": spectra,
    "large": large,
    "mnist": mnist,
    "paper": paper,
    "grid": grid,
    "kmeans": kmeans,
    "kmeans_gpu": partial(kmeans, "kmeans_gpu"),
    "methods": methods,
    "method_cost": method_cost,
    "plan": plan_check,
    "tpu": tpu,
    "passes": passes,
    "step": step,
    "step_gpu": partial(step, "step_gpu"),
    "devices": devices,
    "start": start,
}


def filled(page: str) -> str:
    """Return a page with its tables made again."""
    return PLACE.sub(lambda place: f"{place[1]}{TABLES[place[2]]()}\n{place[3]}", page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say which pages differ")
    check = parser.parse_args().check
    stale = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    for page in stale:
        print(f"{page.relative_to(ROOT)} differs from bench/results")
        if not check:
            write_atomically(page, filled(page.read_text()))
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
