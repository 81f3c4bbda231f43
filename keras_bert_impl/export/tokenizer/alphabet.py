"""Lookup tables that normalize characters and give them small codes, for the tokenizer in exports.

The rules are read from the Rust library, which normalizes each character once. Python's ``unicodedata`` cannot be used,
because it has another Unicode version.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# The table is stored in pages of this many code points; 128 gives the smallest table.
PAGE = 128
_CODE_POINTS = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_SEPARATOR = "|"

# A normalized character, and whether it is a word by itself (punctuation, Chinese characters).
Character = tuple[str, bool]
SPACE: Character = (" ", True)


@dataclass(frozen=True)
class Alphabet:
    """The codes of characters, in ascending ranges: 0 is the space, then come the ranges in the order below.

    Attributes:
        first_token: the start of the codes of special and added tokens, by their number. The codes from 1 to here are
            characters that are complete words, such as punctuation. Code 1 is for those that the vocabulary lacks.
        first_letter: the start of the codes of letters, which form longer words. Its first code is for letters that the
            vocabulary lacks.
        dropped: the code of characters that are removed. It and all larger codes are rare: ``expansions`` contains
            their replacements. Smaller codes are called plain.
        first_start: the start of the codes of characters that begin a token of ``literal_starts``.
        of: a dictionary from each character of the vocabulary to its plain code.
        pages: ``[pages, 128]``, codes by the lowest bits of the code point.
        page_of: ``[8704]``, the number of the page by the other bits.
        expansions: int32 ``[codes, longest]``, the plain codes that each code stands for, padded with -1.
    """

    first_token: int
    first_letter: int
    dropped: int
    first_start: int
    of: dict[Character, int]
    pages: np.ndarray
    page_of: np.ndarray
    expansions: np.ndarray

    @property
    def codes(self) -> int:
        """The number of plain codes."""
        return self.dropped

    @property
    def unknown_letter(self) -> int:
        """The code of all letters that the vocabulary does not contain."""
        return self.first_letter

    @property
    def unknown_word(self) -> int:
        """The code of characters that are complete words and that the vocabulary lacks."""
        return 1

    def encode(self, characters: Sequence[Character]) -> list[int]:
        """Returns the plain codes of characters."""
        unknown = {True: self.unknown_word, False: self.unknown_letter}
        return [0 if character == SPACE else self.of.get(character, unknown[character[1]]) for character in characters]


def make_alphabet(
    tokenizer: BertTokenizer, spellings: Sequence[str], *, tokens: int, literal_starts: frozenset[str]
) -> Alphabet:
    """Makes the alphabet of a tokenizer.

    Args:
        tokenizer: the tokenizer, for its settings.
        spellings: the words and pieces that need codes of their own, without ``##``.
        tokens: the number of special and added tokens.
        literal_starts: the first characters of tokens that are found in the text before it is normalized.

    Raises:
        InputError: the order of combining characters would matter.
    """
    accents = tokenizer.strip_accents
    removes_accents = tokenizer.do_lower_case if accents is None else accents
    rules = find_character_rules(tokenizer.do_lower_case, accents, tokenizer.tokenize_chinese_chars)
    if tokenizer.not_in_graph:  # Its text is normalized and split into words already.
        rules, removes_accents = {ord(" "): (SPACE,)}, False
    changed = set().union(*rules.values())
    used = {
        (letter, alone)
        for letter in set("".join(spellings))
        for alone in (True, False)
        if (letter, alone) in changed or not (alone or ord(letter) in rules)
    }
    if removes_accents:
        _check_combining(used)
    words = sorted(letter for letter, alone in used if alone and (letter, alone) != SPACE)
    letters = sorted(letter for letter, alone in used if not alone)
    first_token = 2 + len(words)
    first_letter = first_token + tokens
    of = {(letter, True): 2 + i for i, letter in enumerate(words)}
    of |= {(letter, False): first_letter + 1 + i for i, letter in enumerate(letters)}
    dropped = first_letter + 1 + len(letters)
    alphabet = Alphabet(first_token, first_letter, dropped, 0, of, *(np.empty(0),) * 3)

    rare: dict[tuple[int, ...], int] = {(): dropped}
    table = np.full(_CODE_POINTS, alphabet.unknown_letter, np.int32)
    for letter in letters:
        table[ord(letter)] = of[letter, False]
    for point, rule in rules.items():
        codes = tuple(alphabet.encode(rule))
        table[point] = codes[0] if len(codes) == 1 else rare.setdefault(codes, dropped + len(rare))
    expansions = [(code,) for code in range(dropped)] + list(rare)
    # The first characters of literal tokens get rare codes too, so that one comparison shows whether a text needs them.
    for start in sorted(literal_starts):
        expansions.append(expansions[table[ord(start)]])
        table[ord(start)] = len(expansions) - 1
    longest = max(map(len, expansions))
    padded = np.full((len(expansions), longest), -1, np.int32)
    for row, codes in zip(padded, expansions, strict=True):
        row[: len(codes)] = codes
    pages, page_of = np.unique(table.reshape(-1, PAGE), axis=0, return_inverse=True)
    page_of = page_of.reshape(-1).astype(np.int32)
    return Alphabet(first_token, first_letter, dropped, len(padded) - len(literal_starts), of, pages, page_of, padded)


@functools.lru_cache
def find_character_rules(
    lowercase: bool, strip_accents: bool | None, chinese: bool
) -> dict[int, tuple[Character, ...]]:
    """How each code point is normalized, for those that change or are not letters: to zero to three characters."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    points = [point for point in range(_CODE_POINTS) if point not in _SURROGATES and point != ord(_SEPARATOR)]
    # One call, because a million calls take seconds.
    text = _SEPARATOR.join(map(chr, points))
    normalized = zip(points, normalizer.normalize_str(text).split(_SEPARATOR), strict=True)
    punctuation = _find_punctuation(text)
    rules: dict[int, tuple[Character, ...]] = {ord(_SEPARATOR): ((_SEPARATOR, True),)}
    for point, result in normalized:
        if result != chr(point) or result in punctuation or result == " ":
            rules[point] = _to_characters(result, punctuation)
    return rules


def _find_punctuation(text: str) -> set[str]:
    """Returns the characters that the pre-tokenizer treats as words."""
    text = text.replace(_SEPARATOR, "a")
    words = (word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(f"a{text}a"))
    return {word for word in words if len(word) == 1 and word != "a"} | {_SEPARATOR}


def _to_characters(normalized: str, punctuation: set[str]) -> tuple[Character, ...]:
    if normalized == " ":
        return (SPACE,)
    if normalized.startswith(" "):  # The normalizer puts spaces around Chinese characters.
        return ((normalized.strip(" "), True),)
    return tuple((letter, letter in punctuation) for letter in normalized)


def _check_combining(used: set[Character]) -> None:
    """Raises ``InputError`` if the normalizer could swap two characters, which lookup tables cannot do."""
    combining = {letter for letter, _ in used if unicodedata.combining(letter)}
    # The normalizer removes the others, which are accents.
    remaining = {letter for letter in combining if unicodedata.category(letter) != "Mn"}
    if len({unicodedata.combining(letter) for letter in remaining}) > 1:
        points = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(remaining))
        raise InputError(
            f"The vocabulary has {points}, whose order Unicode's normal form changes. A tokenizer inside a TensorFlow "
            "graph does not support this. Export with ids as input."
        )
