"""Entities in sequences of tags, as CoNLL's evaluation script finds and counts them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """Words ``begin`` to ``end`` (exclusive) and what they are."""

    kind: str
    begin: int
    end: int


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence.

    Tags are ``O``, or ``B``, ``I``, ``E`` or ``S`` with a kind behind a hyphen (IOB1, IOB2, IOBES). As ``conlleval``
    does, an ``I`` that continues nothing of its kind begins an entity. A tag without such a prefix is an entity of one
    word.

    >>> find_entities(["B-person", "I-person", "O", "I-place"])
    [Entity(kind='person', begin=0, end=2), Entity(kind='place', begin=3, end=4)]
    """
    entities = []
    begin, kind, before = 0, "", "O"
    for i, tag in enumerate([*tags, "O"]):
        prefix, new_kind = _split(tag)
        begins = prefix in "BS" or before in "OES" or new_kind != kind
        if before != "O" and (prefix == "O" or begins):
            entities.append(Entity(kind, begin, i))
        if begins:
            begin = i
        kind, before = new_kind, prefix
    return entities


def _split(tag: str) -> tuple[str, str]:
    prefix, hyphen, kind = tag.partition("-")
    if tag == "O" or (hyphen and prefix in ("B", "I", "E", "S")):
        return prefix, kind
    return "S", tag


def entity_scores(true: Iterable[Sequence[str]], found: Iterable[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over the entities of all sentences; right is the same kind with the same words."""
    right = in_truth = in_found = 0
    for true_tags, found_tags in zip(true, found, strict=True):
        expected, given = set(find_entities(true_tags)), set(find_entities(found_tags))
        right += len(expected & given)
        in_truth += len(expected)
        in_found += len(given)
    return {
        "precision": right / max(in_found, 1),
        "recall": right / max(in_truth, 1),
        "f1": 2 * right / max(in_truth + in_found, 1),
    }
