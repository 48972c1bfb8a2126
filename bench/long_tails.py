"""Pools with a long tail, even ones, and the spaces that `bench.rare` picks in."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from bench import distances, view_sets
from bench.views import Space, joint
from dual_jax.data import datasets
from dual_jax.views import agreement, encoder

SETS = {"mnist": (1400, 14, 200), "digits": (120, 5, 50), "animals": (700, 7, 100)}
# Largest and smallest class of the pool, and test rows of each class.
SPACES = ("closed:1", "network:1", "local:1", "closed:1,network:1")
LEARNT = ("more prototypes", "unequal prototypes", "nt_xent", "learnt again")
N_MORE = 200  # prototypes, each for 17 of 3,476 rows
SHARE = 0.5  # unequal prototypes: a round of the assignment evens their sizes by this power


class Data(NamedTuple):
    """The samples of a pool and of a test set with their classes, and how an encoder is learnt."""

    x: np.ndarray
    y: np.ndarray
    test: np.ndarray
    y_test: np.ndarray
    knobs: dict[str, Any]
    unlabelled: np.ndarray  # what is learnt from


def long_tail(name: str, seed: int) -> Data:
    """Return a pool with a long tail and an even test set."""
    largest, smallest, n_test = SETS[name]
    rng = np.random.default_rng([0, seed])
    if name == "mnist":
        made = datasets.load("mnist")
        x, y, knobs = made.x.reshape(-1, 28, 28), made.y, {}
    else:
        views = view_sets.load(name)
        x, y, knobs = views.x, views.y, views.knobs
    classes = rng.permutation(np.unique(y))
    sizes = np.geomspace(largest, smallest, len(classes)).round().astype(int)
    rows = [rng.permutation(np.flatnonzero(y == label)) for label in classes]
    test = np.concatenate([own[:n_test] for own in rows])
    pool = np.concatenate([own[n_test : n_test + size] for own, size in zip(rows, sizes, strict=True)])
    pool = rng.permutation(pool)
    return Data(x[pool], y[pool], x[test], y[test], knobs, x[pool])


def even(name: str, number: int) -> Data:
    """Return a split of `bench.view_sets`."""
    views = view_sets.load(name)
    unlabelled, pool, test = views.rows(number)
    return Data(views.x[pool], views.y[pool], views.x[test], views.y[test], views.knobs, views.x[unlabelled])


def uneven_assignment(scores: jax.Array) -> jax.Array:
    """Return `dual_jax.views.agreement.balanced_assignment` that evens sizes by half of what they lack."""
    shares = jnp.exp((scores - jnp.max(scores)) / agreement.SHARPNESS)
    for _ in range(agreement.ROUNDS):
        shares = shares / (jnp.sum(shares, axis=0, keepdims=True) + 1e-30) ** SHARE
        shares = shares / (jnp.sum(shares, axis=1, keepdims=True) + 1e-30)
    return shares


def parts(data: Data, how: str, seed: int, first: Space | None = None) -> dict[str, Space]:
    """Return the parts of a code that is learnt in one of the ways of `LEARNT`, or as the product does."""
    x, knobs = data.unlabelled, dict(data.knobs)
    if how == "more prototypes":
        knobs["n_prototypes"] = N_MORE
    elif how == "nt_xent":
        knobs["loss"] = "nt_xent"
    elif how == "learnt again" and first is not None:
        weights = distances.scales(first.pool) ** 2
        x = data.x[np.random.default_rng(seed).choice(len(data.x), len(data.x), p=weights / weights.sum())]
    if how != "unequal prototypes":
        learnt = encoder.learn(jax.random.key(seed), x, kind="images", **knobs)
    else:
        jax.clear_caches()
        with mock.patch.object(agreement, "balanced_assignment", uneven_assignment):
            learnt = encoder.learn(jax.random.key(seed), x, kind="images", **knobs)
        jax.clear_caches()
    found = [encoder.features(learnt, rows)._asdict() for rows in (data.x, data.test)]
    return {name: Space(*(np.asarray(one[name]) for one in found)) for name in found[0] if name != "raw"}


def spaces(data: Data, seed: int, kept: Path | None, learnt: tuple[str, ...]) -> dict[str, Space]:
    """Return the spaces by name: the code, joint spaces of its parts, and codes learnt in other ways.

    ``kept`` is the beginning of the names of files that keep them.
    """
    made = _kept(kept, "code", lambda: _joints(parts(data, "", seed)))

    def learnt_by(how: str) -> dict[str, Space]:
        return {how: joint(parts(data, how, seed, made["code"]), "code:1")}

    for how in learnt:
        made |= _kept(kept, how, partial(learnt_by, how))
    return made


def _joints(own: dict[str, Space]) -> dict[str, Space]:
    return {"code": joint(own, "code:1")} | {name: joint(own, name) for name in SPACES}


def _kept(kept: Path | None, word: str, make: Callable[[], dict[str, Space]]) -> dict[str, Space]:
    if kept is None:
        return make()
    path = kept.with_name(f"{kept.name}-{word}.npz")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path, **{f"{name}|{i}": rows for name, made in make().items() for i, rows in enumerate(made)}
        )
    with np.load(path) as arrays:
        names = dict.fromkeys(name.partition("|")[0] for name in arrays)
        return {name: Space(arrays[f"{name}|0"], arrays[f"{name}|1"]) for name in names}
