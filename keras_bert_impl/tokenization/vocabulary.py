"""Vocabularies: unique tokens in the order of their ids, and tokens added after them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from keras_bert_impl import files
from keras_bert_impl.errors import InputError

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_vocabulary(path: Path) -> list[str]:
    r"""Reads the tokens of a ``vocab.txt``, one per line.

    Only ``\n`` ends a line: published vocabularies contain tokens like ``"\u2028"``, which `str.splitlines` would
    split.

    Raises:
        InputError: the file is missing, not UTF-8, empty, or contains a token twice (the message names both lines).
    """
    text = files.read_text(path).removesuffix("\n")
    if not text:
        raise InputError(f"{path} is empty; a vocabulary with one token a line was expected.")
    tokens = [line.removesuffix("\r") for line in text.split("\n")]
    if repeated := _find_repeated(tokens):
        first, second = repeated
        raise InputError(
            f"{path} has {tokens[first]!r} on line {first + 1} and on line {second + 1}. The line of a token is its "
            "id, so each must occur once. Rename the one that the model was not trained with."
        )
    return tokens


def in_id_order(vocabulary: Sequence[str] | Mapping[str, int]) -> list[str]:
    """The tokens of a list, or of a dictionary from token to id, as a list in which each token's index is its id.

    Raises:
        InputError: the list contains a token twice, or the dictionary's ids are not 0, 1, 2 … without gaps.
    """
    if isinstance(vocabulary, Mapping):
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        for expected, token in enumerate(tokens):
            if vocabulary[token] != expected:
                raise InputError(
                    f"The vocabulary's {len(tokens)} tokens need the ids 0 to {len(tokens) - 1}, each once, but "
                    f"{token!r} has {vocabulary[token]} instead of {expected}."
                )
        return tokens
    if repeated := _find_repeated(vocabulary):
        raise InputError(f"The vocabulary has {vocabulary[repeated[0]]!r} as id {repeated[0]} and as id {repeated[1]}.")
    return list(vocabulary)


def added_tokens(vocabulary: list[str], entries: Iterable[Mapping[str, Any]]) -> list[AddedToken]:
    """Added tokens in the order of their ids, made from dictionaries with ``content``, ``id`` and flags.

    Raises:
        InputError: an id is neither the token's id in the vocabulary nor continues the ids without a gap.
    """
    entries = sorted(entries, key=lambda entry: entry["id"])
    ids = {entry["content"]: entry["id"] for entry in entries} | {token: id for id, token in enumerate(vocabulary)}
    in_id_order(ids)
    for entry in entries:
        if ids[entry["content"]] != entry["id"]:
            raise InputError(
                f"The added token {entry['content']!r} has id {entry['id']}, but its id in the vocabulary is "
                f"{ids[entry['content']]}. Both must be equal."
            )
    return [AddedToken(entry["content"], **{key: entry[key] for key in FLAGS if key in entry}) for entry in entries]


def looks_cased(vocabulary: Sequence[str]) -> bool:
    """Whether many tokens contain capitals, which lower-cased text never has; ``[CLS]`` and the like do not count."""
    unreachable = sum(token != token.lower() for token in vocabulary if not token.startswith("["))
    return unreachable > len(vocabulary) // 100


def _find_repeated(tokens: Iterable[str]) -> tuple[int, int] | None:
    """The first and the second index of the first repeated token."""
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if seen.setdefault(token, index) != index:
            return seen[token], index
    return None
