"""Columns of examples, ``{name: [one entry per example]}``, and what all readers of example files have in common.

Readers add a column ``location``, the file and line of each example, so that later messages can name them.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from keras_bert_impl.errors import InputError
from keras_bert_impl.files import not_utf8_error

Columns = dict[str, list[Any]]

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_columns(examples: Iterable[dict[str, Any]], size: int | None = None) -> Iterator[Columns]:
    """Collects examples into columns of ``size`` examples each; None puts all examples into one chunk.

    >>> list(to_columns([{"text": "a"}, {"text": "b"}, {"text": "c"}], 2))
    [{'text': ['a', 'b']}, {'text': ['c']}]
    """
    iterator = iter(examples)
    while chunk := list(islice(iterator, size)):
        yield {name: [example[name] for example in chunk] for name in chunk[0]}


def location(columns: Columns, index: int) -> str:
    """The location of an example for messages: file and line if the columns contain them, otherwise its number.

    >>> location({"text": ["a", "b"]}, 1)
    'example 2'
    >>> location({"text": ["a", "b"], "location": ["x.tsv, line 2", "x.tsv, line 3"]}, 1)
    'x.tsv, line 3'
    """
    return columns["location"][index] if "location" in columns else f"example {index + 1}"


def count_examples(columns: Columns, *, name: str) -> int:
    """The number of examples in columns.

    Args:
        columns: the columns.
        name: what to call the columns in messages.

    Raises:
        InputError: there are no examples, or the columns have different lengths.

    >>> count_examples({"text": ["a", "b"], "label": ["0", "1"]}, name="train")
    2
    """
    counts = {column: len(values) for column, values in columns.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise InputError(f"{name}: the columns have {counts} entries; the same number above 0 was expected.")
    return next(iter(counts.values()))


def is_broken_text(value: Any) -> bool:
    r"""Whether a value is a string that cannot be encoded, or bytes (which readers return if they are not UTF-8).

    >>> is_broken_text("\ud83d"), is_broken_text("text")
    (True, False)
    """
    return isinstance(value, bytes) or (isinstance(value, str) and _SURROGATE.search(value) is not None)


def check_text(value: Any, *, name: str, location: str) -> str:
    """Returns ``value`` if it is a string that can be encoded, possibly empty. JSON can contain other values.

    Args:
        value: the value.
        name: the name of its field, for messages.
        location: file and line, for messages.

    Raises:
        InputError: it is not a string, or contains half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise InputError(f"{location}: {name} is {value!r:.200}; a string was expected.")
    if _SURROGATE.search(value):
        raise InputError(
            f"{location}: {name} contains half of a surrogate pair, a broken \\ud83d-like escape. Repair it."
        )
    return value


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Reads a UTF-8 text file line by line: yields the number of each line and its text without the line end.

    A byte order mark at the start, which spreadsheets write, is dropped.

    Raises:
        InputError: the file is missing, empty, not UTF-8, or contains a NUL byte; raised when that line is reached.
    """
    begin = 0
    is_empty = True
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise not_utf8_error(path, error, line=number, offset=begin) from error
                if "\0" in line:
                    raise InputError(
                        f"{path}, line {number}: a NUL byte. This is not a UTF-8 text file: save it as UTF-8 text."
                    )
                line = line.removeprefix("\ufeff") if number == 1 else line
                is_empty = is_empty and not line.strip()
                begin += len(raw)
                yield number, line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if is_empty:
        raise InputError(f"{path} is empty; examples were expected.")


def is_tfds(path: str | Path) -> bool:
    """Whether ``path`` names a data set of TensorFlow Datasets (``tfds:NAME:SPLIT``) instead of a file."""
    return str(path).startswith("tfds:")
