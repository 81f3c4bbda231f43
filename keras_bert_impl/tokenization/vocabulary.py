"""Vocabularies: tokens in the order of their ids, each once, and tokens added behind them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from keras_bert_impl import files
from keras_bert_impl.errors import InputError

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_vocabulary(path: Path) -> list[str]:
    r"""The tokens of a ``vocab.txt``, one a line.

    Only ``\n`` ends a line: published vocabularies hold tokens like ``"\u2028"``, where `str.splitlines` would split.

    Raises:
        InputError: the file is missing, not UTF-8, empty, or has a token twice (both lines are named).
    """
    text = files.read_text(path).removesuffix("\n")
    if not text:
        raise InputError(f"{path} is empty; a vocabulary with one token a line was expected.")
    tokens = [line.removesuffix("\r") for line in text.split("\n")]
    if repeated := _repeated(tokens):
        first, second = repeated
        raise InputError(
            f"{path} has {tokens[first]!r} on line {first + 1} and on line {second + 1}. A token's line is its id, so "
            "it can be there once. Rename the one that the model was not trained with."
        )
    return tokens


def in_id_order(vocabulary: Sequence[str] | Mapping[str, int]) -> list[str]:
    """The tokens of a list, or of a dictionary from token to id, such that each token's position is its id.

    Raises:
        InputError: a token is in the list twice, or the dictionary's ids are not 0, 1, 2 … without gaps.
    """
    if isinstance(vocabulary, Mapping):
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        for expected, token in enumerate(tokens):
            if vocabulary[token] != expected:
                raise InputError(
                    f"The vocabulary's {len(tokens)} tokens need the ids 0 to {len(tokens) - 1}, each once, but where "
                    f"{expected} was expected stands {vocabulary[token]} ({token!r})."
                )
        return tokens
    if repeated := _repeated(vocabulary):
        raise InputError(f"The vocabulary has {vocabulary[repeated[0]]!r} as id {repeated[0]} and as id {repeated[1]}.")
    return list(vocabulary)


def added_tokens(vocabulary: list[str], entries: Iterable[Mapping[str, Any]]) -> list[AddedToken]:
    """Added tokens in the order of their ids, from dictionaries with ``content``, ``id`` and flags.

    Raises:
        InputError: an id is neither the token's own in the vocabulary nor continues the ids without a gap.
    """
    entries = sorted(entries, key=lambda entry: entry["id"])
    ids = {entry["content"]: entry["id"] for entry in entries} | {token: id for id, token in enumerate(vocabulary)}
    in_id_order(ids)
    for entry in entries:
        if ids[entry["content"]] != entry["id"]:
            raise InputError(
                f"The added token {entry['content']!r} has id {entry['id']}, but the vocabulary has it as "
                f"{ids[entry['content']]}. Both must be the same."
            )
    return [AddedToken(entry["content"], **{key: entry[key] for key in FLAGS if key in entry}) for entry in entries]


def looks_cased(vocabulary: Sequence[str]) -> bool:
    """Whether lower-cased text could never reach many of the tokens; bracketed ones like ``[CLS]`` do not count."""
    unreachable = sum(token != token.lower() for token in vocabulary if not token.startswith("["))
    return unreachable > len(vocabulary) // 100


def _repeated(tokens: Iterable[str]) -> tuple[int, int] | None:
    """Where the first repeated token was seen before, and where it is again."""
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if seen.setdefault(token, index) != index:
            return seen[token], index
    return None
