"""Exact match and F1 of answers, by the rules of SQuAD's evaluation script (version 2.0).

Source: https://rajpurkar.github.io/SQuAD-explorer/
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(answer: str) -> str:
    """Lower-cased, without ASCII punctuation, without articles, with single spaces.

    >>> normalise("The  U.S.  Army")
    'us army'
    """
    without_articles = re.sub(r"\b(a|an|the)\b", " ", answer.lower().translate(_PUNCTUATION))
    return " ".join(without_articles.split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 if the answer is one of the references, else 0; where there is none, no answer is right."""
    return max(float(normalise(answer) == reference) for reference in _normalised(references))


def f1(answer: str, references: Sequence[str]) -> float:
    """The best overlap of words with a reference, from 0 to 1."""
    return max(_overlap(normalise(answer).split(), reference.split()) for reference in _normalised(references))


def _normalised(references: Sequence[str]) -> list[str]:
    """The references of which something is left, or the empty one that stands for no answer."""
    return [normalised for reference in references if (normalised := normalise(reference))] or [""]


def _overlap(words: list[str], reference: list[str]) -> float:
    if not words or not reference:
        return float(words == reference)
    return 2 * sum((Counter(words) & Counter(reference)).values()) / (len(words) + len(reference))
