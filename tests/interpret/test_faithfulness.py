"""Removal curves, compared with a classifier's probabilities for texts written without the words."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from keras_bert_impl import BertConfig, BertForSequenceClassification, BertTokenizer
from keras_bert_impl.errors import InputError
from keras_bert_impl.interpret import attend, attribute, compute_removal_curves

TEXTS = ["A wonderful film, not bad!", "It is not so bad.", "A film."]


def test_curves(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    """Each order by hand: the words are cut out of the texts."""
    model = loaded["BertForSequenceClassification"]

    def compute_probability(text: str, label: int) -> float:
        return float(softmax(np.asarray(model(tokenizer(text))["logits"])[0].astype(np.float64))[label])

    curves = compute_removal_curves(model, tokenizer, TEXTS, words=2, seed=5)
    expected: dict[str, list[list[float]]] = {"attributions": [], "attention": []}
    for text in TEXTS:
        label = int(np.asarray(model(tokenizer(text))["logits"])[0].argmax())
        why, view = attribute(model, tokenizer, text), attend(model, tokenizer, text)
        paid = view.row.sum_per_word(view.attentions[-1, :, 0].mean(axis=0))
        for name, weights in (("attributions", why.targets[0].scores), ("attention", paid)):
            ranked = sorted(zip(view.row.words, weights, strict=True), key=lambda pair: -pair[1])
            words = [word for word, _ in ranked if word.text.isalpha()]
            first, second = sorted(words[:2], key=lambda word: word.begin)
            without = [
                text,
                text[: words[0].begin] + text[words[0].end :],
                text[: first.begin] + text[first.end : second.begin] + text[second.end :],
            ]
            expected[name].append([compute_probability(left, label) for left in without])
    for name, values in expected.items():
        np.testing.assert_allclose(curves[name], np.mean(values, axis=0), atol=1e-5)
    assert curves["random words"][0] == pytest.approx(curves["attention"][0])
    again = compute_removal_curves(model, tokenizer, TEXTS, words=2, seed=5)
    np.testing.assert_array_equal(again["random words"], curves["random words"])


def test_a_model_that_gives_a_number(tokenizer: BertTokenizer) -> None:
    one = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=997, id2label={0: "value"}))
    with pytest.raises(InputError, match="does not predict one label per text"):
        compute_removal_curves(one, tokenizer, TEXTS)


def test_texts_with_too_few_words(loaded: dict[str, Any], tokenizer: BertTokenizer) -> None:
    model = loaded["BertForSequenceClassification"]
    longer = compute_removal_curves(model, tokenizer, TEXTS[:2], words=4)
    for name, values in compute_removal_curves(model, tokenizer, TEXTS, words=4).items():
        if name != "random words":
            np.testing.assert_allclose(values, longer[name], atol=1e-6)
    with pytest.raises(InputError, match="none of the 3 texts has 6 words"):
        compute_removal_curves(model, tokenizer, TEXTS, words=6)
    with pytest.raises(InputError, match="BertForMaskedLM does not predict one label"):
        compute_removal_curves(loaded["BertForMaskedLM"], tokenizer, TEXTS)
