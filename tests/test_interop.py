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


def test_the_index_of_a_frame_comes_out_as_ids_and_names_labelled_rows():
    frame = pd.DataFrame(X, columns=NAMES, index=[f"r{i}" for i in range(31)])
    assert picks(frame).sample_ids_.tolist() == [f"r{i}" for i in EXPECTED]
    assert "r5" not in picks(frame, labeled=["r5"]).sample_ids_


@pytest.mark.parametrize(
    "convert", [jnp.asarray, scipy.sparse.csr_matrix, np.ndarray.tolist, np.asfortranarray]
)
def test_arrays_of_any_kind_are_read(convert):
    assert picks(convert(X.astype(np.float32))).sample_indices_.tolist() == EXPECTED


def test_what_speaks_dlpack_is_read():
    class Tensor:
        """As torch's: no numpy subclass, only the protocol and a shape."""

        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __array__(self, dtype=None, copy=None):
            return np.from_dlpack(self.array).astype(dtype or self.array.dtype)

        def __dlpack__(self, **keywords):
            return self.array.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    assert picks(Tensor(X.astype(np.float32))).sample_indices_.tolist() == EXPECTED


def test_it_is_the_last_step_of_a_pipeline():
    selector = dj.DUALSelector(4, pretrain_iter=3, max_iter=2)
    pipeline = make_pipeline(StandardScaler(), PCA(3, random_state=0), selector).fit(X)
    assert len(pipeline[-1].sample_indices_) == 4
    assert pipeline.transform(X).shape == (31, 32)
