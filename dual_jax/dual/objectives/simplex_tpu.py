"""Two kernels for a TPU: a block of the simplex objective rebuilt, and its gradient with its step of Adam.

XLA writes and reads products, masses and gradients of a block several times. Here whole rows of C are in the
chip's own memory: the first kernel reads them once, the second reads them and Adam's moments once and writes
them once. The formulas are those of `dual_jax.dual.objectives.simplex`. All that has a column for each place
is stored with one row for each number, so that nothing of C's size is turned round.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from dual_jax.dual.objectives.notation import Space
from dual_jax.dual.objectives.simplex import SHARPNESS, Pulled
from dual_jax.dual.sizes import kernel_memory, round_up
from dual_jax.numerics.adam import Rates, adam_step
from dual_jax.numerics.arithmetic import safe_divide, squared_norms

BESIDES = 8 << 20  # bytes for what the compiler adds to a kernel's arrays
PLACES = 512  # of a row that are computed together
Widths = tuple[int, ...]


class Attended(NamedTuple):
    """What both kernels read of a block of targets and the dictionary."""

    raw: Float[Array, "b m"]
    own: Int[Array, " b"]  # place of each target in the dictionary, m if it has none, -1 for padding
    weights: Float[Array, " b"]
    targets: Space
    dictionary: Space
    is_place: Array  # (m,) bool
    sharpness: Float[Array, ""]


def forward(
    block: Attended, *, n_rows: int, is_interpreted: bool = False
) -> tuple[Float[Array, "b p"], Float[Array, "b q"], Float[Array, " m"]]:
    """Return ``C^T z``, ``C^T u`` and the weighted sums of squares of the rows of C for a block of targets.

    As `dual_jax.dual.objectives.simplex.attend`; ``n_rows`` targets are on the chip at once.
    """
    (n, m), atoms = block.raw.shape, _atoms(block.dictionary)
    padded = partial(_padded, n_rows=n_rows)
    both, sums = pl.pallas_call(
        partial(_rebuild, n_codes=_width(block.dictionary)),
        grid=(pl.cdiv(n, n_rows),),
        in_specs=_inputs((1, 1, _u(block.targets).shape[1], m), (1, len(atoms)), n_rows, m),
        **_outputs((len(atoms),), (1,), n_rows, block.raw.shape),
        scratch_shapes=[pltpu.VMEM((n_rows, m), jnp.float32)],
        compiler_params=_params(block, n_rows),
        interpret=is_interpreted,
    )(
        block.sharpness[None],
        padded(block.own[:, None], fill=-1),
        padded(block.weights[:, None]),
        padded(_u(block.targets)),
        block.raw,
        _offset(block),
        atoms,
    )
    z, u = _split(both, block.dictionary)
    return z, u, sums[0]


def update(
    block: Attended,
    moments: tuple[Float[Array, "b m"], Float[Array, "b m"]],
    of_z: Float[Array, "b p"],
    of_u: Float[Array, "b q"],
    of_sums: Float[Array, " m"],
    rates: Rates,
    *,
    n_rows: int,
    is_interpreted: bool = False,
) -> tuple[Array, tuple[Array, Array], Pulled]:
    """Return what C is trained by and Adam's moments after a step, and the sums that gradients are made of.

    Parameters
    ----------
    block, n_rows
        As in `forward`.
    moments
        Adam's averages of the gradient and of its square; 0 where an entry is not free.
    of_z, of_u, of_sums
        Gradients of what `forward` returns.
    rates
        Of Adam in this step.
    """
    (n, m), atoms, width = block.raw.shape, _atoms(block.dictionary), _width(block.dictionary)
    of_both = jnp.concatenate([_wide(of_z), _turned(of_u, block.dictionary)], axis=1)
    padded = partial(_padded, n_rows=n_rows)
    widths = (1, 1, _u(block.targets).shape[1], len(atoms), m, m, m)
    new, first, second, target_codes, target_near, codes, columns = pl.pallas_call(
        partial(_update, n_codes=width),
        grid=(pl.cdiv(n, n_rows),),
        in_specs=_inputs(widths, (1, 1, len(atoms)), n_rows, m),
        **_outputs((m, m, m, width, 1), (3 * width, 3), n_rows, block.raw.shape),
        input_output_aliases={5: 0, 6: 1, 7: 2},
        scratch_shapes=[pltpu.VMEM((n_rows, m), jnp.float32)] * 3,
        compiler_params=_params(block, n_rows),
        interpret=is_interpreted,
    )(
        jnp.stack([block.sharpness, *rates]),
        padded(block.own[:, None], fill=-1),
        padded(block.weights[:, None]),
        padded(_u(block.targets)),
        padded(of_both),
        block.raw,
        *moments,
        _offset(block),
        of_sums[None],
        atoms,
    )
    p = block.dictionary.z.shape[1]
    of_places = [codes[i * width : i * width + p].T for i in range(3)]
    pulled = Pulled._make([*of_places, *columns, target_codes[:, :p], target_near[:, 0]])
    return new, (first, second), pulled


def _rebuild(*refs: Any, n_codes: int) -> None:
    sharpness, own, weights, u, raw, offset, atoms, both, sums, mass = refs
    add_rows = partial(_add_rows, is_first=pl.program_id(0) == 0)
    top = _logits((raw, u, own, sharpness[0]), (offset, atoms), (mass,), n_codes)

    def add(at: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        own_mass = jnp.exp(mass[:, at] - top)
        mass[:, at] = own_mass
        part = _dot(own_mass, atoms[:, at], 1, 1)
        return carry[0] + part, carry[1] + jnp.sum(own_mass, axis=1, keepdims=True)

    nothing = jnp.zeros(both.shape, jnp.float32), jnp.zeros(own.shape, jnp.float32)
    rebuilt, total = _over_places(add, nothing, raw.shape[1])
    share = safe_divide(jnp.ones_like(total), total)
    both[...] = share * rebuilt
    weight = weights[...] * share * share

    def square(at: Any, carry: None) -> None:
        add_rows(sums, slice(0, 1), at, jnp.sum(weight * mass[:, at] ** 2, axis=0, keepdims=True))

    _over_places(square, None, raw.shape[1])


def _update(*refs: Any, n_codes: int) -> None:
    numbers, own, weights, u, of_both, raw, first, second, offset, of_sums, atoms, *results = refs
    new, new_first, new_second, target_codes, target_near, codes, columns, *scratch = results
    products, mass, of_c = scratch
    add_rows = partial(_add_rows, is_first=pl.program_id(0) == 0)
    m, rates = raw.shape[1], Rates(*(numbers[1 + i] for i in range(len(Rates._fields))))
    top = _logits((raw, u, own, numbers[0]), (offset, atoms), (mass, products), n_codes)

    def add(at: Any, total: Array) -> Array:
        mass[:, at] = jnp.exp(mass[:, at] - top)
        return total + jnp.sum(mass[:, at], axis=1, keepdims=True)

    total = _over_places(add, jnp.zeros(own.shape, jnp.float32), m)
    share = safe_divide(jnp.ones_like(total), total)

    def gradient_of_c(at: Any, across: Array) -> Array:
        c, outer = share * mass[:, at], _dot(of_both[...], atoms[:, at], 1, 0)
        own_of_c = outer + 2.0 * weights[...] * c * of_sums[:, at]
        mass[:, at], of_c[:, at] = c, own_of_c
        add_rows(columns, slice(1, 2), at, jnp.sum(c * outer, axis=0, keepdims=True))
        return across + jnp.sum(c * own_of_c, axis=1, keepdims=True)

    across = _over_places(gradient_of_c, jnp.zeros(own.shape, jnp.float32), m)

    def finish(at: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        c = mass[:, at]
        of_logits = c * (of_c[:, at] - across)
        near = of_logits * products[:, at]
        new[:, at], (new_first[:, at], new_second[:, at]) = adam_step(
            SHARPNESS * of_logits, raw[:, at], (first[:, at], second[:, at]), rates
        )
        add_rows(codes, slice(0, 2 * n_codes), at, _dot(of_both[:, : 2 * n_codes], c, 0, 0))
        add_rows(codes, slice(2 * n_codes, 3 * n_codes), at, _dot(u[:, :n_codes], of_logits, 0, 0))
        add_rows(columns, slice(0, 1), at, jnp.sum(of_logits, axis=0, keepdims=True))
        add_rows(columns, slice(2, 3), at, jnp.sum(near, axis=0, keepdims=True))
        part = _dot(of_logits, atoms[n_codes : 2 * n_codes, at], 1, 1)
        return carry[0] + part, carry[1] + jnp.sum(near, axis=1, keepdims=True)

    nothing = jnp.zeros(target_codes.shape, jnp.float32), jnp.zeros(own.shape, jnp.float32)
    target_codes[...], target_near[...] = _over_places(finish, nothing, m)


def _logits(rows: tuple[Any, ...], places: tuple[Any, ...], written: tuple[Any, ...], n_codes: int) -> Array:
    """Write the logits of some targets, and the products if they are wanted; return the largest of each row.

    Entries that are not free are minus infinity; the largest is 0 where none is free.
    """
    (raw, u, own, sharpness), (offset, atoms), (logits, *products) = rows, places, written

    def write(at: Any, top: Array) -> Array:
        product = _dot(u[...], atoms[n_codes:, at], 1, 0)
        place = at.start + jax.lax.broadcasted_iota(jnp.int32, product.shape, 1)
        is_free = (own[...] >= 0) & (place != own[...])
        found = SHARPNESS * raw[:, at] + (2.0 * sharpness * product + offset[:, at])
        found = jnp.where(is_free, found, -jnp.inf)
        logits[:, at] = found
        for kept in products:
            kept[:, at] = product
        return jnp.maximum(top, jnp.max(found, axis=1, keepdims=True))

    top = _over_places(write, jnp.full(own.shape, -jnp.inf, jnp.float32), raw.shape[1])
    return jnp.where(top > -jnp.inf, top, 0.0)


def _over_places(function: Callable[[Any, Any], Any], carry: Any, m: int) -> Any:
    """Return the last of ``carry = function(places, carry)`` over slices of all m places."""
    n_whole = m // PLACES

    def turn(i: Array, carry: Any) -> Any:
        return function(pl.ds(pl.multiple_of(i * PLACES, PLACES), PLACES), carry)

    carry = jax.lax.fori_loop(0, n_whole, turn, carry) if n_whole else carry
    return function(pl.ds(n_whole * PLACES, m % PLACES), carry) if m % PLACES else carry


def _add_rows(total: Any, rows: slice, at: Any, part: Array, is_first: Array) -> None:
    """Add to some rows of a sum over all targets, which the first targets start."""
    total[rows, at] = part + jnp.where(is_first, 0.0, total[rows, at])


def _dot(a: Array, b: Array, axis_of_a: int, axis_of_b: int) -> Array:
    axes = ((axis_of_a,), (axis_of_b,)), ((), ())
    return jax.lax.dot_general(
        a, b, axes, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )


def _atoms(dictionary: Space) -> Float[Array, "r m"]:
    """Return codes z, then the space u with its codes first, one column for each place."""
    return jnp.concatenate([_wide(dictionary.z), _u(dictionary)], axis=1).T


def _u(space: Space) -> Float[Array, "rows q"]:
    return space.gain[:, None] * jnp.concatenate([_wide(space.codes), space.inputs], axis=1)


def _turned(of_u: Float[Array, "b q"], space: Space) -> Float[Array, "b q"]:
    """Return numbers of the space u in the order of `_u`."""
    d = space.inputs.shape[1]
    return jnp.concatenate([_wide(of_u[:, d:]), of_u[:, :d]], axis=1)


def _split(both: Float[Array, "b r"], dictionary: Space) -> tuple[Float[Array, "b p"], Float[Array, "b q"]]:
    """Return z and u, in their own order, of rows in the order of `_atoms`."""
    p, width = dictionary.z.shape[1], _width(dictionary)
    u = jnp.concatenate([both[:, 2 * width :], both[:, width : width + p]], axis=1)
    return both[:, :p], u


def _width(dictionary: Space) -> int:
    return round_up(dictionary.z.shape[1], 8)


def _wide(codes: Float[Array, "rows p"]) -> Float[Array, "rows w"]:
    """Return codes with columns of 0, to a multiple of 8."""
    return jnp.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))


def _offset(block: Attended) -> Float[Array, "1 m"]:
    lengths = block.sharpness * squared_norms(block.dictionary.u)
    return jnp.where(block.is_place, -lengths, -jnp.inf)[None]


def _padded(rows: Array, n_rows: int, fill: float = 0) -> Array:
    return jnp.pad(rows, ((0, -len(rows) % n_rows), (0, 0)), constant_values=fill)


def _inputs(widths: Widths, heights: Widths, n_rows: int, m: int) -> list[pl.BlockSpec]:
    """Return where a kernel reads numbers, arrays with a row for each target, and others for each place."""
    return [pl.BlockSpec(memory_space=pltpu.SMEM), *_specs(widths, heights, n_rows, m)]


def _outputs(widths: Widths, heights: Widths, n_rows: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return where a kernel writes arrays with a row for each target, and those for each place."""
    n, m = shape
    shapes = [*((n, width) for width in widths), *((height, m) for height in heights)]
    return {
        "out_specs": _specs(widths, heights, n_rows, m),
        "out_shape": [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
    }


def _specs(widths: Widths, heights: Widths, n_rows: int, m: int) -> list[pl.BlockSpec]:
    """Return descriptions of arrays that pass by, and of those that stay on the chip till the last target."""
    passing = [pl.BlockSpec((n_rows, width), lambda i: (i, 0)) for width in widths]
    return passing + [
        pl.BlockSpec((height, m), lambda i: (0, 0), pipeline_mode=pl.Buffered(1)) for height in heights
    ]


def _params(block: Attended, n_rows: int) -> pltpu.CompilerParams:
    m, p, d = (a.shape[1] for a in (block.raw, block.dictionary.z, block.dictionary.inputs))
    limit = kernel_memory(n_rows, m, p, d) + BESIDES  # the compiler keeps other arrays in the rest
    return pltpu.CompilerParams(dimension_semantics=("arbitrary",), vmem_limit_bytes=limit)
