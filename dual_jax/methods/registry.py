"""The methods by name, behind the checks that all share; none is imported before it is called."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from dual_jax.methods.facts import FACTS, Facts
from dual_jax.numerics.precision import float32_types
from dual_jax.numerics.scaling import check_spread
from dual_jax.selection.limitchecks import check_limits
from dual_jax.selection.limits import Limits
from dual_jax.selection.protocol import Selection, pickable, row_mask
from dual_jax.selection.walks import cut, trimmed, walk


@dataclasses.dataclass(frozen=True)
class Method:
    """A selection method: a function of the protocol, behind the checks that all of them share.

    Attributes
    ----------
    name
        Its name in `METHODS`.
    facts
        What is known of it, and where its function is; see `dual_jax.methods.facts`.
    """

    name: str
    facts: Facts

    @property
    def select(self) -> Callable[..., Selection]:
        """The function; its docstring gives objective, source, knobs, cost, and when it fails."""
        function = self._found(self.facts.function or self.name)
        return _with_settings(function, self) if self.facts.settings else function

    @property
    def reader(self) -> Callable[..., Callable[[int], Selection]] | None:
        """The picks as a function of their number, after learning once; None where nothing is learnt."""
        return self._found(self.facts.reader) if self.facts.reader else None

    def _found(self, function: str) -> Callable[..., Any]:
        return getattr(import_module(f"dual_jax.methods.{self.facts.module}"), function)

    def __call__(
        self,
        key: Key[Array, ""],
        x: Float[Array, "n d"],
        n_select: int,
        *,
        labeled: Bool[Array, " n"] | None = None,
        candidates: Bool[Array, " n"] | None = None,
        limits: Limits | None = None,
        **knobs: Any,
    ) -> Selection:
        """Return the picks; see `dual_jax.selection.protocol` for the arguments.

        With ``limits`` there may be fewer than ``n_select``; under ``jit`` -1 marks the missing ones.

        Raises
        ------
        ValueError
            When ``x`` is no (n, d) table, a mask has another length, or ``n_select`` is not between 1 and the
            number of rows that may be picked (which is only known outside ``jit``), or a limit cannot be used
            or is none that the method keeps.
        """
        with float32_types():
            x = jnp.asarray(x, jnp.float32)
            if x.ndim != 2:
                raise ValueError(f"x has shape {x.shape}, wanted (n, d): one row a sample.")
            check_spread(x)
            labeled = row_mask(labeled, len(x), "labeled")
            candidates = pickable(len(x), labeled, row_mask(candidates, len(x), "candidates", default=True))
            _check_budget(n_select, candidates)
            if (limits := check_limits(limits, len(x))) is None:
                return self.select(key, x, int(n_select), labeled=labeled, candidates=candidates, **knobs)
            self.check_keeps(limits, knobs)
            return trimmed(self._within(limits, key, x, int(n_select), labeled, candidates, knobs))

    def check_keeps(self, limits: Limits, knobs: Mapping[str, Any]) -> None:
        """Raise ValueError if the method, with these knobs, cannot keep one of the limits."""
        how = knobs.get("readout", "greedy")
        kept = [
            name
            for name in self.facts.limits
            if how == "greedy"
            or (how in ("refine", "chain") and name == "weights")
            or (how == "norms" and name not in ("weights", "costs"))
        ]
        missing = [name for name in limits.asked() if name not in kept]
        if missing:
            given = f" with readout={how!r}" if how != "greedy" else ""
            others = [name for name, facts in FACTS.items() if {*limits.asked()} <= {*facts.limits}]
            raise ValueError(
                f"{self.name}{given} cannot keep {', '.join(missing)}; it keeps {', '.join(kept)}. "
                f"These can: {', '.join(others)}."
            )

    def _within(
        self,
        limits: Limits,
        key: Key[Array, ""],
        x: Float[Array, "n d"],
        n_select: int,
        labeled: Bool[Array, " n"],
        candidates: Bool[Array, " n"],
        knobs: dict[str, Any],
    ) -> Selection:
        """Return the picks within limits, -1 where these leave none."""
        masks = {"labeled": labeled, "candidates": candidates}
        if "limits" in inspect.signature(self.select).parameters:
            return self.select(key, x, n_select, **masks, limits=limits, **knobs)
        if limits.asked() == ("until",):
            picks = self.select(key, x, n_select, **masks, **knobs)
        else:  # each row has a score of its own: all are ranked
            order = self.select(key, x, len(x), **masks, **knobs)
            picks = walk(limits, x, order, labeled, candidates, n_select)
        return cut(limits, x, picks, labeled)

    def is_nested_for(self, n: int, n_select: int, knobs: Mapping[str, Any]) -> bool:
        """Return whether of n rows the picks of each budget up to ``n_select`` begin those of a larger."""
        how = knobs.get("readout", "greedy")
        if self.facts.short_listed:
            from dual_jax.dual import readout

            return readout.is_nested(how, n, n_select)
        return self.facts.nested and how not in ("refine", "chain")

    def is_order_for(self, n: int, n_select: int, knobs: Mapping[str, Any]) -> bool:
        """Return whether the first of ``n_select`` picks among n rows are good picks for a smaller budget.

        They are where the method is nested; the picks of a chain are meant to be cut, although another budget
        has another chain.
        """
        return knobs.get("readout") == "chain" or self.is_nested_for(n, n_select, knobs)


METHODS: dict[str, Method] = {name: Method(name, facts) for name, facts in FACTS.items()}


def _with_settings(function: Callable[..., Selection], method: Method) -> Callable[..., Selection]:
    """Return the general function with the method's settings; its signature lacks the knobs that they fix."""
    settings = method.facts.settings

    def select(*args: Any, **knobs: Any) -> Selection:
        return function(*args, **settings, **knobs)

    general, summary = inspect.signature(function), (inspect.getdoc(function) or "").partition("\n")
    knobs = [knob for name, knob in general.parameters.items() if name not in settings]
    select.__signature__ = general.replace(parameters=knobs)  # type: ignore[attr-defined]
    given = ", ".join(f"{name}={value}" for name, value in settings.items())
    about = f"This is `{function.__name__}` with ``{given}``. Source: {method.facts.source}."
    select.__name__, select.__doc__ = method.name, f"{summary[0]}\n\n{about}\n{summary[2]}"
    return select


def _check_budget(n_select: Any, is_open: Bool[Array, " n"]) -> None:
    if isinstance(n_select, bool) or not isinstance(n_select, int | np.integer) or n_select < 1:
        raise ValueError(f"n_select={n_select!r} is no number of picks: give an integer of at least 1.")
    n_open = len(is_open) if isinstance(is_open, jax.core.Tracer) else int(is_open.sum())
    if n_select > n_open:
        raise ValueError(f"n_select={n_select} exceeds the {n_open} rows that may be picked: ask for fewer.")
