"""One data set under one protocol: its splits, its budgets, and its file of records."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from dual_jax.data.datasets import Dataset
from dual_jax.data.errors import InputError
from dual_jax.dual import grid
from dual_jax.dual.state import TrainState
from dual_jax.evaluation.experiment import Cell, View, Views, encoded, finished, order_key
from dual_jax.evaluation.judges import Split, halve
from dual_jax.evaluation.paper.protocols import CONFIGS, Protocol
from dual_jax.evaluation.records import Record, read


class Study(NamedTuple):
    """The state that all work on a data set shares.

    Attributes
    ----------
    key
        Of the whole; `dual_jax.evaluation.experiment.order_key` gives splits and orders theirs.
    keys, pools
        The key of the first order and the pool of each split: what the networks are trained with.
    records, done
        The records in the file when the study was opened, and those of cells among them, by cell.
    networks
        From ``"dual"`` or ``"dual_paper"`` to the states after that configuration's stage 1 on each pool,
        trained together when first needed.
    """

    protocol: Protocol
    data: Dataset
    seed: int
    splits: tuple[Split, ...]
    budgets: tuple[int, ...]
    key: Key[Array, ""]
    keys: Key[Array, " s"]
    pools: Float[Array, "s n d"]
    path: Path
    records: list[Record]
    done: dict[Cell, Record]
    networks: Callable[[str], TrainState]

    @property
    def n_pool(self) -> int:
        """Rows to pick from."""
        return self.pools.shape[1]

    @property
    def half(self) -> int:
        """The budget of Figures 4 and 6."""
        return max(self.n_pool // 2, 1)

    def has(self, kind: str) -> bool:
        """Return whether there is a record of that kind."""
        return any(record.get("kind") == kind for record in self.records)


def open_study(protocol: Protocol, data: Dataset, folder: Path, seed: int) -> Study:
    """Return a data set under a protocol, with the records of it in ``folder``, compressed (``.gz``) or not.

    Raises
    ------
    ValueError
        If the file of records is damaged, or is of another seed.
    """
    path = folder / f"{protocol.name}-{data.name}.jsonl"
    records = [*read(f"{path}.gz"), *read(path)]
    for record in records:
        if record.get("seed", seed) != seed:
            raise InputError(
                f"{path} holds the records of seed {record['seed']}: ask for it, or another folder"
            )
    splits = tuple(halve(data, i, seed=seed, scale=protocol.scale) for i in range(protocol.n_splits))
    key = jax.random.key(seed)
    keys = jnp.stack([order_key(key, split.number, 0) for split in splits])
    pools = jnp.stack([jnp.asarray(split.pool.x) for split in splits])

    @functools.cache
    def networks(method: str) -> TrainState:
        return grid.pretrain(keys, pools, CONFIGS[method]())

    budgets = protocol.budgets(splits[0].n_classes, pools.shape[1])
    done = finished(records)
    return Study(protocol, data, seed, splits, budgets, key, keys, pools, path, records, done, networks)


def views(study: Study, split: int) -> Views:
    """Return the views of a split: as given, and as codes of the network after stage 1."""
    own, method = study.splits[split], study.protocol.network

    def codes() -> View:
        encoder = jax.tree.map(lambda leaf: leaf[split], study.networks(method).params.network.encoder)
        return encoded(own, encoder, CONFIGS[method]())

    return {"raw": lambda: (own.pool, own.test), "latent": codes}
