"""Where each array of a training state is: on devices in target blocks, or on the host in one piece.

A device has the rows of its own targets and centroids: of C, of P, of their moments, and of the fields of
`dual_jax.dual.state.Fixed` that `ROWS_OF` names. All else is on every device. A long fit is saved in one
piece, so that it can continue on other devices, and with exactly the same numbers on the same devices.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from dual_jax.devices.mesh import EVERYWHERE, ROWS, on_host
from dual_jax.dual.blocks import cuts
from dual_jax.dual.state import Fixed, TrainState


class RowCounts(NamedTuple):
    """How many rows of each kind there are."""

    targets: int
    centroids: int
    pool: int


# Fields of `Fixed` with a row per target, centroid, or row of the pool. The last are on every device.
ROWS_OF = {
    "targets": "targets",
    "centroids": "centroids",
    "sizes": "centroids",
    "is_labeled": "pool",
    "is_candidate": "pool",
}


def specs(state: TrainState) -> TrainState:
    """Return where each array of a state is: `ROWS` with a row per target or centroid, else `EVERYWHERE`.

    Examples
    --------
    >>> from dual_jax.dual.config import DualConfig
    >>> from dual_jax.dual.steps import init, start_selection
    >>> key, x, config = jax.random.key(0), jax.numpy.ones((6, 3)), DualConfig(n_clusters=2)
    >>> where = specs(start_selection(key, init(key, x, config), x, config))
    >>> where.params.C == (ROWS,), where.fixed.dictionary == EVERYWHERE
    (True, True)
    """

    def blocks(tree: Any) -> dict[str, Any]:
        return {
            part: jax.tree.map(lambda leaf: ROWS if leaf.ndim else EVERYWHERE, getattr(tree, part))
            for part in ("C", "P")
        }

    where = jax.tree.map(lambda _: EVERYWHERE, state)
    params = where.params._replace(**blocks(state.params))
    opt_state = where.opt_state._replace(**blocks(state.opt_state))
    if state.fixed is None:
        return TrainState(params, opt_state, where.step)
    sharded = {name: ROWS for name, kind in ROWS_OF.items() if kind != "pool"}
    return TrainState(params, opt_state, where.step, where.fixed._replace(**sharded), where.sums)


def in_one_piece(
    state: TrainState,
    n: int,
    n_clusters: int,
    n_shares: int,
    n_pool: int | None = None,
    n_places: int | None = None,
) -> TrainState:
    """Return a state as arrays of NumPy, with one block of C (n, m) and of P (K, m), and without padding.

    Sums of squares that a step carries are left out: they follow from C and P.

    Parameters
    ----------
    state
        As it is on ``n_shares`` devices.
    n, n_clusters
        Targets and clusters, without padding.
    n_pool
        Rows of the pool, if the targets are only some of them.
    n_places
        Columns to keep, if the state has unused ones for a device's sake.
    """
    state = with_columns(on_host(state), n_places)
    if state.fixed is None:
        return state

    def join(blocks: tuple[Any, ...], n_rows: int) -> tuple[Any]:
        def leaf(*parts: np.ndarray) -> np.ndarray:
            if parts[0].ndim == 0:
                return parts[0]
            shares = [part.reshape(n_shares, len(part) // n_shares, *part.shape[1:]) for part in parts]
            return np.concatenate(shares, axis=1).reshape(-1, *parts[0].shape[1:])[:n_rows]

        return (jax.tree.map(leaf, *blocks),)

    def both(tree: Any) -> Any:
        return tree._replace(C=join(tree.C, n), P=join(tree.P, n_clusters))

    fixed = _resized_fixed(state.fixed, RowCounts(n, n_clusters, n_pool or n))
    return TrainState(both(state.params), both(state.opt_state), state.step, fixed)


def with_columns(state: TrainState, m: int | None) -> TrainState:
    """Return a state in one piece or in blocks on the host with m places, the last ones cut or unused."""
    if state.fixed is None or m is None or m == len(state.fixed.dictionary):
        return state

    def sized(leaf: Any) -> Any:
        return leaf if np.ndim(leaf) != 2 else _resized(leaf.T, m).T

    def both(tree: Any) -> Any:
        return tree._replace(C=jax.tree.map(sized, tree.C), P=jax.tree.map(sized, tree.P))

    fixed = state.fixed._replace(
        dictionary=_resized(state.fixed.dictionary, m, -1),
        dictionary_x=_resized(state.fixed.dictionary_x, m),
    )
    return TrainState(both(state.params), both(state.opt_state), state.step, fixed)


def in_blocks(state: TrainState, n_shares: int, n_tiles: int, block_rows: int | None = None) -> TrainState:
    """Return a state that is in one piece as it is on ``n_shares`` devices; the inverse of `in_one_piece`.

    Each block of C and P holds the shares of all devices in order, as a mesh shards them. Rows are padded to
    a multiple of ``n_tiles``, which is one of ``n_shares``. Blocks are tiles, or have ``block_rows``.
    """
    if state.fixed is None:
        return state
    n, n_clusters = len(state.fixed.targets), len(state.fixed.sizes)
    own, rows = n_tiles // n_shares, -(-n // n_tiles)
    n_local, k_local = own * rows, own * -(-n_clusters // n_tiles)
    blocks = cuts(n_local, k_local, block_rows or rows)

    def split(whole: Any, rows: list[slice], n_own: int) -> tuple[Any, ...]:
        def leaf(array: np.ndarray, own: slice) -> np.ndarray:
            if array.ndim == 0:
                return array
            shares = _resized(array, n_own * n_shares).reshape(n_shares, n_own, *array.shape[1:])
            return shares[:, own].reshape(-1, *array.shape[1:])

        return tuple(jax.tree.map(lambda array, own=own: leaf(array, own), whole) for own in rows)

    def both(tree: Any) -> Any:
        of_c = split(tree.C[0], [block.C for block in blocks], n_local)
        return tree._replace(C=of_c, P=split(tree.P[0], [block.P for block in blocks], k_local))

    n_pool = -(-len(state.fixed.is_labeled) // n_tiles) * n_tiles
    fixed = _resized_fixed(state.fixed, RowCounts(n_local * n_shares, k_local * n_shares, n_pool))
    return TrainState(both(state.params), both(state.opt_state), state.step, fixed)


def _resized_fixed(fixed: Fixed, n_rows: RowCounts) -> Fixed:
    """Return what stage 2 decided with this number of rows of each kind: cut, or padded at the end."""
    of = {name: (getattr(fixed, name), getattr(n_rows, kind)) for name, kind in ROWS_OF.items()}
    fill = {"targets": -1}
    return fixed._replace(**{name: _resized(array, n, fill.get(name, 0)) for name, (array, n) in of.items()})


def _resized(array: Any, n: int, fill: int = 0) -> Any:
    missing = [(0, max(n - len(array), 0))] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array[:n], missing, constant_values=fill)
