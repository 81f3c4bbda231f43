"""The classes that a checkpoint is for, found by the tensors of transformers' models."""

import pytest
import transformers_models

from keras_bert_impl import models
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.heads import HEADS, find_head_classes, get_model_class

ONE_LAYER = {"num_hidden_layers": 1}


def list_tensor_names(*models: str) -> set[str]:
    return {name for model in models for name in transformers_models.make_state_dict(model, **ONE_LAYER)}


def find_classes(names: set[str], *architectures: str) -> list[str]:
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
        # Only the configuration distinguishes it from a classifier of sequences.
        ("BertForMultipleChoice", ["BertForSequenceClassification"]),
    ],
)
def test_by_tensors_alone(model: str, expected: list[str]) -> None:
    assert find_classes(list_tensor_names(model)) == expected
    assert find_classes(list_tensor_names(model), model) == ([model] if expected else [])


def test_several_heads() -> None:
    names = list_tensor_names("BertForPreTraining", "BertForQuestionAnswering", "BertForTokenClassification")
    assert find_classes(names, "BertForTokenClassification") == [
        "BertForPreTraining",
        "BertForQuestionAnswering",
        "BertForTokenClassification",
    ]


def test_all_heads_count_whatever_the_configuration_names() -> None:
    """The published bert-base-uncased says that it is a BertForMaskedLM, and has the other head too."""
    assert find_classes(list_tensor_names("BertForPreTraining"), "BertForMaskedLM") == ["BertForPreTraining"]


def test_a_head_on_a_pooler_that_is_not_there() -> None:
    names = {name for name in list_tensor_names("BertForPreTraining") if "pooler" not in name}
    assert find_classes(names) == ["BertForMaskedLM"]


def test_the_table_is_of_all_public_model_classes() -> None:
    public = {name for name in models.__all__ if name not in ("AutoModel", "BertPreTrainedModel")}
    assert set(HEADS) == public
    assert all(get_model_class(name) is getattr(models, name) for name in public)
    with pytest.raises(
        InputError, match=r"No model class is named 'BertForPoetry'; the classes are BertForPreTraining, "
    ):
        get_model_class("BertForPoetry")


def test_google_names() -> None:
    google = {"bert/pooler/dense/kernel", "output_weights", "output_bias"}
    assert find_classes(google) == ["BertForSequenceClassification"]
    assert find_classes({"cls/squad/output_weights", "cls/squad/output_bias"}) == ["BertForQuestionAnswering"]
