"""From records to rankings: means, gains over random, mean ranks, and which differ by more than chance.

A *block* is a data set at a budget; methods are compared on blocks that all of them have. The blocks of one
data set are not independent, so significance is tested over data sets, with means over budgets.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from dual_jax.data.errors import InputError
from dual_jax.evaluation.records import Record

LEVEL = 0.05
RANDOM = "random"


class Standings(NamedTuple):
    """A metric of methods on blocks.

    Attributes
    ----------
    methods
        In the order of the rows: the name, with its settings if they are not its defaults.
    blocks
        In the order of the columns: data set and budget.
    values
        Mean over splits and orders; NaN if a method lacks a split that another has.
    spreads
        Standard deviation over splits, and over orders if there are several; 0 with a single run.
    """

    methods: tuple[str, ...]
    blocks: tuple[tuple[str, int], ...]
    values: Float[np.ndarray, "methods blocks"]
    spreads: Float[np.ndarray, "methods blocks"]

    def row(self, method: str) -> Float[np.ndarray, " blocks"]:
        """Return a method's values."""
        return self.values[self.methods.index(method)]

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets, in order of appearance."""
        return tuple(dict.fromkeys(data for data, _ in self.blocks))


def name_of(record: Record) -> str:
    """Return a method with its settings, as the name of a row."""
    return record["method"] + (f" ({record['settings']})" if record["settings"] else "")


def standings(
    records: Iterable[Record], metric: str = "accuracy", *, view: str = "raw", judge: str = "svm"
) -> Standings:
    """Return the standings of methods in one view and by one judge.

    Examples
    --------
    >>> record = {"data": "iris", "budget": 3, "split": 0, "settings": "", "view": "raw", "judge": "svm"}
    >>> rows = [record | {"method": m, "accuracy": a} for m, a in (("ted", 0.5), ("random", 0.25))]
    >>> standings(rows).values.tolist()
    [[0.5], [0.25]]
    """
    found: dict[tuple[str, tuple[str, int]], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.get("view") == view and record.get("judge") == judge:
            block = record["data"], record["budget"]
            found[name_of(record), block][record["split"]].append(record[metric])
    every: dict[tuple[str, int], set[int]] = defaultdict(set)
    for (_, block), splits in found.items():
        every[block] |= splits.keys()
    methods = tuple(dict.fromkeys(method for method, _ in found))
    order = list(dict.fromkeys(data for _, (data, _) in found))
    blocks = tuple(sorted({block for _, block in found}, key=lambda block: (order.index(block[0]), block[1])))
    values = np.full((len(methods), len(blocks)), np.nan)
    spreads = np.full_like(values, np.nan)
    for (method, block), splits in found.items():
        if splits.keys() != every[block]:  # a mean over fewer splits cannot be compared
            continue
        at = methods.index(method), blocks.index(block)
        means = [np.mean(orders) for orders in splits.values()]
        runs = np.concatenate(list(splits.values()))
        values[at], spreads[at] = np.mean(means), np.std(runs, ddof=1) if len(runs) > 1 else 0.0
    return Standings(methods, blocks, values, spreads)


def complete(table: Standings) -> Standings:
    """Return the methods that have every block."""
    return only(table, np.isfinite(table.values).all(axis=1))


def only(table: Standings, is_kept: Bool[np.ndarray, " methods"]) -> Standings:
    """Return some of the methods."""
    methods = tuple(method for method, kept in zip(table.methods, is_kept, strict=True) if kept)
    return table._replace(methods=methods, values=table.values[is_kept], spreads=table.spreads[is_kept])


def by_data(
    table: Standings, values: Float[np.ndarray, "methods blocks"]
) -> Float[np.ndarray, "methods data"]:
    """Return the mean over the budgets of each data set; NaN where a block is missing."""
    columns = [[name == data for name, _ in table.blocks] for data in table.data]
    return np.stack([values[:, column].mean(axis=1) for column in columns], axis=1)


def gains(table: Standings, baseline: str = RANDOM) -> Float[np.ndarray, "methods blocks"]:
    """Return by how much each method is above the baseline."""
    return table.values - table.row(baseline)


def wins(table: Standings, baseline: str = RANDOM) -> list[tuple[int, int]]:
    """Return for each method in how many blocks it is above and below the baseline."""
    above = gains(table, baseline)
    return [(int((row > 0).sum()), int((row < 0).sum())) for row in above]


def firsts(values: Float[np.ndarray, "methods blocks"]) -> list[int]:
    """Return for each method in how many blocks no other is above it.

    Examples
    --------
    >>> firsts(np.array([[0.9, 0.5], [0.8, 0.5]]))
    [2, 1]
    """
    return (values == values.max(axis=0)).sum(axis=1).tolist()


def mean_ranks(values: Float[np.ndarray, "methods blocks"]) -> Float[np.ndarray, " methods"]:
    """Return the mean rank of each method over blocks: 1 is the highest value, equal ones share a rank.

    Examples
    --------
    >>> mean_ranks(np.array([[0.9, 0.5], [0.8, 0.5]])).tolist()
    [1.25, 1.75]
    """
    return stats.rankdata(-values, axis=0).mean(axis=1)


def friedman(values: Float[np.ndarray, "methods blocks"]) -> float:
    """Return the p-value of Friedman's test that all methods have the same mean rank.

    Raises
    ------
    ValueError
        With fewer than three methods.
    """
    return float(stats.friedmanchisquare(*values).pvalue)


def critical_difference(n_methods: int, n_blocks: int, level: float = LEVEL) -> float:
    """Return the least difference of two mean ranks that is more than chance, by Nemenyi's test.

    ``q sqrt(k (k + 1) / (6 N))`` with q the quantile of the studentized range over sqrt(2).
    Source: Demsar, JMLR 2006, section 3.2.2.

    Examples
    --------
    >>> round(critical_difference(5, 10), 2)
    1.93
    """
    quantile = stats.studentized_range.ppf(1.0 - level, n_methods, np.inf) / math.sqrt(2.0)
    return float(quantile * math.sqrt(n_methods * (n_methods + 1) / (6.0 * n_blocks)))


def best_of(values: Float[np.ndarray, " n"], k: int) -> Float[np.ndarray, " n"]:
    """Return the probability of each of n values to be the best of k that are drawn without replacement.

    The expected best of k is ``best_of(values, k) @ values``: what picking the best of k on the test set
    gains without any skill. Equal values are ordered by position.

    Raises
    ------
    ValueError
        When there are fewer than k values.

    Examples
    --------
    >>> best_of(np.array([0.3, 0.1, 0.2]), 2).round(3).tolist()
    [0.667, 0.0, 0.333]
    """
    n = len(values)
    if n < k:
        raise InputError(f"{n} values cannot give the best of {k}: record at least {k} orders.")
    chances = np.empty(n)
    chances[np.argsort(values, kind="stable")] = [math.comb(i, k - 1) / math.comb(n, k) for i in range(n)]
    return chances


def curves(
    records: Sequence[Record], metric: str, *, view: str, judge: str = "svm"
) -> dict[int, Float[np.ndarray, "runs budgets"]]:
    """Return for each split the metric of each run (settings and order) at each budget, of one method.

    Runs that lack a budget of another run are left out.
    """
    seen = [record for record in records if record["view"] == view and record["judge"] == judge]
    budgets = sorted({record["budget"] for record in seen})
    runs: dict[int, dict[tuple[str, int], dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in seen:
        runs[record["split"]][record["settings"], record["order"]][record["budget"]] = record[metric]
    return {
        split: np.array(
            [[run[b] for b in budgets] for _, run in sorted(own.items()) if len(run) == len(budgets)]
        )
        for split, own in sorted(runs.items())
    }
