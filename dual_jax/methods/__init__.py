"""Every selection method under one signature: ``METHODS[name](key, x, n_select, *, labeled, ...)``.

A new method is one file with one function that keeps `dual_jax.selection.protocol`'s protocol, one line
here, and one test file.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from dual_jax.dual import readout
from dual_jax.methods.coverage.activeft import activeft
from dual_jax.methods.coverage.dpp import dpp
from dual_jax.methods.coverage.facility import facility
from dual_jax.methods.coverage.herding import herding
from dual_jax.methods.coverage.kcenter import kcenter
from dual_jax.methods.coverage.kmeans import kmeans
from dual_jax.methods.coverage.medoids import medoids
from dual_jax.methods.coverage.probcover import probcover
from dual_jax.methods.coverage.typiclust import typiclust
from dual_jax.methods.coverage.usl import usl
from dual_jax.methods.dual import dual, dual_paper, dual_reader, dual_wo
from dual_jax.methods.random import random
from dual_jax.methods.reconstruction.alfs import alfs
from dual_jax.methods.reconstruction.alnr import alnr
from dual_jax.methods.reconstruction.alsr import alsr
from dual_jax.methods.reconstruction.arss import arss
from dual_jax.methods.reconstruction.cted import cted
from dual_jax.methods.reconstruction.dcs import dcs
from dual_jax.methods.reconstruction.dcted import dcted
from dual_jax.methods.reconstruction.llr import llr
from dual_jax.methods.reconstruction.maed import maed
from dual_jax.methods.reconstruction.rrqr import rrqr
from dual_jax.methods.reconstruction.rrss import rrss
from dual_jax.methods.reconstruction.smrs import smrs
from dual_jax.methods.reconstruction.ted import ted
from dual_jax.selection.protocol import Selection, pickable, row_mask


@dataclasses.dataclass(frozen=True)
class Method:
    """A selection method: a function of the protocol, behind the checks that all of them share.

    Attributes
    ----------
    select
        The method itself; its docstring gives objective, source, knobs, cost, and when it fails.
    is_nested
        Whether the first k picks do not depend on ``n_select``.
    reader
        Of a method that learns before it picks: ``reader(key, x, **knobs)`` learns once and returns the picks
        as a function of ``n_select``.
    is_short_listed
        Whether it reads out as `dual_jax.dual.readout` does, from a short list where the pool is large.
    """

    select: Callable[..., Selection]
    is_nested: bool
    reader: Callable[..., Callable[[int], Selection]] | None = None
    is_short_listed: bool = False

    def __call__(
        self,
        key: Key[Array, ""],
        x: Float[Array, "n d"],
        n_select: int,
        *,
        labeled: Bool[Array, " n"] | None = None,
        candidates: Bool[Array, " n"] | None = None,
        **knobs: Any,
    ) -> Selection:
        """Return the picks; see `dual_jax.selection.protocol` for the arguments.

        Raises
        ------
        ValueError
            When ``x`` is no (n, d) table, a mask has another length, or ``n_select`` is not between 1 and the
            number of rows that may be picked (which is only known outside ``jit``).
        """
        x = jnp.asarray(x, jnp.float32)
        if x.ndim != 2:
            raise ValueError(f"x has shape {x.shape}, wanted (n, d): one row a sample.")
        labeled = row_mask(labeled, len(x), "labeled")
        candidates = row_mask(candidates, len(x), "candidates", default=True)
        _check_budget(n_select, pickable(len(x), labeled, candidates))
        return self.select(key, x, int(n_select), labeled=labeled, candidates=candidates, **knobs)

    def is_nested_for(self, n: int, n_select: int, knobs: Mapping[str, Any]) -> bool:
        """Return whether of n rows the picks of each budget up to ``n_select`` begin those of a larger."""
        how = knobs.get("readout", "greedy")
        if self.is_short_listed:
            return readout.is_nested(how, n, n_select)
        return self.is_nested and how != "refine"


def _check_budget(n_select: Any, is_open: Bool[Array, " n"]) -> None:
    if isinstance(n_select, bool) or not isinstance(n_select, int | np.integer) or n_select < 1:
        raise ValueError(f"n_select={n_select!r} is no number of picks: give an integer of at least 1.")
    n_open = len(is_open) if isinstance(is_open, jax.core.Tracer) else int(is_open.sum())
    if n_select > n_open:
        raise ValueError(f"n_select={n_select} exceeds the {n_open} rows that may be picked: ask for fewer.")


METHODS: dict[str, Method] = {
    "activeft": Method(activeft, is_nested=False),
    "alfs": Method(alfs, is_nested=True),
    "alnr": Method(alnr, is_nested=True),
    "alsr": Method(alsr, is_nested=True),
    "arss": Method(arss, is_nested=True),
    "cted": Method(cted, is_nested=True),
    "dcs": Method(dcs, is_nested=True),
    "dcted": Method(dcted, is_nested=True),
    "dpp": Method(dpp, is_nested=True),
    "dual": Method(dual, is_nested=True, reader=dual_reader, is_short_listed=True),
    "dual_paper": Method(dual_paper, is_nested=True),
    "dual_wo": Method(dual_wo, is_nested=True, is_short_listed=True),
    "facility": Method(facility, is_nested=True),
    "herding": Method(herding, is_nested=True),
    "kcenter": Method(kcenter, is_nested=True),
    "kmeans": Method(kmeans, is_nested=False),
    "llr": Method(llr, is_nested=True),
    "maed": Method(maed, is_nested=True),
    "medoids": Method(medoids, is_nested=True),
    "probcover": Method(probcover, is_nested=True),
    "random": Method(random, is_nested=True),
    "rrqr": Method(rrqr, is_nested=True),
    "rrss": Method(rrss, is_nested=True),
    "smrs": Method(smrs, is_nested=True),
    "ted": Method(ted, is_nested=True),
    "typiclust": Method(typiclust, is_nested=False),
    "usl": Method(usl, is_nested=False),
}
