"""Which columns are features, whatever file they come from: indices, ids, vectors, missing cells, types."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from pyarrow import feather, ipc, parquet

from dual_jax.data.errors import InputError
from dual_jax.data.tables import map_pool, read_pool

NAN = float("nan")
FRAME = pd.DataFrame({"a": [0.5, 1.5, 2.5, 3.5], "b": [4.0, 3.0, 2.0, 1.5]})
WRITERS = {
    ".csv": lambda frame, path: frame.to_csv(path),
    ".tsv": lambda frame, path: frame.to_csv(path, sep="\t"),
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".arrow": lambda frame, path: to_stream(pa.Table.from_pandas(frame), path),
    ".feather": lambda frame, path: feather.write_feather(pa.Table.from_pandas(frame), path),
}


def to_stream(table, path):
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


INDICES = {
    "a range that begins later": (pd.RangeIndex(3, 7), ["3", "4", "5", "6"]),
    "a range that falls": (pd.RangeIndex(8, 0, -2), ["8", "6", "4", "2"]),
    "shuffled": (pd.Index([3, 1, 0, 2]), ["3", "1", "0", "2"]),
    "filtered": (pd.Index([5, 7, 8, 11]), ["5", "7", "8", "11"]),
    "named ids": (pd.Index([17, 4, 99, 3], name="customer_id"), ["17", "4", "99", "3"]),
    "text": (pd.Index(["r0", "r1", "r2", "r3"]), ["r0", "r1", "r2", "r3"]),
    "dates": (pd.date_range("2024-01-01", periods=4), [f"2024-01-0{i}" for i in range(1, 5)]),
    "unnamed levels": (pd.MultiIndex.from_product([["x", "y"], [1, 2]]), ["x/1", "x/2", "y/1", "y/2"]),
    "row numbers": (pd.RangeIndex(4), None),
    "row numbers from 1": (pd.RangeIndex(1, 5), None),
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(("index", "ids"), INDICES.values(), ids=INDICES)
def test_a_saved_index_is_no_feature_and_serves_as_ids(index, ids, suffix, tmp_path):
    path = tmp_path / f"pool{suffix}"
    WRITERS[suffix](FRAME.set_axis(index), path)

    pool = read_pool(path)

    assert pool.feature_names == ("a", "b")
    np.testing.assert_array_equal(pool.x, FRAME)
    if ids is None and suffix in (".parquet", ".arrow", ".feather"):  # kept in the metadata alone
        assert pool.ids is None
    else:
        assert (None if pool.ids is None else pool.ids.tolist()) == ids
        assert any("ids of its samples" in guess for guess in pool.guesses) == (ids is not None)


def test_a_saved_index_of_parquet_with_repetitions_is_neither_feature_nor_ids(tmp_path):
    FRAME.set_axis([0, 0, 1, 1]).to_parquet(tmp_path / "pool.parquet")
    pool = read_pool(tmp_path / "pool.parquet")
    assert (pool.feature_names, pool.ids) == (("a", "b"), None)
    assert "repetitions" in pool.guesses[0]


@pytest.mark.parametrize("index", [[0, 1, 0, 1], [0.5, 1.5, 2.5, 3.25]])
def test_an_unnamed_first_column_that_may_be_a_feature_is_asked_about(index, tmp_path):
    path = tmp_path / "pool.csv"
    FRAME.set_axis(index).to_csv(path)
    with pytest.raises(InputError, match=r"may be an index or a feature; .*--exclude 'column 0'.*--use"):
        read_pool(path)
    assert read_pool(path, exclude=["column 0"]).feature_names == ("a", "b")
    assert read_pool(path, use=["column 0"]).x[:, 0].tolist() == index


@pytest.mark.parametrize("name", ["id", "patient_id", "rowID", "customerId", "Unnamed: 0", "uuid", "Index"])
def test_distinct_integers_under_the_name_of_an_id_are_ids(name, tmp_path):
    path = tmp_path / "pool.csv"
    FRAME.assign(**{name: [30, 10, 40, 20]}).to_csv(path, index=False)
    pool = read_pool(path)
    assert (pool.feature_names, pool.id_name) == (("a", "b"), name)
    assert pool.ids.tolist() == ["30", "10", "40", "20"]
    assert read_pool(path, use=[name]).feature_names == ("a", "b", name)


@pytest.mark.parametrize(
    ("name", "values"), [("id", [1, 1, 2, 3]), ("covid", [9, 2, 3, 4]), ("grid", [4, 1, 2, 3])]
)
def test_other_integers_stay_features(name, values, tmp_path):
    path = tmp_path / "pool.csv"
    FRAME.assign(**{name: values}).to_csv(path, index=False)
    assert read_pool(path).feature_names == ("a", "b", name)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_a_sparse_matrix_of_scipy_s_keeps_its_shape_and_values(kind, tmp_path):
    matrix = scipy.sparse.random(20, 30, density=0.2, random_state=0)
    scipy.sparse.save_npz(tmp_path / "pool.npz", matrix.asformat(kind))
    np.testing.assert_array_equal(read_pool(tmp_path / "pool.npz").x, matrix.toarray())


def test_a_sparse_matrix_too_large_to_be_dense_is_refused(tmp_path):
    matrix = scipy.sparse.csr_array((np.ones(1), ([0], [0])), shape=(1 << 20, 1 << 12))
    scipy.sparse.save_npz(tmp_path / "pool.npz", matrix)
    with pytest.raises(InputError, match="TruncatedSVD"):
        read_pool(tmp_path / "pool.npz")


def embedded(dtype=np.float16, **columns):
    vectors = np.arange(8, dtype=dtype).reshape(4, 2)
    return pd.DataFrame({"id": [9, 8, 7, 5], "width": [1, 2, 3, 4], **columns}).assign(
        embedding=list(vectors)
    )


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_a_list_column_is_what_the_samples_are(dtype, suffix, tmp_path):
    path = tmp_path / f"pool{suffix}"
    WRITERS[suffix](embedded(dtype), path)

    pool = read_pool(path)

    np.testing.assert_array_equal(pool.x, np.arange(8.0).reshape(4, 2))
    assert (pool.vectors, pool.feature_names) == ("embedding", ("embedding[0]", "embedding[1]"))
    assert pool.dropped["width"] == "numbers beside the vectors of 'embedding'"
    assert "column 'embedding' holds vectors, which are the samples; the numbers of 'width' are left out" in (
        pool.guesses
    )


def test_without_the_list_column_the_numbers_are_the_features(tmp_path):
    embedded().to_parquet(tmp_path / "pool.parquet")
    assert read_pool(tmp_path / "pool.parquet", exclude=["embedding"]).feature_names == ("width",)


def test_two_list_columns_are_asked_about_and_lists_of_other_kinds_left_out(tmp_path):
    path = tmp_path / "pool.parquet"
    embedded(box=[[1, 2]] * 4).to_parquet(path)
    with pytest.raises(InputError, match=r"several columns of vectors \('box', 'embedding'\)"):
        read_pool(path)
    embedded(tags=[["u"]] * 4, ragged=[[1], [1, 2], [], [3]]).to_parquet(path)
    assert {"tags", "ragged"} <= set(read_pool(path).dropped)


def test_a_missing_vector_is_a_row_of_nan_and_tensors_of_arrow_s_are_vectors(tmp_path):
    rows = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2))
    parquet.write_table(pa.table({"v": rows}), tmp_path / "pool.parquet")
    np.testing.assert_array_equal(read_pool(tmp_path / "pool.parquet").x, [[1, 2], [NAN, NAN], [3, 4]])
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(8.0).reshape(4, 2))
    to_stream(pa.table({"v": tensors}), tmp_path / "pool.arrow")
    np.testing.assert_array_equal(read_pool(tmp_path / "pool.arrow").x, np.arange(8).reshape(4, 2))


def test_vectors_and_a_saved_index_are_read_from_disk_by_row_groups(tmp_path):
    path = tmp_path / "pool.parquet"
    embedded()[2:].to_parquet(path, row_group_size=1)
    assert map_pool(path, exclude=["id"]).ids.tolist() == ["2", "3"]
    embedded().set_index("id").to_parquet(path, row_group_size=3)
    pool = map_pool(path)
    np.testing.assert_array_equal(pool.x[[3, 0]], [[6, 7], [0, 1]])
    assert (pool.ids.tolist(), pool.vectors) == (["9", "8", "7", "5"], "embedding")


def test_a_row_group_of_another_kind_is_refused_and_an_empty_one_is_missing(tmp_path):
    path = tmp_path / "pool.parquet"
    pd.DataFrame({"a": ["1", "2", "x", "y"], "b": [1, 2, 3, 4]}).to_parquet(path, row_group_size=2)
    with pytest.raises(InputError, match="row group 1: column 'a' is not as in the first"):
        map_pool(path).x[:]
    pd.DataFrame({"a": [1, 2, NAN, NAN], "b": [1, 2, 3, 4]}).to_parquet(path, row_group_size=2)
    np.testing.assert_array_equal(map_pool(path).x[2:], [[NAN, 3], [NAN, 4]])


def test_ids_stored_as_bytes_are_text(tmp_path):
    path = tmp_path / "pool.parquet"
    FRAME.assign(k=[b"k0", b"k1", b"k2", b"\xff\xfe"]).to_parquet(path)
    assert read_pool(path, id_column="k").ids.tolist() == ["k0", "k1", "k2", "fffe"]


MISSING = [
    "NA",
    "N/A",
    "#N/A",
    "<NA>",
    "null",
    "None",
    "?",
    "-",
    "",
    "nan",
    "NaN",
    ".",
    "#DIV/0!",
    "n/a",
    " ",
]
SAME = {
    **{f"{word!r} is missing": (["1", word, "2.5", "3"], [1, NAN, 2.5, 3]) for word in MISSING},
    "True and False": (["True", "False", "True", "NA"], [1, 0, 1, NAN]),
    "true and FALSE": (["true", "FALSE", "TRUE", "-"], [1, 0, 1, NAN]),
    "blanks and signs": ([" 1 ", "+2", "\u22123", "4e0"], [1, 2, -3, 4]),
    "infinite": (["inf", "-Infinity", "1e999", "2"], [np.inf, -np.inf, np.inf, 2]),
    "words": (["1", "x", "2", "3"], None),
    "an underscore": (["1_0", "1", "2", "3"], None),
    "hexadecimal": (["0x1F", "1", "2", "3"], None),
    "codes": (["007", "1", "2", "3"], None),
    "yes and no": (["yes", "no", "yes", "no"], None),
    "dates": (["2024-01-31", "2024-02-01", "NA", "NA"], None),
    "percent": (["5%", "6%", "7%", "8%"], None),
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize(("cells", "expected"), SAME.values(), ids=SAME)
def test_the_same_cells_are_the_same_features_from_every_format(cells, expected, suffix, tmp_path):
    frame, path = FRAME.assign(c=cells), tmp_path / f"pool{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))

    pool = read_pool(path)

    np.testing.assert_array_equal(pool.x[:, :2], FRAME)
    assert pool.feature_names == (("a", "b") if expected is None else ("a", "b", "c"))
    if expected is not None:
        np.testing.assert_array_equal(pool.x[:, 2], expected)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([True, None, False]),
        pa.array([1, None, 0], pa.int8()),
        pa.array([1, None, 0], pa.decimal128(5, 2)),
        pa.array([1, None, 0], pa.float16()),
        pa.array(["1", None, "0"]).dictionary_encode(),
        pa.array([b"1", None, b"0"]),
        pa.array([1, None, 0], pa.float64()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_every_type_of_numbers_is_read(column, tmp_path):
    to_stream(pa.table({"a": column, "b": [3.0, 4.0, 5.0]}), tmp_path / "pool.arrow")
    np.testing.assert_array_equal(read_pool(tmp_path / "pool.arrow").x, [[1, 3], [NAN, 4], [0, 5]])


def save_set(folder, table, **state):
    """Write what ``datasets.Dataset.save_to_disk`` writes."""
    folder.mkdir()
    to_stream(table[:2], folder / "data-00000-of-00002.arrow")
    to_stream(table[2:], folder / "data-00001-of-00002.arrow")
    files = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, **state}))


def test_a_saved_hugging_face_data_set_is_read_without_its_class_labels(tmp_path):
    features = {"a": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": ["x", "y"]}}
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = pa.table({"a": [1.0, 2, 3, 4], "b": [4.0, 3, 2, 1], "label": [0, 1, 0, 1]})
    save_set(tmp_path / "train", table.replace_schema_metadata(note))

    pool = read_pool(tmp_path / "train")

    assert (pool.x.shape, pool.dropped) == ((4, 2), {"label": "class labels"})
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(InputError, match="several data sets: give one of 'train'"):
        read_pool(tmp_path)


def test_a_saved_data_set_in_another_order_or_without_a_file_is_refused(tmp_path):
    table = pa.table({"a": [1.0, 2, 3], "b": [3.0, 2, 1]})
    save_set(tmp_path / "mapped", table, _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(InputError, match="flatten_indices"):
        read_pool(tmp_path / "mapped")
    save_set(tmp_path / "cut", table)
    (tmp_path / "cut" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(InputError, match="is missing"):
        read_pool(tmp_path / "cut")
    with pytest.raises(InputError, match="is a folder without pictures, "):
        read_pool(tmp_path)


JSON = {
    "text and number": ('{"a": 1}\n{"a": "x"}', "cannot be read as JSON lines"),
    "a list": ('[{"a": 1}]', "line 1 holds no object"),
    "broken": ('{"a": 1}\n{"a": ', "line 2 is no JSON"),
    "nothing": ("\n", "is empty|no rows|no column"),
}


@pytest.mark.parametrize(("text", "message"), JSON.values(), ids=JSON)
def test_json_lines_that_are_none_are_one_sentence(text, message, tmp_path):
    (tmp_path / "pool.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pool(tmp_path / "pool.jsonl")


def test_json_lines_may_lack_a_key_and_hold_nan_vectors_and_ids_that_look_like_dates(tmp_path):
    path = tmp_path / "pool.jsonl"
    path.write_text('{"id": "2024-01-01", "v": [1, 2.5]}\n{"v": [3, 4], "id": "2024-01-02", "c": {"d": 1}}\n')
    pool = read_pool(path, id_column="id")
    assert (pool.ids.tolist(), pool.vectors) == (["2024-01-01", "2024-01-02"], "v")
    path.write_text('{"a": 1, "b": NaN}\n{"a": 2.5}\n')
    assert read_pool(path).x.tolist() == [[1], [2.5]]
