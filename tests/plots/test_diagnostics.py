"""Pictures of a selection: the numbers behind them are right, and every one can be drawn."""

import io

import numpy as np
import pytest

from dual_jax.plots.diagnostics import (
    AT_A_TIME,
    contact_sheet,
    coverage_curve,
    covered,
    loss_curves,
    sorted_norms,
)

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(100, 3)).astype(np.float32)
PICKS = DRAW.permutation(100)[: AT_A_TIME + 10]


def size_of(figure):
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return len(content.getvalue())


def slow_covered(x, picks, targets):
    x, targets = np.float64(x), np.float64(targets)
    unit = np.linalg.norm(x - x.mean(0), axis=1).mean()
    distances = np.linalg.norm(targets[:, None] - x[picks][None], axis=2)
    return np.array([distances[:, :k].min(1).mean() for k in range(1, len(picks) + 1)]) / unit


@pytest.mark.parametrize("targets", [X, X[:5] + 1.0])
def test_coverage_is_the_mean_distance_to_the_nearest_of_the_first_picks(targets):
    found = covered(X, PICKS, targets)
    # A picked row is at distance 0, which products give to a root of rounding.
    np.testing.assert_allclose(found, slow_covered(X, PICKS, targets), atol=1e-3)
    assert (np.diff(found) <= 1e-6).all()


def test_the_coverage_of_equal_rows_is_whole():
    assert covered(np.ones((4, 2), np.float32), np.array([0]), np.ones((4, 2))).tolist() == [0.0]


@pytest.mark.parametrize(
    "figure",
    [
        lambda: coverage_curve({"rows": covered(X, PICKS, X)}),
        lambda: loss_curves({"pretrain": {"loss": np.array([2.0, 1.0])}, "train": {"loss": np.zeros(3)}}),
        lambda: loss_curves({"pretrain": {}, "train": {"loss": np.array([2.0, 1.0])}}),
        lambda: sorted_norms({"C": np.array([0.1, 3.0, 2.0])}, 2),
        lambda: contact_sheet(DRAW.uniform(size=(14, 8, 8))),
        lambda: contact_sheet(DRAW.uniform(size=(1, 8, 8, 3))),
    ],
)
def test_every_picture_can_be_drawn(figure):
    assert size_of(figure()) > 500
