"""What text and categories give: ``python -m bench.columns --data-dir DATA --out columns.jsonl``.

Pools of at most 500 rows are picked from by k-medoids in several spaces: the numbers alone, `dual_jax.PoolEncoder`
with a vote for each view, its views as they are (numbers z-scored beside 0/1 categories), and skrub's
``TableVectorizer`` where that is installed. A linear SVM with C = 100 that is trained on the picks judges
them on the other half of the rows: tables in z-scored numbers beside 0/1 categories, texts in tf-idf. What
is in the records is not done again; the table at the end is points of accuracy over random picks.
"""

import argparse
import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import SVC

from dual_jax.data.frames import as_table
from dual_jax.estimators.pool_encoder import PoolEncoder
from dual_jax.evaluation.records import append, read
from dual_jax.methods import METHODS
from dual_jax.plots.page import markdown
from dual_jax.views.categories import Categories
from dual_jax.views.numbers import Numbers

N_POOL, N_RANDOM = 500, 10
WIDE = 1000  # columns from which a table is word counts


class Data(NamedTuple):
    """A data set: its columns as text, and the class of each row."""

    name: str
    table: Any
    y: np.ndarray


def tables(data_dir: Path) -> list[Callable[[], Data]]:
    """Return what reads each table."""

    def read_one(path: Path) -> Data:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
        return _data(path.name.removesuffix(".csv.gz"), columns.pop("class"), columns)

    return [lambda path=path: read_one(path) for path in sorted((data_dir / "tables").glob("*.csv.gz"))]


def messages(data_dir: Path) -> Data:
    """Return the SMS messages."""
    lines = (data_dir / "text" / "SMSSpamCollection").read_text(encoding="utf-8").splitlines()[1:]
    labels, texts = zip(*(line.split("\t", 1) for line in lines), strict=True)
    return _data("sms", labels, {"text": [*texts]})


def questions(data_dir: Path) -> Data:
    """Return the TREC questions with their six coarse classes."""
    lines = (data_dir / "text" / "train_5500.label").read_text(encoding="latin-1").splitlines()
    labels, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    return _data("trec", [label.partition(":")[0] for label in labels], {"text": [*texts]})


def _data(name: str, labels: Any, columns: dict[str, list[str]]) -> Data:
    return Data(name, as_table(columns), np.unique(labels, return_inverse=True)[1])


def encoded(pool: Any) -> np.ndarray:
    """Return the pool with a vote for each view."""
    return PoolEncoder().fit_transform(pool)


def joined(pool: Any) -> np.ndarray:
    """Return the views side by side as they are: z-scored numbers beside 0/1 categories."""
    encoder = PoolEncoder().fit(pool)
    return np.concatenate([view.transform(pool) for view in encoder.views_], axis=1)


def numbers(pool: Any) -> np.ndarray | None:
    """Return the numbers alone, z-scored; None where there are none."""
    views = [view for view in PoolEncoder().fit(pool).views_ if isinstance(view, Numbers)]
    return views[0].transform(pool) if views else None


def by_skrub(pool: Any) -> np.ndarray:
    """Return the rows of skrub's vectoriser, z-scored, as `Selector` would."""
    from skrub import StringEncoder, TableVectorizer

    frame = pool.to_pandas()
    rows = TableVectorizer(high_cardinality=StringEncoder(100)).fit_transform(frame)
    rows = np.nan_to_num(np.asarray(rows, float))
    spread = rows.std(axis=0)
    return ((rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)


def by_skrub_with_votes(pool: Any) -> np.ndarray:
    """Return the rows of skrub's vectoriser: 0/1 and text as they are, numbers z-scored."""
    from skrub import SquashingScaler, StringEncoder, TableVectorizer

    rows = TableVectorizer(numeric=SquashingScaler(), high_cardinality=StringEncoder(100)).fit_transform(
        pool.to_pandas()
    )
    return np.nan_to_num(np.asarray(rows, np.float32))


SPACES = {
    "numbers": numbers,
    "views": encoded,
    "joined": joined,
    "skrub": by_skrub,
    "skrub_raw": by_skrub_with_votes,
}


def judged(pool: Any, test: Any) -> tuple[Any, Any]:
    """Return pool and test rows as the judge learns from them."""
    kinds = {column.name: column.kind for column in PoolEncoder().fit(pool).columns_}
    if "text" in kinds.values():
        (name,) = [name for name, kind in kinds.items() if kind == "text"]
        tfidf = TfidfVectorizer()
        rows = [[str(cell) for cell in table[name].to_pylist()] for table in (pool, test)]
        return tfidf.fit_transform(rows[0]), tfidf.transform(rows[1])
    named = {kind: [name for name in kinds if kinds[name] == kind] for kind in ("number", "category")}
    views: list[Any] = [Numbers.fit(pool, named["number"])] if named["number"] else []
    views += [Categories.fit(pool, named["category"])] if named["category"] else []
    on_pool, on_test = (np.concatenate([v.transform(t) for v in views], axis=1) for t in (pool, test))
    return on_pool, on_test


def accuracy(x: Any, y: np.ndarray, test: Any, truth: np.ndarray) -> float:
    """Return the share of test rows that a linear SVM trained on the picks gets right, in per cent."""
    if len(np.unique(y)) == 1:
        return 100 * float(np.mean(truth == y[0]))
    return 100 * SVC(C=100.0, kernel="linear", max_iter=3_000_000).fit(x, y).score(test, truth)


def measure(data: Data, number: int, spaces: list[str], out: Path) -> None:
    """Add the records of one split of a data set that are not there yet."""
    done = {(r["data"], r["split"], r["space"]) for r in read(out)}
    wanted = [s for s in ("random", *spaces) if (data.name, number, s) not in done]
    if not wanted:
        return
    order = np.random.default_rng([0, number]).permutation(len(data.y))
    half, rest = np.split(order, [len(order) // 2])
    half, rest = half[:N_POOL], rest[:1000]
    pool, test = data.table.take(half), data.table.take(rest)
    rows, test_rows = judged(pool, test)
    y, truth, c = data.y[half], data.y[rest], len(np.unique(data.y))
    budgets = sorted({min(b, len(half) // 2) for b in (c, 2 * c, 4 * c, max(c, len(half) // 8))})
    for space in wanted:
        record = {"data": data.name, "split": number, "space": space, "n_columns": data.table.num_columns}
        for n_picks in budgets:
            if space == "random":
                draws = [
                    np.random.default_rng([1, number, i]).permutation(len(half)) for i in range(N_RANDOM)
                ]
                all_picks = [draw[:n_picks] for draw in draws]
            else:
                x = SPACES[space](pool) if n_picks == budgets[0] else x  # noqa: F821
                if x is None:
                    break
                all_picks = [np.asarray(METHODS["medoids"](jax.random.key(0), x, n_picks).indices)]
            scores = [accuracy(rows[picks], y[picks], test_rows, truth) for picks in all_picks]
            record[str(n_picks)] = round(float(np.mean(scores)), 3)
        append(out, record)


if __name__ == "__main__":
    pass
