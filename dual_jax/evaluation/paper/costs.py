"""The predicted time of the work, from a small run, so that it is known before hours are spent.

On a pool of more than `PROBED` rows each method runs on a quarter of it, and its time is extrapolated by the
growth that `dual_jax.methods.facts` states. On smaller pools, where compiling takes most of the time, methods
have typical times. Those, and DUAL's, are the times of two cores of a CPU.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection
from typing import NamedTuple

from dual_jax.dual.config import DualConfig
from dual_jax.evaluation.experiment import Entry, cells, finished, pick, run
from dual_jax.evaluation.paper.protocols import CONFIGS
from dual_jax.evaluation.paper.study import Study, views
from dual_jax.evaluation.standings import RANDOM
from dual_jax.methods.facts import FACTS

PROBED, SHARE = 600, 4
N_CORES = 2
HOPELESS = 10  # times the limit
SMALL_RUN, SMALL_FIT = 0.1, 0.01  # seconds of a run, and of a fit, on a small pool
COMPILE, DUAL_COMPILE = 1.5, 8.0  # seconds
FLOPS = 6e10  # a second, in the products of a step of DUAL
ENTRY_SECONDS = {"free": 2e-9, "simplex": 1.4e-8}  # of an entry of C in a step, the products apart


class Costs(NamedTuple):
    """Predicted seconds on one data set.

    Attributes
    ----------
    runs
        Of each method on a split: all its orders and budgets.
    fit
        Of a judge at one budget, averaged over the budgets.
    n_splits, limit
        A method is left out if its runs on all splits exceed ``limit``.
    """

    runs: dict[str, float]
    fit: float
    n_splits: int
    limit: float

    def of_run(self, entry: Entry) -> float:
        """Return the seconds of picking on one split."""
        return self.runs[entry.title]

    def of_fits(self, n_cells: int) -> float:
        """Return the seconds of judging, a fit on each of two cores at a time."""
        return n_cells * self.fit / N_CORES

    def too_long(self, entry: Entry) -> str:
        """Return why a method is left out, or an empty text; DUAL's default is never left out."""
        if entry == Entry("dual"):
            return ""
        return self.above_limit(self.n_splits * self.runs[entry.title])

    def above_limit(self, seconds: float) -> str:
        """Return why work that takes this long on all splits is left out, or an empty text."""
        minutes, limit = math.ceil(seconds / 60), self.limit / 60
        is_above = seconds > self.limit
        return f"picking would take some {minutes} minutes, limit {limit:.2g}" if is_above else ""


def measure(study: Study, entries: Collection[Entry], limit: float) -> Costs:
    """Return the predicted costs of methods on a data set; on a large pool after a small run of each.

    Parameters
    ----------
    study
        From `open_study`.
    entries
        The methods whose cells are wanted.
    limit
        Seconds that picking on all splits may take for a method; above it the method is left out.
    """
    runs = {entry.title: _run_seconds(study, entry, limit) for entry in entries}
    return Costs(runs, _fit_seconds(study), len(study.splits), limit)


def dual_seconds(n: int, n_features: int, config: DualConfig) -> float:
    """Return the seconds of DUAL's stage 3 on n rows: products of the network and of C, and passes over C."""
    width = config.latent_dim + (n_features if config.objective == "simplex" else 0)
    step = 6 * n**2 * width / FLOPS + ENTRY_SECONDS[config.objective] * n**2
    return config.steps * (step + network_seconds(n, n_features, config))


def network_seconds(n: int, n_features: int, config: DualConfig) -> float:
    """Return the seconds of a step of the autoencoder."""
    widths = (n_features, *config.hidden, config.latent_dim)
    return 12 * n * sum(a * b for a, b in itertools.pairwise(widths)) / FLOPS


def _run_seconds(study: Study, entry: Entry, limit: float) -> float:
    """Return the seconds of a method on a split, all orders and budgets."""
    n, d = study.n_pool, study.pools.shape[2]
    if entry.method.startswith("dual"):
        config = CONFIGS["dual_paper" if entry.method == "dual_paper" else "dual"]()
        config = dataclasses.replace(config, steps=entry.knobs.get("steps", config.steps))
        pretrain = config.pretrain_steps * network_seconds(n, d, config)
        return DUAL_COMPILE / len(study.splits) + pretrain + dual_seconds(n, d, config)
    n_programs = 1 if entry.is_nested else len(study.budgets)
    compiling = COMPILE * n_programs / len(study.splits)
    is_small = n <= PROBED or entry.method == RANDOM
    return compiling + n_programs * entry.n_orders * (SMALL_RUN if is_small else _probe(study, entry, limit))


def _probe(study: Study, entry: Entry, limit: float) -> float:
    """Return the predicted seconds of one run, from a run on a quarter of the pool and of the mean budget.

    A nested method runs once, at the largest budget. The small run is done twice, because the first
    call compiles, unless the first shows that the method is far too slow.
    """
    pool = study.pools[0, : study.n_pool // SHARE]
    n_picks = study.budgets[-1] if entry.is_nested else sum(study.budgets) // len(study.budgets)
    n_select = max(n_picks // SHARE, 1)
    growth = SHARE ** FACTS[entry.method].powers[pool.shape[1] > study.n_pool]
    seconds = 0.0
    for _ in range(2):
        found = pick(entry, study.keys[0], pool, [n_select])[n_select]
        seconds = growth * max(found.seconds - found.compile_seconds, 0.0)
        if seconds * len(study.splits) > HOPELESS * limit:
            break
    return seconds


def _fit_seconds(study: Study) -> float:
    """Return the mean seconds of a fit, on a large pool from judging one random order, which is recorded."""
    if study.n_pool <= PROBED:
        return SMALL_FIT
    first, split = Entry(RANDOM), study.splits[0]
    wanted = cells(study.protocol.name, split, first, study.budgets, study.protocol.judges[:1])
    missing = [cell for cell in wanted if cell not in study.done]
    study.done.update(finished(run(first, missing, split, views(study, 0), study.key, study.path)))
    return sum(study.done[cell]["judge_seconds"] for cell in wanted) / len(wanted)
