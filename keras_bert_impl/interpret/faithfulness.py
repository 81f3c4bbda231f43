"""Whether words that are said to matter do: how fast an answer goes when they are taken away."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret.answers import kept
from keras_bert_impl.interpret.attribution import attribute_all
from keras_bert_impl.interpret.words import Row
from keras_bert_impl.tasks.encoding import softmax
from keras_bert_impl.tasks.lookup import task_named
from keras_bert_impl.tokenization import BertTokenizer

_ROWS = 64


def removal_curves(
    model: Any, tokenizer: BertTokenizer, texts: Sequence[str], *, words: int = 5, steps: int = 50, seed: int = 1
) -> dict[str, np.ndarray]:
    """The probability of a classifier's first answer while words are taken out of its texts, in three orders.

    Args:
        model: a ``BertForSequenceClassification``.
        tokenizer: its tokenizer.
        texts: texts; those with fewer words than are taken away are left out.
        words: how many words are taken away, one after the other.
        steps: see `attribute_all`.
        seed: of the random order.

    Returns:
        ``"attributions"`` (largest first), ``"attention"`` (what ``[CLS]`` pays most in the last layer, mean of the
        heads) and ``"random words"``: the mean over the texts after 0, 1, 2 … words, float64 ``[words + 1]``.

    Raises:
        InputError: no text has so many words; or see `attribute_all`.
    """
    name = type(model).__name__
    if name != "BertForSequenceClassification" or task_named(name, model.config).name != "classification":
        raise InputError(
            f"this {name} gives no one label for a text; a BertForSequenceClassification with labels does."
        )
    found = attribute_all(model, tokenizer, texts, steps=steps)
    found = [one for one in found if _words(one.row).size >= words]
    if not found:
        raise InputError(f"none of the {len(texts)} texts has {words} words. Take away fewer, or give longer texts.")
    names = list(model.config.id2label.values())
    labels = np.array([names.index(one.prediction[0][0]) for one in found])
    with_attentions = kept(model, "attentions", lambda: model.with_outputs(output_attentions=True))
    draw = np.random.default_rng(seed)
    orders: dict[str, list[np.ndarray]] = {"attributions": [], "attention": [], "random words": []}
    for one in found:
        numbers = _words(one.row)
        last = ops.convert_to_numpy(with_attentions(one.row.inputs)["attentions"][-1])
        paid = one.row.sums(last[0].mean(axis=0)[0])
        orders["attributions"].append(numbers[np.argsort(-one.targets[0].scores[numbers], kind="stable")])
        orders["attention"].append(numbers[np.argsort(-paid[numbers], kind="stable")])
        orders["random words"].append(draw.permutation(numbers))
    curves = {name: np.zeros(words + 1) for name in orders}
    for name, each in orders.items():
        for k in range(words + 1):
            left = [_without(one.row, order[:k]) for one, order in zip(found, each, strict=True)]
            curves[name][k] = _probabilities(model, tokenizer, left, labels).mean()
    return curves


def _words(row: Row) -> np.ndarray:
    """The numbers of a row's words, without special tokens and punctuation."""
    return np.array(
        [k for k, word in enumerate(row.words) if any(letter.isalnum() for letter in word.text) and not word.is_special]
    )


def _without(row: Row, numbers: np.ndarray) -> str:
    """The text without some words."""
    text = row.text
    for word in sorted((row.words[number] for number in numbers), key=lambda word: -word.begin):
        text = text[: word.begin] + text[word.end :]
    return text


def _probabilities(model: Any, tokenizer: BertTokenizer, texts: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """The probability of each text's label."""
    logits = [
        ops.convert_to_numpy(model.predict_on_batch(tokenizer(texts[begin : begin + _ROWS]))["logits"])
        for begin in range(0, len(texts), _ROWS)
    ]
    return softmax(np.concatenate(logits))[np.arange(len(texts)), labels]
