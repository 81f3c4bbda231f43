"""Which classes a checkpoint is for, by the tensors of transformers' models."""

import pytest
import transformers_models

from keras_bert_impl import models
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.heads import HEADS, find_head_classes, get_model_class

ONE_LAYER = {"num_hidden_layers": 1}


def names_of(*models: str) -> set[str]:
    return {name for model in models for name in transformers_models.make_state_dict(model, **ONE_LAYER)}


def chosen(names: set[str], *architectures: str) -> list[str]:
    return [model.__name__ for model in find_head_classes(names, architectures)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("BertModel", []),
        ("BertForPreTraining", ["BertForPreTraining"]),
        ("BertForMaskedLM", ["BertForMaskedLM"]),
        ("BertForNextSentencePrediction", ["BertForNextSentencePrediction"]),
        ("BertForSequenceClassification", ["BertForSequenceClassification"]),
        ("BertForTokenClassification", ["BertForTokenClassification"]),
        ("BertForQuestionAnswering", ["BertForQuestionAnswering"]),
        # Nothing tells it from a classifier of sequences but the configuration.
        ("BertForMultipleChoice", ["BertForSequenceClassification"]),
    ],
)
def test_by_tensors_alone(model: str, expected: list[str]) -> None:
    assert chosen(names_of(model)) == expected
    assert chosen(names_of(model), model) == ([model] if expected else [])


def test_several_heads() -> None:
    names = names_of("BertForPreTraining", "BertForQuestionAnswering", "BertForTokenClassification")
    assert chosen(names, "BertForTokenClassification") == [
        "BertForPreTraining",
        "BertForQuestionAnswering",
        "BertForTokenClassification",
    ]


def test_all_heads_count_whatever_the_configuration_names() -> None:
    """The published bert-base-uncased says that it is a BertForMaskedLM, and has the other head too."""
    assert chosen(names_of("BertForPreTraining"), "BertForMaskedLM") == ["BertForPreTraining"]


def test_a_head_on_a_pooler_that_is_not_there() -> None:
    names = {name for name in names_of("BertForPreTraining") if "pooler" not in name}
    assert chosen(names) == ["BertForMaskedLM"]


def test_the_table_is_of_all_public_model_classes() -> None:
    public = {name for name in models.__all__ if name != "BertPreTrainedModel"}
    assert set(HEADS) == public
    assert all(get_model_class(name) is getattr(models, name) for name in public)
    with pytest.raises(
        InputError, match=r"No model class is named 'BertForPoetry'; the classes are BertForPreTraining, "
    ):
        get_model_class("BertForPoetry")


def test_google_names() -> None:
    google = {"bert/pooler/dense/kernel", "output_weights", "output_bias"}
    assert chosen(google) == ["BertForSequenceClassification"]
    assert chosen({"cls/squad/output_weights", "cls/squad/output_bias"}) == ["BertForQuestionAnswering"]
