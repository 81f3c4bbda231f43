"""Entities and their scores, compared with seqeval 1.2.2, which follows conlleval."""

import random

import pytest

from keras_bert_impl.data.tag_schemes import find_entities
from keras_bert_impl.tasks.entities import score_entities

IOB = ["O", "B-a", "I-a", "B-x-y", "I-x-y"]
IOBES = [*IOB, "E-a", "S-a", "E-x-y", "S-x-y"]


def draw_sentences(tags: list[str], seed: int) -> list[list[str]]:
    chance = random.Random(seed)
    return [[chance.choice(tags) for _ in range(1 + i % 9)] for i in range(500)]


@pytest.mark.parametrize(
    ("tags", "precision", "recall", "f1"),
    [
        (IOB, 0.23411765, 0.23648247, 0.23529412),
        (IOBES, 0.33448959, 0.33039648, 0.33243044),
    ],
)
def test_scores_of_random_tags_are_those_of_seqeval(
    tags: list[str], precision: float, recall: float, f1: float
) -> None:
    metrics = score_entities(draw_sentences(tags, 1), draw_sentences(tags, 2))
    assert metrics == pytest.approx({"precision": precision, "recall": recall, "f1": f1}, abs=1e-8)


def test_the_example_in_seqevals_readme() -> None:
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert score_entities(true, found) == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ([], []),
        (["O", "O"], []),
        (["I-a", "I-a"], [("a", 0, 2)]),
        (["B-a", "B-a", "I-a"], [("a", 0, 1), ("a", 1, 3)]),
        (["B-a", "I-b"], [("a", 0, 1), ("b", 1, 2)]),
        (["B-a", "I-a", "E-a", "I-a"], [("a", 0, 3), ("a", 3, 4)]),
        (["S-a", "I-a"], [("a", 0, 1), ("a", 1, 2)]),
        (["B-a", "L-a", "I-a", "U-a", "I-a"], [("a", 0, 2), ("a", 2, 3), ("a", 3, 4), ("a", 4, 5)]),
        (["B-creative-work", "I-creative-work"], [("creative-work", 0, 2)]),
        (["NN", "NN", "O", "X-y"], [("NN", 0, 1), ("NN", 1, 2), ("X-y", 3, 4)]),
    ],
)
def test_entities_by_hand(tags: list[str], entities: list[tuple[str, int, int]]) -> None:
    assert find_entities(tags) == entities


def test_nothing_to_find_and_nothing_found() -> None:
    assert score_entities([["O"]], [["O"]]) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
