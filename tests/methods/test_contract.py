"""What must hold for every selection method, run over all entries of METHODS.

All runs share one pool of 24 x 4 and one budget where they can, because a new shape is a new compilation;
what needs a compilation of its own is slow. DUAL trains for a few steps.
"""

import doctest
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.methods import METHODS

N, D, K = 24, 4, 7
POOL = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
TWICE = np.concatenate([POOL[: N // 2], POOL[: N // 2]])
LABELED = np.isin(np.arange(N), [2, 11, 17])
CANDIDATES = ~np.isin(np.arange(N), [0, 5, 6, 23])

SHORT = {"pretrain_steps": 20, "steps": 5}  # in more, Adam blows up the rounding in which two programs differ

slow = pytest.mark.slow
every_method = pytest.mark.parametrize("name", METHODS)
n_compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **kwargs: n_compilations.append(event) if "backend_compile" in event else None
)


def parameters(name):
    return inspect.signature(METHODS[name].select).parameters


def float_knobs(name):
    """Default of every knob that may be a float; None where a rule stands in for it."""
    knobs = list(parameters(name).values())[5:]
    is_float = [isinstance(knob.default, float) or "float" in str(knob.annotation) for knob in knobs]
    return {knob.name: knob.default for knob, keep in zip(knobs, is_float, strict=True) if keep}


def defaults(name):
    """Float defaults given explicitly, so that other values share their compilation."""
    return {knob: value for knob, value in float_knobs(name).items() if value is not None}


def statics(name):
    return {knob: value for knob, value in SHORT.items() if knob in parameters(name)}


def run(name, x=POOL, n_select=K, seed=0, labeled=None, candidates=None, **knobs):
    knobs = statics(name) | defaults(name) | knobs
    picks = METHODS[name](jax.random.key(seed), x, n_select, labeled=labeled, candidates=candidates, **knobs)
    return np.asarray(picks.indices), np.asarray(picks.scores)


def largest_array(program):
    """Entries of the largest array that a traced program makes, loops and branches included."""
    values = [value for step in program.eqns for value in jax.tree.leaves(list(step.params.values()))]
    inner = [largest_array(value) for value in values if hasattr(value, "eqns")]
    return max([variable.aval.size for step in program.eqns for variable in step.outvars] + inner, default=0)


@functools.cache
def picks_of(name, n_select=K):
    return run(name, n_select=n_select)


@every_method
def test_the_signature_is_that_of_the_protocol(name):
    order = list(parameters(name).values())

    assert [p.name for p in order[:5]] == ["key", "x", "n_select", "labeled", "candidates"]
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in order[:3])
    assert all(p.kind is p.KEYWORD_ONLY for p in order[3:])
    assert all(p.default is p.empty for p in order[:5])  # both masks are made by the call
    assert all(p.default is not p.empty for p in order[5:])


@every_method
def test_the_docstring_names_every_knob_and_has_an_example(name):
    text = inspect.getdoc(METHODS[name].select)

    assert {*list(parameters(name))[5:], ">>>"} <= {word.strip("`,.:;()") for word in text.split()}


@every_method
@slow
def test_the_example_of_the_docstring_holds(name):
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder().find(inspect.unwrap(METHODS[name].select), name, globs={}):
        runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0


@every_method
@pytest.mark.parametrize("n_select", [pytest.param(1, marks=slow), K, pytest.param(N, marks=slow)])
def test_picks_are_distinct_positions_with_a_finite_score_each(name, n_select):
    indices, scores = picks_of(name, n_select)

    assert indices.shape == scores.shape == (n_select,)
    assert np.issubdtype(indices.dtype, np.integer)
    assert len(set(indices.tolist())) == n_select
    assert indices.min() >= 0
    assert indices.max() < N
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].facts.nested])
@slow
def test_the_first_picks_of_a_nested_method_do_not_depend_on_the_budget(name):
    order = picks_of(name, N)[0]

    assert picks_of(name, K)[0].tolist() == order[:K].tolist()
    assert picks_of(name, 1)[0].tolist() == order[:1].tolist()


@every_method
def test_the_same_key_gives_the_same_picks(name):
    again = run(name)

    assert again[0].tolist() == picks_of(name)[0].tolist()
    assert again[1].tolist() == picks_of(name)[1].tolist()


@every_method
@slow
def test_an_outer_jit_with_vmap_over_keys_and_float_knobs_gives_the_same_picks(name):
    grid = {knob: jnp.array([value, 0.9 * value]) for knob, value in defaults(name).items()}
    lower = {knob: 0.9 * value for knob, value in defaults(name).items()}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, 0))
    def both(key, x, knobs):
        return METHODS[name](key, x, K, **knobs, **statics(name)).indices

    indices = both(jnp.stack([jax.random.key(0)] * 2), POOL, grid)

    assert indices[0].tolist() == picks_of(name)[0].tolist()
    assert indices[1].tolist() == run(name, **lower)[0].tolist()


@every_method
@slow
def test_without_jit_the_picks_are_the_same(name):
    bare = inspect.unwrap(METHODS[name].select)
    masks = {"labeled": jnp.zeros(N, bool), "candidates": jnp.ones(N, bool)}

    picks = bare(jax.random.key(0), jnp.asarray(POOL), K, **masks, **statics(name), **defaults(name))

    assert picks.indices.tolist() == picks_of(name)[0].tolist()


@pytest.mark.parametrize("name", [name for name in METHODS if not METHODS[name].facts.random])
def test_a_deterministic_method_ignores_its_key_and_the_order_of_the_pool(name):
    order = np.random.default_rng(1).permutation(N)

    shuffled = run(name, POOL[order], seed=1)[0]

    assert order[shuffled].tolist() == picks_of(name)[0].tolist()


@every_method
def test_labelled_and_forbidden_rows_are_never_returned(name):
    indices = run(name, labeled=LABELED, candidates=CANDIDATES)[0]

    assert len(set(indices.tolist())) == K
    assert not LABELED[indices].any()
    assert CANDIDATES[indices].all()


@every_method
def test_all_open_rows_are_returned_when_the_budget_asks_for_them(name):
    candidates = np.isin(np.arange(N), np.arange(3, 3 + K))

    indices = run(name, candidates=candidates)[0]

    assert sorted(indices.tolist()) == list(range(3, 3 + K))


@every_method
def test_new_masks_and_new_float_knobs_do_not_compile_again(name):
    run(name, labeled=LABELED, candidates=CANDIDATES)
    n_before = len(n_compilations)

    run(name, labeled=~CANDIDATES, candidates=~LABELED, **{k: 0.9 * v for k, v in defaults(name).items()})

    assert len(n_compilations) == n_before


@pytest.mark.parametrize("name", [name for name in METHODS if None in float_knobs(name).values()])
@slow
def test_a_float_knob_that_a_rule_stands_in_for_may_be_vmapped_too(name):
    first = {knob: 1.0 for knob, value in float_knobs(name).items() if value is None}
    second = dict.fromkeys(first, 0.9)
    grid = {knob: jnp.array([1.0, 0.9]) for knob in first}

    indices = jax.vmap(lambda knobs: METHODS[name](jax.random.key(0), POOL, K, **knobs).indices)(grid)

    assert indices[0].tolist() == run(name, **first)[0].tolist()
    assert indices[1].tolist() == run(name, **second)[0].tolist()


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].facts.diverse])
def test_a_sample_that_is_there_twice_is_picked_once(name):
    indices = run(name, TWICE)[0]

    assert len(set((indices % (N // 2)).tolist())) == K


@pytest.mark.parametrize("name", [name for name in METHODS if not METHODS[name].facts.square])
def test_no_array_has_an_entry_for_each_pair_of_rows(name):
    x, masks = jnp.zeros((4096, D)), {"labeled": jnp.zeros(4096, bool), "candidates": jnp.ones(4096, bool)}
    select = functools.partial(METHODS[name].select, n_select=K, **masks)

    program = jax.make_jaxpr(lambda key, x: select(key, x))(jax.random.key(0), x)

    assert largest_array(program.jaxpr) <= 4096 * 256 * D  # a block of 256 rows, with its differences


@every_method
@pytest.mark.parametrize("n_select", [0, -1, N + 1, 2.5])
def test_an_impossible_budget_is_refused(name, n_select):
    with pytest.raises(ValueError, match=f"n_select={n_select}"):
        run(name, n_select=n_select)


@every_method
def test_a_budget_above_the_open_rows_is_refused(name):
    with pytest.raises(ValueError, match="18 rows that may be picked"):
        run(name, n_select=19, labeled=LABELED, candidates=~np.isin(np.arange(N), [0, 5, 6]))
