"""The registry: its facts are true of the functions, its page is up to date, and it imports nothing early."""

import inspect
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dual_jax.methods
from dual_jax.methods import METHODS
from dual_jax.methods.facts import FACTS, FAMILIES, described, listed, table
from dual_jax.selection.protocol import Selection

PAGE = (Path(dual_jax.methods.__file__).parent / "README.md").read_text()
KEY, X = jax.random.key(0), jnp.zeros((3, 2))


def test_the_page_holds_the_table_of_the_registry():
    assert table() in PAGE


def test_the_page_says_what_every_method_seeks_and_which_objectives_are_inferred():
    lines = [
        line.replace(r"\|", "").strip("| ").split("|") for line in PAGE.splitlines() if line[:3] == "| `"
    ]
    rows = {cells[0].replace("`", "").strip(): cells for cells in lines if len(cells) == 5}
    assert [*rows] == [described(name) for name in METHODS]
    assert all(cell.strip() for cells in rows.values() for cell in cells)


@pytest.mark.parametrize("listing", [table(), listed()], ids=["page", "help"])
def test_every_method_is_listed_and_an_inferred_objective_is_named(listing):
    assert all(name in listing for name in METHODS)
    assert {name for name in FACTS if described(name) != name} == {"alfs", "alnr", "alsr", "dcted"}
    assert listing.count("inferred") == 4


def test_every_method_belongs_to_one_family():
    assert {facts.family for facts in FACTS.values()} == {*FAMILIES}


def test_no_method_is_imported_before_it_is_called():
    code = (
        "import sys, dual_jax.cli.select, dual_jax.cli.compare; from dual_jax.methods import METHODS;"
        "print(*[m for m in sys.modules if m.startswith('dual_jax.methods.')])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == ["dual_jax.methods.facts", "dual_jax.methods.registry"]


@pytest.mark.parametrize("masks", [{}, {"labeled": [True, False, False]}, {"candidates": np.arange(3) < 2}])
def test_a_function_always_gets_two_boolean_arrays_and_no_candidate_is_labelled(masks, monkeypatch):
    def select(key, x, n_select, *, labeled, candidates):
        assert labeled.dtype == candidates.dtype == bool
        assert labeled.shape == candidates.shape == (3,)
        assert not (labeled & candidates).any()
        return Selection(jnp.arange(n_select), jnp.zeros(n_select))

    monkeypatch.setattr("dual_jax.methods.random.random", select)
    assert METHODS["random"](KEY, X, 1, **masks).indices.tolist() == [0]


@pytest.mark.parametrize("name", [name for name, facts in FACTS.items() if facts.settings])
def test_a_setting_of_a_general_method_has_a_name_a_source_and_no_knob_for_what_is_fixed(name):
    facts, select = FACTS[name], METHODS[name].select
    assert not facts.settings.keys() & inspect.signature(select).parameters.keys()
    assert facts.source in select.__doc__
    with pytest.raises(TypeError, match="multiple values"):
        METHODS[name](KEY, X, 1, **facts.settings)
