"""Labels of classes: a class has one name, however files, JSON or arrays spell it."""

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_bert_impl.errors import InputError

# An integer, perhaps with zeros after the point, as spreadsheets and pandas write integers.
_INTEGER = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
# The numbers that truth values are equal to, in Python and in NumPy.
_TRUTH_VALUES = {"false": "0", "true": "1"}


def make_label(value: Any, *, location: str, column: str = "label") -> str:
    """Returns the name of a label: that of an integer is the same in all files and arrays.

    Args:
        value: a string, a number or a truth value; also as a NumPy scalar.
        location: file and line, for messages.
        column: the name of its column, for messages.

    Raises:
        InputError: the label is missing (None, NaN or an empty string), or has another type.

    >>> [make_label(value, location="example 1") for value in (1, 1.0, "1", "1.0", np.int64(1), np.float32(0.1))]
    ['1', '1', '1', '1', '1', '0.1']
    >>> [make_label(value, location="example 1") for value in (True, "True", " good ", "01")]
    ['true', 'True', 'good', '01']
    """
    if isinstance(value, np.floating):
        value = float(str(value))  # `float(np.float32(0.1))` has the digits of the rounding error.
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        value = repr(value)
    if value is None or isinstance(value, float) or (isinstance(value, str) and not value.strip()):
        found = "empty" if isinstance(value, str) else f"empty ({value})"
        if isinstance(value, float) and math.isinf(value):
            found = f"{value}; a finite number was expected"
        raise InputError(
            f"{location}: the label in column {column!r} is {found}. Correct the label, or remove the row."
        )
    if not isinstance(value, str):
        raise InputError(f"{location}: the label is {value!r:.200}; a string, a number or a truth value was expected.")
    return _simplify_integer(value.strip())


def make_key(name: str) -> str:
    """Returns what all names of one class have in common, by which labels are compared.

    As in Python, true is 1 and false is 0: a file with ``True`` and ``False`` and one with 1 and 0 have the same
    classes.

    >>> [make_key(name) for name in ("1", "1.0", "true", "True", "FALSE", "yes", "01", "1.5")]
    ['1', '1', '1', '1', '0', 'yes', '01', '1.5']
    """
    return _TRUTH_VALUES.get(name.lower(), _simplify_integer(name))


def _simplify_integer(name: str) -> str:
    match = _INTEGER.fullmatch(name)
    return name if match is None else {"-0": "0"}.get(match[1], match[1])


def sort_labels(names: Iterable[str]) -> list[str]:
    """Returns a name for each class, sorted; as numbers if all of them are integers.

    >>> sort_labels(["10", "9", "10"]), sort_labels(["true", "0", "1"])
    (['9', '10'], ['0', '1'])
    """
    by_key = {make_key(name): name for name in sorted(set(names), reverse=True)}
    are_integers = all(re.fullmatch(r"[+-]?[0-9]+", name) for name in by_key.values())
    return sorted(by_key.values(), key=lambda name: (int(name) if are_integers else 0, name))


def parse_label_list(value: Any, *, location: str, column: str = "label", delimiter: str | None = None) -> list[str]:
    """Returns the names of the labels that one example has; an empty list, or an empty string, has none.

    Args:
        value: a list of labels, or one label.
        location: file and line, for messages.
        column: the name of its column, for messages.
        delimiter: what separates the labels in a string; None: a string is refused, because it may contain several.

    Raises:
        InputError: the value is missing (None or NaN), a string without ``delimiter``, or contains a label twice.

    >>> parse_label_list("short, 2.0", location="example 1", delimiter=",")
    ['short', '2']
    """
    if isinstance(value, str) and delimiter is None:
        raise InputError(
            f"{location}: the labels are the string {value!r:.100}; a list of labels was expected, such as "
            f"{[value[:20]]!r}."
        )
    if isinstance(value, str):
        parts: list[Any] = [part for part in value.split(delimiter) if part.strip()]
    else:
        parts = list(value) if isinstance(value, list | tuple | set | frozenset | np.ndarray) else [value]
    names = [make_label(part, location=location, column=column) for part in parts]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        advice = ""
        if set(names) <= {"0", "1"}:
            advice = " For a 0 or 1 for each label, put each label into its own column (label_columns)."
        raise InputError(
            f"{location}: the label {twice!r} is there twice in {value!r:.200}; the names of the labels that the text "
            f"has were expected, each once.{advice}"
        )
    return names
