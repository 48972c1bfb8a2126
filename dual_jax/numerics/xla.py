"""Every workaround of a compiler, each with its upstream issue and the versions it was seen on.

`tests/numerics/test_xla.py` compiles the plain form of each and fails when that has become as good, so that
the workaround can go. What those of a GPU and a TPU reach is tested in `tests/devices`, where their compilers
are installed.

==================  ============================================  ===========================  ==============
workaround          without it                                    upstream                     seen on (JAX)
==================  ============================================  ===========================  ==============
`run_after`         XLA:CPU runs unrolled blocks side by side     openxla/xla#35719            0.7.2 to 0.10.2
                    and holds the temporaries of all
`zero_entries`      an update in place after a read is a copy,    openxla/xla#20440,           0.7.2 to 0.10.2
                    whatever barriers say                         jax-ml/jax#25399
`transposed_matmul` XLA:CPU packs the transposed array first,     none known                   0.10.2
                    which takes as long again as the product,
                    and splits its sum by the number of threads
`compiled_alone`    XLA:CPU removes barriers before it fuses, so  openxla/xla#20440            0.10.2
                    that rounding depends on the neighbours
`ordered`           XLA:GPU merges the products of C and of P,    none known                   0.10.2
                    and copies C to append the rows of P
`outer_product`     XLA:GPU writes and reads the product of       none known                   0.10.2
                    rank p that Adam's kernel could form
`by_rows`           a TPU stores a gradient by columns and        none known                   0.10.2
                    copies C, mu and nu to match it                                            (libtpu 0.0.42)
==================  ============================================  ===========================  ==============
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint
from jaxtyping import Array, Bool, Float, Int

from dual_jax.numerics import programs

MAX_SUMMED = 64  # numbers of a code; a T4 takes a seventh of a step to sum so many products an entry


def run_after(done: Any, tree: Any) -> Any:
    """Return ``tree``, which the compiler can only use once all of ``done`` is computed.

    So it finishes one block before the next starts. `jax.lax.optimization_barrier` is removed before the
    work is ordered; here each leaf depends on a comparison that is never true, since no number exceeds
    infinity, but that the compiler cannot evaluate.
    """
    firsts = [leaf.ravel()[0] for leaf in jax.tree.leaves(done) if leaf.size]
    if not firsts:
        return tree
    is_never = jnp.any(jnp.stack(firsts) > jnp.inf)
    return jax.tree.map(lambda leaf: jnp.where(is_never, jnp.zeros_like(leaf), leaf), tree)


def compiled_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose bits do not depend on what is computed before and after it.

    XLA:CPU fuses a function with its neighbours, and contracts a product and a sum of one fusion into an
    operation that rounds once. It removes barriers before it fuses. So here the function is one of three
    branches; the others are never taken, since no number exceeds infinity. (Of two cheap branches the
    compiler makes one.) On other devices, where a branch waits for the processor, it is as it was.

    Parameters
    ----------
    function
        Gets arrays, one of them float32.
    """

    def branched(*args: Any) -> Any:
        first = next(leaf for leaf in jax.tree.leaves(args) if leaf.size and leaf.dtype == jnp.float32)
        shapes = jax.eval_shape(function, *args)

        def never(*_: Any) -> Any:
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        return jax.lax.switch(_is_beyond(first.ravel()[0]).astype(jnp.int32), (function, never, never), *args)

    return lambda *args: jax.lax.platform_dependent(*args, cpu=branched, default=function)


@jax.custom_batching.custom_vmap
def _is_beyond(number: Array) -> Array:
    """Return False, for all cells of a `jax.vmap` together: else each cell would take all branches."""
    return number > jnp.inf


@_is_beyond.def_vmap
def _any_is_beyond(axis_size: int, in_batched: list[bool], numbers: Array) -> tuple[Array, bool]:
    return _is_beyond(jnp.max(numbers)), False


def start_after(done: Any, tree: Any) -> Any:
    """Return ``tree``, arrays that exist already, for work that begins once all of ``done`` is computed.

    On a CPU as `run_after`. A GPU's and a TPU's compilers do keep a barrier's order, and need no small
    kernels for comparisons; but an array that is formed on the way through a barrier is written and read.
    """
    return jax.lax.platform_dependent(
        done, tree, cpu=run_after, default=lambda *both: jax.lax.optimization_barrier(both)[1]
    )


def transposed_matmul(
    a: Float[Array, "b m"],
    b: Float[Array, "b p"],
    precision: jax.lax.Precision | None = jax.lax.Precision.HIGHEST,
) -> Float[Array, "m p"]:
    """Return ``a.T @ b``, the smaller array second; at full float32 precision by default.

    On a CPU as ``(b.T @ a).T``, which reads ``a`` as it is stored; the barriers keep the compiler from
    rewriting it. A product whose first array is transposed goes to Eigen, which splits a long sum by the
    threads of the process: as many as there are processors, or forced devices. Others go to YNNPACK, whose
    sums have the same bits for any number of threads.
    """
    barrier = jax.lax.optimization_barrier
    product = jax.tree_util.Partial(jnp.matmul, precision=precision)
    return jax.lax.platform_dependent(
        a,
        b,
        cpu=lambda a, b: barrier(product(barrier(b.T), a)).T,
        default=lambda a, b: product(a.T, b),
    )


@jax.custom_vjp
def dense_product(rows: Float[Array, "n d"], kernel: Float[Array, "d f"]) -> Float[Array, "n f"]:
    """Return ``rows @ kernel``; the gradient of the kernel does not depend on the number of threads.

    It is a sum over rows, ``rows.T @ gradient``, by `transposed_matmul`.
    """
    return rows @ kernel


def _pull_dense_product(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    rows, kernel = saved
    return gradient @ kernel.T, transposed_matmul(rows, gradient, precision=None)


dense_product.defvjp(lambda rows, kernel: (rows @ kernel, (rows, kernel)), _pull_dense_product)


def mask_entries(block: Float[Array, "b m"], is_free: Bool[Array, "b m"]) -> Float[Array, "b m"]:
    """Return a block with 0 where it is not free on a TPU, which fuses the mask with the product; else as is.

    On a CPU and a GPU a masked copy takes as long as a product. The entries that are not free are 0 already:
    they start at 0 and every update leaves 0 there. `zero_entries` ensures it on a CPU.
    """
    return jax.lax.platform_dependent(
        block,
        is_free,
        tpu=lambda block, is_free: jnp.where(is_free, block, 0.0),
        default=lambda block, _: block,
    )


def mask_gradient(
    gradient: Float[Array, "b m"], is_free: Bool[Array, "b m"], places: Int[Array, " b"]
) -> Float[Array, "b m"]:
    """Return a block's gradient with 0 where it is not free.

    On a CPU only one place in each row is written, as in `zero_entries`; the caller ensures that the other
    entries which are not free have a gradient of 0.
    """
    return jax.lax.platform_dependent(
        gradient,
        is_free,
        places,
        cpu=lambda gradient, _, places: _zero(gradient, places),
        default=lambda gradient, is_free, _: jnp.where(is_free, gradient, 0.0),
    )


def zero_entries(block: Float[Array, "b m"], places: Int[Array, " b"]) -> Float[Array, "b m"]:
    """Return a block with 0 at one place in each row, on a CPU; elsewhere as it is: see `mask_entries`.

    Only those entries are written, in place where the block is donated. A place of m is none.
    """
    return jax.lax.platform_dependent(block, places, cpu=_zero, default=lambda block, _: block)


def _zero(block: Array, places: Array) -> Array:
    return block.at[jnp.arange(len(block)), places].set(0.0, mode="drop")


def outer_product(rows: Float[Array, "b p"], atoms: Float[Array, "m p"]) -> Float[Array, "b m"]:
    """Return ``rows @ atoms.T`` at full float32 precision.

    On a GPU as a sum of p products, if they are few, which its compiler fuses with what reads the result: a
    matrix product is a kernel of its own there, whose result is written and read.
    """
    if atoms.shape[1] > MAX_SUMMED:
        return _matrix_product(rows, atoms)
    return jax.lax.platform_dependent(
        rows, atoms, cuda=_summed_products, rocm=_summed_products, default=_matrix_product
    )


def _matrix_product(rows: Array, atoms: Array) -> Array:
    return jnp.matmul(rows, atoms.T, precision=jax.lax.Precision.HIGHEST)


def _summed_products(rows: Array, atoms: Array) -> Array:
    columns = jax.lax.optimization_barrier(atoms.T)
    return functools.reduce(jnp.add, (rows[:, i, None] * columns[i] for i in range(len(columns))))


@jax.custom_vjp
def ordered(later: Array, first: Array) -> tuple[Array, Array]:
    """Return both arrays; on a GPU what uses ``later`` only begins once ``first`` is computed.

    Else XLA:GPU merges two products that share an operand into one, and copies C to append a few rows to it.
    """
    return jax.lax.platform_dependent(
        later, first, cuda=_with_barrier, rocm=_with_barrier, default=lambda *both: both
    )


def _with_barrier(*arrays: Array) -> tuple[Array, ...]:
    return jax.lax.optimization_barrier(arrays)


ordered.defvjp(lambda later, first: (ordered(later, first), None), lambda _, gradient: gradient)


def by_rows(array: Float[Array, "b m"]) -> Float[Array, "b m"]:
    """Return an array that the compiler stores by rows, as C and its moments are.

    A TPU would otherwise turn those round to match it, in a copy. On a CPU it makes the array exist once;
    left free, the compiler forms it again from C, which it then copies to update it.
    """
    return with_layout_constraint(array, Layout((0, 1)))


# Of a program on a few numbers, which is not worth the compiler's optimisations: level 0 of LLVM, loops by
# XLA's old emitter, and one module of LLVM instead of 32. A small pool's start of the selection compiles in a
# fifth of the time that it takes otherwise. From JAX 0.12 on there is no old emitter to ask for.
UNOPTIMIZED: dict[str, bool | int] = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
}
if jax.__version_info__ < (0, 12):
    UNOPTIMIZED["xla_cpu_use_fusion_emitters"] = False


class OneOff:
    """A function compiled without optimisations on a CPU where ``is_small(arguments)``, else with them.

    Compiling takes most of the time of a small pool's fit.

    Parameters
    ----------
    function
        To be compiled.
    is_small
        Gets the arguments of a call.
    **options
        Of `jax.jit`.
    """

    def __init__(self, function: Callable, is_small: Callable[..., bool], **options: Any):
        self.is_small, self.static = is_small, options.get("static_argnums", ())
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.optimized = jax.jit(function, **options)
        self.unoptimized = jax.jit(function, compiler_options=UNOPTIMIZED, **options)

    def __call__(self, *args: Any) -> Any:
        """Return the function's result."""
        # The options are for a program of its own. A number put on the device compiles nothing.
        is_traced = isinstance(jax.device_put(np.float32(0)), jax.core.Tracer)
        if is_traced:
            return self.optimized(*args)
        is_quick = jax.default_backend() == "cpu" and self.is_small(*args)
        program = self.unoptimized if is_quick else self.optimized
        return programs.run(program, f"{self.name} {is_quick}", args, self.static)

    def lower(self, *args: Any) -> Any:
        """Return the optimised program, lowered for these arguments."""
        return self.optimized.lower(*args)

    def n_programs(self) -> int:
        """Return how many programs there are by now."""
        return sum(program._cache_size() for program in (self.optimized, self.unoptimized))  # type: ignore
