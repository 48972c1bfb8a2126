"""What ``dual-jax select`` reads and what comes out: the records that its outputs are written from."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from dual_jax.cli.embeddings import Embedding
    from dual_jax.data.annotations import Labels
    from dual_jax.data.owncolumns import PoolFile
    from dual_jax.data.tables import Pool
    from dual_jax.selection.explanation import Explanation
    from dual_jax.selection.limits import Limits


class Source(NamedTuple):
    """What was read: the file, its rows as features, their embedding, and the rows with a label.

    ``is_forbidden`` are rows never to pick; ``keep`` are the pool's columns that go with the picks, and
    ``payload`` is the one to be labelled, None for the ids. ``columns`` says what each column was taken for
    and why, where some are no numbers. ``limits`` are those of the picks, with their columns as read.
    """

    file: "PoolFile"
    pool: "Pool"
    n_imputed: int
    embedding: "Embedding | None"
    labels: "Labels"
    is_forbidden: np.ndarray
    keep: list[str]
    payload: str | None
    columns: dict[str, str]
    limits: "Limits | None" = None

    @property
    def is_labeled(self) -> np.ndarray:
        """The rows with a label."""
        return self.labels.is_labelled

    @property
    def candidates(self) -> np.ndarray:
        """The rows that may be picked, but for those with a label."""
        return ~(self.is_forbidden | self.labels.is_skipped)

    def scale(self, asked: str, *, is_embedding_alone: bool) -> str:
        """Return how what is picked in is still to be scaled: rows of encoded columns are."""
        return "none" if self.columns and not is_embedding_alone else asked


class Picked(NamedTuple):
    """What came out, in pick order, and how.

    ``used`` are the rows as the method used them, None for a pool that stays on disk. ``settings`` are all
    settings in force, ``history`` the terms of DUAL's loss at each step, ``norms`` DUAL's row norms,
    ``end`` how limits ended the picks.
    """

    source: Source
    indices: np.ndarray
    scores: np.ndarray
    is_nested: bool
    knobs: dict[str, Any]
    settings: dict[str, Any]
    used: Any = None
    history: dict[str, dict[str, np.ndarray]] = {}  # noqa: RUF012
    why: "Explanation | None" = None
    norms: dict[str, np.ndarray] = {}  # noqa: RUF012
    end: str = ""
