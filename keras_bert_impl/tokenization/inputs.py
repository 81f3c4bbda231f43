"""What a caller may hand to a tokenizer: texts, lists of words, and pairs of either."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from keras_bert_impl.errors import InputError

_SURROGATE = re.compile("[\ud800-\udfff]")


def as_pieces(text: Any, text_pair: Any = None, *, are_words: bool = False) -> tuple[list[Any], int]:
    """The texts of a batch behind one another, the two of a pair side by side.

    Args:
        text: a string or a list of strings; with ``are_words`` a list of words or a list of such lists.
        text_pair: the second texts, of the same form and number; ``None`` for single texts.
        are_words: whether texts come as lists of words.

    Returns:
        ``[a0, a1, …]`` and 1, or ``[a0, b0, a1, b1, …]`` and 2.

    Raises:
        InputError: something else was given (the first wrong element is named), or the numbers of texts differ.
    """
    firsts = _as_texts(text, "text", are_words)
    if text_pair is None:
        return firsts, 1
    seconds = _as_texts(text_pair, "text_pair", are_words)
    if len(firsts) != len(seconds):
        raise InputError(f"There are {len(firsts)} texts but {len(seconds)} in text_pair; a pair needs one of each.")
    return [piece for pair in zip(firsts, seconds, strict=True) for piece in pair], 2


def _as_texts(value: Any, name: str, are_words: bool) -> list[Any]:
    if not are_words:
        texts = [value] if isinstance(value, str) else _as_list(value, name, "a string or a list of strings")
        _check_strings(texts, name)
        return texts
    lists = _as_list(value, name, "a list of words or a list of such lists")
    if lists and isinstance(lists[0], str):
        _check_strings(lists, name)
        return [lists]
    lists = [_as_list(words, f"{name}[{index}]", "a list of words") for index, words in enumerate(lists)]
    for index, words in enumerate(lists):
        _check_strings(words, f"{name}[{index}]")
    return lists


def _as_list(value: Any, name: str, expected: str) -> list[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{name} is {value!r:.50} ({type(value).__name__}); {expected} was expected.")
    return list(value)


def _check_strings(texts: list[Any], name: str) -> None:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{name}[{index}] is {text!r:.50} ({type(text).__name__}); a string was expected.")
        if not text.isascii() and (half := _SURROGATE.search(text)):
            raise InputError(
                f"{name}[{index}] has half of a character ({half[0]!r}) at position {half.start()}, as cutting a JSON "
                "escape in two gives. Remove it, or repair the file it comes from."
            )
