"""Unicode characters as small codes, by what a tokenizer's rules make of them: the tables of the in-graph tokenizer.

The rules are observed, not written again: each character goes through the Rust library once. Python's ``unicodedata``
would not do, for it is of another Unicode version.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# A code point's page in the table, and its place there; 128 a page makes the table smallest.
PAGE = 128
_CODE_POINTS = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_SEPARATOR = "|"

# A character behind the rules: its spelling, and whether it is a word by itself (punctuation, Chinese characters).
Character = tuple[str, bool]
SPACE: Character = (" ", True)


@dataclass(frozen=True)
class Alphabet:
    """Codes for characters. They begin with 0 for the space, and stand in the order of these attributes.

    Attributes:
        first_token: codes from here stand for special and added tokens, by their number; those below, from 1 on, for
            characters that are words by themselves, 1 for all that the vocabulary does not have.
        first_letter: codes from here stand for letters of longer words, the first of them for all letters that the
            vocabulary does not have.
        dropped: the code of characters that vanish. It and all above are rare: ``expansions`` says what becomes of
            them.
        first_start: codes from here stand for characters that begin a token of ``literal_starts``.
        codes: how many plain codes there are; the same number as ``dropped``.
        of: the plain code of each character that the vocabulary has.
        pages: ``[pages, 128]``, codes by the lowest bits of the code point.
        page_of: ``[8704]``, the page by the other bits.
        expansions: int32 ``[codes and rare codes, most]``, plain codes, -1 behind the last.
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
        return self.dropped

    @property
    def unknown_letter(self) -> int:
        return self.first_letter

    @property
    def unknown_word(self) -> int:
        return 1

    def encode(self, characters: Sequence[Character]) -> list[int]:
        """Plain codes of characters."""
        unknown = {True: self.unknown_word, False: self.unknown_letter}
        return [0 if character == SPACE else self.of.get(character, unknown[character[1]]) for character in characters]


def make_alphabet(
    tokenizer: BertTokenizer, spellings: Sequence[str], *, tokens: int, literal_starts: frozenset[str]
) -> Alphabet:
    """The alphabet for a tokenizer.

    Args:
        tokenizer: whose settings count.
        spellings: what is to be told apart: whole words and pieces, without ``##``.
        tokens: how many special and added tokens there are.
        literal_starts: the first characters of tokens that are looked for in the text before it is normalized.

    Raises:
        InputError: the order of combining characters would matter.
    """
    rules = character_rules(tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars)
    changed = set().union(*rules.values())
    used = {
        (letter, alone)
        for letter in set("".join(spellings))
        for alone in (True, False)
        if (letter, alone) in changed or not (alone or ord(letter) in rules)
    }
    if tokenizer.do_lower_case if tokenizer.strip_accents is None else tokenizer.strip_accents:
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
    # The starts of literal tokens are rare too, so that one comparison tells whether a text can have any.
    for start in sorted(literal_starts):
        expansions.append(expansions[table[ord(start)]])
        table[ord(start)] = len(expansions) - 1
    most = max(map(len, expansions))
    filled = np.full((len(expansions), most), -1, np.int32)
    for row, codes in zip(filled, expansions, strict=True):
        row[: len(codes)] = codes
    pages, page_of = np.unique(table.reshape(-1, PAGE), axis=0, return_inverse=True)
    page_of = page_of.reshape(-1).astype(np.int32)
    return Alphabet(first_token, first_letter, dropped, len(filled) - len(literal_starts), of, pages, page_of, filled)


@functools.lru_cache
def character_rules(lowercase: bool, strip_accents: bool | None, chinese: bool) -> dict[int, tuple[Character, ...]]:
    """What becomes of each code point that does not remain as it is, a letter of a word: no character to three."""
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    points = [point for point in range(_CODE_POINTS) if point not in _SURROGATES and point != ord(_SEPARATOR)]
    # One call, because a million calls take seconds.
    given = _SEPARATOR.join(map(chr, points))
    normalized = zip(points, normalizer.normalize_str(given).split(_SEPARATOR), strict=True)
    punctuation = _punctuation(given)
    rules: dict[int, tuple[Character, ...]] = {ord(_SEPARATOR): ((_SEPARATOR, True),)}
    for point, result in normalized:
        if result != chr(point) or result in punctuation or result == " ":
            rules[point] = _rule(result, punctuation)
    return rules


def _punctuation(letters: str) -> set[str]:
    """The characters that the pre-tokenizer takes for words."""
    between = letters.replace(_SEPARATOR, "a")
    words = (word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(f"a{between}a"))
    return {word for word in words if len(word) == 1 and word != "a"} | {_SEPARATOR}


def _rule(normalized: str, punctuation: set[str]) -> tuple[Character, ...]:
    if normalized == " ":
        return (SPACE,)
    if normalized.startswith(" "):  # The normalizer puts spaces around Chinese characters.
        return ((normalized.strip(" "), True),)
    return tuple((letter, letter in punctuation) for letter in normalized)


def _check_combining(used: set[Character]) -> None:
    """Raises ``InputError`` if the normalizer could swap two characters, which the tables cannot."""
    combining = {letter for letter, _ in used if unicodedata.combining(letter)}
    kept = {letter for letter in combining if unicodedata.category(letter) != "Mn"}
    if len({unicodedata.combining(letter) for letter in kept}) > 1:
        named = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(kept))
        raise InputError(
            f"The vocabulary has {named}, whose order Unicode's normal form changes; a tokenizer inside of a "
            "TensorFlow graph does not. Export with ids as input."
        )
