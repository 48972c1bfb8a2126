"""A training state in one piece on the host, whatever devices and target blocks it was dealt out to.

What is kept of a long fit is this form, so that it goes on with other devices, and with the very same
numbers on the same ones.
"""

from typing import Any

import jax
import numpy as np

from dual_jax.devices.mesh import on_host
from dual_jax.dual.blocks import cuts
from dual_jax.dual.state import Fixed, TrainState


def in_one_piece(
    state: TrainState, n: int, n_clusters: int, n_shares: int, n_pool: int | None = None
) -> TrainState:
    """Return a state as arrays of NumPy, with one block of C (n, m) and of P (K, m), and without padding.

    Parameters
    ----------
    state
        As it is on ``n_shares`` devices.
    n, n_clusters
        Targets and clusters, without padding.
    n_pool
        Rows of the pool, where the targets are but some of them.
    """
    state = on_host(state)
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

    fixed = _cut(state.fixed, n, n_clusters, n_pool or n)
    return TrainState(both(state.params), both(state.opt_state), state.step, fixed)


def in_blocks(state: TrainState, n_shares: int, block_rows: int) -> TrainState:
    """Return a state that is in one piece as it is on ``n_shares`` devices; the inverse of `in_one_piece`.

    The shares of C and P lie one behind the other in each block, as a mesh deals them out.
    """
    if state.fixed is None:
        return state
    n, n_clusters = len(state.fixed.targets), len(state.fixed.sizes)
    n_local, k_local = -(-n // n_shares), -(-n_clusters // n_shares)
    blocks = cuts(n_local, k_local, block_rows)

    def split(whole: Any, rows: list[slice], n_own: int) -> tuple[Any, ...]:
        def leaf(array: np.ndarray, own: slice) -> np.ndarray:
            if array.ndim == 0:
                return array
            shares = _padded(array, n_own * n_shares).reshape(n_shares, n_own, *array.shape[1:])
            return shares[:, own].reshape(-1, *array.shape[1:])

        return tuple(jax.tree.map(lambda array, own=own: leaf(array, own), whole) for own in rows)

    def both(tree: Any) -> Any:
        of_c = split(tree.C[0], [block.C for block in blocks], n_local)
        return tree._replace(C=of_c, P=split(tree.P[0], [block.P for block in blocks], k_local))

    fixed = _padded_fixed(state.fixed, n_local * n_shares, k_local * n_shares, n_shares)
    return TrainState(both(state.params), both(state.opt_state), state.step, fixed)


def _cut(fixed: Fixed, n: int, n_clusters: int, n_pool: int) -> Fixed:
    return fixed._replace(
        targets=fixed.targets[:n],
        is_labeled=fixed.is_labeled[:n_pool],
        is_candidate=fixed.is_candidate[:n_pool],
        centroids=fixed.centroids[:n_clusters],
        sizes=fixed.sizes[:n_clusters],
    )


def _padded_fixed(fixed: Fixed, n: int, n_clusters: int, n_shares: int) -> Fixed:
    n_pool = -(-len(fixed.is_labeled) // n_shares) * n_shares
    return fixed._replace(
        targets=_padded(fixed.targets, n, -1),
        is_labeled=_padded(fixed.is_labeled, n_pool),
        is_candidate=_padded(fixed.is_candidate, n_pool),
        centroids=_padded(fixed.centroids, n_clusters),
        sizes=_padded(fixed.sizes, n_clusters),
    )


def _padded(array: Any, n: int, fill: int = 0) -> Any:
    return np.pad(array, [(0, n - len(array))] + [(0, 0)] * (array.ndim - 1), constant_values=fill)
