"""LoRA and adapters, compared with PEFT on torch."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import peft_models
import pytest
import safetensors.numpy
import sentence_models
import transformers_models
from keras import ops

from keras_bert_impl import models
from keras_bert_impl.checkpoints.adapters import merge_adapter, read_adapter
from keras_bert_impl.cli.main import main
from keras_bert_impl.config import BertConfig
from keras_bert_impl.errors import InputError
from keras_bert_impl.models.heads import find_model_class
from keras_bert_impl.sources import open_source

LABELS = {"num_labels": 5}
NAMES = {"id2label": dict(enumerate("abcde"))}
# By class: PEFT's settings. Sizes differ from those of the model and from each other.
CASES: dict[str, dict[str, Any]] = {
    "BertForSequenceClassification": {"task_type": "SEQ_CLS", "r": 3, "lora_alpha": 8},
    "BertForTokenClassification": {
        "task_type": "TOKEN_CLS",
        "r": 4,
        "lora_alpha": 6,
        "use_rslora": True,
        "target_modules": ["key", "dense"],
    },
    "BertForQuestionAnswering": {
        "task_type": "QUESTION_ANS",
        "r": 3,
        "lora_alpha": 8,
        "target_modules": ["query", "value"],
        "rank_pattern": {"query": 6},
        "alpha_pattern": {"layer.1.attention.self.value": 11},
    },
    # Here the pooler has LoRA too.
    "BertModel": {"task_type": "FEATURE_EXTRACTION", "r": 2, "lora_alpha": 9, "target_modules": "all-linear"},
}


def get_labels(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments for the number of labels, of transformers and of this package."""
    if name.endswith("Classification"):
        return LABELS, NAMES
    return ({"num_labels": 2}, {}) if name == "BertForQuestionAnswering" else ({}, {})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model without a head."""
    directory = tmp_path_factory.mktemp("models") / "base"
    transformers_models.save("BertModel", directory, num_hidden_layers=2)
    return directory


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that PEFT trained."""
    return train(base, tmp_path_factory.mktemp("adapters"), "BertForSequenceClassification")[0]


def train(base: Path, directory: Path, name: str) -> tuple[Path, dict[str, np.ndarray]]:
    """An adapter of PEFT, and the outputs of its model."""
    path, inputs = directory / name, transformers_models.make_inputs()
    return path, peft_models.train_adapter(name, base, path, inputs, labels=get_labels(name)[0], **CASES[name])


def compare(ours: dict[str, Any], theirs: dict[str, np.ndarray], *, atol: float = 1e-5) -> None:
    """Compares all outputs, except those of padding."""
    mask = transformers_models.make_inputs()["attention_mask"].astype(bool)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        value, expected = ops.convert_to_numpy(value), theirs[name]
        if value.shape[:2] == mask.shape:
            value, expected = value[mask], expected[mask]
        np.testing.assert_allclose(value, expected, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_adapters_of_peft(name: str, base: Path, tmp_path: Path) -> None:
    """The same outputs, with LoRA apart or merged; and an adapter that was loaded and written again, in PEFT."""
    inputs, (labels, names) = transformers_models.make_inputs(), get_labels(name)
    adapter, theirs = train(base, tmp_path, name)
    model = getattr(models, name).from_pretrained(base, **names)
    before = model(inputs)
    model.load_adapter(adapter)
    compare(model(inputs), theirs)
    assert max(np.abs(ops.convert_to_numpy(before[key]) - theirs[key]).max() for key in theirs) > 0.1
    merged = getattr(models, name).from_pretrained(adapter)
    assert (model.has_lora, merged.has_lora) == (True, False)
    compare(merged(inputs), theirs)
    if name.endswith("Classification"):
        assert list(merged.config.id2label.values()) == [f"LABEL_{n}" for n in range(5)]

    model.save_adapter(tmp_path / "ours")
    compare(peft_models.compute_outputs(name, base, tmp_path / "ours", inputs, labels=labels), theirs)
    values = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    assert (values["task_type"], values["base_model_name_or_path"]) == (CASES[name]["task_type"], str(base))
    assert find_model_class(open_source(adapter)).__name__ == name


def make_lora_model(base: Path) -> models.BertForSequenceClassification:
    """A model with LoRA in some layers; all weights that are trained are random."""
    model = models.BertForSequenceClassification.from_pretrained(base, **NAMES)
    model.enable_lora(3, alpha=8, targets=("value", "intermediate.dense"), rslora=True)
    draw = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(draw.normal(0, 0.3, variable.shape))
    return model


def test_all_files_of_a_model_with_lora(base: Path, tmp_path: Path) -> None:
    inputs, model = transformers_models.make_inputs(), make_lora_model(base)
    expected = {"logits": ops.convert_to_numpy(model(inputs)["logits"])}
    model.save_adapter(tmp_path / "adapter")
    name = "BertForSequenceClassification"
    compare(peft_models.compute_outputs(name, base, tmp_path / "adapter", inputs, labels=LABELS), expected)
    merged = models.BertForSequenceClassification.from_pretrained(tmp_path / "adapter")
    compare(merged(inputs), expected)
    assert merged.config.id2label == NAMES["id2label"]
    tensors = safetensors.numpy.load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    shapes = {key.split("layer.1.")[1]: array.shape for key, array in tensors.items() if "layer.1." in key}
    assert shapes == {
        "attention.self.value.lora_A.weight": (3, 32),
        "attention.self.value.lora_B.weight": (32, 3),
        "intermediate.dense.lora_A.weight": (3, 32),
        "intermediate.dense.lora_B.weight": (37, 3),
    }

    model.save_pretrained(tmp_path / "merged")
    compare(models.BertForSequenceClassification.from_pretrained(tmp_path / "merged")(inputs), expected)
    compare(transformers_models.compute_outputs(name, tmp_path / "merged", inputs), expected)
    model.save(tmp_path / "model.keras")
    compare(keras.saving.load_model(tmp_path / "model.keras")(inputs), expected)
    model.load_pretrained(tmp_path / "merged")
    compare(model(inputs), expected)


def test_lora_changes_nothing_before_training(base: Path) -> None:
    inputs = transformers_models.make_inputs()
    model = models.BertForSequenceClassification.from_pretrained(base, **NAMES)
    before = ops.convert_to_numpy(model(inputs)["logits"])
    model.enable_lora(3)
    np.testing.assert_array_equal(ops.convert_to_numpy(model(inputs)["logits"]), before)
    trained = [variable.path.split("/")[-1] for variable in model.trainable_variables]
    assert sorted(trained) == sorted(["lora_kernel_a", "lora_kernel_b"] * 4 + ["kernel", "bias"] * 2)
    # PEFT draws from a uniform distribution with this limit.
    starts = np.concatenate([matrices.a.ravel() for matrices in model.read_lora().values()])
    assert 0.9 / 32**0.5 < np.abs(starts).max() <= 1 / 32**0.5


def test_sentence_embeddings(small_bert: Path, tmp_path: Path) -> None:
    """The directory of the adapter has the modules of sentence-transformers, which loads it with PEFT."""
    directory = sentence_models.make_directory("mean", tmp_path / "embedder", bert=small_bert)
    model = models.BertForSentenceEmbedding.from_pretrained(directory)
    model.enable_lora(2)
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(3).normal(size=variable.shape))
    texts = ["A film.", "It was a long, long day."]
    expected = model.encode(texts)
    model.save_adapter(tmp_path / "adapter")
    np.testing.assert_allclose(sentence_models.encode(tmp_path / "adapter", texts), expected, atol=1e-5)
    assert main(["convert", str(tmp_path / "adapter"), str(tmp_path / "merged")]) == 0
    for name in ("adapter", "merged"):
        other = models.BertForSentenceEmbedding.from_pretrained(tmp_path / name)
        np.testing.assert_allclose(other.encode(texts), expected, atol=1e-5)


def test_a_classifier_on_the_base_of_an_embedding_model(small_bert: Path, tmp_path: Path) -> None:
    """The files of sentence-transformers in the base do not make the adapter one of its models."""
    directory = sentence_models.make_directory("mean", tmp_path / "embedder", bert=small_bert)
    model = models.BertForSequenceClassification.from_pretrained(directory, **NAMES)
    model.enable_lora(2)
    model.save_adapter(tmp_path / "adapter")
    assert find_model_class(open_source(tmp_path / "adapter")) is models.BertForSequenceClassification


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; LORA was expected"),
    "dora": ({"use_dora": True}, "use_dora is True, which is not supported. Merge the adapter with PEFT"),
    "bias": ({"bias": "lora_only"}, "bias is 'lora_only', which is not supported"),
    "pissa": ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which is not supported"),
    "rank": ({"r": 4}, r"shapes \[3, 32\] and \[32, 3\]; the rank in adapter_config.json is 4"),
    "rank type": ({"r": "3"}, "r is '3'; a number above 0 was expected"),
    "alpha": ({"lora_alpha": 0}, "lora_alpha is 0; a number above 0 was expected"),
    "pattern": ({"rank_pattern": {"(a+)+query": 3}}, "rank_pattern contains '(.*)'; names of modules were expected"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configurations_that_are_refused(case: str, adapter: Path, tmp_path: Path) -> None:
    changes, message = CONFIGS[case]
    shutil.copytree(adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=message):
        read_adapter(tmp_path / "adapter")


QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"
FILES: dict[str, tuple[dict[str, str | None], str]] = {
    "half": ({f"{QUERY}.lora_B.weight": None}, "lacks bert.encoder.layer.0.attention.self.query.lora_B.weight"),
    "dora": (
        {f"{QUERY}.lora_B.weight": f"{QUERY}.lora_magnitude_vector"},
        "contains .*lora_magnitude_vector, which is neither LoRA of a dense layer nor a tensor of BERT",
    ),
    "unknown": (
        {f"{QUERY}.lora_{ab}.weight": f"base_model.model.bert.q_proj.lora_{ab}.weight" for ab in "AB"},
        "has LoRA for bert.q_proj, which is not a dense layer of BERT",
    ),
    "embeddings": (
        {
            f"{QUERY}.lora_{ab}.weight": f"base_model.model.bert.embeddings.word_embeddings.lora_{ab}.weight"
            for ab in "AB"
        },
        "has LoRA for bert.embeddings.word_embeddings, which is not a dense layer",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_tensors_that_are_refused(case: str, adapter: Path, tmp_path: Path) -> None:
    renames, message = FILES[case]
    shutil.copytree(adapter, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = {renames.get(name, name): array for name, array in safetensors.numpy.load_file(path).items()}
    tensors.pop(None, None)
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(InputError, match=message):
        read_adapter(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 1}, "has LoRA for encoder.layer.1.attention.self.query, which .* lacks"),
        ({"num_hidden_layers": 3}, "lacks the LoRA of encoder.layer.2.attention.self.query, which .* has"),
        ({"hidden_size": 44}, r"is for a kernel of the shape \[32, 32\], but that of .* has \[44, 44\]"),
    ],
    ids=str,
)
def test_adapters_of_another_base(changes: dict[str, int], message: str, adapter: Path) -> None:
    config = BertConfig.from_pretrained(open_source(adapter)).to_dict() | changes
    other = models.BertForSequenceClassification(config)
    with pytest.raises(InputError, match=message):
        other.load_adapter(adapter)
    with pytest.raises(InputError, match=message):
        merge_adapter(other.state_dict(), read_adapter(adapter), base="other")


def test_a_head_for_other_labels(base: Path, adapter: Path) -> None:
    model = models.BertForSequenceClassification.from_pretrained(base)
    message = r"classifier.bias has the shape \[5\]; the configuration needs \[6\]\. Create the model with"
    before = model.state_dict()
    with pytest.raises(InputError, match=message):
        model.load_adapter(adapter)
    assert not model.has_lora
    assert all((array == before[name]).all() for name, array in model.state_dict().items())


def test_bases_that_cannot_be_opened(base: Path, adapter: Path, tmp_path: Path) -> None:
    copy, config = tmp_path / "adapter", json.loads((adapter / "adapter_config.json").read_text())
    shutil.copytree(adapter, copy)

    def name_base(name: Any) -> Path:
        (copy / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": name}))
        return copy

    for name, message in {
        "/not/there": "names a base model that cannot be opened: /not/there: no such file .* --base BASE",
        "": "does not name a base model. Merge it with its base: keras-bert convert",
        str(adapter): "is itself an adapter",
    }.items():
        with pytest.raises(InputError, match=message):
            open_source(name_base(name))
    model = models.BertForSequenceClassification.from_pretrained(open_source(name_base("/not/there"), base=base))
    expected = models.BertForSequenceClassification.from_pretrained(adapter).state_dict()
    assert all((array == expected[name]).all() for name, array in model.state_dict().items())
    with pytest.raises(InputError, match=r"is not an adapter: it has no adapter_config.json. Omit the base."):
        open_source(base, base=base)
    assert main(["convert", str(copy), str(tmp_path / "no")]) == 2
    assert main(["convert", str(copy), str(tmp_path / "merged"), "--base", str(base)]) == 0
    merged = models.BertForSequenceClassification.from_pretrained(tmp_path / "merged").state_dict()
    assert all((array == expected[name]).all() for name, array in merged.items())


def test_invalid_calls(base: Path, adapter: Path, tmp_path: Path) -> None:
    model = models.BertForSequenceClassification.from_pretrained(base, **NAMES)
    with pytest.raises(InputError, match="This model has no LoRA to write"):
        model.save_adapter(tmp_path / "adapter")
    with pytest.raises(InputError, match="the rank of LoRA is 0; an integer above 0"):
        model.enable_lora(0)
    message = "LoRA target 'q_proj' is not a dense layer of a block; dense, key, query or value was expected"
    with pytest.raises(InputError, match=message):
        model.enable_lora(2, targets=("query", "q_proj"))
    model.enable_lora(2)
    for call in (lambda: model.enable_lora(2), lambda: model.load_adapter(adapter)):
        with pytest.raises(InputError, match="This model has LoRA already"):
            call()
    merged = models.BertForSequenceClassification.from_pretrained(adapter)
    merged.enable_lora(2)
    with pytest.raises(InputError, match=r"The base of this model is .*, itself an adapter"):
        merged.save_adapter(tmp_path / "second")
    shutil.copy(adapter / "adapter_config.json", tmp_path)
    with pytest.raises(InputError, match=r"none of adapter_model.safetensors, adapter_model.bin"):
        read_adapter(tmp_path)


@pytest.mark.slow
def test_verify(base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(adapter)]) == 0
    assert "BertForSequenceClassification" in capsys.readouterr().out


def test_the_head_of_an_adapter_is_kept_where_its_base_has_others(tmp_path: Path) -> None:
    names = {"id2label": dict(enumerate("xyz"))}
    model = models.BertForSequenceClassification.from_pretrained("bert-tiny-novels", **names)
    model.enable_lora(2)
    for variable in model.trainable_variables:
        variable.assign_add(keras.random.normal(variable.shape, stddev=0.05, seed=1))
    model.save_adapter(tmp_path / "adapter")
    inputs = model.tokenizer(["She went in."])
    expected = ops.convert_to_numpy(model(inputs)["logits"])
    assert find_model_class(open_source(tmp_path / "adapter")) is models.BertForSequenceClassification
    assert main(["convert", str(tmp_path / "adapter"), str(tmp_path / "merged")]) == 0
    config = json.loads((tmp_path / "merged" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert list(config["id2label"].values()) == ["x", "y", "z"]
    outputs = transformers_models.compute_outputs("BertForSequenceClassification", tmp_path / "merged", inputs)
    np.testing.assert_allclose(outputs["logits"], expected, atol=1e-5)


def test_an_adapter_for_other_labels(base: Path, tmp_path: Path) -> None:
    model = models.BertForSequenceClassification.from_pretrained(base, num_labels=3)
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    model.enable_lora(2)
    model.save_adapter(tmp_path / "adapter")
    other = models.BertForSequenceClassification.from_pretrained(base, num_labels=4)
    with pytest.raises(
        InputError,
        match=r"has the shape \[3\]; the configuration needs \[4\]\. Create the model with the labels of the",
    ):
        other.load_adapter(tmp_path / "adapter")
