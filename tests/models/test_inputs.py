"""The inputs that a model accepts, and those that it refuses."""

import numpy as np
import pytest
import transformers_models

from keras_bert_impl import models
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError

CONFIG = BertConfig(**{**transformers_models.SIZES, "num_hidden_layers": 2})
IDS = transformers_models.make_inputs()["input_ids"]


@pytest.fixture(scope="module")
def model() -> models.BertModel:
    return models.BertModel(CONFIG)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"input_ids": IDS, "attention_masks": IDS},
            "^The call has the inputs .*'attention_masks'.*; BertModel takes input_ids, ",
        ),
        ({"attention_mask": IDS}, "^The call lacks input_ids; BertModel takes input_ids, token_type_ids"),
        (
            {"input_ids": IDS + 95},
            "^input_ids go from 95 to [0-9]+; the vocabulary of this model has 99 tokens. Use the tokenizer",
        ),
        ({"input_ids": IDS - 1}, "go from -1 to"),
        (IDS + 95, "the vocabulary of this model has 99 tokens"),
        ({"input_ids": np.ones((2, 62), "int32")}, "^the rows are 62 tokens long; this model has 61 positions"),
    ],
)
def test_refused(model, inputs: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(inputs)


def test_predict_refuses_as_clearly(model) -> None:
    with pytest.raises(InputError, match=r"^the rows are 62 tokens long; this model has 61 positions"):
        model.predict({"input_ids": np.ones((2, 62), "int32")}, verbose=0)


def test_longest_row_passes(model) -> None:
    assert model({"input_ids": np.ones((2, 61), "int32")})["last_hidden_state"].shape == (2, 61, 32)


def test_choices_are_checked_too() -> None:
    model = models.BertForMultipleChoice(CONFIG)
    with pytest.raises(InputError, match="the rows are 62 tokens long"):
        model({"input_ids": np.ones((2, 3, 62), "int32")})


def test_unknown_activation() -> None:
    with pytest.raises(InputError, match="hidden_act 'gelu_10' is not supported"):
        models.BertModel(BertConfig(**{**transformers_models.SIZES, "hidden_act": "gelu_10"}))


def test_an_unknown_config_key_is_refused(tmp_path) -> None:
    models.BertModel(CONFIG).save_pretrained(tmp_path)
    with pytest.raises((InputError, TypeError), match="hiden_size"):
        models.BertModel.from_pretrained(tmp_path, hiden_size=3)


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_classifier_dropout(name: str) -> None:
    """None means the dropout of the hidden states; 0 is not None."""
    rates = [
        getattr(models, name)(
            BertConfig(num_hidden_layers=1, vocab_size=99, hidden_dropout_prob=0.3, **change)
        ).dropout.rate
        for change in ({}, {"classifier_dropout": 0.0}, {"classifier_dropout": 0.2})
    ]
    assert rates == [0.3, 0.0, 0.2]
