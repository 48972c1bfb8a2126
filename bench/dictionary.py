"""What a dictionary of few rows costs, and how to choose it: ``python -m bench.dictionary --out FILE.jsonl``.

DUAL picks with a full C and with dictionaries of `PLACES` rows that are chosen in four ways, from the same
trained autoencoder on the same random halves. A linear SVM judges the picks; the objective after stage 3
needs no label, and by it the way is chosen. What is in the records is not done again.

==========  ==================================================================================
``even``    drawn evenly, the library's own
``kmeans``  by the draws of k-means++: with chances as the squared distances to those drawn before
``leverage``  the chance of a row is its ridge leverage in the learnt space, with half of the mean variance
``spread``  at even distances in the order of the clusters
==========  ==================================================================================
"""

import argparse
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import dual_jax as dj
from dual_jax.data.datasets import Dataset, load, waveform_generator
from dual_jax.dual.objectives.notation import total_loss
from dual_jax.dual.state import TrainState
from dual_jax.dual.trained import learnt_space
from dual_jax.evaluation.experiment import Cell, Entry, Picked, cells, finished, judge, order_key
from dual_jax.evaluation.judges import Split, budgets, halve
from dual_jax.evaluation.records import Record, append, read
from dual_jax.plots.page import markdown

PLACES = 1024
KEY = jax.random.key(0)


class Pool(NamedTuple):
    """A data set whose halves are pools of 5,000 or 10,000 rows, and how it is scaled."""

    data: Callable[[str | None], Dataset]
    scale: str


def mnist(data_dir: str | None) -> Dataset:
    data = load("mnist", data_dir)
    return data._replace(x=data.x[:20_000], y=data.y[:20_000])


POOLS = {
    "waveform": Pool(lambda _: waveform_generator(0, 10_000), "standard"),
    "gesture": Pool(partial(load, "gesture"), "standard"),
    "mnist": Pool(mnist, "global"),
}


def leverage(key: jax.Array, u: jax.Array) -> jax.Array:
    centred = u - u.mean(0)
    covariance = centred.T @ centred
    ridge = 0.5 * jnp.trace(covariance) / u.shape[1]
    solved = jnp.linalg.solve(covariance + ridge * jnp.eye(u.shape[1]), centred.T)
    chances = jnp.log(jnp.sum(centred * solved.T, axis=1))
    return jax.lax.top_k(chances + jax.random.gumbel(key, chances.shape), PLACES)[1]


def by_squares(key: jax.Array, u: jax.Array) -> jax.Array:
    def draw(i: Any, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        drawn, nearest = state
        one = jax.random.categorical(jax.random.fold_in(key, i), jnp.log(nearest))
        return drawn.at[i].set(one), jnp.minimum(nearest, jnp.sum((u - u[one]) ** 2, axis=1))

    start = jnp.zeros(PLACES, jnp.int32), jnp.ones(len(u))
    return jax.lax.fori_loop(0, PLACES, draw, start)[0]


def spread(key: jax.Array, u: jax.Array) -> jax.Array:
    order = jnp.argsort(dj.kmeans(key, u, int(2 * len(u) ** 0.5)).labels, stable=True)
    return order[((jnp.arange(PLACES) + jax.random.uniform(key)) * (len(u) / PLACES)).astype(jnp.int32)]


CHOICES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "kmeans": by_squares,
    "leverage": leverage,
    "spread": spread,
}


def measure(split: Split, numbers: tuple[int, ...], wanted: dict[str, list[Cell]], out: Path) -> None:
    """Add the records of a split: for each way its accuracies, and a note of its objective and seconds."""
    x, config = jnp.asarray(split.pool.x), dj.DualConfig()
    key = order_key(KEY, split.number, 0)
    network = dj.init(key, x, config)
    for _ in range(config.pretrain_steps):
        network, _ = dj.pretrain_step(network, x, config)
    u = learnt_space(_start(key, network, x, PLACES), x, config)
    for way, own in wanted.items():
        begun = time.perf_counter()
        given = jnp.sort(CHOICES[way](key, u)) if way in CHOICES else None
        state = _start(key, network, x, PLACES if way == "even" else len(x), given)
        config = dataclasses.replace(config, dictionary_size=len(state.fixed.dictionary))
        for _ in range(config.steps):
            state, terms = dj.train_step(state, x, config)
        picks = np.asarray(dj.rank(state, x, config, max(numbers)).indices)
        seconds = time.perf_counter() - begun
        note = {"kind": "objective", "data": split.data, "split": split.number, "way": way}
        append(out, {**note, "objective": float(total_loss(terms, config.weights)), "seconds": seconds})
        tasks = [(cell, Picked(picks[: cell.budget], seconds, 0.0)) for cell in own]
        judge(tasks, split, {"raw": lambda: (split.pool, split.test)}, out)


def _start(
    key: jax.Array, network: TrainState, x: jax.Array, places: int, dictionary: jax.Array | None = None
) -> TrainState:
    """Return the start of stage 3 from a copy of the trained network, which a step would eat."""
    config = dataclasses.replace(dj.DualConfig(), dictionary_size=places)
    return dj.start_selection(key, jax.tree.map(jnp.copy, network), x, config, dictionary=dictionary)


def table(records: list[Record]) -> str:
    """Return objective and accuracy of each way beside those of the full C, over splits and budgets."""
    accuracy: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for record in records:
        if "kind" not in record:
            accuracy[record["data"], record["settings"].partition("=")[2], record["split"]].append(
                100 * record["accuracy"]
            )
    notes = {(r["data"], r["way"], r["split"]): r for r in records if r.get("kind") == "objective"}
    rows = []
    for data, way in dict.fromkeys(key[:2] for key in notes):
        pairs = [(key, (data, "full", key[2])) for key in notes if key[:2] == (data, way)]
        gaps = [np.mean(accuracy[own]) - np.mean(accuracy[full]) for own, full in pairs]
        objectives = [notes[own]["objective"] / notes[full]["objective"] for own, full in pairs]
        rows.append(
            (
                f"{data}, {way}",
                str(len(pairs)),
                f"{np.mean(objectives):.4f}",
                f"{np.mean([np.mean(accuracy[own]) for own, _ in pairs]):.2f}",
                f"{np.mean(gaps):+.2f} ± {np.std(gaps, ddof=1):.2f}" if len(gaps) > 1 else "",
                f"{np.median([notes[own]['seconds'] for own, _ in pairs]):.0f} s",
            )
        )
    head = (
        "pool, dictionary",
        "splits",
        "objective / full",
        "accuracy",
        "less the full one",
        "stage 3, picks",
    )
    return markdown(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the records, .jsonl; added to")
    parser.add_argument("--data", default=",".join(POOLS), help="default: %(default)s")
    parser.add_argument("--data-dir", help="files of built-in sets; default: $DUAL_JAX_DATA")
    parser.add_argument("--ways", default=",".join(("full", "even", *CHOICES)), help="default: %(default)s")
    parser.add_argument("--splits", type=int, default=5)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name in args.data.split(","):
        pool = POOLS[name]
        data = pool.data(args.data_dir)._replace(name=name)
        for number in range(args.splits):
            split, done = halve(data, number, scale=pool.scale), finished(read(args.out))
            numbers = budgets(split.n_classes, len(split.pool.y) // 4)
            wanted = {}
            for way in args.ways.split(","):
                entry = Entry("dual", {"dictionary": way})
                missing = [cell for cell in cells("dictionary", split, entry, numbers) if cell not in done]
                wanted |= {way: missing} if missing else {}
            if wanted:
                measure(split, numbers, wanted, args.out)
    print(table(read(args.out)))


if __name__ == "__main__":
    main()
