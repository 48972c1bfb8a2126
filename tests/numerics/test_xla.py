"""What each workaround of a compiler gives, and that its plain form is still worse.

A test of the second kind that fails is good news: the compiler does by itself what the workaround does, and
the workaround can go (see the table in `dual_jax.numerics.xla`). They compile in a process of their own, with
the compiler's optimisations on, which the other tests turn off.
"""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.numerics import xla

DRAW = np.random.default_rng(0)
A, B = DRAW.normal(size=(40, 30)).astype(np.float32), DRAW.normal(size=(40, 3)).astype(np.float32)

MEASURE = """
import json, jax, jax.numpy as jnp
from dual_jax.numerics.xla import run_after, transposed_matmul, zero_entries

n_blocks, b, m, p = 8, 256, 1024, 16
blocks = [jax.ShapeDtypeStruct((b, m), jnp.float32)] * n_blocks
z = jax.ShapeDtypeStruct((m, p), jnp.float32)

def rebuilt(blocks, z, order):
    parts = []
    for block in blocks:
        block, atoms = order(parts[-1], (block, z)) if parts else (block, z)
        mass = jnp.exp(block - block.max(axis=1, keepdims=True))
        parts.append((mass / mass.sum(axis=1, keepdims=True)) @ atoms)
    return parts

def temporaries(order):
    program = jax.jit(lambda blocks, z: rebuilt(blocks, z, order)).lower(blocks, z).compile()
    return program.memory_analysis().temp_size_in_bytes / (4 * b * m)

def copies(function, *arguments):
    text = jax.jit(function, donate_argnums=0).lower(*arguments).compile().as_text()
    return sum(" copy(" in line and f"[{b},{m}]" in line for line in text.splitlines())

def read_then_write(x):
    y = x[0, 0]
    x, y = jax.lax.optimization_barrier((x, y))
    return x.at[0, 0].add(1), y

def product(a, b):
    return a.T @ b

def turned(a, b):
    return (b.T @ a).T

def dot(function):
    shapes = blocks[0], jax.ShapeDtypeStruct((b, p), jnp.float32)
    text = jax.jit(function).lower(*shapes).compile().as_text()
    lines = [line for line in text.splitlines() if " dot(" in line]
    return [line.split("metadata")[0].split(" = ")[1].strip() for line in lines]

print(json.dumps({
    "side by side": temporaries(lambda done, tree: tree),
    "with barriers": temporaries(lambda done, tree: jax.lax.optimization_barrier((done, tree))[1]),
    "one after the other": temporaries(run_after),
    "copies after a read": copies(read_then_write, blocks[0]),
    "plain products": [dot(product), dot(turned)],
    "product of ours": dot(transposed_matmul),
}))
"""


@pytest.fixture(scope="module")
def measured():
    """Return what the CPU's compiler makes of the plain forms and of the workarounds."""
    env = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    run = subprocess.run([sys.executable, "-c", MEASURE], env=env, capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def test_a_product_with_a_transposed_array_is_that_of_numpy():
    np.testing.assert_allclose(xla.transposed_matmul(A, B), A.T @ B, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("run_after", [xla.run_after, xla.start_after])
def test_what_runs_after_something_is_unchanged(run_after):
    tree = {"x": jnp.asarray(A), "n": jnp.arange(3)}
    after = jax.jit(run_after)(jnp.asarray(B), tree)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), after, tree))


def test_on_a_cpu_one_entry_in_each_row_is_cleared_and_a_place_beyond_the_row_is_none():
    cleared = np.asarray(xla.zero_entries(jnp.asarray(A[:3]), jnp.array([2, 30, 0])))
    expected = A[:3].copy()
    expected[0, 2] = expected[2, 0] = 0.0
    np.testing.assert_array_equal(cleared, expected)
    np.testing.assert_array_equal(xla.mask_entries(jnp.asarray(A), jnp.zeros(A.shape, bool)), A)


@pytest.mark.parametrize("product", [xla.outer_product, xla._summed_products], ids=["here", "on a GPU"])
def test_an_outer_product_is_that_of_numpy(product):
    np.testing.assert_allclose(product(B, A[:7, :3]), B @ A[:7, :3].T, rtol=1e-5, atol=1e-6)


def test_on_a_cpu_the_gradient_of_one_entry_in_each_row_is_0():
    is_free = jnp.ones(A[:3].shape, bool)  # is not looked at
    masked = xla.mask_gradient(jnp.asarray(A[:3]), is_free, jnp.array([2, 30, 0]))
    np.testing.assert_array_equal(masked, xla.zero_entries(jnp.asarray(A[:3]), jnp.array([2, 30, 0])))


def test_what_is_ordered_is_unchanged_and_so_is_its_gradient():
    arrays = jnp.asarray(A), jnp.asarray(B)
    jax.tree.map(np.testing.assert_array_equal, xla.ordered(*arrays), arrays)
    _, pull = jax.vjp(lambda a, b: xla.ordered(a, b), *arrays)
    jax.tree.map(np.testing.assert_array_equal, pull(arrays), arrays)


def test_blocks_one_after_the_other_need_fewer_temporaries_than_side_by_side(measured):
    assert measured["one after the other"] < 0.5 * measured["side by side"]


def test_barriers_do_not_order_the_blocks_yet(measured):
    assert measured["with barriers"] > 1.5 * measured["one after the other"]


def test_an_update_in_place_after_a_read_is_still_a_copy(measured):
    assert measured["copies after a read"] > 0


def test_the_compiler_still_rewrites_a_product_turned_round(measured):
    plain, turned = measured["plain products"]
    assert plain != measured["product of ours"]
    assert turned != measured["product of ours"] or turned == plain


def test_a_function_that_is_compiled_alone_returns_the_same_also_of_what_is_not_finite():
    square = xla.compiled_alone(lambda a, k: (a * a, k + 1))
    a = jnp.array([2.0, jnp.nan, jnp.inf])
    for run in (square, jax.jit(square)):
        np.testing.assert_array_equal(run(a, 3)[0], [4.0, np.nan, np.inf])
        assert int(run(a[:1], 3)[1]) == 4


def test_cells_side_by_side_take_one_branch_and_not_all():
    square = jax.vmap(jax.vmap(xla.compiled_alone(lambda a: a * a)))
    a = jnp.array([[[2.0], [jnp.nan]], [[jnp.inf], [3.0]]])
    np.testing.assert_array_equal(jax.jit(square)(a), a * a)
    assert "stablehlo.select" not in jax.jit(square).lower(a).as_text()  # of the results of all branches


ALONE = """
import jax
from dual_jax.numerics.xla import compiled_alone

def program(isolated):
    text = jax.jit(lambda a, b, c: isolated(a * b) + c).lower(*[jax.ShapeDtypeStruct((64,), "float32")] * 3)
    return text.compile().as_text()

def is_contracted(text):
    bodies = text.split("\\n\\n")
    return any(" multiply(" in body and " add(" in body for body in bodies)

ways = jax.lax.optimization_barrier, compiled_alone(lambda x: x)
print(*[is_contracted(program(way)) for way in ways])
"""


def test_a_barrier_does_not_keep_a_product_and_a_sum_apart_and_a_branch_does():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["True", "False"]


KERNELS = """
import hashlib, sys
import jax, jax.numpy as jnp, numpy as np
from dual_jax.numerics.xla import dense_product

jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
draw = np.random.default_rng(0)
rows, kernel, down = (draw.normal(size=s).astype(np.float32) for s in ((603, 128), (128, 64), (603, 64)))
for product in (jnp.matmul, dense_product):
    pull = jax.jit(lambda x, k, g, product=product: jax.vjp(product, x, k)[1](g)[1])
    print(hashlib.sha256(np.asarray(pull(rows, kernel, down)).tobytes()).hexdigest())
"""


@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="no YNNPACK: Eigen forms every product")
def test_the_gradient_of_a_kernel_does_not_depend_on_the_number_of_threads():
    unset = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}

    def bits(n_devices):
        command = [sys.executable, "-c", KERNELS, str(n_devices)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | unset)
        return done.stdout.split()

    (plain_1, own_1), (plain_8, own_8) = bits(1), bits(8)
    assert own_1 == own_8
    assert plain_1 != plain_8 or os.cpu_count() > 4  # there are as many threads as processors, or devices


def test_a_dense_product_has_the_gradients_of_a_product():
    draw = np.random.default_rng(0)
    rows, kernel, down = (draw.normal(size=s).astype(np.float32) for s in ((70, 5), (5, 3), (70, 3)))
    of_rows, of_kernel = jax.vjp(xla.dense_product, rows, kernel)[1](down)
    np.testing.assert_allclose(of_rows, down.astype(float) @ kernel.T, rtol=1e-5, atol=1e-5)  # float32
    np.testing.assert_allclose(of_kernel, rows.T.astype(float) @ down, rtol=1e-5, atol=1e-5)
