"""Estimators that learn a code from images or series, and pick in it alone."""

from functools import partial

import jax
import numpy as np
import pandas as pd
import pytest
from drawn import stripes

import dual_jax as dj
from dual_jax.data.errors import InputError
from dual_jax.estimators import codes
from dual_jax.views.encoder import encode, learn

IMAGES = np.stack([stripes(i) for i in range(24)])
SERIES = np.random.default_rng(0).normal(size=(24, 2, 64))
QUICK = partial(learn, steps=2, n_views=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(codes, "learn", QUICK)


def key_of(seed):
    return jax.random.fold_in(jax.random.key(seed), 1)


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (IMAGES, "images"),
        (SERIES, "series"),
        pytest.param(IMAGES[..., 0], "images", marks=pytest.mark.slow),
        pytest.param(SERIES[:, 0], "series", marks=pytest.mark.slow),
    ],
)
def test_picks_are_those_in_the_code_alone(samples, kind):
    found = dj.Selector("kcenter", 5, random_state=3).fit(samples, embedding="views")
    code = np.asarray(encode(QUICK(key_of(3), samples, kind=kind), samples))
    expected = dj.Selector("kcenter", 5, random_state=3).fit(code)
    assert found.sample_indices_.tolist() == expected.sample_indices_.tolist()


def test_an_encoder_that_was_learnt_before_is_used_as_it_is():
    encoder = QUICK(key_of(0), IMAGES, kind="images", flip=True)
    found = dj.Selector("kcenter", 5).fit(IMAGES, embedding=encoder)
    expected = dj.Selector("kcenter", 5).fit(np.asarray(encode(encoder, IMAGES)))
    assert found.sample_indices_.tolist() == expected.sample_indices_.tolist()


@pytest.mark.slow
def test_new_images_are_transformed_also_after_saving(tmp_path):
    selector = dj.DUALSelector(4, max_iter=2, pretrain_iter=2).fit(IMAGES, embedding="views")
    selector.save(tmp_path / "fit.npz")
    new = selector.transform(IMAGES[3:7])
    assert len(new) == 4
    np.testing.assert_allclose(new, selector.transform(IMAGES)[3:7], atol=1e-5)
    np.testing.assert_allclose(dj.load(tmp_path / "fit.npz").transform(IMAGES[3:7]), new, atol=1e-5)
    with pytest.raises(InputError, match=r"samples have shape \(8, 8, 3\)"):
        selector.transform(IMAGES[:2, :8, :8])
    with pytest.raises(InputError, match="learnt its own embedding"):
        selector.transform(IMAGES[:2], embedding=np.ones((2, 3)))


def test_labelled_rows_are_not_picked():
    found = dj.Selector("kcenter", 5).fit(IMAGES, embedding="views", labeled=[0, 1], candidates=range(12))
    assert set(found.sample_indices_.tolist()) <= set(range(2, 12))


@pytest.mark.parametrize(
    ("X", "how", "complaint"),
    [
        (IMAGES, "view", "embedding='view' is neither"),
        (pd.DataFrame(SERIES[:, 0]), "views", "not for DataFrame"),
        (SERIES[0, 0], "views", "a row for each sample"),
        (IMAGES[:1], "views", "1 sample: give two"),
        (np.full((9, 12, 12), np.nan), "views", "must be finite"),
    ],
)
def test_what_no_code_can_be_learnt_from_is_refused(X, how, complaint):
    with pytest.raises(InputError, match=complaint):
        dj.Selector("kcenter", 1).fit(X, embedding=how)
