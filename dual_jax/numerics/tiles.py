"""Sums over rows with the same bits on any number of devices.

The rows of a pool are cut into tiles of equal length, by their number alone. Each device holds some tiles.
A function of a tile is compiled alone: its rounding does not depend on how many tiles a device holds.
The results are added in pairs, neighbours first: the same additions on 1, 2, 4, ... devices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from dual_jax.devices.collectives import n_devices, own_rows, sum_in_pairs, total_in_order
from dual_jax.numerics.xla import compiled_alone


class Tiles(NamedTuple):
    """How many tiles this device's rows have, and the axis of the devices that hold the others."""

    n: int = 1
    axis_name: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether there is one tile in all, so that nothing needs a fixed order."""
        return self.n == 1 and self.axis_name is None


WHOLE = Tiles()


def alone(function: Callable[..., Any], tiles: Tiles) -> Callable[..., Any]:
    """Return a function that is compiled alone, whatever is around it; as it is for one tile."""
    return function if tiles.is_whole else compiled_alone(function)


def isolated(tree: Any, tiles: Tiles) -> Any:
    """Return a pytree of which the compiler fuses nothing with its use; as it is for one tile."""
    return alone(lambda tree: tree, tiles)(tree)


def each(function: Callable[..., Any], parts: Any, tiles: Tiles, *shared: Any) -> Any:
    """Return ``function(part, *shared)`` for each part of leading length, stacked."""
    function = alone(function, tiles)
    return jax.lax.map(lambda part: function(part, *shared), parts)


def each_tile(function: Callable[..., Any], rows: Any, tiles: Tiles, *shared: Any) -> Any:
    """Return ``function(rows of a tile, *shared)`` for each of this device's tiles, stacked.

    Parameters
    ----------
    rows
        A pytree; every leaf has this device's rows, or the same share of others, as its first axis.
    shared
        What all tiles use.
    """
    if tiles.is_whole:
        return jax.tree.map(lambda leaf: leaf[None], function(rows, *shared))
    parts = jax.tree.map(lambda leaf: leaf.reshape(tiles.n, -1, *leaf.shape[1:]), rows)
    return each(function, parts, tiles, *shared)


def rows_of(stacked: Shaped[Array, "t b ..."]) -> Shaped[Array, "n ..."]:
    """Return the rows of all tiles, one after the other."""
    return stacked.reshape(-1, *stacked.shape[2:])


def map_rows(function: Callable[..., Any], rows: Any, tiles: Tiles, *shared: Any) -> Any:
    """Return `each_tile` of a function from rows to rows, as rows."""
    return jax.tree.map(rows_of, each_tile(function, rows, tiles, *shared))


def total_of_tiles(stacked: Any, tiles: Tiles) -> Any:
    """Return the sum over all tiles of all devices of each leaf, which has one entry per own tile."""
    own = jax.tree.map(sum_in_pairs, stacked)
    return isolated(total_in_order(own, tiles.axis_name), tiles)


class Pairs:
    """Adds pytrees one by one, in the order of `sum_in_pairs`, and holds few of them at a time."""

    def __init__(self) -> None:
        self.sums: list[tuple[int, Any]] = []  # how many were added, and their sum

    def add(self, tree: Any) -> None:
        """Add the next one."""
        count = 1
        while self.sums and self.sums[-1][0] == count:
            tree = jax.tree.map(jnp.add, self.sums.pop()[1], tree)
            count *= 2
        self.sums.append((count, tree))

    def last(self) -> Any:
        """Return the sum that the last one is in."""
        return self.sums[-1][1]

    def total(self) -> Any:
        """Return the sum of all."""
        trees = [tree for _, tree in self.sums]
        while len(trees) > 1:
            last = trees.pop()
            trees[-1] = jax.tree.map(jnp.add, trees[-1], last)
        return trees[0]


def total_of_pairs(own: Pairs, tiles: Tiles) -> Any:
    """Return the sum over all tiles of all devices, of which this device has added its own."""
    return isolated(total_in_order(own.total(), tiles.axis_name), tiles)


def share_out(rows: Array, tiles: Tiles) -> Array:
    """Return this device's share of rows that all devices hold, padded by zeros to as many for each tile."""
    padding = -len(rows) % (tiles.n * n_devices(tiles.axis_name))
    return own_rows(jnp.pad(rows, [(0, padding)] + [(0, 0)] * (rows.ndim - 1)), tiles.axis_name)
