"""A stage of steps: one program or chunk by chunk, and when it is over."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dual_jax.dual.loop import CHUNK, Progress, run_chunk, run_in_chunks, run_stage


def fall(state, rate=0.02):
    """The loss is the state, which falls by a share in each step."""
    return state * (1 - rate), {"loss": state, "rate": jnp.asarray(rate)}


START = Progress("fall", 0, 1.0, np.inf, False, {})
N_STEPS = 2 * CHUNK + 20  # the last chunk is shorter


def in_chunks(step=fall, n_steps=N_STEPS, tolerance=0.0, progress=START, **more):
    advance = jax.jit(lambda *at: run_chunk(step, *at, tolerance))
    return run_in_chunks(advance, progress, n_steps, **more)


def test_a_stage_runs_as_one_program_or_in_chunks_with_the_same_states_and_values():
    state, values, n_done = jax.jit(lambda state: run_stage(fall, state, N_STEPS))(1.0)
    progress = in_chunks()
    assert (int(n_done), progress.step) == (N_STEPS, N_STEPS)
    np.testing.assert_array_equal(state, progress.state)
    np.testing.assert_array_equal(values["loss"], progress.history["fall"]["loss"])
    np.testing.assert_allclose(values["loss"], 0.98 ** np.arange(N_STEPS), rtol=1e-4)  # float32 products


@pytest.mark.parametrize(("tolerance", "n_steps"), [(0.0, 500), (0.5, 500), (0.7, 100), (0.7, 90)])
def test_a_stage_stops_where_a_chunk_lowers_the_mean_by_less_than_the_tolerance(tolerance, n_steps):
    # Each chunk's mean is 0.98^50 = 0.364 of the last one's: it falls by 64 %.
    expected = n_steps if tolerance < 0.636 else min(2 * CHUNK, n_steps)
    state, values, n_done = run_stage(fall, jnp.ones(()), n_steps, tolerance)
    progress = in_chunks(n_steps=n_steps, tolerance=tolerance)
    assert (int(n_done), progress.step) == (expected, expected)
    assert np.isfinite(values["loss"]).sum() == len(progress.history["fall"]["loss"]) == expected
    np.testing.assert_array_equal(state, progress.state)


def test_side_by_side_each_cell_stops_for_itself():
    def stage(rate):
        return run_stage(partial(fall, rate=rate), jnp.ones(()), 200, 0.7)

    rates = jnp.array([0.02, 0.04])  # chunks fall by 64 % and by 87 %
    states, values, n_done = jax.vmap(stage)(rates)
    assert n_done.tolist() == [2 * CHUNK, 200]
    assert (values["loss"] == 0).tolist() == [[False] * 100 + [True] * 100, [False] * 200]
    np.testing.assert_allclose(states, [stage(rate)[0] for rate in rates], rtol=1e-6)


def test_a_stage_goes_on_from_where_it_was_saved():
    saved = []
    whole = in_chunks(tolerance=0.1, save=saved.append)
    again = in_chunks(tolerance=0.1, progress=saved[0])
    assert [progress.step for progress in saved] == [CHUNK, 2 * CHUNK, N_STEPS]
    assert again.state == whole.state
    np.testing.assert_array_equal(again.history["fall"]["loss"], whole.history["fall"]["loss"])


def test_a_stage_that_is_over_runs_no_step():
    progress = START._replace(step=CHUNK, is_over=True)
    assert in_chunks(progress=progress).step == CHUNK


def test_a_stage_of_no_steps_changes_nothing():
    state, values, n_done = run_stage(fall, 1.0, 0)
    assert (state, int(n_done), values["loss"].shape) == (1.0, 0, (0,))
    assert in_chunks(n_steps=0) == START._replace(history={"fall": {}})


def test_a_callback_gets_each_chunk_and_one_that_stops_the_stage_has_it_saved():
    chunks, saved = [], []

    def stop(chunk):
        chunks.append((chunk.stage, chunk.step, chunk.n_steps, len(chunk.terms["loss"])))
        if chunk.step == 2 * CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_chunks(callbacks=[stop], save_now=saved.append)
    assert chunks == [("fall", CHUNK, N_STEPS, CHUNK), ("fall", 2 * CHUNK, N_STEPS, CHUNK)]
    assert [progress.step for progress in saved] == [2 * CHUNK]


def test_the_first_value_that_is_not_finite_is_named_with_its_step():
    def step(state):
        return state + 1, {"loss": jnp.log(60.0 - state), "root": jnp.sqrt(60.0 - state)}

    with pytest.raises(ValueError, match="loss is -inf at step 60 of the fall stage"):
        in_chunks(step, progress=START._replace(state=0.0))
