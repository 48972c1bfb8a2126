"""What stage 2 decides about a pool: roles of its rows, the dictionary, scales and clusters."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from dual_jax.devices.collectives import device_index, gather_rows
from dual_jax.dual.config import DualConfig
from dual_jax.dual.objectives import OBJECTIVES
from dual_jax.dual.objectives.notation import Scales
from dual_jax.numerics.arithmetic import TINY, principal_directions, squared_norms
from dual_jax.numerics.draws import draw_rows
from dual_jax.numerics.kmeans import kmeans
from dual_jax.numerics.statistics import MAX_INPUTS, moments, neighbour_scale, robust_moments
from dual_jax.numerics.tiles import Tiles, isolated, share_out


def roles(
    labeled: Bool[Array, " n"] | None,
    candidates: Bool[Array, " n"] | None,
    is_row: Bool[Array, " n"],
    axis_name: str | None,
) -> tuple[Int[Array, " n"], Bool[Array, " N"], Bool[Array, " N"]]:
    """Return positions of this device's targets, and all devices' masks of labelled rows and candidates.

    Padding has position -1 and is neither; a labelled row is no candidate. The arguments are those of
    `dual_jax.dual.steps.start_selection`.
    """
    n = len(is_row)
    is_labeled = is_row & (jnp.zeros(n, bool) if labeled is None else labeled)
    is_candidate = is_row & ~is_labeled & (jnp.ones(n, bool) if candidates is None else candidates)
    position = device_index(axis_name) * n + jnp.arange(n)
    targets = jnp.where(is_row, position, -1).astype(jnp.int32)
    return targets, gather_rows(is_labeled, axis_name), gather_rows(is_candidate, axis_name)


def draw_dictionary(key: Key[Array, ""], may_rebuild: Bool[Array, " N"], size: int) -> Int[Array, " m"]:
    """Return the positions of the rows that may rebuild others, -1 at the end; drawn if too many."""
    drawn = draw_rows(key, may_rebuild, size)
    positions = jnp.sort(jnp.where(may_rebuild[drawn], drawn, len(may_rebuild)))
    return jnp.where(positions < len(may_rebuild), positions, -1)


def measure(
    keys: tuple[Key[Array, ""], Key[Array, ""]],
    z: Float[Array, "N p"],
    rows: Float[Array, "N d"],
    is_row: Bool[Array, " N"],
    config: DualConfig,
    tiles: Tiles,
) -> tuple[Float[Array, "N q"], Scales]:
    """Return the features in which distances are measured, and the scales, of the rows of all devices.

    ``keys`` draw the principal directions of wide rows, and the pairs that measure distances between
    neighbours.
    """
    key_basis, key_neighbour = keys
    x_moments = robust_moments(rows, is_row)
    centred = jnp.where(is_row[:, None], rows - x_moments.mean, 0.0)
    is_wide = rows.shape[1] > MAX_INPUTS
    scales = Scales(
        n_rows=jnp.sum(is_row, dtype=jnp.float32),
        x=x_moments,
        x_basis=principal_directions(key_basis, centred, MAX_INPUTS) if is_wide else None,
        x_sumsq=jnp.sum(squared_norms(rows), where=is_row) + TINY,
        neighbour=jnp.ones(()),
    )
    space = OBJECTIVES[config.objective].space(rows, z, moments(z, is_row), scales)
    u = isolated(space.u, tiles)
    return u, isolated(scales._replace(neighbour=neighbour_scale(key_neighbour, u, is_row)), tiles)


def find_clusters(
    key: Key[Array, ""], u: Float[Array, "n q"], is_row: Bool[Array, " n"], n_clusters: int, tiles: Tiles
) -> tuple[Float[Array, "K q"], Float[Array, " K"]]:
    """Return this device's share of the centroids of all devices' rows, and of the clusters' sizes."""
    weights = is_row.astype(jnp.float32)
    found = kmeans(key, u, n_clusters, weights=weights, axis_name=tiles.axis_name, n_tiles=tiles.n)
    return share_out(found.centroids, tiles), share_out(found.sizes, tiles)
