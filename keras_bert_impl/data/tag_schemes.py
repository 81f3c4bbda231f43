"""Schemes of tags that mark entities: BIO, IOBES and BILOU."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# The prefixes of an entity's first, inner and last word, and of an entity of one word.
SCHEMES = {"bio": ("B", "I", "I", "B"), "iobes": ("B", "I", "E", "S"), "bilou": ("B", "I", "L", "U")}

_PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S"}


class Entity(NamedTuple):
    """An entity: its kind, and its words ``begin`` to ``end`` (exclusive)."""

    kind: str
    begin: int
    end: int


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Extracts the entities of one sentence.

    Tags are ``O``, or a prefix with a hyphen and a kind: ``B`` and ``I`` (IOB1, IOB2), also ``E`` and ``S`` (IOBES), or
    ``L`` and ``U`` (BILOU). As in ``conlleval``, an ``I`` that does not continue an entity of its kind begins one. A
    tag without such a prefix is an entity of one word.

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
    """Returns the prefix of a tag, as IOBES has it, and the kind."""
    prefix, hyphen, kind = tag.partition("-")
    if tag == "O":
        return tag, ""
    return (_PREFIXES[prefix], kind) if hyphen and prefix in _PREFIXES else ("S", tag)


def make_tags(entities: Iterable[Entity], length: int, *, scheme: str = "bio") -> list[str]:
    """Returns the tags of a sentence with these entities.

    Args:
        entities: the entities, which do not overlap.
        length: the number of words.
        scheme: a name in ``SCHEMES``.

    >>> make_tags([Entity("person", 1, 4)], 5, scheme="bilou")
    ['O', 'B-person', 'I-person', 'L-person', 'O']
    """
    first, inner, last, single = SCHEMES[scheme]
    tags = ["O"] * length
    for kind, begin, end in entities:
        prefixes = [single] if end - begin == 1 else [first, *[inner] * (end - begin - 2), last]
        tags[begin:end] = [f"{prefix}-{kind}" for prefix in prefixes]
    return tags


def find_scheme(tags: Iterable[str]) -> str | None:
    """Returns the scheme of tags, a name in ``SCHEMES``; None if they mark no entities, as parts of speech.

    >>> find_scheme(["O", "B-person", "E-person"])
    'iobes'
    """
    names = set(tags) - {"O"}
    if not names or not all(re.match("[BIESLU]-.", name) for name in names):
        return None
    prefixes = {name[0] for name in names}
    return "iobes" if prefixes & set("ES") else "bilou" if prefixes & set("LU") else "bio"


def convert_tags(tags: Sequence[str], scheme: str) -> list[str]:
    """Returns the tags of the same entities in another scheme.

    >>> convert_tags(["B-person", "I-person", "O", "B-place"], "iobes")
    ['B-person', 'E-person', 'O', 'S-place']
    """
    return make_tags(find_entities(tags), len(tags), scheme=scheme)
