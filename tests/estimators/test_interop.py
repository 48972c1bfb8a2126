"""Tables and arrays of other libraries give the picks of the same numbers; ids come out as they went in."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dual_jax as dj
from dual_jax.data.checks import check_pool

X = np.random.default_rng(0).normal(size=(31, 6))
NAMES = list("abcdef")


def picks(table, **fit):
    return dj.Selector("kcenter", 4).fit(table, **fit)


EXPECTED = picks(X).sample_indices_.tolist()


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_tables_of_any_library_are_read_with_their_names(library):
    module = pytest.importorskip(library)
    make = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[library]
    table = getattr(module, make)({name: X[:, i] for i, name in enumerate(NAMES)})

    fitted = picks(table)

    assert fitted.sample_indices_.tolist() == EXPECTED
    assert fitted.feature_names_in_.tolist() == NAMES


def test_names_of_an_earlier_frame_are_forgotten():
    estimator = picks(pd.DataFrame(X, columns=NAMES)).fit(jnp.asarray(X[:, :2]))
    assert not hasattr(estimator, "feature_names_in_")


def test_the_index_of_a_frame_comes_out_as_ids_and_names_labelled_rows():
    frame = pd.DataFrame(X, columns=NAMES, index=[f"r{i}" for i in range(31)])
    assert picks(frame).sample_ids_.tolist() == [f"r{i}" for i in EXPECTED]
    assert "r5" not in picks(frame, labeled=["r5"]).sample_ids_


@pytest.mark.parametrize(
    "convert", [jnp.asarray, scipy.sparse.csr_matrix, np.ndarray.tolist, np.asfortranarray]
)
def test_arrays_of_any_kind_are_read(convert):
    assert picks(convert(X.astype(np.float32))).sample_indices_.tolist() == EXPECTED


class Tensor:
    """Nothing but DLPack: no shape, no ``__array__``."""

    def __init__(self, array, device=None):
        self.array, self.device = array, device or array.__dlpack_device__()

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.device


@pytest.mark.parametrize(
    "convert", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64, jnp.asarray]
)
def test_what_speaks_only_dlpack_is_read(convert):
    assert picks(Tensor(convert(X))).sample_indices_.tolist() == EXPECTED
    fitted = dj.DUALSelector(4, pretrain_iter=3, max_iter=2).fit(X, embedding=Tensor(convert(X)))
    np.testing.assert_array_equal(
        fitted.transform(Tensor(X), embedding=Tensor(X)), fitted.transform(X, embedding=X)
    )


def test_a_read_only_tensor_is_read_and_stays_as_it_is():
    table = X.astype(np.float32)
    table.flags.writeable = False
    assert picks(Tensor(table)).sample_indices_.tolist() == EXPECTED


def test_a_tensor_on_a_device_that_is_not_here_is_refused_in_words():
    with pytest.raises(ValueError, match="Tensor is on a device that JAX does not see here: move it"):
        picks(Tensor(X.astype(np.float32), device=(8, 0)))


class Frame:
    """Nothing but one protocol of tables."""

    def __init__(self, table, protocol):
        setattr(type(self), protocol, lambda self, *given, **named: getattr(table, protocol)(*given, **named))


@pytest.mark.parametrize("protocol", ["__dataframe__", "__arrow_c_stream__"])
def test_what_speaks_only_a_protocol_of_tables_is_read_with_its_names(protocol):
    import pyarrow as arrow

    table = arrow.table({name: X[:, i] for i, name in enumerate(NAMES)})
    frame = type("Frame", (Frame,), {})(table, protocol)

    fitted = picks(frame)

    assert fitted.sample_indices_.tolist() == EXPECTED
    assert fitted.feature_names_in_.tolist() == NAMES
    assert check_pool(frame).shape == X.shape


def test_missing_cells_of_such_a_table_are_found_and_filled():
    import pyarrow as arrow

    table = arrow.table({"a": [1, None, 3], "b": [1.0, 2.0, 4.0]})
    frame = type("Frame", (Frame,), {})(table, "__dataframe__")
    with pytest.raises(ValueError, match=r"NaN at row 1 \(from 0\), column 'a'"):
        picks(frame)
    assert check_pool(frame, impute="median")[1].tolist() == [2.0, 2.0]


def test_it_is_the_last_step_of_a_pipeline():
    selector = dj.DUALSelector(4, pretrain_iter=3, max_iter=2)
    pipeline = make_pipeline(StandardScaler(), PCA(3, random_state=0), selector).fit(X)
    assert len(pipeline[-1].sample_indices_) == 4
    assert pipeline.transform(X).shape == (31, 32)
