"""One kernel for a TPU: the gradient of a block of the free objective and its step of Adam, in one pass.

XLA reads C once for ``C^T Z``, once for the gradient of the codes, and once more to update it. Here a tile
of C and of Adam's moments is read once and written once. The sums of squares of the rows of C, which the
next step needs, are formed of what is written. See `dual_jax.dual.kernels` for when it is used.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from dual_jax.numerics.adam import Rates, adam_step

TILE = (256, 512)  # targets and places: arrays of 6 MB on the chip, where twice as many do not fit


def update(
    c: Float[Array, "b m"],
    moments: tuple[Float[Array, "b m"], Float[Array, "b m"]],
    z: Float[Array, "m p"],
    own: Int[Array, " b"],
    of_rebuilt: Float[Array, "b p"],
    of_sums: Float[Array, " m"],
    rates: Rates,
    *,
    tile: tuple[int, int] = TILE,
    is_interpreted: bool = False,
) -> tuple[Array, tuple[Array, Array], Float[Array, "m p"], Float[Array, " m"]]:
    """Return C and Adam's moments after a step, the gradient of ``z``, and the new sums of squares of C.

    Parameters
    ----------
    c, moments
        A block, one row per target, and Adam's averages of its gradient and of the gradient's square. Entries
        that are not free are 0 in all three.
    z
        Codes of the dictionary, 0 in unused places.
    own
        Place of each target in the dictionary, m if it has none, -1 for padding.
    of_rebuilt
        Gradient of ``C^T z``, 0 for padded targets.
    of_sums
        Gradient of the sums of squares of the rows of C.
    rates
        Of Adam in this step.
    tile
        Targets and places of a tile; multiples of 8 and 128.
    is_interpreted
        Whether JAX computes what the kernel says, without a TPU.
    """
    (n, m), p, (n_rows, n_columns) = c.shape, z.shape[1], tile
    # Rows inside: what is summed over them stays on the chip.
    grid = pl.cdiv(m, n_columns), pl.cdiv(n, n_rows)
    padding = grid[1] * n_rows - n
    of_tile = pl.BlockSpec(tile, lambda j, i: (i, j))
    of_targets = [pl.BlockSpec((n_rows, width), lambda j, i: (i, 0)) for width in (1, p)]
    of_places = pl.BlockSpec((n_columns, p), lambda j, i: (j, 0))
    of_place = pl.BlockSpec((1, n_columns), lambda j, i: (0, j))
    block, codes = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (c.shape, z.shape))
    new, first, second, of_z, sums = pl.pallas_call(
        _kernel,
        grid=grid,
        in_specs=[pl.BlockSpec(memory_space=pltpu.SMEM), *of_targets, of_places, of_place, *(of_tile,) * 3],
        out_specs=[*(of_tile,) * 3, of_places, of_place],
        out_shape=[*(block,) * 3, codes, jax.ShapeDtypeStruct((1, m), jnp.float32)],
        input_output_aliases={5: 0, 6: 1, 7: 2},
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        interpret=is_interpreted,
    )(
        jnp.stack(rates),
        jnp.pad(own, (0, padding), constant_values=-1)[:, None],
        jnp.pad(of_rebuilt, ((0, padding), (0, 0))),
        z,
        of_sums[None],
        c,
        *moments,
    )
    return new, (first, second), of_z, sums[0]


def _kernel(*refs: Any) -> None:
    rates, own, of_rebuilt, z, of_sums, c, first, second, *results = refs
    new_c, new_first, new_second, of_z, sums = results
    column, row = pl.program_id(0), pl.program_id(1)
    (n_rows, n_columns), dot = c.shape, partial(jax.lax.dot_general, precision=jax.lax.Precision.HIGHEST)
    is_target = own[...] >= 0  # C beyond the last target may hold anything, not only numbers
    old = jnp.where(is_target, c[...], 0.0)
    place = column * n_columns + jax.lax.broadcasted_iota(jnp.int32, (n_rows, n_columns), 1)
    outer = dot(of_rebuilt[...], z[...], (((1,), (1,)), ((), ())))
    gradient = jnp.where(place == own[...], 0.0, outer) + 2.0 * old * of_sums[...]
    new, (new_first[...], new_second[...]) = adam_step(
        gradient, old, (first[...], second[...]), Rates(*(rates[i] for i in range(len(Rates._fields))))
    )
    new_c[...] = new
    part = dot(old, of_rebuilt[...], (((0,), (0,)), ((), ())))
    squares = jnp.sum(jnp.where(is_target, new, 0.0) ** 2, axis=0, keepdims=True)

    @pl.when(row == 0)
    def _() -> None:
        of_z[...], sums[...] = part, squares

    @pl.when(row > 0)
    def _() -> None:
        of_z[...] += part
        sums[...] += squares
