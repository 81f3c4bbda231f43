"""Faithfulness of attributions: how fast the predicted probability falls when important words are removed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.attribution import attribute_all
from keras_bert_impl.interpret.pages import find_model_task
from keras_bert_impl.models.cache import cached_on
from keras_bert_impl.tasks.words import EncodedText
from keras_bert_impl.tokenization import BertTokenizer


def compute_removal_curves(
    model: Any, tokenizer: BertTokenizer, texts: Sequence[str], *, words: int = 5, steps: int = 50, seed: int = 1
) -> dict[str, np.ndarray]:
    """Computes the probability of the predicted label while words are removed from texts, in three orders.

    Args:
        model: a ``BertForSequenceClassification``.
        tokenizer: its tokenizer.
        texts: texts; those with fewer words than ``words`` are ignored.
        words: the number of words that are removed, one after the other.
        steps: see `attribute_all`.
        seed: the seed of the random order.

    Returns:
        ``"attributions"`` (largest first), ``"attention"`` (largest attention of ``[CLS]`` in the last layer first,
        mean of the heads) and ``"random words"``: the means over the texts after 0, 1, 2 … words, float64
        ``[words + 1]``.

    Raises:
        InputError: no text has enough words; or see `attribute_all`.
    """
    if not find_model_task(model).predicts_label:
        raise InputError(
            f"this {type(model).__name__} does not predict one label per text; a BertForSequenceClassification with "
            "labels was expected."
        )
    attributions = attribute_all(model, tokenizer, texts, steps=steps)
    attributions = [one for one in attributions if _find_words(one.row).size >= words]
    if not attributions:
        raise InputError(
            f"none of the {len(texts)} texts has {words} words. Choose a smaller number of words, or give longer texts."
        )
    labels = [one.prediction[0][0] for one in attributions]
    with_attentions = cached_on(model, "attentions", lambda: model.with_outputs(output_attentions=True))
    draw = np.random.default_rng(seed)
    orders: dict[str, list[np.ndarray]] = {"attributions": [], "attention": [], "random words": []}
    for one in attributions:
        numbers = _find_words(one.row)
        last = ops.convert_to_numpy(with_attentions(one.row.inputs)["attentions"][-1])
        attention = one.row.sum_per_word(last[0].mean(axis=0)[0])
        orders["attributions"].append(numbers[np.argsort(-one.targets[0].scores[numbers], kind="stable")])
        orders["attention"].append(numbers[np.argsort(-attention[numbers], kind="stable")])
        orders["random words"].append(draw.permutation(numbers))
    curves = {name: np.zeros(words + 1) for name in orders}
    for name, each in orders.items():
        for k in range(words + 1):
            remaining = [_remove_words(one.row, order[:k]) for one, order in zip(attributions, each, strict=True)]
            curves[name][k] = _compute_probabilities(model, tokenizer, remaining, labels).mean()
    return curves


def _find_words(row: EncodedText) -> np.ndarray:
    """Returns the numbers of a row's words, without special tokens and punctuation."""
    return np.array(
        [k for k, word in enumerate(row.words) if any(letter.isalnum() for letter in word.text) and not word.is_special]
    )


def _remove_words(row: EncodedText, numbers: np.ndarray) -> str:
    """Returns the text without some words."""
    text = row.text
    for word in sorted((row.words[number] for number in numbers), key=lambda word: -word.begin):
        text = text[: word.begin] + text[word.end :]
    return text


def _compute_probabilities(
    model: Any, tokenizer: BertTokenizer, texts: Sequence[str], labels: Sequence[str]
) -> np.ndarray:
    """Returns the probability of each text's label."""
    task, config = find_model_task(model), model.config
    columns = task.from_texts(texts)
    features = task.encode(columns, tokenizer, config, max_length=config.max_position_embeddings)
    predictions = task.predict(model.predict_on_batch, features, columns, config=config)
    return np.array([prediction["scores"][label] for prediction, label in zip(predictions, labels, strict=True)])
