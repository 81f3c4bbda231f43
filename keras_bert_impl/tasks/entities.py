"""Scores of entities in sequences of tags, as in CoNLL's evaluation script."""

from collections.abc import Iterable, Sequence

from keras_bert_impl.data.tag_schemes import find_entities


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
