"""What is known of each method, one entry each; the help, figures, tests and README's tables come from here.

This file imports no method and no JAX. Orders of cost and memory are in the notation of README.md.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

INFERRED = "inferred"
FAMILIES = {
    "reconstruction": "rows that rebuild the pool",
    "coverage": "rows that cover the pool",
    "deep": "rows picked in a space that a network has learnt",
    "control": "what every method has to beat",
}


class Facts(NamedTuple):
    """What is known of a method.

    Attributes
    ----------
    module
        Its module below `dual_jax.methods`.
    family
        What it does; the group of its line in a figure.
    formula, width, cost, memory, fails
        The cells of README.md: what it minimises or maximises; whether a kernel width or radius must fit the
        data; orders of time and memory; what it does badly.
    source
        Where it was published.
    objective
        "printed" where the source gives it; "inferred" where we could not read it and derived it from the
        abstract and from the methods that it belongs to.
    function
        The function's name in its module; by default that of the method.
    settings
        Knobs that are fixed: the method is a setting of a more general one.
    nested
        Whether the first k picks do not depend on ``n_select``.
    random
        Whether it uses its key.
    diverse
        Whether it does not pick a sample twice while others are left.
    square
        Whether it holds an array with an entry for each pair of rows.
    growth
        The power of n by which its time grows, with n / 2 picks.
    growth_if_wide
        The same where there are more features than rows.
    reader
        Of a method that learns before it picks: a function ``(key, x, **knobs)`` of its module that learns
        once and returns the picks as a function of ``n_select``.
    short_listed
        Whether it reads out as `dual_jax.dual.readout` does, from a short list where the pool is large.
    """

    module: str
    family: Literal["reconstruction", "coverage", "deep", "control"]
    formula: str
    source: str
    cost: str
    memory: str
    fails: str
    width: str = "no"
    objective: Literal["printed", "inferred"] = "printed"
    function: str = ""
    settings: Mapping[str, Any] = {}
    nested: bool = True
    random: bool = False
    diverse: bool = False
    square: bool = False
    growth: int = 2
    growth_if_wide: int = 2
    reader: str = ""
    short_listed: bool = False


def _rebuilding(module: str, *cells: str, **rest: Any) -> Facts:
    return Facts(f"reconstruction.{module}", "reconstruction", *cells, **rest)


def _covering(module: str, *cells: str, **rest: Any) -> Facts:
    return Facts(f"coverage.{module}", "coverage", *cells, **rest)


FACTS: dict[str, Facts] = {
    "activeft": _covering(
        "activeft",
        "free unit vectors c: least mean of -log(e / (e + repulsion of c)), e = exp(f.c / 0.07); then the "
        "nearest rows",
        "Xie et al., CVPR 2023",
        *("n d k a step, 300 steps", "n k", "where lengths of rows matter; uncentred features"),
        width="no (a temperature)",
        nested=False,
        random=True,
    ),
    "alfs": _rebuilding(
        "alfs",
        "||X - X W'X||^2 + a sum of row norms of W + b sum of its column norms",
        "Li et al., IEEE TPAMI 2019",
        *("n d min(n, d) a step", "n d", "near-copies share a score; long rows and outliers lead"),
        objective=INFERRED,
    ),
    "alnr": _rebuilding(
        "alnr",
        "rebuild each row from its neighbours, far ones at a higher price; few rows may rebuild",
        "Hu et al., IJCAI 2013",
        *("n^2 d, then n c^3 a sweep (c neighbours)", "n (c^2 + d), blocks"),
        "near-copies share a score; moved origin, unscaled features",
        width="median neighbour distance",
        objective=INFERRED,
    ),
    "alsr": _rebuilding(
        "alsr",
        "`rrss` + a fit that keeps the neighbours' linear relations (LLE)",
        "Li et al., Pattern Recognition Letters 2017",
        *("n^2 d, then n d (d + c) a step", "n d c, blocks", "as `rrss`; a graph spoilt by noise features"),
        objective=INFERRED,
    ),
    "arss": _rebuilding(
        "arss",
        "sum of |X - XA|^p over entries + r ||A||_2,1, p = 1/2",
        "Zhu et al., AAAI 2015",
        *("n^2 d, then n d^2 + d^3 a step", "n d, blocks"),
        "r = 0.1 of the release does nothing, the order is that of leverage",
    ),
    "cted": _rebuilding(
        "dcted",
        "||X - XA||_F^2 + c ||A||_2,1: DUAL's top branch, latent space fixed",
        "Yu, Zhu, Xu and Gong, SIGIR 2008",
        *("n d^2 a sweep", "n d"),
        "outliers lead, neighbours come together; after some d^2 / 2 picks nothing decides",
        function="dcted",
        settings={"diversity": 0.0},
    ),
    "dcs": _rebuilding(
        "dcs",
        "largest leverage in the best rank-r approximation",
        "Papailiopoulos, Kyrillidis and Boutsidis, KDD 2014",
        *("n d min(n, d)", "n d", "copies come together; outliers lead"),
    ),
    "dcted": _rebuilding(
        "dcted",
        "`cted` + a price on similar rows that are strong together",
        "Shi and Shen, IJCAI 2016",
        *("n d^2 a sweep", "n d", "as `cted`, less together"),
        objective=INFERRED,
    ),
    "dpp": _covering(
        "dpp",
        "log det of the kernel matrix of S",
        "Chen, Zhang and Zhou, NeurIPS 2018",
        *("n k (d + k + 256)", "n (k + 256)", "outliers lead; blind to density"),
        width="median distance",
        diverse=True,
        growth=3,
        growth_if_wide=3,
    ),
    "dual": Facts(
        "dual",
        "deep",
        "L(train), then sum_i min over S of ||u_i - u_j||^1/2 in the learnt space",
        "Li et al., IJCAI 2020, changed",
        *("m n (d + p) a step, n^2 (d + p) log k", "20 m n bytes"),
        "rare groups; the first picks of very small budgets",
        random=True,
        square=True,
        reader="dual_reader",
        short_listed=True,
    ),
    "dual_paper": Facts(
        "dual",
        "deep",
        "the released recipe: squares, row norms of C and P",
        "Li et al., IJCAI 2020",
        *("m n (d + p) a step", "12 m n bytes"),
        "near-copies come together; below random in our study",
        random=True,
        square=True,
    ),
    "dual_wo": Facts(
        "dual",
        "deep",
        "`dual` without the cluster branch",
        "Li et al., IJCAI 2020, ablation",
        *("as `dual`", "as `dual`", "as `dual`"),
        function="dual",
        settings={"beta": 0.0, "eta": 0.0, "power": 0.5, "readout": "greedy"},
        random=True,
        square=True,
        short_listed=True,
    ),
    "facility": _covering(
        "facility",
        "sum_i max over S of exp(-||x_i - x_j||^2 / 2w^2), or of the cosine",
        "Schreiber et al., JMLR 2020; Bae, Noh and Sutherland, ECCV 2024",
        *("n^2 d log k", "blocks", "a width far from what matters; rare groups get little"),
        width="median distance",
        diverse=True,
    ),
    "herding": _covering(
        "herding",
        "distance of the kernel means of S and of the pool",
        "Chen, Welling and Smola, UAI 2010",
        *("n^2 d, then n d a pick", "blocks", "copies are not excluded; a wrong width"),
        width="median distance",
    ),
    "kcenter": _covering(
        "kcenter",
        "max_i min over S of ||x_i - x_j||",
        "Gonzalez, TCS 1985; Sener and Savarese, ICLR 2018",
        *("n d a pick", "n", "outliers are the first picks"),
        diverse=True,
    ),
    "kmeans": _covering(
        "kmeans",
        "squared distance to the nearest of k centres; then the nearest rows",
        "the usual baseline",
        *("n d k an iteration, 4 restarts", "n d, blocks", "outliers make clusters of their own"),
        nested=False,
        random=True,
        diverse=True,
    ),
    "llr": _rebuilding(
        "llr",
        "error of the values spread from S over a graph of neighbours (LLE)",
        "Zhang et al., IEEE TPAMI 2011",
        *("n^3, then n (n + d + k) a pick", "n (n + k)"),
        "noise features spoil the graph; far small groups lead",
        square=True,
        growth=3,
        growth_if_wide=3,
    ),
    "maed": _rebuilding(
        "maed",
        "`ted` in a kernel bent by a graph of neighbours",
        "Cai and He, IEEE TKDE 2012",
        *("linear n^2 d, n d^2 a pick; RBF n^3, n^2 a pick", "n^2"),
        "unscaled features; far small groups lead",
        width='with `kernel="rbf"`',
        square=True,
        growth_if_wide=3,
    ),
    "medoids": _covering(
        "medoids",
        "sum_i min over S of ||u_i - u_j||^1/2, u the rows with lengths l mapped to log(1 + l): `dual` "
        "without its network",
        "ours",
        *("n^2 d log k", "blocks", "as `dual`"),
        diverse=True,
    ),
    "probcover": _covering(
        "probcover",
        "rows inside a ball of one radius around S",
        "Yehuda et al., NeurIPS 2022",
        *("n^2 d log k", "blocks", "a radius wrong for the budget"),
        width="radius by the purity of pseudo-classes",
        random=True,
        diverse=True,
    ),
    "random": Facts(
        "random",
        "control",
        "none",
        "none",
        *("n log n", "n", "a single draw is noise; misses rare classes"),
        random=True,
    ),
    "rrqr": _rebuilding(
        "rrqr",
        "volume of S: farthest from the span of S",
        "Chan, Linear Algebra Appl. 1987",
        *("n d a pick", "n d", "long rows and outliers lead; restarts after rank(X) picks"),
        diverse=True,
    ),
    "rrss": _rebuilding(
        "alsr",
        "sum_i ||x_i - X a_i|| + r ||A||_2,1",
        "Nie, Wang, Huang and Ding, IJCAI 2013",
        *("n^2 d, then n d^2 a step", "n d, blocks"),
        "neighbours come together; after some d rows nothing decides",
        function="alsr",
        settings={"locality": None, "n_neighbors": 0},
    ),
    "smrs": _rebuilding(
        "smrs",
        "||X - XA||_F^2 / 2 + c ||A||_2,1, columns of A sum to 1",
        "Elhamifar, Sapiro and Vidal, CVPR 2012",
        *("n d^2 a sweep", "n d", "outliers are corners of the hull and lead"),
    ),
    "ted": _rebuilding(
        "ted",
        "error of ridge regression from S on the pool",
        "Yu, Bi and Tresp, ICML 2006",
        *("linear n d^2 a pick; RBF n^2 d, n^2 a pick", "n d; RBF n^2"),
        "linear: long rows and outliers lead, little decides after d picks",
        width='with `kernel="rbf"`',
        diverse=True,
        growth_if_wide=3,
    ),
    "typiclust": _covering(
        "typiclust",
        "densest row of each of k clusters",
        "Hacohen, Dekel and Weinshall, ICML 2022",
        *("k-means, n^2 d", "blocks"),
        "clusters that are no classes; large budgets (borders are never seen)",
        nested=False,
        random=True,
        diverse=True,
    ),
    "usl": _covering(
        "usl",
        "densest rows of k clusters that repel each other",
        "Wang, Lian and Yu, ECCV 2022",
        *("k-means, n^2 d, then n d k a round", "n k, blocks"),
        "clusters that are no classes; budgets under the number of classes",
        width="no (a horizon, in units of the spread)",
        nested=False,
        random=True,
        diverse=True,
    ),
}


def described(name: str) -> str:
    """Return a method's name, with a word beside it where its objective is inferred.

    Examples
    --------
    >>> described("ted"), described("alfs")
    ('ted', 'alfs (inferred)')
    """
    facts = FACTS.get(name)
    return f"{name} ({INFERRED})" if facts and facts.objective == INFERRED else name


def listed() -> str:
    """Return the names of all methods, family by family, as the help lists them."""
    families = {family: [n for n, facts in FACTS.items() if facts.family == family] for family in FAMILIES}
    return "; ".join(f"{family}: {', '.join(map(described, names))}" for family, names in families.items())


def tables() -> str:
    """Return the tables of README.md, one for each family."""
    head = "| method | objective | source | nested | random | copies | width | time | memory | fails |"
    parts = []
    for family, meaning in FAMILIES.items():
        rows = [_cells(name, facts) for name, facts in FACTS.items() if facts.family == family]
        lines = [head, "|---" * 10 + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]
        parts += [f"**{family.capitalize()}**: {meaning}.", "\n".join(lines)]
    return "\n\n".join(parts)


def _cells(name: str, facts: Facts) -> list[str]:
    formula = facts.formula.replace("|", r"\|")
    return [
        f"`{name}`",
        f"INFERRED: {formula}" if facts.objective == INFERRED else formula,
        facts.source,
        "yes" if facts.nested else "no",
        "yes" if facts.random else "no",
        "apart" if facts.diverse else "",
        *(facts.width, facts.cost, facts.memory, facts.fails),
    ]
