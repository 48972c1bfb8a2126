"""How far a few labels go: picks in the learnt code of MNIST, and guesses from their labels.

``python -m bench.spreading`` learns the code of the images (``--data mnist_test`` has 10,000, ``mnist``
60,000), picks medoids in it for each budget, and guesses the label of every other image from those of the
picks (`dual_jax.evaluation.guesses`): by spreading, by the linear classifier, and by the one of them that
leaving labels out chooses. Of ``mnist`` the published test set is guessed too: each image by the votes of its
ten nearest images of the pool. Labels of images that are not picked only judge. Runs that the file holds are
not done again.
"""

import argparse
import resource
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import NearestNeighbors

from bench import record
from dual_jax.data import datasets
from dual_jax.evaluation.guesses import Guesses, guess_classes
from dual_jax.methods import METHODS
from dual_jax.numerics.scaling import apply, fit_scaler
from dual_jax.numerics.spreading import N_NEIGHBORS
from dual_jax.views import encoder

BUDGETS = (10, 50, 100)
TEST = {"mnist": "mnist_test"}  # the published test set of a pool
GUESSED = ("chosen", "spreading", "linear")
OUT = Path("bench/results/spreading.json")


class Codes(NamedTuple):
    """Rows of the pool and of the test set, which may have none, in the learnt code, and their classes."""

    pool: np.ndarray
    y: np.ndarray
    test: np.ndarray
    y_test: np.ndarray


def cpu_seconds() -> float:
    """Return the seconds of processor that this process has used."""
    return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])


@cache
def codes(name: str, seed: int, data_dir: str | None) -> tuple[Codes, float]:
    """Return the code of a data set as `select --embedding views` learns it, and the CPU seconds of that."""
    started = cpu_seconds()
    pool, rest = _images(name, data_dir), _images(TEST[name], data_dir) if name in TEST else None
    key = jax.random.fold_in(jax.random.key(seed), 1)
    learnt = encoder.learn(key, pool[0], kind="images")
    own = np.asarray(encoder.encode(learnt, pool[0]))
    other = own[:0] if rest is None else np.asarray(encoder.encode(learnt, rest[0]))
    scaler = fit_scaler(own, "standard")
    scaled = [np.asarray(apply(scaler, rows)) if len(rows) else rows for rows in (own, other)]
    y_test = pool[1][:0] if rest is None else rest[1]
    return Codes(scaled[0], pool[1], scaled[1], y_test), cpu_seconds() - started


def _images(name: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    data = datasets.load(name, data_dir)
    return data.x.reshape(-1, *datasets.sample_shape(name)), data.y


def on_test(found: Guesses, rows: Codes) -> float:
    """Return the accuracy on the test set: votes of neighbours, a vote being worth its confidence."""
    away, near = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(rows.pool).kneighbors(rows.test)
    votes = np.exp(-((away / np.maximum(away[:, -1:], 1e-12)) ** 2)) * found.confidence[near]
    sums = np.einsum("mk,mkc->mc", votes, np.eye(rows.y.max() + 1)[found.classes[near]])
    return float((sums.argmax(axis=1) == rows.y_test).mean())


def measure(rows: Codes, picks: np.ndarray) -> dict[str, Any]:
    """Return how good the guesses from the labels of some picks are, in percent."""
    labels = np.full(len(rows.y), -1)
    labels[picks] = rows.y[picks]
    names, labels[picks] = np.unique(labels[picks], return_inverse=True)
    is_open = labels < 0

    def guess(method: str | None) -> Guesses:
        found = guess_classes(rows.pool, labels, len(names), method=method)
        return found._replace(classes=names[found.classes])

    found = {method: guess(None if method == "chosen" else method) for method in GUESSED}
    right = {method: (own.classes == rows.y)[is_open] for method, own in found.items()}
    chosen = found["chosen"]
    surest = np.argsort(-chosen.confidence[is_open], kind="stable")[: int(is_open.sum()) // 2]
    return {
        "n_classes_met": len(names),
        "left_out": chosen.left_out._asdict(),
        "chosen": chosen.left_out.better,
        "pool": _percent({method: own.mean() for method, own in right.items()}),
        "surest_half": _percent({"chosen": right["chosen"][surest].mean()})["chosen"],
        "test": _percent({m: on_test(own, rows) for m, own in found.items()}) if len(rows.test) else None,
    }


def _percent(shares: dict[str, float]) -> dict[str, float]:
    return {method: round(100 * float(share), 2) for method, share in shares.items()}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("mnist_test", "mnist", "digits"), default="mnist_test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--method", default="medoids", help="that picks; default: %(default)s")
    parser.add_argument("--data-dir", help="the files of data sets; default: $DUAL_JAX_DATA")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    args = parser.parse_args(argv)
    done = record.kept(args.out, "data", "seed", "method", "n_labels")
    for seed in args.seeds:
        for budget in args.budgets:
            place = args.data, seed, args.method, budget
            if place in done:
                continue
            rows, learning = codes(args.data, seed, args.data_dir)
            started = cpu_seconds()
            picks = METHODS[args.method](jax.random.key(seed), jnp.asarray(rows.pool), budget).indices
            picking, started = cpu_seconds() - started, cpu_seconds()
            about = dict(zip(("data", "seed", "method", "n_labels"), place, strict=True))
            result = {**about, "n_pool": len(rows.y), **measure(rows, np.asarray(picks))}
            seconds = {"learn": learning, "pick": picking, "guess_three_times": cpu_seconds() - started}
            done[place] = result | {"cpu_seconds": {name: round(value, 1) for name, value in seconds.items()}}
            print(done[place], flush=True)
            record.write(args.out, [*done.values()])


if __name__ == "__main__":
    main()
