"""Normalization of text that keeps track of where each character comes from.

Python's ``unicodedata`` normalizes, as in transformers' tokenizers for Japanese: the Rust library has an older Unicode
version, which does not know the era sign of 2019 (U+32FF).
"""

import functools
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]


class CharacterTable(dict[int, str | None]):
    """A table for ``str.translate``, which is filled by a rule when a character occurs.

    Args:
        rule: returns what a character is replaced by; None removes it.
    """

    def __init__(self, rule: Callable[[str], str | None]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, point: int) -> str | None:
        self[point] = self._rule(chr(point))
        return self[point]


@dataclass(frozen=True)
class AlignedText:
    """A text, and for each of its characters the part of the original text that it was made from.

    Attributes:
        text: the text.
        begins: for each character the first character of its part of the original text.
        ends: for each character the one after the last of its part.

    >>> AlignedText.from_original("㍻ｶﾞ").normalize("NFKC")
    AlignedText(text='平成ガ', begins=[0, 0, 1], ends=[1, 1, 3])
    """

    text: str
    begins: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def from_original(cls, text: str) -> Self:
        """Returns the original text itself."""
        return cls(text, range(len(text)), range(1, len(text) + 1))

    def normalize(self, form: Form) -> Self:
        """Returns the text in one of Unicode's normal forms."""
        if unicodedata.is_normalized(form, self.text):
            return self
        letters: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        for begin, end in _find_clusters(form, self.text):
            letters += unicodedata.normalize(form, self.text[begin:end])
            begins += [self.begins[begin]] * (len(letters) - len(begins))
            ends += [self.ends[end - 1]] * (len(letters) - len(ends))
        return type(self)("".join(letters), begins, ends)

    def lower(self) -> Self:
        """Returns the text in lower case."""
        positions = [i for i, letter in enumerate(self.text) for _ in letter.lower()]
        # The complete text is lower-cased, because a Greek sigma at the end of a word has its own lower case.
        return self._take(positions, text=self.text.lower())

    def translate(self, table: CharacterTable) -> Self:
        """Returns the text with other characters in place of those in a table, or without them."""
        positions = [i for i, letter in enumerate(self.text) if table[ord(letter)] is not None]
        return self._take(positions, text=self.text.translate(table))

    def slice(self, begin: int, end: int) -> Self:
        """Returns a part of the text, aligned with the same original text."""
        return type(self)(self.text[begin:end], self.begins[begin:end], self.ends[begin:end])

    def _take(self, positions: list[int], *, text: str) -> Self:
        """Returns a text whose characters come from those at the given positions of this one."""
        return type(self)(text, [self.begins[i] for i in positions], [self.ends[i] for i in positions])


def _find_clusters(form: Form, text: str) -> Iterator[tuple[int, int]]:
    """Yields the parts of a text that can be normalized one by one: the first character and the one after the last."""
    begin = 0
    for i in range(1, len(text)):
        if not _combines(form, text[begin:i], text[i]):
            yield begin, i
            begin = i
    if text:
        yield begin, len(text)


@functools.lru_cache(1 << 14)
def _combines(form: Form, cluster: str, letter: str) -> bool:
    """Whether the normal form of a character depends on the characters before it."""
    if unicodedata.combining(unicodedata.normalize("NFKD", letter)[0]):
        return True
    if cluster.isascii() or letter.isascii():
        return False
    parts = (unicodedata.normalize(form, part) for part in (cluster, letter))
    return unicodedata.normalize(form, cluster + letter) != "".join(parts)
