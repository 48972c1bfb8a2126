"""Checks at the edge: what passes, and one clear sentence for what does not."""

from datetime import datetime, timedelta

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

from dual_jax.data.checks import as_mask, check_n_select, check_pool, impute_median
from dual_jax.data.errors import InputError
from dual_jax.data.ids import check_ids, positions_of

NAN, INF = float("nan"), float("inf")


def test_a_list_of_numbers_becomes_a_float32_table():
    x = check_pool([[1, 2], [3, 4]])

    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64, np.longdouble, object])
def test_every_real_type_is_accepted(dtype):
    x = np.array([[1, 0], [0, 1]], dtype, order="F")

    np.testing.assert_array_equal(check_pool(x), [[1, 0], [0, 1]])


def test_constant_features_and_repeated_rows_are_fine():
    check_pool([[1, 2], [1, 2], [1, 3]])


def test_float64_is_kept_when_asked_for():
    x = check_pool([[1e9, 0], [1e9 + 1, 0]], dtype=np.float64)

    assert x[1, 0] - x[0, 0] == 1


BAD_POOLS = {
    "empty": (np.zeros((0, 3)), "0 sample.* while a minimum of 2 is required"),
    "no features": (np.zeros((3, 0)), r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 2 is required"),
    "one row": (np.ones((1, 3)), "1 sample"),
    "one column": (np.ones((3, 1)), r"1 feature\(s\)"),
    "one dimension": (np.ones(3), "expected a 2D table"),
    "three dimensions": (np.ones((3, 2, 2)), "expected a 2D table"),
    "NaN": ([[1, 2], [3, NAN]], "NaN at row 1, column 1 .*--impute median"),
    "infinity": ([[1, 2], [-INF, NAN]], "-inf at row 1, column 0 .*--impute median"),
    "None": (np.array([[1, 2], [None, 3]], object), "NaN at row 1, column 0"),
    "too large": ([[1, 2], [3, 1e39]], r"1e\+39 at row 1, column 1 .* does not fit float32"),
    "text": (np.array([["a", "b"], ["c", "d"]]), "instead of numbers: encode text"),
    "text objects": (np.array([[1, "b"], [2, "d"]], object), "no number.*'b'"),
    "complex": (np.ones((2, 2), complex), "Complex data not supported"),
    "dates": (np.zeros((2, 2), "M8[s]"), "instead of numbers"),
    "records": (np.zeros((2, 2), "f4,f4"), "instead of numbers"),
    "equal rows": ([[1, 2], [1, 2], [1, 2]], "all 3 rows of the pool are the same"),
    "ragged": ([[1, 2], [3]], "inhomogeneous"),
}


@pytest.mark.parametrize(("x", "message"), BAD_POOLS.values(), ids=BAD_POOLS)
def test_a_bad_pool_is_one_line_of_value_error(x, message):
    with pytest.raises(ValueError, match=message) as error:
        check_pool(x)

    assert "\n" not in str(error.value)


def test_new_rows_may_be_one_or_all_the_same():
    check_pool([[1, 2]], min_rows=1)
    check_pool([[1, 2], [1, 2]], min_rows=1)


def test_a_cell_that_is_no_number_at_all_is_a_type_error_as_in_scikit_learn():
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        check_pool(np.array([[{}, 1], [2, 3]], object))


def test_a_sparse_table_is_a_type_error():
    with pytest.raises(TypeError, match="sparse"):
        check_pool(csr_array(np.eye(3)))


def test_a_jax_array_is_checked_where_it_is():
    devices = np.array(jax.devices()[:2])
    sharding = jax.sharding.NamedSharding(
        jax.sharding.Mesh(devices, "rows"), jax.sharding.PartitionSpec("rows")
    )
    x = jax.device_put(jnp.arange(8.0).reshape(4, 2), sharding)

    checked = check_pool(x)

    assert isinstance(checked, jax.Array)
    assert checked.sharding == sharding


def test_a_jax_array_becomes_float32():
    assert check_pool(jnp.arange(8).reshape(4, 2)).dtype == jnp.float32
    assert check_pool(jnp.arange(8).reshape(4, 2).astype(jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("name", ["one row", "one column", "one dimension", "NaN", "infinity", "equal rows"])
def test_a_bad_jax_array_has_the_same_error(name):
    x, message = BAD_POOLS[name]

    with pytest.raises(ValueError, match=message):
        check_pool(jnp.asarray(x))


@pytest.mark.parametrize("side", [np.asarray, jnp.asarray])
def test_the_median_of_the_finite_cells_fills_the_others(side):
    x = side([[1.0, 5.0], [NAN, 6.0], [2.0, INF], [9.0, 7.0]])

    np.testing.assert_array_equal(check_pool(x, impute="median"), [[1, 5], [2, 6], [2, 6], [9, 7]])


def test_a_column_without_a_finite_cell_has_no_median():
    with pytest.raises(ValueError, match="column 1 has no finite value"):
        impute_median(np.array([[1.0, NAN], [2.0, INF]]))


def test_an_unknown_imputation_is_refused():
    with pytest.raises(ValueError, match="impute='mean' is not known"):
        check_pool(np.eye(2), impute="mean")


@pytest.mark.parametrize(("n_select", "expected"), [(None, 2), (1, 1), (np.int64(5), 5), (0.5, 3), (0.01, 1)])
def test_a_number_of_picks_is_returned_as_an_integer(n_select, expected):
    n = check_n_select(n_select, 5)

    assert type(n) is int
    assert n == expected


@pytest.mark.parametrize("n_select", [0, -1, 6])
def test_too_few_or_too_many_picks_are_refused(n_select):
    with pytest.raises(ValueError, match=f"n_to_select={n_select} is not between 1 and the 5 candidates"):
        check_n_select(n_select, 5)


@pytest.mark.parametrize("n_select", [2.0, "2", True, np.bool_(True), [1]])
def test_a_number_of_picks_that_is_no_integer_is_a_type_error(n_select):
    with pytest.raises(TypeError, match="must be an integer"):
        check_n_select(n_select, 5)


def test_nothing_can_be_picked_when_every_row_is_labelled():
    with pytest.raises(ValueError, match="no candidate is left"):
        check_n_select(None, 0)


IDS = ("a", "007", "c", "7")


@pytest.mark.parametrize(
    ("rows", "ids", "expected"),
    [
        (None, None, [0, 0, 0, 0]),
        ([True, False, False, True], None, [1, 0, 0, 1]),
        ([True, False, False, True], IDS, [1, 0, 0, 1]),
        ([], None, [0, 0, 0, 0]),
        ([], IDS, [0, 0, 0, 0]),
        ([3, 0, 3], None, [1, 0, 0, 1]),
        (jnp.array([3]), None, [0, 0, 0, 1]),
        (["007", "c", "c"], IDS, [0, 1, 1, 0]),
        ([7], IDS, [0, 0, 0, 1]),
        ([30, 10], np.array([10, 20, 30, 40]), [1, 0, 1, 0]),
    ],
)
def test_rows_are_named_by_mask_position_or_id(rows, ids, expected):
    mask = as_mask(rows, 4, ids=ids)

    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)


def test_a_mask_of_python_s_own_booleans_is_a_mask():
    assert as_mask(np.array([True, False, True], object), 3, ids=IDS[:3]).tolist() == [True, False, True]


def test_none_may_mean_every_row():
    assert as_mask(None, 3, default=True).all()


@pytest.mark.parametrize(
    ("rows", "ids", "message"),
    [
        ([True, False], None, "labeled is a mask of 2 rows, but the pool has 4 rows"),
        ([[True] * 4], None, "one-dimensional"),
        ([4], None, r"position 4 is not in the pool \(0 to 3\)"),
        ([-1], None, "position -1 is not in the pool"),
        ([0, 1, 0, 1], None, "looks like a mask"),
        ([0, 0, 0, 0], None, "looks like a mask"),
        ([0, 1, 1, 0], range(4), "looks like a mask"),
        (["a", "b", "d"], IDS, r"labeled: 2 of 3 ids are not in the pool \('b', 'd'\)"),
        (["a"], ["a", "b", "a", "c"], r"repeats 'a' \(rows 0 and 2\)"),
    ],
)
def test_rows_that_are_not_in_the_pool_are_refused(rows, ids, message):
    with pytest.raises(ValueError, match=message):
        as_mask(rows, 4, ids=ids, name="labeled")


@pytest.mark.parametrize("rows", [[0.5], ["a"]])
def test_ids_for_a_pool_without_ids_are_a_type_error(rows):
    with pytest.raises(TypeError, match="the pool has no ids"):
        as_mask(rows, 4)


@pytest.mark.parametrize("ids", [["a", ""], ["", ""]])
def test_an_empty_id_is_refused(ids):
    with pytest.raises(ValueError, match="is empty in row"):
        check_ids(ids)


def test_positions_keep_the_order_asked_for():
    np.testing.assert_array_equal(positions_of(["c", "a"], IDS), [2, 0])


INDICES = {
    "dates": pd.date_range("2024-01-01", periods=5),
    "times": pd.date_range("2024-01-01 10:30:00.5", periods=5, freq="h"),
    "times with a zone": pd.date_range("2024-01-01", periods=5, tz="Europe/Paris"),
    "durations": pd.timedelta_range("1 day", periods=5),
    "periods": pd.period_range("2024-01", periods=5, freq="M"),
    "float32": pd.Index(np.arange(5) / np.float32(10), dtype="float32"),
    "float64": pd.Index(np.arange(5) / 10),
    "whole floats": pd.Index(np.arange(5.0)),
    "integers": pd.Index([5, 3, 1, 0, 9]),
    "nullable integers": pd.Index([5, 3, 1, 0, 9], dtype="Int64"),
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]),
    "levels with dates": pd.MultiIndex.from_product([["a"], pd.date_range("2024-01-01", periods=5)]),
    "intervals": pd.interval_range(0, 5),
    "categories": pd.CategoricalIndex(list("vwxyz")),
    "bytes": pd.Index([b"a", b"b", b"c", b"d", b"e"]),
    "of several types": pd.Index([True, False, "x", 1.5, 7]),
}
FORMS = {
    "slice": lambda part: part,
    "list": list,
    "array": np.asarray,
    "series": lambda part: pd.Series([*part]),
    "set": set,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_rows_named_by_a_part_of_the_frame_s_own_index_are_those_rows(index, form):
    assert as_mask(form(index[[3, 1]]), 5, ids=index).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (pd.date_range("2024-01-01", periods=3), "2024-01-02"),
        (pd.date_range("2024-01-01", periods=3), "2024-01-02 00:00:00"),
        (pd.date_range("2024-01-01", periods=3), pd.Timestamp("2024-01-02")),
        (pd.date_range("2024-01-01", periods=3), datetime(2024, 1, 2)),
        (pd.timedelta_range("1 day", periods=3), timedelta(days=2)),
        (pd.Index([0.0, 0.1, 0.2], dtype="float32"), 0.1),
        (pd.Index([0.0, 0.1, 0.2]), "0.1"),
        (pd.Index([10, 20, 30]), 20.0),
        (pd.Index([10, 20, 30]), "20"),
        (pd.MultiIndex.from_product([["a"], [1, 2, 3]]), ("a", np.int64(2))),
        (np.array([b"a", b"b"]), "b"),
    ],
)
def test_one_row_may_be_named_in_other_types(index, text):
    assert as_mask([text], len(index), ids=index).tolist() == [i == 1 for i in range(len(index))]


def test_a_mask_with_an_index_is_aligned_by_it():
    ids = ["a", "b", "c"]
    assert as_mask(pd.Series([True, False, False], index=["c", "a", "b"]), 3, ids=ids).tolist() == [0, 0, 1]
    assert as_mask(pd.Series([True, False, False], index=ids), 3, ids=ids).tolist() == [1, 0, 0]
    assert as_mask(pd.Series([True, False, False], index=["c", "a", "b"]), 3).tolist() == [1, 0, 0]


def test_a_mask_with_the_pool_s_own_index_may_repeat_it():
    ids = pd.Index(["a", "a", "b"])
    assert as_mask(pd.Series([True, False, True], index=ids), 3, ids=ids).tolist() == [1, 0, 1]


@pytest.mark.parametrize("index", [["c", "a", "x"], [0, 1, 2]])
def test_a_mask_of_another_index_is_refused(index):
    with pytest.raises(InputError, match="labeled is a mask whose index is not the pool's"):
        as_mask(pd.Series([True, False, False], index=index), 3, ids=["a", "b", "c"], name="labeled")


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]"])
def test_a_nullable_mask_is_a_mask_and_one_with_gaps_is_refused(dtype):
    assert as_mask(pd.Series([True, False], dtype=dtype), 2).tolist() == [True, False]
    with pytest.raises(InputError, match="missing value at place 1"):
        as_mask(pd.Series([True, None], dtype=dtype), 2)


@pytest.mark.parametrize(
    "rows", [(0, 2), {0, 2}, range(0, 3, 2), iter([0, 2]), pa.array([0, 2]), pl.Series([0, 2])]
)
def test_positions_come_in_any_container(rows):
    assert as_mask(rows, 3).tolist() == [True, False, True]


@pytest.mark.parametrize("gap", [None, pd.NA, pd.NaT, float("nan")])
def test_a_missing_id_is_an_empty_one(gap):
    with pytest.raises(InputError, match="empty in row 1"):
        check_ids(["a", gap])


@pytest.mark.parametrize(
    "dtype", ["Float64", "Int64", "double[pyarrow]", "int64[pyarrow]", "boolean", object]
)
def test_missing_cells_of_a_frame_are_named_by_column_and_imputed_when_asked(dtype):
    frame = pd.DataFrame({"a": pd.Series([1, 0, None, 1], dtype=dtype), "b": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(InputError, match=r"missing cell, NaN at row 2 \(from 0\), column 'a'"):
        check_pool(frame)
    assert check_pool(frame, impute="median")[2, 0] == 1


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_missing_cells_of_other_tables_are_named_by_column(library):
    make = pl.DataFrame if library == "polars" else pa.table
    with pytest.raises(InputError, match=r"missing cell, NaN at row 1 \(from 0\), column 'b'"):
        check_pool(make({"a": [1, 2], "b": [1.5, None]}))


class Halves:
    """A tensor of bfloat16 on the host: DLPack and an ``__array__`` that refuses, as PyTorch's."""

    dtype, shape = "torch.bfloat16", (2, 2)

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **keywords):
        if self.array is None:
            raise BufferError("cannot export")
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return 1, 0

    def __array__(self, *_, **__):
        raise TypeError("Got unsupported ScalarType BFloat16")


def test_a_tensor_of_bfloat16_is_read_or_asked_for_as_float():
    x = check_pool(Halves(jnp.asarray([[1, 2], [3, 4.5]], jnp.bfloat16)))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[1, 2], [3, 4.5]])
    with pytest.raises(InputError, match=r"bfloat16, .*\.float\(\)"):
        check_pool(Halves(None))


class WithGradient(Halves):
    dtype = "torch.float32"

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy()")


def test_a_tensor_that_cannot_be_handed_over_is_one_sentence():
    with pytest.raises(InputError, match=r"WithGradient cannot be read: .*detach"):
        check_pool(WithGradient(None))
