"""A selection that is ready to run, and what came out of it."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dual_jax.cli.embeddings import Beside

if TYPE_CHECKING:
    from dual_jax.data.tables import Pool
    from dual_jax.selection.explanation import Explanation


class Task(NamedTuple):
    """A selection that is ready to run: pool, checked numbers, who is labelled, how many to pick, knobs."""

    pool: "Pool"
    x: np.ndarray
    beside: Beside | None
    is_labeled: np.ndarray
    n_select: int
    knobs: dict[str, Any]


class Picked(NamedTuple):
    """What a method gives back.

    Positions, their scores, all settings in force, whether fewer picks would be the first of these, the
    terms of DUAL's loss a step, what explains the picks and DUAL's row norms, where they are asked for.
    """

    indices: np.ndarray
    scores: np.ndarray
    settings: dict[str, Any]
    is_nested: bool
    history: dict[str, dict[str, np.ndarray]]
    why: "Explanation | None"
    norms: dict[str, np.ndarray]
