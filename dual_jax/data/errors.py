"""The error for a mistake of the caller, wherever it is found."""


class InputError(ValueError):
    """A mistake of the caller: in a file, a table, an option, or their combination."""
