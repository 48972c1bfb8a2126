"""``dual-jax reproduce``: the paper's experiments, from the data sets to the figures."""

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dual_jax.cli.options import (
    NO_CACHE,
    add_common,
    check_results,
    do_jobs,
    keep_compiled_programs,
    listed,
    seed_number,
)
from dual_jax.data.errors import InputError

if TYPE_CHECKING:
    from dual_jax.evaluation.paper.jobs import Job
    from dual_jax.evaluation.paper.protocols import Protocol
    from dual_jax.evaluation.paper.study import Study

FIGURES = ("2", "3", "4", "5", "6")
QUICK, CHECK = "quick", "check"
LIMIT = 12.0  # minutes

_REPRODUCE = (
    "Run the experiments of the paper and draw their figures. Records are kept in OUT/records, a line a "
    "result; what is there is not run again, so a run can be stopped, and started in pieces."
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("reproduce", help="run the paper's experiments", description=_REPRODUCE)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="the folder of records, figures and tables")
    add(
        "--figure",
        default="all",
        metavar="N,...",
        help="2 accuracy, 3 AUC, 4 ablation, 5 map, 6 sensitivity, all (default); check: the released recipe "
        "on the released data set, unscaled",
    )
    add("--data", metavar="NAME,...", help="only these of the protocol's data sets")
    add("--methods", metavar="NAME,...", help="only these methods")
    add(
        "--protocol",
        choices=("fair", "paper"),
        default="fair",
        help="fair (default): one default for all data; paper: DUAL's weights chosen on the test "
        "set, beside random with the same freedom",
    )
    add("--quick", action="store_true", help="three small sets without files, two splits, a dozen methods")
    add("--draw-only", action="store_true", help="run nothing, draw what is in the records")
    add(
        "--limit",
        type=float,
        default=LIMIT,
        metavar="MINUTES",
        help="leave a method out of a data set where its picking would take longer; default: %(default)s",
    )
    add("--seed", type=seed_number, default=0, help="default: %(default)s")
    add_common(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, command: str) -> None:
    """Check the whole request, then run the experiments and draw them."""
    figures = listed("--figure", args.figure, (*FIGURES, "all", CHECK))
    asked = set(FIGURES) if "all" in figures else set(figures)
    protocol_name = _protocol(args, set(figures))
    asked = {"2"} if protocol_name == CHECK else asked
    if not args.limit > 0:
        raise InputError(f"--limit {args.limit} leaves every method out: give minutes above 0")
    check_results(args.out, ("summary.md", "*.png"))
    from dual_jax.plots.maps import check_suffix

    check_suffix("figure.png")
    if args.draw_only:
        from dual_jax.evaluation.records import read_folder

        if args.data or args.methods:
            raise InputError("--draw-only draws all records of the folder: leave --data and --methods out")
        if not read_folder(args.out / "records"):
            raise InputError(f"{args.out / 'records'} holds no records: run without --draw-only first")
        _draw(args.out, asked)
        return
    if not os.environ.get(NO_CACHE):
        keep_compiled_programs()
    from dual_jax.data.datasets import load
    from dual_jax.evaluation.paper.protocols import PROTOCOLS
    from dual_jax.evaluation.paper.study import open_study

    protocol = PROTOCOLS[protocol_name]
    names = listed("--data", args.data, protocol.data) if args.data else protocol.data
    methods = _methods(protocol, args.methods)
    folder = args.out / "records"
    studies = [open_study(protocol, load(name, args.data_dir), folder, args.seed) for name in names]
    _do(args, studies, asked, methods)


def _protocol(args: argparse.Namespace, asked: set[str]) -> str:
    """Return the protocol that the options name together."""
    if CHECK in asked and (len(asked) > 1 or args.quick or args.draw_only or args.protocol != "fair"):
        raise InputError(
            "--figure check stands alone: leave out other figures, --quick, --protocol, --draw-only"
        )
    if args.quick and args.protocol != "fair":
        raise InputError(f"--quick is a small run of protocol fair: leave it out for {args.protocol}")
    if args.protocol == "paper" and not asked <= {"2", "3", "all"}:
        raise InputError("protocol paper has figures 2 and 3: ask for those, or for protocol fair")
    return CHECK if CHECK in asked else QUICK if args.quick else args.protocol


def _methods(protocol: "Protocol", text: str | None) -> list[str]:
    """Return the methods that are asked for, all by default, and random, which they are compared with."""
    from dual_jax.evaluation.standings import RANDOM

    known = dict.fromkeys(entry.method for entry in protocol.entries())
    if not protocol.methods:
        known["dual_paper"] = None  # the grid
    elif protocol.ablated:
        known |= {"dual_wo": None, "dual_paper": None}
    return [RANDOM, *(listed("--methods", text, tuple(known)) if text else known)]


def _do(
    args: argparse.Namespace, studies: Iterable["Study"], asked: set[str], methods: Sequence[str]
) -> None:
    """Say what the work will take, do it, and draw what it gave."""
    from dual_jax.estimators.progress import span
    from dual_jax.evaluation.paper.jobs import jobs

    (args.out / "records").mkdir(parents=True, exist_ok=True)
    print("Looking what is left to do, and what it will take; large data sets need a small run for that.")
    work: list[Job] = []
    for study in studies:
        own = jobs(study, asked, methods.__contains__, 60.0 * args.limit)
        print(f"  {study.data.name:<14} {len(own):>4} pieces, about {span(sum(job.seconds for job in own))}")
        work += own
    print(f"In all about {span(sum(job.seconds for job in work))} on two cores.", flush=True)
    do_jobs(work)
    _draw(args.out, asked)


def _draw(out: Path, asked: set[str]) -> None:
    """Draw from the records, and name the files."""
    from dual_jax.evaluation.paper.report import report

    for path in report(out, asked):
        print(path)
