"""The one record runner: methods pick from splits of data sets, judges score the picks, one record per cell.

A cell is one split, one method with its settings, one order, one view of the features, one judge and one
budget. A cell that has a record is not run again, so a run can be stopped and started at any cell.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from dual_jax.data.receipt import compile_seconds
from dual_jax.dual.config import DualConfig
from dual_jax.evaluation.judges import JUDGES, Score, Split, Table, quiet
from dual_jax.evaluation.perceptron import perceptrons
from dual_jax.evaluation.records import Record, append
from dual_jax.methods import METHODS
from dual_jax.selection.protocol import Selection

PERCEPTRON = "perceptron"  # a judge in addition to `JUDGES`; its cells are trained in one program


class Entry(NamedTuple):
    """A method as it is compared.

    Attributes
    ----------
    method
        Its name in `dual_jax.METHODS`: it is called through that signature, which has no labels.
    knobs
        Its keyword arguments; its defaults where empty.
    n_orders
        How often it runs, each time with another key.
    views
        The features that the judges use; the method always picks from the raw ones.
    """

    method: str
    knobs: Mapping[str, Any] = {}
    n_orders: int = 1
    views: tuple[str, ...] = ("raw",)

    @property
    def title(self) -> str:
        """The method with its settings, if it has any."""
        return self.method + (f" ({self.settings})" if self.knobs else "")

    @property
    def settings(self) -> str:
        """The knobs as one word of a record, such as ``"alpha=0.1,beta=1"``."""
        return ",".join(f"{name}={value}" for name, value in self.knobs.items())

    @property
    def is_nested(self) -> bool:
        """Whether one run at the largest budget serves all, on a pool that is not large."""
        return METHODS[self.method].is_nested_for(0, 0, self.knobs)


class Cell(NamedTuple):
    """What identifies a record."""

    protocol: str
    data: str
    split: int
    method: str
    settings: str
    order: int
    view: str
    judge: str
    budget: int


class Picked(NamedTuple):
    """Picks, best first, and the seconds that they took."""

    indices: Int[np.ndarray, " k"]
    seconds: float
    compile_seconds: float


View = tuple[Table, Table]  # pool and test set in the features of a judge
Views = Mapping[str, Callable[[], View]]


def finished(records: Iterable[Record]) -> dict[Cell, Record]:
    """Return the records of cells by their cell; records of other kinds are left out."""
    return {
        Cell(*(record[name] for name in Cell._fields)): record for record in records if "kind" not in record
    }


def cells(
    protocol: str,
    split: Split,
    entry: Entry,
    budgets: Sequence[int],
    judges: Sequence[str] = ("svm",),
) -> list[Cell]:
    """Return the cells of a method on a split."""
    return [
        Cell(protocol, split.data, split.number, entry.method, entry.settings, order, view, judge, budget)
        for order in range(entry.n_orders)
        for view in entry.views
        for judge in judges
        for budget in budgets
    ]


def run(
    entry: Entry,
    wanted: Sequence[Cell],
    split: Split,
    views: Views,
    key: Key[Array, ""],
    path: str | os.PathLike[str],
) -> list[Record]:
    """Return the record of each wanted cell of a method on a split; each is written to the file at once.

    Parameters
    ----------
    entry, wanted
        A method, and those of its `cells` that have no record yet.
    split
        From `dual_jax.evaluation.judges.halve`.
    views
        For each name of a view a function that returns it; ``{"raw": lambda: (split.pool, split.test)}``.
    key
        Of the experiment; splits and orders get their own from it.
    path
        The file of records, ``.jsonl``.
    """
    pool = jnp.asarray(split.pool.x)
    picked: dict[tuple[int, int], Picked] = {}
    for order in sorted({cell.order for cell in wanted}):
        budgets = sorted({cell.budget for cell in wanted if cell.order == order})
        for budget, picks in pick(entry, order_key(key, split.number, order), pool, budgets).items():
            picked[order, budget] = picks
    return judge([(cell, picked[cell.order, cell.budget]) for cell in wanted], split, views, path)


def order_key(key: Key[Array, ""], split: int, order: int) -> Key[Array, ""]:
    """Return the key of an order on a split."""
    return jax.random.fold_in(jax.random.fold_in(key, split), order)


def pick(
    entry: Entry, key: Key[Array, ""], pool: Float[Array, "n d"], budgets: Sequence[int]
) -> dict[int, Picked]:
    """Return a method's picks at each budget: prefixes of one run if it is nested, else one run per budget.

    A method that learns before it picks learns once; that time is part of each budget's.
    """
    is_nested = METHODS[entry.method].is_nested_for(len(pool), max(budgets), entry.knobs)
    select, learning = _timed(_selector, entry, key, pool, is_nested)

    def picked(n_select: int) -> Picked:
        indices, reading = _timed(lambda: np.asarray(select(n_select).indices))
        return Picked(indices, *map(sum, zip(learning, reading, strict=True)))

    if not is_nested:
        return {budget: picked(budget) for budget in budgets}
    whole = picked(max(budgets))
    return {budget: whole._replace(indices=whole.indices[:budget]) for budget in budgets}


def _selector(
    entry: Entry, key: Key[Array, ""], pool: Float[Array, "n d"], is_nested: bool
) -> Callable[[int], Selection]:
    method = METHODS[entry.method]
    if method.reader is not None and not is_nested:
        return method.reader(key, pool, **entry.knobs)
    return lambda n_select: method(key, pool, n_select, **entry.knobs)


def _timed(function: Callable[..., Any], *args: Any) -> tuple[Any, tuple[float, float]]:
    """Return what a function returns, its seconds, and the seconds of compilation among them."""
    compiled, start = compile_seconds(), time.perf_counter()
    result = function(*args)
    return result, (time.perf_counter() - start, compile_seconds() - compiled)


def judge(
    tasks: Sequence[tuple[Cell, Picked]], split: Split, views: Views, path: str | os.PathLike[str]
) -> list[Record]:
    """Return the record of each cell; cells are judged in threads, those of the perceptron last."""
    seen = {name: views[name]() for name in dict.fromkeys(cell.view for cell, _ in tasks)}

    def chosen(cell: Cell, picked: Picked) -> Table:
        pool, _ = seen[cell.view]
        return Table(pool.x[picked.indices], pool.y[picked.indices])

    def alone(task: tuple[Cell, Picked]) -> Record:
        cell, start = task[0], time.perf_counter()
        result = JUDGES[cell.judge](chosen(*task), seen[cell.view][1], split.n_classes)
        return _record(*task, result, len(split.pool.y), time.perf_counter() - start)

    def together(tasks: Sequence[tuple[Cell, Picked]]) -> Iterator[Record]:
        start, test = time.perf_counter(), seen[tasks[0][0].view][1]
        n_most = max(len(split.pool.y) // 2, *(cell.budget for cell, _ in tasks))
        results = perceptrons([chosen(*task) for task in tasks], test, split.n_classes, n_most)
        took = (time.perf_counter() - start) / len(tasks)
        for task, result in zip(tasks, results, strict=True):
            yield _record(*task, result, len(split.pool.y), took)

    records = []
    with quiet(), ThreadPoolExecutor(os.cpu_count()) as workers:
        groups = [workers.map(alone, [task for task in tasks if task[0].judge in JUDGES])]
        groups += [
            together(same)
            for view in seen
            if (same := [task for task in tasks if task[0].judge == PERCEPTRON and task[0].view == view])
        ]
        for record in itertools.chain(*groups):
            append(path, record)
            records.append(record)
    return records


def _record(cell: Cell, picked: Picked, score: Score, n_pool: int, judge_seconds: float) -> Record:
    return {
        **cell._asdict(),
        **score._asdict(),
        "n_pool": n_pool,
        "seconds": round(picked.seconds, 4),
        "compile_seconds": round(picked.compile_seconds, 4),
        "judge_seconds": round(judge_seconds, 4),
    }


def encoded(split: Split, encoder: Any, config: DualConfig) -> View:
    """Return pool and test set as codes of an encoder with these parameters.

    The released code judges in the codes after stage 1, not after stage 3.
    """
    apply = jax.jit(config.modules(jnp.asarray(split.pool.x)).encoder.apply)
    codes = (np.asarray(apply(encoder, jnp.asarray(table.x))) for table in (split.pool, split.test))
    pool, test = map(Table, codes, (split.pool.y, split.test.y))
    return pool, test
