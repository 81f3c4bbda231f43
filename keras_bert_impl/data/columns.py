"""Columns, what every reader gives: ``{name: list with one entry for each example}``; and checks on their entries.

Readers add a column ``where`` that says where each example stood, so that later messages can name file and line.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from keras_bert_impl.errors import InputError

Columns = dict[str, list[Any]]

_SURROGATE = re.compile("[\ud800-\udfff]")


def in_chunks(examples: Iterable[dict[str, Any]], size: int | None = None) -> Iterator[Columns]:
    """Columns of so many examples at a time; None takes all at once.

    >>> list(in_chunks([{"text": "a"}, {"text": "b"}, {"text": "c"}], 2))
    [{'text': ['a', 'b']}, {'text': ['c']}]
    """
    iterator = iter(examples)
    while chunk := list(islice(iterator, size)):
        yield {name: [example[name] for example in chunk] for name in chunk[0]}


def where(columns: Columns, index: int) -> str:
    """Where an example stood, for messages: file and line if a reader noted them, else its number.

    >>> where({"text": ["a", "b"]}, 1)
    'example 2'
    >>> where({"text": ["a", "b"], "where": ["x.tsv, line 2", "x.tsv, line 3"]}, 1)
    'x.tsv, line 3'
    """
    return columns["where"][index] if "where" in columns else f"example {index + 1}"


def count_examples(columns: Columns, *, name: str) -> int:
    """How many examples columns hold; ``name`` begins the message if that is none, or not clear.

    Raises:
        InputError: there are no examples, or columns of different lengths.

    >>> count_examples({"text": ["a", "b"], "label": ["0", "1"]}, name="train")
    2
    """
    counts = {column: len(values) for column, values in columns.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise InputError(f"{name}: the columns have {counts} entries; the same number above 0 was expected.")
    return next(iter(counts.values()))


def is_broken_text(value: Any) -> bool:
    r"""Whether this is text that cannot be encoded, or bytes that are no UTF-8.

    >>> is_broken_text("\ud83d"), is_broken_text("text")
    (True, False)
    """
    return isinstance(value, bytes) or (isinstance(value, str) and _SURROGATE.search(value) is not None)


def check_text(value: Any, *, name: str, place: str) -> str:
    """Returns ``value`` if it is text that can be encoded (JSON can hold other things), empty or not.

    Raises:
        InputError: it is no string, or holds half of a surrogate pair; ``place`` and ``name`` begin the message.
    """
    if not isinstance(value, str):
        raise InputError(f"{place}: {name} is {value!r:.200}; a string was expected.")
    if _SURROGATE.search(value):
        raise InputError(f"{place}: {name} holds half of a surrogate pair, a broken \\ud83d-like escape. Repair it.")
    return value
