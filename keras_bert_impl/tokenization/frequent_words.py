"""Finds the words of a corpus that are worth a token of their own."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from keras_bert_impl.errors import InputError
from keras_bert_impl.tokenization.bert_tokenizer import BertTokenizer

# Longer words are unknown to every tokenizer.
_MAX_LETTERS = 100
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class FrequentWord:
    """A word of a corpus.

    Attributes:
        word: the word, as the tokenizer sees it.
        count: how often it occurs.
        pieces: its tokens; the unknown token if the vocabulary lacks one of its characters.
    """

    word: str
    count: int
    pieces: tuple[str, ...]


def find_frequent_words(
    texts: Iterable[str], tokenizer: BertTokenizer, *, size: int, min_count: int = 5
) -> list[FrequentWord]:
    """Finds the words that save the most tokens if each gets one of its own, best first.

    A word with ``n`` pieces that occurs ``c`` times saves ``c * (n - 1)`` tokens; an unknown word counts as two pieces,
    because its token says nothing about it. Of words that save the same number, the more frequent is first, then the
    alphabet decides. Words with digits do not count.

    Args:
        texts: the texts, which are iterated once.
        tokenizer: the tokenizer.
        size: the maximum number of words.
        min_count: how often a word must occur.

    Raises:
        InputError: ``size`` or ``min_count`` is less than 1; the tokenizer cannot get words; or no word outside the
            vocabulary occurs ``min_count`` times.

    >>> tokenizer = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fi", "##lm", "##s"])
    >>> find_frequent_words(["A film", "Films: a film"], tokenizer, size=9, min_count=1)[0]
    FrequentWord(word='film', count=2, pieces=('fi', '##lm'))
    """
    for name, value in (("size", size), ("min_count", min_count)):
        if value < 1:
            raise InputError(f"{name} is {value}; an integer above 0 was expected.")
    tokenizer.check_new_words()
    known = set(tokenizer.vocabulary)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.split_words(text))
    words = [
        word
        for word, count in counts.items()
        if count >= min_count and word not in known and len(word) <= _MAX_LETTERS and not _DIGIT.search(word)
    ]
    split = tokenizer.backend_tokenizer.model.tokenize
    found = [FrequentWord(word, counts[word], tuple(token.value for token in split(word))) for word in words]
    if not found:
        raise InputError(
            f"no word occurs at least {min_count} times in the texts and has several pieces. Give more text, or a "
            "smaller min_count (--min-count)."
        )
    return sorted(found, key=lambda word: (-_count_saved(word), -word.count, word.word))[:size]


def _count_saved(word: FrequentWord) -> int:
    return word.count * max(1, len(word.pieces) - 1)
