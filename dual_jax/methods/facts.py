"""What is known of each method: the help, the figures, the tests and a table of README.md come from here.

This file imports no method and no JAX. The notation of costs is that of README.md.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class Facts(NamedTuple):
    """What is known of a method.

    Attributes
    ----------
    module
        Its module below `dual_jax.methods`.
    family
        What it does, as `FAMILIES` says; the group of its line in a figure.
    cost
        Order of its time.
    source
        Where it was published.
    objective
        "inferred" where we could not read it and derived it from the abstract and from the methods that it
        builds on; "printed" for all others.
    function
        The function's name in its module; that of the method by default.
    settings
        Knobs that are fixed: the method is a special case of a more general one.
    nested
        Whether the first k picks do not depend on ``n_select``.
    random
        Whether it uses its key.
    diverse
        Whether it does not pick a sample twice while others are left.
    square
        Whether it holds an array with an entry for each pair of rows.
    powers
        The powers of n by which its time grows with n / 2 picks: usually, and with more features than rows.
    reader
        Of a method that learns before it picks: a function ``(key, x, **knobs)`` of its module that learns
        once and returns the picks as a function of ``n_select``.
    short_listed
        Whether it reads out as `dual_jax.dual.readout` does, from a short list where the pool is large.
    limits
        Which of `dual_jax.selection.limits.NAMES` it keeps. A method without a parameter of that name has a
        score for each row, and `dual_jax.selection.walks` walks down its order.
    """

    module: str
    family: Literal["reconstruction", "coverage", "deep", "control"]
    cost: str
    source: str
    objective: Literal["printed", "inferred"] = "printed"
    function: str = ""
    settings: Mapping[str, Any] = {}
    nested: bool = True
    random: bool = False
    diverse: bool = False
    square: bool = False
    powers: tuple[int, int] = (2, 2)
    reader: str = ""
    short_listed: bool = False
    limits: tuple[str, ...] = ("until",)


FAMILIES = {
    "reconstruction": "rows that rebuild the pool",
    "coverage": "rows that cover the pool",
    "deep": "rows picked in a space that a network has learnt",
    "control": "what every method has to beat",
}


APART = ("min_distance", "per_group")  # picks exclude each other, and none of them is needed for a set
RANKS = ("until", *APART)
COVERS = (*RANKS, "weights", "costs")


def _rebuilding(module: str, cost: str, source: str, **rest: Any) -> Facts:
    return Facts(f"reconstruction.{module}", "reconstruction", cost, source, **rest)


def _covering(module: str, cost: str, source: str, **rest: Any) -> Facts:
    return Facts(f"coverage.{module}", "coverage", cost, source, **rest)


WITHOUT_CLUSTERS = {"beta": 0.0, "eta": 0.0, "power": 0.5, "readout": "greedy"}
FACTS: dict[str, Facts] = {
    "activeft": _covering(
        "activeft",
        "n d k a step, 300 steps",
        "Xie et al., CVPR 2023",
        nested=False,
        random=True,
        limits=APART,
    ),
    "alfs": _rebuilding(
        "alfs",
        "n d min(n, d) a step",
        "Li et al., IEEE TPAMI 2019",
        objective="inferred",
        limits=RANKS,
    ),
    "alnr": _rebuilding(
        "alnr",
        "n^2 d, then n c^3 a sweep (c neighbours)",
        "Hu et al., IJCAI 2013",
        objective="inferred",
        limits=RANKS,
    ),
    "alsr": _rebuilding(
        "alsr",
        "n^2 d, then n d (d + c) a step",
        "Li et al., Pattern Recognition Letters 2017",
        objective="inferred",
        limits=RANKS,
    ),
    "arss": _rebuilding(
        "arss",
        "n^2 d, then n d^2 + d^3 a step",
        "Zhu et al., AAAI 2015",
        limits=RANKS,
    ),
    "cted": _rebuilding(
        "dcted",
        "n d^2 a sweep",
        "Yu, Zhu, Xu and Gong, SIGIR 2008",
        function="dcted",
        settings={"diversity": 0.0},
        limits=RANKS,
    ),
    "dcs": _rebuilding(
        "dcs",
        "n d min(n, d)",
        "Papailiopoulos, Kyrillidis and Boutsidis, KDD 2014",
        limits=RANKS,
    ),
    "dcted": _rebuilding(
        "dcted",
        "n d^2 a sweep",
        "Shi and Shen, IJCAI 2016",
        objective="inferred",
        limits=RANKS,
    ),
    "dpp": _covering(
        "dpp",
        "n k (d + k + 256)",
        "Chen, Zhang and Zhou, NeurIPS 2018",
        diverse=True,
        powers=(3, 3),
        limits=RANKS,
    ),
    "dual": Facts(
        "dual",
        "deep",
        "m n (d + p) a step, n^2 (d + p) log k",
        "Li et al., IJCAI 2020, changed",
        random=True,
        square=True,
        reader="dual_reader",
        short_listed=True,
        limits=COVERS,
    ),
    "dual_paper": Facts(
        "dual",
        "deep",
        "m n (d + p) a step",
        "Li et al., IJCAI 2020",
        random=True,
        square=True,
        limits=RANKS,
    ),
    "dual_wo": Facts(
        "dual",
        "deep",
        "as `dual`",
        "Li et al., IJCAI 2020, ablation",
        function="dual",
        settings=WITHOUT_CLUSTERS,
        random=True,
        square=True,
        short_listed=True,
        limits=COVERS,
    ),
    "facility": _covering(
        "facility",
        "n^2 d log k",
        "Schreiber et al., JMLR 2020; Bae, Noh and Sutherland, ECCV 2024",
        diverse=True,
        limits=COVERS,
    ),
    "herding": _covering(
        "herding",
        "n^2 d, then n d a pick",
        "Chen, Welling and Smola, UAI 2010",
        limits=RANKS,
    ),
    "kcenter": _covering(
        "kcenter",
        "n d a pick",
        "Gonzalez, TCS 1985; Sener and Savarese, ICLR 2018",
        diverse=True,
        limits=RANKS,
    ),
    "kmeans": _covering(
        "kmeans",
        "n d k an iteration, 4 restarts",
        "the usual baseline",
        nested=False,
        random=True,
        diverse=True,
        limits=APART,
    ),
    "llr": _rebuilding(
        "llr", "n^3, then n (n + d + k) a pick", "Zhang et al., IEEE TPAMI 2011", square=True, powers=(3, 3)
    ),
    "maed": _rebuilding(
        "maed",
        "linear n^2 d, n d^2 a pick; RBF n^3, n^2 a pick",
        "Cai and He, IEEE TKDE 2012",
        square=True,
        powers=(2, 3),
        limits=RANKS,
    ),
    "medoids": _covering(
        "medoids",
        "n^2 d log k",
        "ours",
        diverse=True,
        limits=COVERS,
    ),
    "probcover": _covering(
        "probcover",
        "n^2 d log k",
        "Yehuda et al., NeurIPS 2022",
        random=True,
        diverse=True,
        limits=COVERS,
    ),
    "random": Facts(
        "random",
        "control",
        "n log n",
        "none",
        random=True,
        limits=RANKS,
    ),
    "rrqr": _rebuilding(
        "rrqr",
        "n d a pick",
        "Chan, Linear Algebra Appl. 1987",
        diverse=True,
        limits=RANKS,
    ),
    "rrss": _rebuilding(
        "alsr",
        "n^2 d, then n d^2 a step",
        "Nie, Wang, Huang and Ding, IJCAI 2013",
        function="alsr",
        settings={"locality": None, "n_neighbors": 0},
        limits=RANKS,
    ),
    "smrs": _rebuilding(
        "smrs",
        "n d^2 a sweep",
        "Elhamifar, Sapiro and Vidal, CVPR 2012",
        limits=RANKS,
    ),
    "ted": _rebuilding(
        "ted",
        "linear n d^2 a pick; RBF n^2 d, n^2 a pick",
        "Yu, Bi and Tresp, ICML 2006",
        diverse=True,
        powers=(2, 3),
        limits=RANKS,
    ),
    "typiclust": _covering(
        "typiclust",
        "k-means, n^2 d",
        "Hacohen, Dekel and Weinshall, ICML 2022",
        nested=False,
        random=True,
        diverse=True,
        limits=APART,
    ),
    "usl": _covering(
        "usl",
        "k-means, n^2 d, then n d k a round",
        "Wang, Lian and Yu, ECCV 2022",
        nested=False,
        random=True,
        diverse=True,
        limits=APART,
    ),
}


def described(name: str) -> str:
    """Return a method's name, followed by "(inferred)" if its objective is inferred.

    Examples
    --------
    >>> described("ted"), described("alfs")
    ('ted', 'alfs (inferred)')
    """
    return f"{name} (inferred)" if name in FACTS and FACTS[name].objective == "inferred" else name


def listed() -> str:
    """Return the names of all methods, family by family, as the help lists them."""
    families = {family: [n for n, facts in FACTS.items() if facts.family == family] for family in FAMILIES}
    return "; ".join(f"{family}: {', '.join(map(described, names))}" for family, names in families.items())


def table() -> str:
    """Return README.md's table of facts."""
    head = ("method", "family", "source", "objective", "nested", "random", "copies", "time", "limits")
    rows = []
    for name, facts in FACTS.items():
        nested, random = ("yes" if fact else "no" for fact in (facts.nested, facts.random))
        limits = "all" if facts.limits == COVERS else ", ".join(facts.limits).replace("_", " ")
        about = (f"`{name}`", facts.family, facts.source, facts.objective)
        rows.append((*about, nested, random, "apart" if facts.diverse else "", facts.cost, limits))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))
