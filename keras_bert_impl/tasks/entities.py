"""Entities in sequences of tags, extracted and scored as in CoNLL's evaluation script."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Entity(NamedTuple):
    """An entity: its kind, and its words ``begin`` to ``end`` (exclusive)."""

    kind: str
    begin: int
    end: int


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Extracts the entities of one sentence.

    Tags are ``O``, or ``B``, ``I``, ``E`` or ``S`` with a hyphen and a kind (IOB1, IOB2, IOBES). As in ``conlleval``,
    an ``I`` that does not continue an entity of its kind begins one. A tag without such a prefix is an entity of one
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


def score_entities(true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 over the entities of all sentences; a match has the same kind and the same words."""
    matches = true_count = predicted_count = 0
    for true_tags, predicted_tags in zip(true, predicted, strict=True):
        true_entities, predicted_entities = set(find_entities(true_tags)), set(find_entities(predicted_tags))
        matches += len(true_entities & predicted_entities)
        true_count += len(true_entities)
        predicted_count += len(predicted_entities)
    return {
        "precision": matches / max(predicted_count, 1),
        "recall": matches / max(true_count, 1),
        "f1": 2 * matches / max(true_count + predicted_count, 1),
    }
