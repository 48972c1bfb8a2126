"""Picks of every method on three small pools: the evidence that a change of the code changes no pick.

    python -m bench.picks --out before.json                         # at the old commit
    python -m bench.picks --out after.json --against before.json    # at the new one

All methods run at their default settings, with seed 0 and 20 picks; `dual_paper` takes fewer steps. Wine and
iris are standardised, digits are divided by one number. Ten rows of iris are labelled already, and every
fifth row of the digits may not be picked. Exit status 1: some picks differ.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

from bench.record import write
from dual_jax.methods import METHODS

N_SELECT = 20
KNOBS: dict[str, dict[str, Any]] = {"dual_paper": {"pretrain_steps": 300, "steps": 150}}
Case = tuple[np.ndarray, dict[str, np.ndarray]]  # rows and masks


def cases() -> dict[str, Case]:
    """Return the pools, each with the masks that it is picked from with."""
    wine, iris = (StandardScaler().fit_transform(load().data) for load in (load_wine, load_iris))
    digits = load_digits().data[:300]
    digits = (digits - digits.mean(0)) / digits.std()
    return {
        "wine": (wine.astype(np.float32), {}),
        "iris": (iris.astype(np.float32), {"labeled": np.arange(len(iris)) % 15 == 0}),
        "digits": (digits.astype(np.float32), {"candidates": np.arange(len(digits)) % 5 != 0}),
    }


def picks(method: str, case: Case) -> list[int]:
    """Return the picks of a method, best first."""
    x, masks = case
    selection = METHODS[method](jax.random.key(0), x, N_SELECT, **masks, **KNOBS.get(method, {}))
    return np.asarray(selection.indices).tolist()


def differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """Return a line for each method and pool whose picks are not those recorded before."""
    known = {(entry["pool"], entry["method"]): entry["picks"] for entry in before}
    lines = []
    for entry in after:
        old = known.get((entry["pool"], entry["method"]), [])
        pairs = enumerate(zip(old, entry["picks"], strict=False))
        first = next((place for place, (a, b) in pairs if a != b), None)
        if first is not None or len(old) != len(entry["picks"]):
            shared = len({*old} & {*entry["picks"]})
            place = "no record before" if first is None else f"differ from pick {first + 1} on"
            lines.append(f"{entry['pool']}, {entry['method']}: {place}, {shared} rows in common")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="only these")
    parser.add_argument("--pools", nargs="+", choices=cases(), default=list(cases()), help="only these")
    parser.add_argument("--against", type=Path, help="a JSON of before, to compare with")
    args = parser.parse_args()
    records = []
    before = json.loads(args.against.read_text())["records"] if args.against else []
    for pool in args.pools:
        for method in args.methods:
            records.append({"pool": pool, "method": method, "picks": picks(method, cases()[pool])})
            changes = differences(before, records[-1:]) if before else []
            print("\n".join(changes) or f"{pool}, {method}: {records[-1]['picks'][:5]} ...", flush=True)
    write(args.out, records)
    n_changed = len(differences(before, records)) if before else 0
    if before:
        print(f"{n_changed} of {len(records)} differ")
    sys.exit(1 if n_changed else 0)


if __name__ == "__main__":
    main()
