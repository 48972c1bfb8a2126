"""What is run: data sets, methods, splits, and the two ways to choose weights, which are never mixed.

- ``fair``: every method with one default for all data, which reads no label. The headline.
- ``paper``: DUAL's weights from the 16 cells of the released grid, best by *test* accuracy, as the released
  code reports them; with the control that this needs, random orders with the same freedom.
- ``quick``: ``fair`` on three small sets that need no files, two splits and a dozen methods.
- ``check``: the released recipe on the released data set, unscaled, to see what the released code gives.
"""

from collections.abc import Callable
from typing import NamedTuple

from dual_jax.dual.config import DualConfig
from dual_jax.evaluation.experiment import Entry
from dual_jax.evaluation.judges import budgets
from dual_jax.evaluation.standings import RANDOM
from dual_jax.methods import METHODS

N_RANDOM = 20  # orders of the random baseline
GRID = (0.01, 0.1, 1.0, 10.0)  # of the released code, for each weight
CLUSTERS = (2, 5, 10, 20, 40)  # around the 5 of the released code; the paper's grid is unknown
VIEWS = ("raw", "latent")
IN_BOTH_VIEWS = ("dual", "dual_wo", "dual_paper", "random", "kmeans")
QUICK_METHODS = (  # those that compile fast
    *("dual", "random", "medoids", "kmeans", "facility", "kcenter"),
    *("ted", "rrss", "maed", "dcs", "rrqr", "alfs"),
)


class Protocol(NamedTuple):
    """How one set of records is made.

    Attributes
    ----------
    name
        As in the records and in the names of figures.
    data
        Built-in data sets, small ones first.
    methods
        Names in `dual_jax.METHODS`; none if only DUAL's grid is compared with random.
    n_splits
        Repeats, each with another half of the data as the pool.
    n_budgets
        Largest number of budgets of a data set.
    n_random
        Orders of the random baseline on each split.
    scale
        Of the features.
    in_both_views
        Methods whose picks are judged in the codes of the network too.
    ablated, mapped, varied
        Data sets of Figure 4 (ablation), Figure 5 (map) and Figure 6 (sensitivity).
    picks
        The numbers of picks, if they follow no rule.
    variants
        Methods with other settings than their defaults, in addition.
    judges
        Names in `dual_jax.evaluation.judges.JUDGES`, or `dual_jax.evaluation.experiment.PERCEPTRON`.
    """

    name: str
    data: tuple[str, ...]
    methods: tuple[str, ...] = ()
    n_splits: int = 5
    n_budgets: int = 8
    n_random: int = N_RANDOM
    scale: str = "standard"
    in_both_views: tuple[str, ...] = IN_BOTH_VIEWS
    ablated: tuple[str, ...] = ()
    mapped: str = ""
    varied: str = ""
    picks: tuple[int, ...] = ()
    variants: tuple[Entry, ...] = ()
    judges: tuple[str, ...] = ("svm",)

    @property
    def network(self) -> str:
        """The method whose stage 1 makes the codes that the judges use."""
        return "dual" if self.methods else "dual_paper"

    def budgets(self, n_classes: int, n_pool: int) -> tuple[int, ...]:
        """Return the numbers of picks on a data set."""
        return self.picks or budgets(n_classes, n_pool, self.n_budgets)

    def entries(self) -> list[Entry]:
        """Return the methods with what each needs, random first."""
        names = sorted({*self.methods, RANDOM}, key=lambda name: (name != RANDOM, name))
        defaults = [
            Entry(
                name,
                n_orders=self.n_random if name == RANDOM else 1,
                views=VIEWS if name in self.in_both_views else ("raw",),
            )
            for name in names
        ]
        return [*defaults, *self.variants]


PAPER_DATA = ("urban", "mammographic", "plant_shape", "plant_margin", "semg", "waveform", "gesture")
PROTOCOLS = {
    "fair": Protocol(
        "fair", PAPER_DATA, tuple(METHODS), ablated=("urban", "waveform"), mapped="waveform", varied="urban"
    ),
    "paper": Protocol("paper", PAPER_DATA),
    "quick": Protocol(
        "quick",
        ("wine", "iris", "breast_cancer"),
        QUICK_METHODS,
        n_splits=2,
        n_budgets=3,
        in_both_views=(),
        ablated=("wine",),
        mapped="wine",
    ),
    "check": Protocol(  # the budgets of the released code
        "check", ("urban",), picks=tuple(range(5, 81, 5)), n_splits=6, n_random=48, scale="none"
    ),
}
CONFIGS: dict[str, Callable[..., DualConfig]] = {"dual": DualConfig, "dual_paper": DualConfig.paper}
Settings = tuple[Entry, DualConfig]  # the entry of a record, and its settings


def ablation() -> list[Entry]:
    """Return DUAL with and without its cluster branch, by both configurations, for Figure 4."""
    return [Entry("dual"), Entry("dual_wo"), Entry("dual_paper"), Entry("dual_paper", {"beta": 0.0})]


def grid() -> list[Settings]:
    """Return the 16 cells of the released grid: ``alpha = beta = p_Rq`` and ``gamma = eta = p_q / p_Rq``."""
    return [
        (
            Entry("dual_paper", {"p_q": p_q, "p_Rq": p_rq}, views=VIEWS),
            DualConfig.paper(alpha=p_rq, beta=p_rq, gamma=p_q / p_rq, eta=p_q / p_rq),
        )
        for p_q in GRID
        for p_rq in GRID
    ]


def variations(method: str) -> list[list[Settings]]:
    """Return the settings of Figure 6, one changed at a time; a list for each program: K changes shapes."""
    config, weights = CONFIGS[method], {"alpha": ["alpha"], "beta": ["beta"], "gamma": ["gamma", "eta"]}
    varied = [
        (Entry(method, {name: value}), config(**dict.fromkeys(fields, value)))
        for name, fields in weights.items()
        for value in GRID
    ]
    return [varied, *([(Entry(method, {"K": k}), config(n_clusters=k))] for k in CLUSTERS)]
