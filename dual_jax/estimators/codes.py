"""Images or series in place of rows: an estimator picks in the code that is learnt from them."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Shaped

from dual_jax.data.checks import as_numbers
from dual_jax.data.errors import InputError
from dual_jax.data.foreign import as_known
from dual_jax.views.encoder import Encoder, code_width, encode, learn
from dual_jax.views.preparation import kind_of_shape

LEARNT = "views"


def is_code(embedding: Any) -> bool:
    """Return whether an embedding is to be learnt, or is an encoder that was."""
    return isinstance(embedding, str | Encoder)


def read_samples(X: Any) -> Shaped[np.ndarray, "n ..."]:
    """Return images or series as an array of numbers.

    Raises
    ------
    InputError
        When they are a frame, have fewer than two axes, or are no numbers.
    """
    if hasattr(X, "columns") or not hasattr(known := as_known(X), "shape"):
        raise InputError(
            'embedding="views" is for an array of images (n, h, w) or (n, h, w, channels), or of series '
            f"(n, times) or (n, channels, times), not for {type(X).__name__}"
        )
    samples = np.asarray(known)
    if samples.ndim < 2:
        raise InputError(f"X has shape {samples.shape}: images and series have a row for each sample")
    return samples if samples.dtype == np.uint8 else np.asarray(as_numbers(samples))


def learn_codes(
    samples: Shaped[np.ndarray, "n ..."], how: str | Encoder, seed: int
) -> tuple[Float[Array, "n p"], Encoder]:
    """Return the codes of samples and what gives them: the encoder, learnt from them unless it is given."""
    if isinstance(how, str):
        key = jax.random.fold_in(jax.random.key(seed), 1)  # the fit has the seed's own
        how = learn(key, samples, kind=kind_of_shape(samples.shape[1:]))
    return encode(how, samples), how


def width_of_code(how: str | Encoder, n: int) -> int:
    """Return how many columns the codes of n samples will have.

    Raises
    ------
    InputError
        When a name is not "views", or there are fewer than two samples to learn from.
    """
    if isinstance(how, Encoder):
        return how.code.directions.shape[1]
    if how != LEARNT:
        raise InputError(f'embedding={how!r} is neither "{LEARNT}" nor an encoder, a function or numbers')
    if n < 2:
        raise InputError(f"{n} sample: give two or more to learn from")
    return code_width(n)
