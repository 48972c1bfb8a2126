"""k-means against scikit-learn, a float64 oracle, and itself on another layout."""

import gzip
import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from dual_jax.numerics.kmeans import kmeans

KEY = jax.random.key(0)
CENTRES = 20.0 * np.eye(5, 6)
RTOL = 1e-4  # float32 sums over some hundred rows, and a mean added back


def blobs(n=240):
    """Return n rows around five far centres, in turn."""
    noise = np.random.default_rng(0).normal(size=(n, 6))
    return (CENTRES[np.arange(n) % 5] + noise).astype(np.float32)


def by_norm(centroids):
    """Return centroids in an order that does not depend on the seeding."""
    return np.asarray(centroids)[np.argsort(np.asarray(centroids) @ np.arange(1.0, 7.0))]


def oracle_inertia(x, centroids, weights=None):
    """Return the inertia in float64, by all differences."""
    distances = ((np.asarray(x, float)[:, None] - np.asarray(centroids, float)) ** 2).sum(-1)
    return np.average(distances.min(1), weights=weights) * (len(x) if weights is None else np.sum(weights))


def data_dir():
    """Return the folder of real data, or skip."""
    if "DUAL_JAX_DATA" not in os.environ:
        pytest.skip("DUAL_JAX_DATA is not set")
    return Path(os.environ["DUAL_JAX_DATA"])


def waveform():
    return np.loadtxt(data_dir() / "waveform/waveform-+noise.data", delimiter=",")[:, :-1]


def mnist(n):
    with gzip.open(data_dir() / "mnist/train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + n * 784), np.uint8, offset=16)
    return pixels.reshape(n, 784) / 255.0


def test_five_separated_blobs_are_found():
    x = blobs()
    result = kmeans(KEY, x, 5)
    expected = np.stack([x[k::5].mean(0) for k in range(5)])
    np.testing.assert_allclose(by_norm(result.centroids), by_norm(expected), rtol=RTOL, atol=1e-5)
    np.testing.assert_array_equal(result.sizes, np.full(5, 48.0))
    assert all(len(set(np.asarray(result.labels)[k::5])) == 1 for k in range(5))


def test_labels_sizes_and_inertia_agree_with_the_returned_centroids():
    x = blobs()
    weights = np.random.default_rng(1).uniform(0.0, 2.0, len(x))
    result = kmeans(KEY, x, 7, weights=weights, max_iter=2)
    distances = ((x[:, None] - np.asarray(result.centroids)) ** 2).sum(-1)
    np.testing.assert_array_equal(result.labels, distances.argmin(1))
    np.testing.assert_allclose(result.sizes, np.bincount(result.labels, weights, 7), rtol=RTOL)
    np.testing.assert_allclose(result.inertia, oracle_inertia(x, result.centroids, weights), rtol=RTOL)


def test_lloyd_from_the_same_start_is_scikit_learns():
    x = np.random.default_rng(2).normal(size=(240, 6)).astype(np.float32)
    ours = kmeans(KEY, x, 7, init=x[:7], tol=0.0)
    theirs = KMeans(7, init=x[:7], n_init=1, max_iter=100, tol=0.0, algorithm="lloyd").fit(x)
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=RTOL, atol=1e-5)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)
    np.testing.assert_allclose(ours.inertia, theirs.inertia_, rtol=RTOL)


def test_digits_inertia_is_within_one_percent_of_scikit_learns():
    x = load_digits().data.astype(np.float32)
    theirs = KMeans(10, n_init=4, random_state=0).fit(x).inertia_
    assert kmeans(KEY, x, 10).inertia <= 1.01 * theirs


@pytest.mark.slow
def test_waveform_inertia_is_within_one_percent_of_scikit_learns():
    x = StandardScaler().fit_transform(waveform()).astype(np.float32)
    theirs = KMeans(20, n_init=4, random_state=0).fit(x).inertia_
    assert kmeans(KEY, x, 20).inertia <= 1.01 * theirs


@pytest.mark.slow
def test_mnist_inertia_is_within_one_percent_of_scikit_learns():
    x = mnist(10_000).astype(np.float32)
    theirs = KMeans(50, n_init=4, random_state=0).fit(x).inertia_
    assert kmeans(KEY, x, 50).inertia <= 1.01 * theirs


def test_the_chunk_size_does_not_change_the_answer():
    x = blobs()
    whole, pieces = kmeans(KEY, x, 5), kmeans(KEY, x, 5, chunk_size=37)
    np.testing.assert_array_equal(whole.labels, pieces.labels)
    np.testing.assert_allclose(whole.centroids, pieces.centroids, rtol=RTOL, atol=1e-5)


def test_more_clusters_than_one_tile_are_compared_alike():
    x = np.random.default_rng(3).normal(size=(400, 6)).astype(np.float32)
    result = kmeans(KEY, x, 150, init=x[:150], max_iter=3)
    distances = ((x[:, None] - np.asarray(result.centroids)) ** 2).sum(-1)
    np.testing.assert_array_equal(result.labels, distances.argmin(1))


@pytest.mark.slow
def test_a_whole_weight_is_a_repeated_row():
    x = blobs()
    weights = 1 + np.arange(240) % 3
    weighted = kmeans(KEY, x, 5, init=x[:5], weights=weights)
    repeated = kmeans(KEY, np.repeat(x, weights, axis=0), 5, init=x[:5])
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, rtol=RTOL, atol=1e-5)
    np.testing.assert_allclose(weighted.inertia, repeated.inertia, rtol=RTOL)


def test_rows_of_weight_zero_never_seed_and_never_count():
    x, far = blobs(), np.full((60, 6), 1e3, np.float32)
    padded = kmeans(KEY, np.concatenate([far, x]), 5, weights=np.repeat([0.0, 1.0], [60, 240]))
    np.testing.assert_allclose(
        by_norm(padded.centroids), by_norm(kmeans(KEY, x, 5).centroids), rtol=RTOL, atol=1e-4
    )
    np.testing.assert_array_equal(padded.sizes, np.full(5, 48.0))


def test_data_far_from_the_origin_keep_their_clusters():
    x = blobs()
    shifted = kmeans(KEY, x + np.float32(4096.0), 5)
    # Adding 4096 leaves 2^-12 of resolution to a coordinate: 1e-4 of it in a spread of 1.
    np.testing.assert_allclose(shifted.inertia, kmeans(KEY, x, 5).inertia, rtol=1e-3)
    np.testing.assert_allclose(
        by_norm(shifted.centroids) - 4096.0, by_norm(kmeans(KEY, x, 5).centroids), atol=1e-3
    )


def test_each_row_is_its_own_cluster_when_there_are_as_many():
    x = blobs()
    result = kmeans(KEY, x, 240, n_restarts=1)
    np.testing.assert_array_equal(result.sizes, np.ones(240))
    assert result.inertia < 1e-6  # rounding of the means


def test_one_cluster_is_the_mean():
    x = blobs()
    result = kmeans(KEY, x, 1)
    np.testing.assert_allclose(result.centroids[0], x.mean(0), rtol=RTOL, atol=1e-5)
    np.testing.assert_allclose(result.inertia, ((x - x.mean(0)) ** 2).sum(), rtol=RTOL)


def test_clusters_are_empty_only_where_distinct_rows_run_out():
    x = np.repeat(CENTRES.astype(np.float32), 48, axis=0)
    result = kmeans(KEY, x, 7)
    assert np.isfinite(result.centroids).all()
    assert sorted(result.sizes.tolist()) == [0.0, 0.0, 48.0, 48.0, 48.0, 48.0, 48.0]
    assert result.inertia < 1e-6  # rounding of the means


@pytest.mark.parametrize("max_iter", [1, 20])
def test_empty_clusters_are_seeded_again(max_iter):
    x = blobs()
    start = np.concatenate([x[:1], np.full((6, 6), 1e3, np.float32)])
    result = kmeans(KEY, x, 7, init=start, max_iter=max_iter)
    assert (result.sizes > 0).all()


def test_the_seeding_spreads_over_the_blobs():
    x = blobs()
    results = jax.vmap(lambda key: kmeans(key, x, 5, n_restarts=1, max_iter=1))(jax.random.split(KEY, 20))
    within = ((x - np.stack([x[k::5].mean(0) for k in range(5)])[np.arange(240) % 5]) ** 2).sum()
    # Seeds in one blob each: one iteration is the optimum. Uniform seeds would do so in 4 % of the runs.
    assert np.mean(np.asarray(results.inertia) < 1.001 * within) > 0.9


def test_jit_and_vmap_over_keys_and_over_data_give_the_plain_answer():
    x = blobs()
    plain = kmeans(KEY, x, 5).inertia
    by_key = jax.vmap(lambda key: kmeans(key, x, 5).inertia)(jnp.stack([KEY, KEY]))
    by_data = jax.jit(jax.vmap(lambda x: kmeans(KEY, x, 5).inertia))(np.stack([x, 2.0 * x]))
    np.testing.assert_allclose(by_key, [plain, plain], rtol=RTOL)
    np.testing.assert_allclose(by_data, [plain, 4.0 * plain], rtol=RTOL)


def test_the_result_is_a_constant_to_differentiation():
    x = jnp.asarray(blobs())
    result = kmeans(KEY, x, 5)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(kmeans(KEY, x, 5).centroids) + jnp.sum(x**2)))(x)
    np.testing.assert_allclose(gradient, 2.0 * x)
    assert jax.grad(lambda w: kmeans(KEY, x, 5, weights=w).inertia + w[0])(jnp.ones(240))[1:].sum() == 0
    assert result.n_iters > 0


@pytest.mark.parametrize("weights", [None, np.tile([1.0, 0.0, 2.0], 80)])
def test_rows_split_over_devices_give_the_answer_of_one_device(weights):
    x = blobs()
    weights = np.ones(240) if weights is None else weights
    alone = kmeans(KEY, x, 5, weights=weights)
    run = jax.pmap(lambda x, w: kmeans(KEY, x, 5, weights=w, axis_name="rows"), axis_name="rows")
    split = run(x.reshape(4, 60, 6), weights.reshape(4, 60).astype(np.float32))
    assert (np.asarray(split.centroids) == np.asarray(split.centroids)[0]).all()
    np.testing.assert_allclose(split.centroids[0], alone.centroids, rtol=RTOL, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(split.labels).reshape(-1), alone.labels)
    np.testing.assert_allclose(split.inertia, np.full(4, alone.inertia), rtol=RTOL)


def test_empty_clusters_are_seeded_again_across_devices():
    x = blobs()
    start = np.concatenate([x[:1], np.full((6, 6), 1e3, np.float32)])
    run = partial(kmeans, KEY, n_clusters=7, init=start, max_iter=20)
    split = jax.pmap(lambda x: run(x, axis_name="rows"), axis_name="rows")(x.reshape(4, 60, 6))
    np.testing.assert_allclose(split.centroids[3], run(x).centroids, rtol=RTOL, atol=1e-5)


def test_row_sharded_input_gives_the_answer_of_one_device():
    x = blobs()
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(AxisType.Auto,))
    sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("rows")))
    result, alone = kmeans(KEY, sharded, 5), kmeans(KEY, x, 5)
    np.testing.assert_allclose(result.centroids, alone.centroids, rtol=RTOL, atol=1e-5)
    np.testing.assert_array_equal(result.labels, alone.labels)


def test_shard_map_gives_the_answer_of_one_device():
    x = blobs()
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
    rows = PartitionSpec("rows")
    run = jax.shard_map(
        lambda x: kmeans(KEY, x, 5, axis_name="rows").labels,
        mesh=mesh,
        in_specs=rows,
        out_specs=rows,
        check_vma=False,
    )
    np.testing.assert_array_equal(jax.jit(run)(x), kmeans(KEY, x, 5).labels)


def test_memory_stays_near_the_size_of_the_data():
    n, d, n_clusters = 200_000, 8, 100
    run = jax.jit(lambda x: kmeans(KEY, x, n_clusters, n_restarts=1, chunk_size=2048))
    memory = run.lower(jax.ShapeDtypeStruct((n, d), jnp.float32)).compile().memory_analysis()
    # A few centred copies and vectors of n; n x K alone would be 80 MB, n x K x d 640 MB.
    assert memory.temp_size_in_bytes < 5 * 4 * n * d


@pytest.mark.parametrize(
    ("x", "n_clusters", "knobs", "message"),
    [
        (np.zeros((4, 2)), 0, {}, "n_clusters is 0"),
        (np.zeros((4, 2)), 5, {}, "number of rows, 4"),
        (np.zeros(4), 2, {}, "matrix"),
        (np.full((4, 2), np.nan), 2, {}, "NaN"),
        (np.zeros((4, 2)), 2, {"weights": [1.0, -1.0, 1.0, 1.0]}, "smallest is -1"),
        (np.zeros((4, 2)), 2, {"weights": np.zeros(4)}, "positive"),
        (np.zeros((4, 2)), 2, {"weights": np.ones(3)}, "one per row"),
        (np.zeros((4, 2)), 2, {"init": np.zeros((3, 2))}, "init has shape"),
    ],
)
def test_a_mistake_of_the_caller_is_a_clear_error(x, n_clusters, knobs, message):
    with pytest.raises(ValueError, match=message):
        kmeans(KEY, x, n_clusters, **knobs)
