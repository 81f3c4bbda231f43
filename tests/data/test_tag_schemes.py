"""Schemes of tags: each gives the same entities."""

import random

import pytest

from keras_bert_impl.data.tag_schemes import SCHEMES, Entity, convert_tags, find_entities, find_scheme, make_tags


def draw_entities(draw: random.Random) -> tuple[list[Entity], int]:
    entities, end = [], 0
    for _ in range(draw.randrange(5)):
        begin = end + draw.randrange(3)
        end = begin + 1 + draw.randrange(4)
        entities.append(Entity(draw.choice(["a", "b-c"]), begin, end))
    return entities, end + draw.randrange(3)


def test_entities_survive_each_scheme() -> None:
    draw = random.Random(1)
    for _ in range(300):
        entities, length = draw_entities(draw)
        for scheme in SCHEMES:
            tags = make_tags(entities, length, scheme=scheme)
            assert len(tags) == length
            assert find_entities(tags) == entities
            for other in SCHEMES:
                assert convert_tags(tags, other) == make_tags(entities, length, scheme=other)


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("bio", "B-x I-x I-x O B-y B-z I-z"),
        ("iobes", "B-x I-x E-x O S-y B-z E-z"),
        ("bilou", "B-x I-x L-x O U-y B-z L-z"),
    ],
)
def test_schemes_by_hand(scheme: str, tags: str) -> None:
    entities = [Entity("x", 0, 3), Entity("y", 4, 5), Entity("z", 5, 7)]
    assert make_tags(entities, 7, scheme=scheme) == tags.split()
    assert find_entities(tags.split()) == entities
    assert find_scheme(tags.split()) == scheme


@pytest.mark.parametrize("tags", [[], ["O"], ["NN", "O"], ["B-x", "NN"], ["B-", "O"], ["X-y"]])
def test_other_tags_have_no_scheme(tags: list[str]) -> None:
    assert find_scheme(tags) is None
