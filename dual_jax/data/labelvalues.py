"""What a labelling tool wrote as the label of a row: the names of the classes in it.

A row can have one class (it was classified), several (it was tagged, or holds several objects) or none.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dual_jax.data.cells import is_missing
from dual_jax.data.ids import text_of_id

LABELS = ("label", "labels", "cats", "entities")  # where doccano puts what was labelled
OF_SHORT = ("choice", *LABELS, "class", "target")  # what Label Studio's controls for classes are often called
OF_RESULTS = ("choices", "labels", "taxonomy", "rating", "number")  # of a result of Label Studio
OF_OBJECTS = ("value", "values", "label", *OF_RESULTS)
MIN_SCORE = 0.5  # from which a class of spaCy's {class: score} is taken


def classes_in(value: Any) -> tuple[str, ...]:
    """Return the distinct names of classes in a label as a tool writes it, in order.

    Text and numbers are names; a list holds several; of an object the known keys are looked into, such as
    Label Studio's ``choices`` and ``rectanglelabels``; ``[0, 5, "name"]`` is a marked span.

    Examples
    --------
    >>> classes_in("cat"), classes_in(3), classes_in([[0, 5, "PER"], [7, 9, "LOC"]])
    (('cat',), ('3',), ('PER', 'LOC'))
    >>> classes_in('{"choices": ["a", "b"]}'), classes_in({"rectanglelabels": ["car"], "x": 1})
    (('a', 'b'), ('car',))
    """
    return tuple(dict.fromkeys(name for name in _names(value) if not is_missing(name)))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, dict):
        yield from _of_object(value)
    elif isinstance(value, list | tuple):
        is_span = len(value) == 3 and all(isinstance(end, int) for end in value[:2])
        for part in value[2:] if is_span else value:
            yield from _names(part)
    elif value is not None:
        yield text_of_id(value).strip()


def _of_object(value: dict[str, Any]) -> Iterator[str]:
    if all(isinstance(score, int | float) for score in value.values()):  # spaCy's classes and their scores
        yield from (name for name, score in value.items() if score >= MIN_SCORE)
        return
    for key in [key for key in value if key in OF_OBJECTS or key.endswith("labels")]:
        inner = value[key]
        if key == "values" and isinstance(inner, dict):
            inner = [*inner.values()]
        yield from _names(inner)


def of_task(annotations: list[dict[str, Any]], control: str | None) -> tuple[str, ...]:
    """Return the classes in the annotations of a task of Label Studio that were not cancelled.

    Where ``control`` is given, only those of the control of that name count.
    """
    results = [
        result
        for annotation in annotations
        if not annotation.get("was_cancelled")
        for result in annotation.get("result") or []
    ]
    names = [_of_result(result) for result in results if control in (None, result.get("from_name"))]
    return classes_in([name for part in names for name in part])


def _of_result(result: dict[str, Any]) -> list[str]:
    value = result.get("value") or {}
    keys = [key for key in value if key in OF_RESULTS or key.endswith("labels")]
    return [name for key in keys for name in _names(value[key])]


def of_short_task(record: dict[str, Any], control: str | None) -> tuple[str, ...]:
    """Return the classes in a row of Label Studio's short JSON or CSV."""
    names = OF_SHORT if control is None else (control,)
    return next((found for name in names if (found := classes_in(record.get(name)))), ())


def of_prodigy(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the classes in a line of Prodigy's: the choices, or the label that was accepted."""
    if record.get("answer") != "accept":
        return ()
    return classes_in([record.get("accept"), record.get("label"), record.get("spans")])


def of_responses(responses: Any, question: str | None) -> tuple[str, ...]:
    """Return the classes in Argilla's responses to all questions, or to one."""
    if isinstance(responses, list):  # a list of users' answers: {"values": {question: {"value": ...}}}
        answers = [answer.get("values") or {} for answer in responses if isinstance(answer, dict)]
    else:
        answers = [responses] if isinstance(responses, dict) else []
    asked = [given for answer in answers for name, given in answer.items() if question in (None, name)]
    return classes_in(asked)
