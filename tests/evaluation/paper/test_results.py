"""The committed records say what the pages say of them."""

from pathlib import Path

import numpy as np
import pytest

from dual_jax.evaluation.paper.protocols import VIEWS
from dual_jax.evaluation.paper.report import by_protocol
from dual_jax.evaluation.paper.tables import best_a_split, cells_and_chance
from dual_jax.evaluation.records import read_folder

RECORDS = Path(__file__).parents[3] / "bench" / "results" / "reproduction" / "records"


@pytest.mark.parametrize("view", VIEWS)
def test_the_released_recipe_gives_what_the_released_code_gives(view):
    """The released code on its own split of Urban: its 16 cells are .008 +- .004 above random on average."""
    cells, chance = cells_and_chance(by_protocol(read_folder(RECORDS))["check"], "urban", view)

    above = cells.mean(axis=1) - chance.mean(axis=1)
    error = above.std(ddof=1) / len(above) ** 0.5
    assert cells.shape == (6, 16)
    assert abs(above.mean() - 0.008) < 2 * np.hypot(error, 0.004)
    assert best_a_split(cells).mean() < best_a_split(chance).mean()
