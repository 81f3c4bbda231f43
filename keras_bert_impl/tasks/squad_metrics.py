"""Exact match and F1 of answers, as in SQuAD's evaluation script (version 2.0).

Source: https://rajpurkar.github.io/SQuAD-explorer/
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(answer: str) -> str:
    """Converts to lower case, removes ASCII punctuation and articles, and joins the words by single spaces.

    >>> normalize("The  U.S.  Army")
    'us army'
    """
    without_articles = re.sub(r"\b(a|an|the)\b", " ", answer.lower().translate(_PUNCTUATION))
    return " ".join(without_articles.split())


def compute_exact_match(answer: str, references: Sequence[str]) -> float:
    """1 if the answer is one of the references, else 0; without references, the empty answer is correct."""
    return max(float(normalize(answer) == reference) for reference in _normalize_all(references))


def compute_f1(answer: str, references: Sequence[str]) -> float:
    """Computes the F1 of the words of answer and reference, for the best reference; from 0 to 1."""
    words = normalize(answer).split()
    return max(_compute_overlap(words, reference.split()) for reference in _normalize_all(references))


def _normalize_all(references: Sequence[str]) -> list[str]:
    """Returns the normalized references that are not empty; without any, the empty text, which means no answer."""
    return [normalized for reference in references if (normalized := normalize(reference))] or [""]


def _compute_overlap(words: list[str], reference: list[str]) -> float:
    if not words or not reference:
        return float(words == reference)
    return 2 * sum((Counter(words) & Counter(reference)).values()) / (len(words) + len(reference))
