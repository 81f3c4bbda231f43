"""Matching tensors with variables: every head with every other, every spelling, and errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers_models
from safetensors.numpy import save_file
from torch_process import run_in_torch_process
from transformers_models import CLASSES

from keras_bert_impl import models
from keras_bert_impl.checkpoints.matching import match_tensors
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError

Tensors = dict[str, np.ndarray]
TIED = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
# The bias has two names too; which of them counts depends on what the file contains.
SHARED = {*TIED, "cls.predictions.bias"}
LAYERS = {"num_hidden_layers": 2}


def make_tensors(name: str, **changes: Any) -> Tensors:
    """The state of a random model of transformers, tied names included."""
    return transformers_models.make_state_dict(name, **LAYERS, **changes)


def get_weight_shapes(name: str, **changes: Any) -> dict[str, tuple[int, ...]]:
    labels = 1 if name == "BertForMultipleChoice" else transformers_models.LABELS
    id2label = {i: f"LABEL_{i}" for i in range(labels)}
    model = getattr(models, name)(BertConfig(**{**transformers_models.SIZES, **LAYERS, **changes}, id2label=id2label))
    return {weight.path: tuple(weight.shape) for weight in model.weights}


@pytest.fixture(scope="module")
def states() -> dict[str, Tensors]:
    return {name: make_tensors(name) for name in CLASSES}


@pytest.fixture(scope="module")
def shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    return {name: get_weight_shapes(name) for name in CLASSES}


def remove_prefixes(names: Any) -> set[str]:
    return {name.removeprefix("bert.") for name in names}


@pytest.mark.parametrize("target", CLASSES)
@pytest.mark.parametrize("source", CLASSES)
def test_every_head_into_every_other(source: str, target: str, states, shapes) -> None:
    arrays, report = match_tensors(states[source], shapes[target], source=source, new_heads=True)
    have, want = remove_prefixes(states[source]) - SHARED, remove_prefixes(states[target]) - SHARED
    heads = {name for name in have & want if name.startswith("classifier")}
    other_labels = {name for name in heads if states[source][name].shape != states[target][name].shape}
    assert remove_prefixes(report.list_names("loaded")) - SHARED == have & want - other_labels
    assert remove_prefixes(report.list_names("newly initialized")) - SHARED == (want - have) | other_labels
    assert remove_prefixes(report.list_names("ignored")) - SHARED == have - want
    assert ("cls/predictions/bias" in arrays) == ({source, target} <= {"BertForPreTraining", "BertForMaskedLM"})
    assert report.list_names("unexpected") == []
    assert {path: array.shape for path, array in arrays.items()}.items() <= shapes[target].items()


def assert_same_arrays(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    for path, array in one.items():
        np.testing.assert_array_equal(array, other[path], err_msg=path)


def to_old_spelling(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("prefixed", [True, False])
def test_spellings_of_pytorch_files(prefixed: bool, old: bool, states, shapes) -> None:
    state = states["BertForPreTraining"]
    names = {name: name if prefixed else name.removeprefix("bert.") for name in state}
    spelled = {(to_old_spelling(names[name]) if old else names[name]): array for name, array in state.items()}
    expected, _ = match_tensors(state, shapes["BertForPreTraining"], source="published")
    found, report = match_tensors(spelled, shapes["BertForPreTraining"], source="other spellings")
    assert_same_arrays(found, expected)
    assert report.list_names("newly initialized") == report.list_names("unexpected") == []


def to_google_format(name: str, state: Tensors, head: dict[str, str]) -> Tensors:
    """The tensors that Google's code saves: kernels are transposed, the ``output_weights`` of heads are not."""
    result: Tensors = {"global_step": np.array(7)}
    for key, array in state.items():
        if key in TIED:
            continue
        if key in head:
            tf1, value = head[key], array
        elif key.endswith("embeddings.weight"):
            tf1, value = key.removesuffix(".weight"), array
        elif "LayerNorm" in key:
            tf1, value = to_old_spelling(key), array
        else:
            tf1, value = key.replace(".weight", ".kernel"), array.T if key.endswith(".weight") else array
        tf1 = tf1.replace(".layer.", ".layer_").replace(".", "/")
        result |= {tf1: value, f"{tf1}/adam_m": np.zeros_like(value), f"{tf1}/adam_v": np.zeros_like(value)}
    return result


@pytest.mark.parametrize(
    ("name", "head"),
    [
        (
            "BertForPreTraining",
            {
                "cls.predictions.bias": "cls/predictions/output_bias",
                "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
                "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
            },
        ),
        ("BertForSequenceClassification", {"classifier.weight": "output_weights", "classifier.bias": "output_bias"}),
        (
            "BertForQuestionAnswering",
            {"qa_outputs.weight": "cls/squad/output_weights", "qa_outputs.bias": "cls/squad/output_bias"},
        ),
    ],
)
def test_google_checkpoints(name: str, head: dict[str, str], states, shapes) -> None:
    state = states[name]
    if "cls.predictions.bias" in state:
        state = {**state, "cls.predictions.bias": state["cls.predictions.decoder.bias"]}
    google = to_google_format(name, state, head)
    expected, _ = match_tensors(state, shapes[name], source="PyTorch")
    found, report = match_tensors(google, shapes[name], source="Google")
    assert_same_arrays(found, expected)
    assert report.list_names("unexpected") == report.list_names("newly initialized") == []
    slots = [key for key in google if key.endswith(("adam_m", "adam_v"))]
    assert sorted(report.list_names("ignored")) == sorted([*slots, "global_step"])


def remove_tensors(state: Tensors, *names: str) -> Tensors:
    return {key: array for key, array in state.items() if key not in names}


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: remove_tensors(state, QUERY), f"demo lacks {QUERY}. Embeddings and encoder must be complete"),
        (
            lambda state: {key: array for key, array in state.items() if "layer.1." not in key},
            ".value.weight and 11 more. Embeddings and encoder must be complete",
        ),
        (
            lambda state: {**state, "embeddings.word_embeddings.weight": np.zeros((98, 32))},
            "embeddings.word_embeddings.weight has the shape [98, 32]; the configuration needs [99, 32]",
        ),
        (
            lambda state: {**state, "encoder.layer.0.intermediate.dense.weight": np.zeros((41, 32))},
            "intermediate.dense.weight has the shape [41, 32]; the configuration needs [37, 32]",
        ),
        (
            lambda state: {**state, "bert.pooler.dense.bias": state["pooler.dense.bias"]},
            "demo contains bert.pooler.dense.bias twice, in two spellings (pooler.dense.bias)",
        ),
        (
            lambda state: {**state, "embeddings.LayerNorm.gamma": state["embeddings.LayerNorm.weight"]},
            "embeddings.LayerNorm.gamma twice, in two spellings (embeddings.LayerNorm.weight)",
        ),
    ],
)
def test_errors(change: Any, message: str, states, shapes) -> None:
    with pytest.raises(InputError) as caught:
        match_tensors(change(states["BertModel"]), shapes["BertModel"], source="demo")
    assert message in str(caught.value)


def test_a_head_for_other_labels(states, shapes) -> None:
    other = {**shapes["BertForSequenceClassification"], "classifier/kernel": (32, 9), "classifier/bias": (9,)}
    with pytest.raises(
        InputError, match=r"classifier.weight has the shape \[6, 32\]; the configuration needs \[9, 32\]"
    ):
        match_tensors(states["BertForSequenceClassification"], other, source="demo")
    arrays, report = match_tensors(states["BertForSequenceClassification"], other, source="demo", new_heads=True)
    assert report.list_names("newly initialized") == ["classifier.weight", "classifier.bias"]
    assert "the file's tensor has the shape 6×32, for other labels" in str(report)
    assert not any(path.startswith("classifier") for path in arrays)


def test_other_tensors_are_unexpected(states, shapes) -> None:
    state = {
        **states["BertModel"],
        "encoder.layer.2.output.dense.bias": np.zeros(32),
        "head.dense.weight": np.zeros((3, 32)),
        "embeddings.position_ids": np.arange(61)[None],
    }
    _, report = match_tensors(state, shapes["BertModel"], source="demo")
    assert report.list_names("unexpected") == ["encoder.layer.2.output.dense.bias", "head.dense.weight"]
    assert report.list_names("ignored") == ["embeddings.position_ids"]


def test_a_decoder_that_is_tied_by_the_configuration_only(states, shapes) -> None:
    state = states["BertForMaskedLM"]
    other = {**state, "cls.predictions.decoder.weight": state["cls.predictions.decoder.weight"] + 1}
    reports = [match_tensors(tensors, shapes["BertForMaskedLM"], source="demo")[1] for tensors in (state, other)]
    reasons = [{entry.name: entry.reason for entry in report.entries} for report in reports]
    assert reasons[0]["cls.predictions.decoder.weight"] == "tied to the word embeddings"
    assert "although the file's tensor differs" in reasons[1]["cls.predictions.decoder.weight"]


def test_report_as_text(states, shapes) -> None:
    """The output of `keras-bert convert`."""
    state = {**remove_tensors(states["BertForTokenClassification"], "classifier.bias"), "step": np.array(3)}
    _, report = match_tensors(state, shapes["BertModel"], source="runs/names")
    numbers = sum(array.size for name, array in state.items() if name.startswith("bert."))
    assert str(report) == (
        "runs/names\n"
        f"  {len(state) - 2} tensors loaded, {numbers:,} parameters\n"
        "  1 ignored: this model has no such head\n"
        "    classifier.weight  6×32\n"
        "  1 unexpected\n"
        "    step  scalar\n"
        "  2 newly initialized: not in the file\n"
        "    pooler.dense.weight  32×32\n"
        "    pooler.dense.bias  32"
    )
    lines = report.format_table().splitlines()
    assert len(lines) == len(state) + 2
    assert lines[0].split() == ["bert.embeddings.word_embeddings.weight", "99×32", "loaded"]


def write(directory: Path, tensors: Tensors) -> None:
    transformers_models.save("BertModel", directory, **LAYERS)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, directory / "model.safetensors")


def test_strict(tmp_path: Path) -> None:
    state = make_tensors("BertModel")
    write(tmp_path, {**state, "head.dense.weight": np.zeros((3, 32), "float32")})
    assert models.BertModel.from_pretrained(tmp_path).load_report.list_names("unexpected") == ["head.dense.weight"]
    with pytest.raises(InputError, match=r"has unexpected tensors: head\.dense\.weight"):
        models.BertModel.from_pretrained(tmp_path, strict=True)
    write(tmp_path, state)
    assert models.BertModel.from_pretrained(tmp_path, strict=True).load_report.list_names("unexpected") == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(dtype: str, tmp_path: Path) -> None:
    transformers_models.save("BertForTokenClassification", tmp_path, dtype=dtype, **LAYERS)
    expected = transformers_models.load_state_dict("BertForTokenClassification", tmp_path)
    ours = models.BertForTokenClassification.from_pretrained(tmp_path).state_dict()
    assert ours.keys() == expected.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_other_labels_by_name(tmp_path: Path) -> None:
    transformers_models.save("BertForSequenceClassification", tmp_path, **LAYERS)
    labels = {0: "bad", 1: "good", 2: "neither"}
    model = models.BertForSequenceClassification.from_pretrained(tmp_path, id2label=labels, new_heads=True)
    model.save_pretrained(tmp_path / "again")
    assert read_labels(tmp_path / "again") == {
        "id2label": labels,
        "label2id": {"bad": 0, "good": 1, "neither": 2},
        "classifier": (3, 32),
    }


@run_in_torch_process
def read_labels(directory: Path) -> dict[str, Any]:
    """The labels of a classifier, and the shape of its last layer."""
    import torch_models

    model = torch_models.load("BertForSequenceClassification", directory)
    labels = {"id2label": model.config.id2label, "label2id": model.config.label2id}
    return {**labels, "classifier": tuple(model.classifier.weight.shape)}
