"""Which parts of the code of `dual_jax.views.encoder` to pick in and to learn from.

``python -m bench.views --out bench/results/views/NAME.jsonl --data mnist,semg --splits 0 1 2`` learns an
encoder for each split of each data set, picks by `medoids` in each of its parts and in joint spaces, and
judges classifiers that learn from the picks on a test set. A space is named by the votes of its parts, as in
``local:1,closed:1,network:1``; ``code`` is the encoder's own choice, ``inputs`` are the pixels or the raw
series. Labels only judge. A split whose records are in the file is not done again; ``--table`` prints what
the file holds.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

from bench import view_sets
from dual_jax.methods import METHODS
from dual_jax.views.directions import evened, principal_projection, project
from dual_jax.views.encoder import features, learn

N_COLUMNS = 128
SMALL, LARGE = (10, 19, 35, 66, 125), (10, 50, 100, 250, 500)
SPACES = (
    "inputs",
    "code:1",
    "local:1",
    "closed:1",
    "network:1",
    "local:1,closed:1",
    "local:1,network:1",
    "local:1,closed:1,network:1",
    "local:2,closed:1,network:1",
    "local:1,closed:1,network:2",
)
NEIGHBOURS, ALPHA = 10, 0.99  # of label spreading


class Space(NamedTuple):
    """Rows of the pool and of the test set in one space."""

    pool: np.ndarray
    test: np.ndarray


def joint(parts: dict[str, Space], name: str) -> Space:
    """Return the space of that name: parts times the roots of their votes, its columns evened."""
    if name == "inputs":
        votes = {"inputs": 1.0}
    else:
        votes = {part: float(vote) for part, vote in (word.split(":") for word in name.split(","))}
    pool, test = (
        np.concatenate([parts[part][i] * vote**0.5 for part, vote in votes.items()], axis=1) for i in range(2)
    )
    n_columns = 2 ** int(np.log2(min(N_COLUMNS, len(pool) - 1, pool.shape[1])))
    projection = evened(principal_projection(jnp.asarray(pool), n_columns), n_columns)
    made = [np.asarray(project(projection, jnp.asarray(rows))) for rows in (pool, test)]
    missing = ((0, 0), (0, N_COLUMNS - n_columns))
    return Space(*(np.pad(rows, missing) for rows in made))


def spaces(data: view_sets.Views, rows: tuple[np.ndarray, ...], number: int) -> dict[str, Space]:
    """Return the parts of a code that is learnt from some rows, on the pool and the test set."""
    unlabelled, pool, test = rows
    encoder = learn(jax.random.key(number), data.x[unlabelled], kind=data.kind, **data.knobs)
    found = [features(encoder, data.x[part])._asdict() for part in (pool, test)]
    parts = {name: Space(*(np.asarray(one[name]) for one in found)) for name in found[0]}
    flat = data.x.reshape(len(data.x), -1).astype(np.float32)
    centre = flat[pool].mean(axis=0)
    parts["inputs"] = Space(flat[pool] - centre, flat[test] - centre)
    return parts


def standardised(space: Space) -> Space:
    deviation = space.pool.std(axis=0)
    factor = np.where(deviation > 1e-6 * deviation.max(), 1 / np.maximum(deviation, 1e-12), 0)
    return Space(*((rows - space.pool.mean(axis=0)) * factor for rows in space))


def svm(space: Space, picks: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the classes of the test rows by a linear SVM with C = 100 on standardised columns."""
    pool, test = standardised(space)
    if len(set(y[picks])) == 1:
        return np.full(len(test), y[picks][0])
    return SVC(C=100.0, kernel="linear", max_iter=300_000).fit(pool[picks], y[picks]).predict(test)


def logistic(space: Space, picks: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the classes of the test rows by a converged logistic regression."""
    pool, test = standardised(space)
    if len(set(y[picks])) == 1:
        return np.full(len(test), y[picks][0])
    model = LogisticRegression(C=1.0, max_iter=2000, tol=1e-3)
    return model.fit(pool[picks], y[picks]).predict(test)


def nearest(space: Space, picks: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the class of each test row's nearest pick."""
    found = NearestNeighbors(n_neighbors=1).fit(space.pool[picks]).kneighbors(space.test)[1][:, 0]
    return y[picks][found]


def spread(space: Space, picks: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the classes of test rows by label spreading over the pool's neighbours (Zhou et al., 2004)."""
    n, classes = len(space.pool), np.unique(y)
    k = min(NEIGHBOURS, n - 1)
    tree = NearestNeighbors(n_neighbors=k + 1).fit(space.pool)
    away, near = (part[:, 1:] for part in tree.kneighbors(space.pool))
    width = np.maximum(away[:, -1:], 1e-12)
    weights = np.exp(-(away**2) / (width * width[near, 0]))
    graph = sparse.csr_matrix((weights.ravel(), (np.repeat(np.arange(n), k), near.ravel())), (n, n))
    graph = graph.maximum(graph.T)
    scale = sparse.diags(np.asarray(graph.sum(axis=1)).ravel() ** -0.5)
    truth = np.zeros((n, len(classes)))
    truth[picks, np.searchsorted(classes, y[picks])] = 1.0
    matrix = sparse.identity(n) - ALPHA * scale @ graph @ scale
    share = np.maximum(sparse.linalg.spsolve(matrix.tocsc(), truth / np.maximum(truth.sum(axis=0), 1)), 0)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-30)
    away, near = tree.kneighbors(space.test, k)
    votes = np.exp(-((away / np.maximum(away[:, -1:], 1e-12)) ** 2))
    return classes[np.einsum("mk,mkc->mc", votes, share[near]).argmax(axis=1)]


JUDGES: dict[str, Callable[[Space, np.ndarray, np.ndarray], np.ndarray]] = {
    "svm": svm,
    "logistic": logistic,
    "nearest": nearest,
    "spread": spread,
}


def measure(name: str, number: int, out: Path) -> None:
    """Add the records of one split of a data set."""
    data = view_sets.load(name)
    rows = data.rows(number)
    _, pool, test = rows
    y, y_test = data.y[pool], data.y[test]
    parts = spaces(data, rows, number)
    made = {space: joint(parts, space) for space in SPACES}
    budgets = [budget for budget in (LARGE if len(pool) > 2000 else SMALL) if budget <= len(pool) // 2]
    key, records = jax.random.key(0), []
    orders = {space: _order("medoids", key, made[space].pool, budgets[-1]) for space in SPACES}
    orders["random"] = np.random.default_rng(number).permutation(len(pool))
    pairs = [(space, space) for space in SPACES] + [("random", space) for space in SPACES]
    pairs += [(picked, space) for picked in SPACES[1:] for space in SPACES if picked != space]
    for picked, space in pairs:
        for judge, classify in JUDGES.items():
            if picked not in (space, "random") and judge != "svm":
                continue
            for budget in budgets:
                share = np.mean(classify(made[space], orders[picked][:budget], y) == y_test)
                words = {"data": name, "split": number, "picked": picked, "space": space, "judge": judge}
                records.append({**words, "budget": budget, "accuracy": round(float(share), 4)})
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def _order(method: str, key: Any, rows: np.ndarray, n_select: int) -> np.ndarray:
    return np.asarray(METHODS[method](key, jnp.asarray(rows), n_select).indices)


def table(records: list[dict[str, Any]], judge: str) -> str:
    """Return the mean accuracy by data set and budget, a line for each space that is picked in and judged."""
    cells: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record["judge"] == judge and record["picked"] == record["space"]:
            cells[record["data"], record["space"]][record["budget"]].append(100 * record["accuracy"])
    lines = []
    for (data, space), row in cells.items():
        means = [np.mean(values) for _, values in sorted(row.items())]
        numbers = " ".join(f"{mean:5.1f}" for mean in means)
        lines.append(f"{data:14} {space:30} {np.mean(means):5.1f} | {numbers}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the records, .jsonl; added to")
    parser.add_argument("--data", default=",".join(view_sets.SETS), help="default: %(default)s")
    parser.add_argument(
        "--splits", type=int, nargs="+", default=range(3), help="their numbers; default: 0 1 2"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    records = [json.loads(line) for line in lines]
    done = {(record["data"], record["split"]) for record in records}
    for name in args.data.split(","):
        for number in args.splits:
            if not args.table and (name, number) not in done:
                measure(name, number, args.out)
    records = [json.loads(line) for line in args.out.read_text().splitlines()]
    for judge in JUDGES:
        print(judge, table(records, judge), sep="\n")


if __name__ == "__main__":
    main()
