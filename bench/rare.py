"""What meets rare classes sooner: spaces, pickers and learning on pools with a long tail, and what they cost.

``python -m bench.rare --sets digits --seeds 0 1 2`` draws from a set a pool whose classes shrink evenly in
their logarithm from the largest to the smallest (MNIST: 1,400 to 14 images, 3,476 in all), in another order
of the classes for each seed. It learns the code, picks, and judges on a test set with as many rows of each
class: classes met, and the mean recall over classes of a linear SVM on the code. ``--balanced`` does the same
with the even splits of `bench.view_sets`. Labels only judge. Runs that the file holds are not done again;
``--table`` prints the file.

Rule, written down before the first run. A candidate is a picker in the product's code, judged there, or
`medoids` in another space, judged in that space. The score is the mean recall over all budgets. The candidate
with the best score on the long tails of digits, seeds 0 to 9, is judged again on MNIST, seeds 0 to 4, and
animals, seeds 0 to 2, against `medoids` in the code. It is a winner if it is at least 1 point and two
standard errors better on MNIST, and not below on animals. A winner becomes the default if its mean over the
budgets on even splits of digits, mnist_500 and animals is at most 0.3 points
below; else it is an option, or only reported.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import pairwise_distances

from bench import distances
from bench.long_tails import LEARNT, SETS, SPACES, Data, even, long_tail, spaces
from bench.views import SMALL, Space, svm
from dual_jax.evaluation import records
from dual_jax.methods import METHODS

BUDGETS = (10, 20, 35, 66, 100)
N_RANDOM = 5  # draws a seed
OUT = Path("bench/results/rare.jsonl")


def by_method(name: str, **knobs: Any) -> Callable[[np.ndarray, int, tuple[int, ...]], list[np.ndarray]]:
    """Return a method of the registry as a picker: picks for each budget."""

    def pick(x: np.ndarray, seed: int, budgets: tuple[int, ...]) -> list[np.ndarray]:
        def once(n: int) -> np.ndarray:
            return np.asarray(METHODS[name](jax.random.key(seed), jnp.asarray(x), n, **knobs).indices)

        if METHODS[name].is_nested_for(len(x), max(budgets), knobs):
            order = once(max(budgets))
            return [order[:n] for n in budgets]
        return [once(n) for n in budgets]

    return pick


def by_cost(cost: Callable[[np.ndarray], np.ndarray], scale: float = 0, far: int = 0) -> Callable[..., Any]:
    """Return the greedy of `bench.distances` as a picker; ``scale`` is a power of each row's local scale."""

    def pick(x: np.ndarray, seed: int, budgets: tuple[int, ...]) -> list[np.ndarray]:
        order = distances.greedy(cost(x), max(budgets), distances.scales(x) ** scale, far)
        return [order[:n] for n in budgets]

    return pick


def root(x: np.ndarray) -> np.ndarray:
    """Return the product's cost: the root of the distance."""
    return pairwise_distances(x) ** 0.5


def by_local_scale(x: np.ndarray) -> np.ndarray:
    scale = distances.scales(x) ** 0.5
    return (pairwise_distances(x) / scale[:, None] / scale) ** 0.5


PICKERS: dict[str, Callable[..., list[np.ndarray]]] = {
    "medoids": by_method("medoids"),
    "kmeans": by_method("kmeans"),
    "kcenter": by_method("kcenter"),
    "typiclust": by_method("typiclust"),
    "plain": by_cost(root),
    "power 1": by_cost(pairwise_distances),
    "power 2": by_cost(lambda x: pairwise_distances(x) ** 2),
    "power 4": by_cost(lambda x: pairwise_distances(x) ** 4),
    "scale 1": by_cost(root, scale=1),
    "scale 3": by_cost(root, scale=3),
    "local scale": by_cost(by_local_scale),
    "far 4": by_cost(root, far=4),
    "far 2": by_cost(root, far=2),
    "geodesics": by_cost(lambda x: distances.geodesics(x) ** 0.5),
    "geodesics, power 2": by_cost(lambda x: distances.geodesics(x) ** 2),
    "spreading": by_cost(lambda x: distances.by_spreading(distances.weighted(x))),
}


def measure(
    data: Data,
    made: dict[str, Space],
    about: dict[str, Any],
    budgets: tuple[int, ...],
    picker: str,
    picked: str,
) -> list[dict[str, Any]]:
    """Return a record for each budget and each space that is judged in: that of the picks, and the code."""
    seed, found = about["seed"], []
    if picker == "random":
        orders = [np.random.default_rng([seed, i]).permutation(len(data.y)) for i in range(N_RANDOM)]
        drawn = [[order[:n] for order in orders] for n in budgets]
    else:
        drawn = [[picks] for picks in PICKERS[picker](made[picked].pool, seed, budgets)]
    for judged in dict.fromkeys((picked, "code")):
        for n, draws in zip(budgets, drawn, strict=True):
            recalls = [_recall(svm(made[judged], picks, data.y), data.y_test) for picks in draws]
            met = np.mean([len(set(data.y[picks])) for picks in draws])
            where = {"picker": picker, "picked": picked, "judged": judged, "budget": n}
            found.append(
                about | where | {"met": round(float(met), 2), "recall": round(float(np.mean(recalls)), 2)}
            )
    return found


def _recall(guessed: np.ndarray, y: np.ndarray) -> float:
    return 100 * float(np.mean([(guessed[y == label] == label).mean() for label in np.unique(y)]))


def table(found: list[dict[str, Any]]) -> str:
    """Return means over seeds: recall and its points over `medoids` in the code, classes met, recall."""
    runs: dict[Any, dict[int, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    for one in found:
        place = tuple(one[word] for word in ("set", "picker", "picked", "judged"))
        runs[place][one["seed"]][one["budget"]] = one["met"], one["recall"]
    lines = []
    for (name, picker, picked, judged), of in runs.items():
        base = runs[name, "medoids", "code", "code"]
        seeds = [seed for seed in of if seed in base]
        own, other = (
            np.array([[pair for _, pair in sorted(some[seed].items())] for seed in seeds])
            for some in (of, base)
        )
        over = (own - other)[:, :, 1].mean(axis=1)
        error = over.std(ddof=1) / len(over) ** 0.5 if len(over) > 1 else np.nan
        met, recall = (" ".join(f"{value:5.1f}" for value in own[:, :, i].mean(axis=0)) for i in (0, 1))
        where = picked if picked == judged else f"{picked} -> {judged}"
        score = f"{own[:, :, 1].mean():5.1f} {over.mean():+5.1f} ± {error:3.1f}"
        lines.append(f"{name:15} {picker:18} {where:28} {len(over):2} {score} | {met} | {recall}")
    return "\n".join(sorted(lines))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="mnist", help="of " + ", ".join(SETS))
    parser.add_argument("--balanced", action="store_true", help="even splits of sets of bench.view_sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    parser.add_argument("--pairs", help="PICKER@SPACE, with semicolons; default: all candidates")
    parser.add_argument("--cache", type=Path, help="a folder that keeps what is learnt")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    pairs = [
        ("random", "code"),
        *((p, "code") for p in PICKERS),
        *(("medoids", s) for s in (*SPACES, *LEARNT)),
    ]
    if args.pairs:
        pairs = [tuple(word.split("@")) for word in args.pairs.split(";")]
    for name in args.sets.split(",") * (not args.table):
        for seed in args.seeds:
            label = f"{name}, even" if args.balanced else name
            done = {
                (r["picker"], r["picked"])
                for r in records.read(args.out)
                if (r["set"], r["seed"]) == (label, seed)
            }
            if not (left := [pair for pair in pairs if pair not in done]):
                continue
            data = even(name, seed) if args.balanced else long_tail(name, seed)
            learnt = tuple(how for how in LEARNT if any(picked == how for _, picked in left))
            kept = args.cache / f"{label}-{seed}" if args.cache else None
            made = spaces(data, seed, kept, learnt)
            budgets = SMALL if args.balanced else BUDGETS
            for pair in left:
                for record in measure(data, made, {"set": label, "seed": seed}, budgets, *pair):
                    records.append(args.out, record)
    print(table(records.read(args.out)))


if __name__ == "__main__":
    main()
