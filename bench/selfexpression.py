"""Does self-expression add to a learnt code? C that rebuilds views, and C as a graph.

``python -m bench.selfexpression --sets digits --splits 0 1 2`` learns the code of a pool of 500 images (295
series of leaves) from that pool alone and makes two attempts. *Views*: coefficients C on the simplex rebuild
two views of each sample from codes of the others, a sample's views sharing one column of C. C and the network
are trained together for as many steps as the network was trained before, the network's own loss going on as
the anchor; the control goes on without C. *Graph*: C, symmetrised, replaces the graph of the ten nearest
neighbours in label spreading, and its geodesics replace distances in the greedy. Two C are tried, that of the
views and one that rebuilds the fixed code. Labels only judge. Runs that the file holds are not done again.

Rule, written down before the first run. Means over the tournament's budgets (classes, two and four times
that, 1/8, 1/4 and 1/2 of the pool) and splits 0 to 2, on digits, mnist_500, animals and leaves. The
tournament's measure is accuracy on the test set by a linear SVM (C = 100), which learns from the picks in the
code. *Views* is kept if on two of the four sets it adds 0.5 points to `medoids` in the product's code: either
by its picks, judged in that code, or by its network in the code, picked and judged there, if that also adds
0.5 points to the control. *Graph* is kept if on two of the four sets C adds 0.5 points of accuracy of label
spreading on the rest of the pool, the picks being the same; or if geodesics of C add 0.5 points by the SVM to
the better one of distances and geodesics of neighbours.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from sklearn.metrics import pairwise_distances

from bench import distances, view_sets
from bench.joint_views import Rows, coefficients, of_fixed, rows, train
from bench.views import Space, joint, svm
from dual_jax.evaluation import records
from dual_jax.methods import METHODS
from dual_jax.views import agreement, encoder
from dual_jax.views.directions import at_unit_length
from dual_jax.views.random_views import ImageChanges

N_PROTOTYPES = 20
FAINTEST = 0.01  # coefficients below that are no edges of the graph
OUT = Path("bench/results/selfexpression.jsonl")


class Made(NamedTuple):
    """A code with another network in it, the network's own code of the pool, and C."""

    code: Space
    network: np.ndarray
    c: np.ndarray


def remade(
    params: agreement.AgreementParams, raw: jax.Array, data: Rows, parts: dict[str, Space], name: str
) -> Made:
    """Return what a network gives, by the statistics of the views, in the place of the product's."""
    flat = data.views.reshape(-1, data.views.shape[2])
    plain = agreement.folded(params.layers, flat)
    pool, test = (at_unit_length(agreement.NETWORK.apply(plain, part)) for part in (data.pool, data.test))
    own = Space(*(np.asarray(at_unit_length(part - pool.mean(axis=0))) for part in (pool, test)))
    return Made(joint(parts | {"network": own}, name), own.pool, np.asarray(coefficients(raw, pool)[0]))


def attempts(
    name: str, number: int
) -> tuple[view_sets.Views, tuple[np.ndarray, ...], Space, dict[str, Made]]:
    """Return a split, the product's code, and what the joint stage and its control make of it."""
    data = view_sets.load(name)
    _, pool, test = data.rows(number)
    learnt = encoder.learn(jax.random.key(number), data.x[pool], kind=data.kind, **data.knobs)
    found = [encoder.features(learnt, data.x[part])._asdict() for part in (pool, test)]
    parts = {word: Space(*(np.asarray(one[word]) for one in found)) for word in found[0]}
    changes = encoder.UPRIGHT if data.knobs.get("flip") else ImageChanges()
    given = rows(learnt, data.x[pool], data.x[test], changes)
    votes = zip(("local", "closed", "network", "raw"), learnt.votes, strict=True)
    words = ",".join(f"{word}:{float(vote):.6f}" for word, vote in votes if vote > 0)
    is_contrast = data.kind == "series"
    first, second, key = jax.random.split(jax.random.key(number), 3)
    fresh = agreement.init_agreement(key, given.pool.shape[1], 0 if is_contrast else N_PROTOTYPES).params
    start = train(first, fresh, given, 0.0, is_contrast)[0]
    made = {
        word: remade(*train(second, start, given, weight, is_contrast), given, parts, words)
        for word, weight in (("control", 0.0), ("views", 1.0))
    }
    return data, (pool, test), joint(parts, "code:1"), made


def budgets(n_classes: int, n_pool: int) -> list[int]:
    """Return the tournament's budgets."""
    asked = {n_classes, 2 * n_classes, 4 * n_classes, n_pool // 8, n_pool // 4, n_pool // 2}
    return sorted(budget for budget in asked if 2 <= budget <= n_pool // 2)


def graph(c: np.ndarray) -> sparse.csr_matrix:
    """Return C, symmetrised, without its faintest entries."""
    return sparse.csr_matrix(np.where(c + c.T > FAINTEST, c + c.T, 0.0))


def spread_accuracy(kernel: np.ndarray, picks: np.ndarray, y: np.ndarray) -> float:
    """Return the share of the other rows that spreading guesses right."""
    classes = np.unique(y[picks])
    marks = (y[picks][:, None] == classes) / np.maximum((y[picks][:, None] == classes).sum(axis=0), 1)
    rest = np.setdiff1d(np.arange(len(y)), picks)
    return float((classes[(kernel[np.ix_(rest, picks)] @ marks).argmax(axis=1)] == y[rest]).mean())


def measure(name: str, number: int) -> list[dict[str, Any]]:
    """Return the records of a split."""
    data, (pool, test), code, made = attempts(name, number)
    y, y_test = data.y[pool], data.y[test]
    sizes = budgets(len(np.unique(data.y)), len(pool))

    def medoids(x: np.ndarray) -> np.ndarray:
        return np.asarray(METHODS["medoids"](jax.random.key(0), jnp.asarray(x), sizes[-1]).indices)

    of_code = np.asarray(of_fixed(jnp.asarray(code.pool)))
    views, base = made["views"], medoids(code.pool)
    by_svm = {
        "medoids": (base, code),
        "picks of the views' network": (medoids(views.network), code),
        "picks by norms of C": (np.argsort(-np.linalg.norm(views.c, axis=0), kind="stable"), code),
        "views' network in the code": (medoids(views.code.pool), views.code),
        "control's network in the code": (medoids(made["control"].code.pool), made["control"].code),
    }
    costs = {"distances": pairwise_distances(code.pool), "geodesics": distances.geodesics(code.pool)}
    graphs = {"neighbours": distances.weighted(code.pool), "C of views": graph(views.c), "C": graph(of_code)}
    for word in ("C of views", "C"):
        costs[f"geodesics of {word}"] = distances.geodesics(code.pool, graphs[word])
    by_svm |= {word: (distances.greedy(cost**0.5, sizes[-1]), code) for word, cost in costs.items()}
    about, found = {"set": name, "split": number}, []
    for way, (picks, space) in by_svm.items():
        for n in sizes:
            share = np.mean(svm(space, picks[:n], y) == y_test)
            found.append(about | {"judge": "svm", "way": way, "budget": n, "accuracy": 100 * float(share)})
    for way, edges in graphs.items():
        kernel = distances.spreading(edges)
        for n in sizes:
            share = spread_accuracy(kernel, base[:n], y)
            found.append(about | {"judge": "spreading", "way": way, "budget": n, "accuracy": 100 * share})
    return found


def table(found: list[dict[str, Any]]) -> str:
    """Return mean accuracies by judge and way, a column for each set."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        cells[one["judge"], one["way"]][one["set"]].append(one["accuracy"])
    names = list(dict.fromkeys(one["set"] for one in found))
    lines = [f"{'':44}" + " ".join(f"{name:>10}" for name in names)]
    for (judge, way), row in cells.items():
        lines.append(f"{judge:10} {way:33}" + " ".join(f"{np.mean(row[name]):10.2f}" for name in names))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default="digits,mnist_500,animals,leaves", help="default: %(default)s")
    parser.add_argument("--splits", type=int, nargs="+", default=range(3))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    done = {(one["set"], one["split"]) for one in records.read(args.out)}
    for name in args.sets.split(",") * (not args.table):
        for number in args.splits:
            for record in measure(name, number) if (name, number) not in done else ():
                records.append(args.out, record)
    print(table(records.read(args.out)))


if __name__ == "__main__":
    main()
