"""Compares ``BertConfig`` with transformers' configuration, and tests the values that it refuses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from torch_process import run_in_torch_process

from keras_bert_impl.config import PRESETS, BertConfig
from keras_bert_impl.errors import InputError

SIZES = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 61,
}
OWN_FIELDS = {"extra", "problem_type"}
FIELDS = sorted(field.name for field in dataclasses.fields(BertConfig) if field.name != "extra")


@run_in_torch_process
def make_transformers_config(
    values: dict[str, Any], attributes: list[str], *, directory: Path | None = None
) -> dict[str, Any]:
    """Returns attributes of transformers' configuration and, as ``"to_dict"``, its dictionary; saves it if asked."""
    import transformers

    config = transformers.BertConfig(**values)
    if directory:
        config.save_pretrained(directory)
    return {**{name: getattr(config, name) for name in attributes}, "to_dict": config.to_dict()}


@run_in_torch_process
def convert_with_transformers(values: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration's dictionary after transformers read and wrote it."""
    import transformers

    return transformers.BertConfig.from_dict(values).to_dict()


def test_defaults_are_base_uncased() -> None:
    theirs = make_transformers_config({}, [*FIELDS, "label2id"])
    fields = {field.name for field in dataclasses.fields(BertConfig)} - OWN_FIELDS
    assert {name: getattr(BertConfig(), name) for name in fields} == {name: theirs[name] for name in fields}
    assert BertConfig().label2id == theirs["label2id"]


def test_reads_what_transformers_writes_and_back(tmp_path: Path) -> None:
    labels = {0: "negative", 1: "neutral", 2: "positive"}
    values = {
        **SIZES,
        "type_vocab_size": 3,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
        "classifier_dropout": 0.25,
        "pad_token_id": 7,
        "tie_word_embeddings": False,
        "id2label": labels,
        "label2id": {name: number for number, name in labels.items()},
        "problem_type": "single_label_classification",
    }
    theirs = make_transformers_config(values, FIELDS, directory=tmp_path)
    ours = BertConfig.from_pretrained(tmp_path)
    for name in FIELDS:
        assert getattr(ours, name) == theirs[name], name
    assert ours.num_labels == 3
    assert convert_with_transformers(json.loads(str(ours))) == theirs["to_dict"]


def test_ours_to_transformers_and_back() -> None:
    ours = BertConfig(**SIZES, id2label={0: "O", 1: "B-person", 2: "I-person"}, classifier_dropout=0.0)
    theirs = convert_with_transformers(ours.to_dict())
    assert dataclasses.replace(BertConfig.from_dict(theirs), extra={}) == ours


@pytest.mark.parametrize("name", ["config.json", "bert_config.json"])
def test_from_pretrained_finds_both_names_and_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(SIZES), encoding="utf-8")
    assert BertConfig.from_pretrained(tmp_path) == BertConfig.from_pretrained(path) == BertConfig(**SIZES)


def test_unknown_keys_are_kept() -> None:
    values = {**SIZES, "finetuning_task": "greg_10k", "transformers_version": "4.8.2", "task_specific": {"a": [1]}}
    written = BertConfig.from_dict(values).to_dict()
    assert {name: written[name] for name in values} == values


def test_null_means_the_default() -> None:
    assert BertConfig.from_dict({**SIZES, "pad_token_id": None, "problem_type": None}) == BertConfig(**SIZES)


@pytest.mark.parametrize(("name", "sizes"), PRESETS.items())
def test_presets(name: str, sizes: tuple[int, int, int]) -> None:
    config = BertConfig.preset(name, vocab_size=8000)
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == sizes
    assert (config.intermediate_size, config.vocab_size, config.max_position_embeddings) == (4 * sizes[1], 8000, 512)


def test_unknown_preset() -> None:
    with pytest.raises(
        InputError, match="No preset is named 'huge'; the presets are tiny, mini, small, medium, base, large"
    ):
        BertConfig.preset("huge")


def test_labels_are_in_the_order_of_their_ids() -> None:
    config = BertConfig(**SIZES, id2label={1: "good", 2: "better", 0: "bad"})
    assert list(config.id2label.values()) == ["bad", "good", "better"]


@pytest.mark.parametrize(
    ("id2label", "names"),
    [
        (["bad", "good"], ["bad", "good"]),
        ({"0": 3, "1": 5}, ["3", "5"]),
        ([3, 5], ["3", "5"]),
        ({"good": 1, "bad": 0}, ["bad", "good"]),
    ],
)
def test_other_forms_of_id2label(id2label: Any, names: list[str], tmp_path: Path) -> None:
    for config in (BertConfig.from_dict({**SIZES, "id2label": id2label}), BertConfig(**SIZES, id2label=id2label)):
        assert config.id2label == dict(enumerate(names))
        assert config.to_dict()["id2label"] == dict(enumerate(names))


def test_num_labels_and_a_shorter_id2label_give_a_warning() -> None:
    values = {**SIZES, "num_labels": 50, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}
    with pytest.warns(UserWarning, match="num_labels is 50, but id2label has 2 labels: 50 labels are used"):
        config = BertConfig.from_dict(values)
    assert config.num_labels == 50
    assert config.id2label[49] == "LABEL_49"


def test_num_labels_alone() -> None:
    assert BertConfig.from_dict({**SIZES, "num_labels": 3}).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "lacks hidden_size"),
        ({"vocab_size": "99"}, "vocab_size is '99'; an integer above 0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; an integer above 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"intermediate_size": 37.0}, "intermediate_size is 37.0"),
        ({"type_vocab_size": -1}, "type_vocab_size is -1"),
        ({"num_attention_heads": 5}, "hidden_size 32 is not a multiple of num_attention_heads 5"),
        ({"hidden_dropout_prob": 1}, "hidden_dropout_prob is 1; a number from 0 to below 1"),
        ({"attention_probs_dropout_prob": "none"}, "attention_probs_dropout_prob is 'none'"),
        ({"classifier_dropout": 1.5}, "classifier_dropout is 1.5; null or a number"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0; a number above 0"),
        ({"hidden_act": 3}, "hidden_act is 3; the name of an activation"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'; true or false"),
        ({"pad_token_id": 99}, "pad_token_id is 99; an id of the vocabulary, 0 to 98"),
        ({"problem_type": 1}, "problem_type is 1; null or a string was expected"),
        ({"num_labels": 0}, "num_labels is 0"),
        ({"id2label": "ab"}, r"id2label is 'ab'; an object"),
        ({"id2label": {"zero": "a"}}, r"id2label has the keys \['zero'\]; integers were expected"),
        ({"id2label": {"0": "a", "2": "b"}}, "a name for each of the ids 0, 1, 2"),
        ({"id2label": {"0": 1.5}}, "a name for each of the ids"),
        ({"id2label": {"bad": 1, "good": 1}}, "a name for each of the ids"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key' is not supported"),
        ({"model_type": "roberta"}, "model_type 'roberta' is not supported"),
        ({"is_decoder": True}, "is_decoder True is not supported"),
        ({"add_cross_attention": True}, "add_cross_attention True is not supported"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads {'0': .1.} is not supported"),
    ],
)
def test_invalid_values_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "config.json"
    values = {key: value for key, value in {**SIZES, **change}.items() if value is not None}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        BertConfig.from_pretrained(tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON: line 1, column 1"),
        (b'{"vocab_size": 99,\n"hidden_size"}', "is not JSON: line 2"),
        (b"[1, 2]", "contains a JSON list; an object in braces"),
        (b'{"vocab_size": "\xff"}', "is not UTF-8: byte 16"),
    ],
)
def test_a_file_that_is_not_a_configuration(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        BertConfig.from_pretrained(tmp_path)


def test_a_directory_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has neither config\.json nor bert_config\.json: it is not a BERT"):
        BertConfig.from_pretrained(tmp_path)


def test_a_configuration_is_frozen_and_hashable() -> None:
    config = BertConfig(**SIZES)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.vocab_size = 100
    assert hash(config) == hash(BertConfig(**SIZES))
