"""More tokens for a model: old rows, new rows, losses, and the outputs of transformers for the saved model."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import transformers_models
from transformers_models import make_inputs

from keras_bert_impl import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from keras_bert_impl.models.heads import get_model_class

WORDS, DECODER, BIAS = (
    "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.weight",
    "cls.predictions.bias",
)
OLD, ADDED = transformers_models.SIZES["vocab_size"], 500
# The pieces of all new tokens but the last.
PIECES = {OLD + i: [i % OLD, (3 * i + 7) % OLD, 5] for i in range(ADDED - 1)}


def compute_log_sum(logits: np.ndarray) -> np.ndarray:
    return np.log(np.exp(logits.astype("float64")).sum(-1))


def compute_outputs(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: keras.ops.convert_to_numpy(values) for name, values in model(inputs).items()}


@pytest.mark.parametrize(
    ("name", "tied"), [("BertForPreTraining", True), ("BertForMaskedLM", False), ("BertForMaskedLM", True)]
)
def test_rows_and_losses(name: str, tied: bool, tmp_path: Path) -> None:
    transformers_models.save(name, tmp_path / "old", num_hidden_layers=1, tie_word_embeddings=tied)
    model = get_model_class(name).from_pretrained(tmp_path / "old")
    larger = model.resize_token_embeddings(OLD + ADDED, pad_to_multiple_of=8, pieces=PIECES)
    assert larger.config.vocab_size == 600
    before, after = model.state_dict(), larger.state_dict()
    for key, array in before.items():
        if key in (WORDS, DECODER, BIAS, "cls.predictions.decoder.bias"):
            np.testing.assert_array_equal(after[key][:OLD], array)
            rows = [array[row].astype("float64").mean(axis=0) for row in PIECES.values()]
            low = np.log(1e-7 / 501) if array.ndim == 1 else 0
            np.testing.assert_allclose(after[key][OLD : OLD + ADDED - 1], np.stack(rows) + low, rtol=1e-5, atol=1e-6)
            # Without pieces: near the mean of all rows, and different.
            mean = array.mean(axis=0) + low
            np.testing.assert_allclose(after[key][OLD + ADDED - 1 :], np.stack([mean] * 2), atol=1e-3)
        else:
            np.testing.assert_array_equal(after[key], array, err_msg=key)
    assert (after[WORDS][-1] != after[WORDS][-2]).all()

    # The loss is the log of a sum over tokens, minus a logit that does not change.
    inputs = make_inputs()
    ours, grown = compute_outputs(model, inputs), compute_outputs(larger, inputs)
    output = "logits" if "logits" in ours else "prediction_logits"
    np.testing.assert_allclose(grown[output][..., :OLD], ours[output], rtol=1e-5, atol=1e-5)
    change = compute_log_sum(grown[output]) - compute_log_sum(grown[output][..., :OLD])
    assert 0 <= change.min() <= change.max() < 1e-7
    if name == "BertForPreTraining":
        np.testing.assert_array_equal(grown["seq_relationship_logits"], ours["seq_relationship_logits"])

    larger.save_pretrained(tmp_path / "larger")
    raised = get_model_class(name).from_pretrained(tmp_path / "larger")
    assert (raised.raise_new_tokens(), raised.raise_new_tokens()) == (501, 0)
    bias = raised.state_dict()[BIAS]
    np.testing.assert_array_equal(bias[:OLD], before[BIAS])
    rows = [before[BIAS][row].mean() for row in PIECES.values()]
    np.testing.assert_allclose(bias[OLD : OLD + ADDED - 1], rows, atol=1e-5)
    inputs["input_ids"][:, 1] = np.arange(OLD + ADDED - 13, OLD + ADDED)
    theirs = transformers_models.compute_outputs(name, tmp_path / "larger", inputs)
    mask = inputs["attention_mask"].astype(bool)
    np.testing.assert_allclose(compute_outputs(larger, inputs)[output][mask], theirs[output][mask], atol=2e-5)


def test_a_classifier_computes_the_same_logits() -> None:
    model = BertForSequenceClassification(BertConfig.preset("tiny", vocab_size=OLD, num_hidden_layers=1))
    larger = model.resize_token_embeddings(OLD + 3)
    inputs = make_inputs()
    inputs["token_type_ids"] %= 2
    np.testing.assert_array_equal(compute_outputs(larger, inputs)["logits"], compute_outputs(model, inputs)["logits"])
    assert model.config.vocab_size == OLD
    assert isinstance(larger, BertForSequenceClassification)


def test_rows_that_no_token_had_become_new() -> None:
    """A model with more rows than its tokenizer has tokens."""
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=OLD, num_hidden_layers=1))
    larger = model.resize_token_embeddings(OLD, pieces={97: [5, 9], 98: []})
    before, after = model.state_dict(), larger.state_dict()
    np.testing.assert_array_equal(after[WORDS][:97], before[WORDS][:97])
    np.testing.assert_allclose(after[WORDS][97], before[WORDS][[5, 9]].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(after[WORDS][98], before[WORDS][:97].mean(axis=0), atol=1e-3)


def test_what_is_refused() -> None:
    model = BertForPreTraining(BertConfig.preset("tiny", vocab_size=OLD, num_hidden_layers=1))
    with pytest.raises(InputError, match=r"new_num_tokens is 98 and .* is 1; the model has 99 word embeddings"):
        model.resize_token_embeddings(98)
    with pytest.raises(InputError, match=r"pad_to_multiple_of is -8; .* a multiple above 0"):
        model.resize_token_embeddings(120, pad_to_multiple_of=-8)
    for pieces in ({120: [5]}, {99: [119]}, {100: [99], 99: [5]}):
        with pytest.raises(InputError, match="an id below 120 and the ids of old tokens, below 99, were expected"):
            model.resize_token_embeddings(120, pieces=pieces)
    model.enable_lora(rank=2)
    with pytest.raises(InputError, match=r"the model has LoRA, .* Resize it before enable_lora"):
        model.resize_token_embeddings(120)
