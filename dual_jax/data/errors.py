"""Errors that the caller can mend: the command line turns each of them into one line and exit status 2."""

from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """The request is invalid: a file, a value or a combination of options; the message says what to do."""


class InputTypeError(InputError, TypeError):
    """The request is invalid because a value has another type than the one that is wanted."""


class MissingPackageError(InputError, ImportError):
    """The request needs a package that is not installed; the message names the pip command."""


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn errors of value and type into `InputError`, around checks in rooms that cannot import it.

    Examples
    --------
    >>> with input_errors():
    ...     float("a word")
    Traceback (most recent call last):
    ...
    dual_jax.data.errors.InputError: could not convert string to float: 'a word'
    """
    try:
        yield
    except InputError:
        raise
    except TypeError as error:
        raise InputTypeError(str(error)) from error
    except ValueError as error:
        raise InputError(str(error)) from error
