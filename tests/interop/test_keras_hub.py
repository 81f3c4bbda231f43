"""Conversion to KerasHub and back, compared with transformers on torch."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import transformers_models

from keras_bert_impl import BertConfig, BertModel, BertTokenizer, models
from keras_bert_impl.errors import InputError
from keras_bert_impl.interop import inputs
from keras_bert_impl.interop.keras_hub import from_keras_hub, set_hidden_act, to_keras_hub
from keras_bert_impl.ops.activations import ACTIVATIONS

NAMES = {"input_ids": "token_ids", "token_type_ids": "segment_ids", "attention_mask": "padding_mask"}
OUTPUTS = {"last_hidden_state": "sequence_output", "pooler_output": "pooled_output"}
SIZES = {
    "vocabulary_size": 99,
    "num_layers": 2,
    "num_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 37,
    "max_sequence_length": 61,
    "num_segments": 3,
}
CONFIG = {**transformers_models.SIZES, "num_hidden_layers": 2}
INPUTS = transformers_models.make_inputs()
LIMIT = 1e-5
# Larger differences to torch show a different GELU: above rounding errors, below the size of the states.
DRIFT = 1e-4


def rename_inputs(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {NAMES[name]: array for name, array in arrays.items()}


def compute_gap(outputs: Any, expected: Any, arrays: dict[str, np.ndarray] = INPUTS) -> float:
    """The largest difference between the outputs of a backbone and of a BERT, without padding."""
    real = arrays["attention_mask"].astype(bool)
    gaps = []
    for ours, theirs in OUTPUTS.items():
        found, wanted = (np.asarray(keras.ops.convert_to_numpy(a)) for a in (outputs[theirs], expected[ours]))
        assert found.shape == wanted.shape
        difference = np.abs(found - wanted)
        gaps.append(difference[real].max() if found.ndim == 3 else difference.max())
    return float(max(gaps))


def make_random_backbone(**changes: Any) -> Any:
    """A backbone of KerasHub in which no weight is zero or one."""
    backbone = keras_hub.models.BertBackbone(**{**SIZES, **changes})
    draw = np.random.default_rng(1)
    for variable in backbone.weights:
        variable.assign(keras.ops.convert_to_numpy(variable) + draw.normal(size=variable.shape) * 0.1)
    return backbone


def assert_same_weights(first: keras.Model, second: keras.Model) -> None:
    """Asserts that all weights are equal, bit for bit, under the same paths."""
    found, expected = ({variable.path: variable for variable in model.weights} for model in (first, second))
    assert found.keys() == expected.keys()
    for path, variable in expected.items():
        assert found[path].dtype == variable.dtype
        arrays = (keras.ops.convert_to_numpy(variable) for variable in (found[path], variable))
        np.testing.assert_array_equal(*arrays, err_msg=path)


def list_warnings(warnings: pytest.WarningsRecorder) -> list[str]:
    """The warnings of this package."""
    return [str(warning.message) for warning in warnings if warning.category is UserWarning]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of transformers."""
    directory = tmp_path_factory.mktemp("keras_hub")
    transformers_models.save("BertModel", directory, num_hidden_layers=2)
    return directory


@pytest.fixture(scope="module")
def ours(saved: Path) -> BertModel:
    return BertModel.from_pretrained(saved)


@pytest.fixture(scope="module")
def expected(saved: Path) -> dict[str, np.ndarray]:
    """The outputs of torch."""
    return transformers_models.compute_outputs("BertModel", saved, INPUTS)


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu"])
def test_outputs_are_those_of_torch(hidden_act: str, saved: Path) -> None:
    theirs = transformers_models.compute_outputs("BertModel", saved, INPUTS, changes={"hidden_act": hidden_act})
    backbone = to_keras_hub(BertModel.from_pretrained(saved, hidden_act=hidden_act))
    assert type(backbone) is keras_hub.models.BertBackbone
    assert {name: getattr(backbone, name) for name in SIZES} == SIZES
    assert backbone.dropout == 0.1
    assert compute_gap(backbone(rename_inputs(INPUTS)), theirs) < LIMIT


def test_kerashubs_own_gelu_differs(ours: BertModel, expected: dict[str, np.ndarray]) -> None:
    """Therefore the other tests of this file would fail with the wrong activation."""
    backbone = to_keras_hub(ours)
    set_hidden_act(backbone, "gelu_new")
    assert compute_gap(backbone(rename_inputs(INPUTS)), expected) > DRIFT


def test_epsilon_and_activation_of_a_backbone() -> None:
    """The constants of KerasHub that the package relies on."""
    backbone = keras_hub.models.BertBackbone(**SIZES)
    norms = [layer for layer in backbone._flatten_layers() if isinstance(layer, keras.layers.LayerNormalization)]
    assert len(norms) == 1 + 2 * SIZES["num_layers"]
    assert {norm.epsilon for norm in norms} == {1e-12}
    values = np.linspace(-4, 4, 101, dtype="float32")
    for layer in backbone.transformer_layers:
        found, wanted = layer.activation(values), keras.activations.gelu(values, approximate=True)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def test_every_hidden_act() -> None:
    backbone = keras_hub.models.BertBackbone(**SIZES)
    values = np.linspace(-4, 8, 101, dtype="float32")
    for hidden_act, function in ACTIVATIONS.items():
        set_hidden_act(backbone, hidden_act)
        for layer in backbone.transformer_layers:
            assert layer.activation is layer._feedforward_intermediate_dense.activation
            np.testing.assert_allclose(layer.activation(values), function(values), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match=r"hidden_act 'snake' is not supported; supported are gelu, .*swish\."):
        set_hidden_act(backbone, "snake")


def test_outputs_after_conversion_to_bert() -> None:
    backbone = make_random_backbone(dropout=0.2)
    model = from_keras_hub(backbone, hidden_act="gelu_new", pad_token_id=7, attention_probs_dropout_prob=0.3)
    assert model.config == BertConfig(
        **CONFIG,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        pad_token_id=7,
    )
    assert compute_gap(backbone(rename_inputs(INPUTS)), model(INPUTS)) < LIMIT


def test_conversion_to_transformers(tmp_path: Path) -> None:
    """From KerasHub through this package to torch."""
    backbone = make_random_backbone()
    from_keras_hub(backbone, hidden_act="gelu_new").save_pretrained(tmp_path)
    theirs = transformers_models.compute_outputs("BertModel", tmp_path, INPUTS)
    assert compute_gap(backbone(rename_inputs(INPUTS)), theirs) < LIMIT


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
def test_to_kerashub_and_back(dtype: str, saved: Path) -> None:
    model = BertModel.from_pretrained(saved, dtype=dtype)
    backbone = to_keras_hub(model)
    assert backbone.dtype_policy.name == dtype
    again = from_keras_hub(backbone)
    assert_same_weights(again, model)
    assert again.embeddings.dtype_policy.name == dtype
    assert again.config.hidden_act == "gelu"
    assert_same_weights(to_keras_hub(again), backbone)


def test_from_kerashub_and_back() -> None:
    backbone = make_random_backbone()
    assert_same_weights(to_keras_hub(from_keras_hub(backbone, hidden_act="gelu_new")), backbone)


def test_which_gelu() -> None:
    """GELU by tanh is ambiguous and warned about; another activation was set on purpose."""
    backbone = keras_hub.models.BertBackbone(**SIZES)
    with pytest.warns(UserWarning, match="pass its hidden_act"):
        assert from_keras_hub(backbone).config.hidden_act == "gelu_new"
    assert from_keras_hub(backbone, hidden_act="gelu").config.hidden_act == "gelu"
    set_hidden_act(backbone, "silu")
    assert from_keras_hub(backbone).config.hidden_act == "silu"
    for layer in backbone.transformer_layers:
        layer.activation = keras.activations.elu
    with pytest.raises(InputError, match=r"elu.*pass hidden_act="):
        from_keras_hub(backbone)


def test_saving(ours: BertModel, expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Files of a backbone lose the activation, files of a plain model contain it."""
    backbone = to_keras_hub(ours)
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.models.load_model(tmp_path / "backbone.keras")
    assert compute_gap(loaded(rename_inputs(INPUTS)), expected) > DRIFT
    set_hidden_act(loaded, "gelu")
    assert compute_gap(loaded(rename_inputs(INPUTS)), expected) < LIMIT
    assert_same_weights(loaded, backbone)

    backbone.save_to_preset(str(tmp_path / "preset"))
    loaded = keras_hub.models.BertBackbone.from_preset(str(tmp_path / "preset"))
    assert compute_gap(loaded(rename_inputs(INPUTS)), expected) > DRIFT
    set_hidden_act(loaded, "gelu")
    assert compute_gap(loaded(rename_inputs(INPUTS)), expected) < LIMIT

    keras.Model(backbone.input, backbone.output).save(tmp_path / "plain.keras")
    loaded = keras.models.load_model(tmp_path / "plain.keras")
    assert compute_gap(loaded(rename_inputs(INPUTS)), expected) < LIMIT
    with zipfile.ZipFile(tmp_path / "plain.keras") as file:
        assert b"keras_bert_impl" not in file.read("config.json"), "the file needs this package"


def test_a_step_of_training(saved: Path) -> None:
    """Without dropout both models take the same step."""
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = BertModel.from_pretrained(saved, **no_dropout)
    backbone = to_keras_hub(model)
    before = model.state_dict()
    targets = {
        name: np.zeros_like(array)
        for name, array in transformers_models.compute_outputs("BertModel", saved, INPUTS).items()
    }
    # Both models have gradients at padding, therefore all tokens have the same targets.
    for trained, words, names in ((model, INPUTS, dict(zip(OUTPUTS, OUTPUTS, strict=True))), (backbone, None, OUTPUTS)):
        trained.compile(optimizer=keras.optimizers.SGD(0.1), loss=dict.fromkeys(names.values(), "mse"))
        wanted = {names[name]: array for name, array in targets.items()}
        trained.train_on_batch(words or rename_inputs(INPUTS), wanted)
    after, found = model.state_dict(), from_keras_hub(backbone).state_dict()
    moved = {name for name, array in after.items() if np.abs(array - before[name]).max() > 1e-6}
    # The bias of the keys has no effect on softmax.
    assert {name for name in after if name not in moved} == {name for name in after if name.endswith("self.key.bias")}
    for name, array in after.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-6, err_msg=name)


def test_a_classifier(tmp_path: Path) -> None:
    """The head is copied as in the docstring; a task keeps the activation of its backbone."""
    transformers_models.save("BertForSequenceClassification", tmp_path, num_hidden_layers=2)
    model = models.BertForSequenceClassification.from_pretrained(tmp_path)
    with pytest.warns(
        UserWarning, match=r"a backbone does not contain: classifier/bias, classifier/kernel\.$"
    ) as warnings:
        backbone = to_keras_hub(model)
    assert len(list_warnings(warnings)) == 1
    task = keras_hub.models.BertTextClassifier(backbone, num_classes=model.config.num_labels)
    task.output_dense.set_weights(model.classifier.get_weights())
    logits = task.predict_on_batch(rename_inputs(INPUTS))
    theirs = transformers_models.compute_outputs("BertForSequenceClassification", tmp_path, INPUTS)
    np.testing.assert_allclose(logits, theirs["logits"], rtol=0, atol=LIMIT)
    with pytest.raises(InputError, match=r"backbone is a BertTextClassifier; .*as in its \.backbone\."):
        from_keras_hub(task)


def test_a_model_without_pooler() -> None:
    model = models.BertForTokenClassification(BertConfig(**CONFIG))
    with pytest.warns(UserWarning, match="BertForTokenClassification") as warnings:
        backbone = to_keras_hub(model)
    assert list_warnings(warnings) == [
        "weights of the BertForTokenClassification that a backbone does not contain: "
        "classifier/bias, classifier/kernel.",
        "newly initialized, because the BertForTokenClassification does not contain them: pooler/dense/bias, "
        "pooler/dense/kernel.",
    ]
    states = from_keras_hub(backbone)(INPUTS)["last_hidden_state"]
    assert states.shape == (transformers_models.BATCH, transformers_models.LENGTH, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05; KerasHub's BertBackbone always uses 1e-12"),
        ({"attention_probs_dropout_prob": 0.3}, r"hidden_dropout_prob is 0\.1 and .* 0\.3; .*dropout=…"),
    ],
)
def test_models_that_a_backbone_does_not_support(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_keras_hub(BertModel(BertConfig(**CONFIG, **changes)))


def test_a_chosen_dropout() -> None:
    model = BertModel(BertConfig(**CONFIG, attention_probs_dropout_prob=0.3))
    assert to_keras_hub(model, dropout=0.2).dropout == 0.2


def test_lora_is_refused() -> None:
    backbone = keras_hub.models.BertBackbone(**SIZES)
    backbone.enable_lora(2)
    with pytest.raises(InputError, match=r"the backbone contains .*lora_kernel_a, .*without LoRA"):
        from_keras_hub(backbone, hidden_act="gelu")
    model = BertModel(BertConfig(**CONFIG))
    next(layer for layer in model._flatten_layers() if layer.name == "query").enable_lora(2)
    with pytest.raises(InputError, match=r"the BertModel contains .*lora_kernel_a, .*without LoRA"):
        to_keras_hub(model)


def test_not_a_backbone() -> None:
    with pytest.raises(InputError, match="backbone is a str; a keras_hub BertBackbone was expected"):
        from_keras_hub("bert_base_en")
    roberta = {name: size for name, size in SIZES.items() if name != "num_segments"}
    with pytest.raises(InputError, match="backbone is a RobertaBackbone"):
        from_keras_hub(keras_hub.models.RobertaBackbone(**roberta))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"vocab_size": 100}, "vocab_size is 100; 99 was expected"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"hidden_act": "snake"}, "hidden_act 'snake' is not supported"),
    ],
)
def test_fields_that_contradict_the_backbone(field: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_keras_hub(keras_hub.models.BertBackbone(**SIZES), **{"hidden_act": "gelu", **field})


def test_without_kerashub(ours: BertModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"keras_hub is not installed.* pip install 'keras_bert_impl\[keras-hub\]'"):
        to_keras_hub(ours)
    with pytest.raises(InputError, match="keras_hub is not installed"):
        from_keras_hub(None)


@pytest.mark.slow
def test_minilm(minilm: Path) -> None:
    """The real checkpoint on film snippets, and the difference with GELU by tanh: the numbers in the docstring."""
    model = BertModel.from_pretrained(minilm)
    batch = BertTokenizer.from_pretrained(minilm)(inputs.read_snippets())
    expected = transformers_models.compute_outputs("BertModel", minilm, batch)
    backbone = to_keras_hub(model)
    assert compute_gap(backbone(rename_inputs(batch)), expected, batch) < LIMIT
    assert_same_weights(from_keras_hub(backbone), model)
    set_hidden_act(backbone, "gelu_new")
    assert compute_gap(backbone(rename_inputs(batch)), expected, batch) == pytest.approx(4.9e-3, rel=0.02)


RUN = """
import sys
import keras, numpy as np
from keras_bert_impl import BertModel
from keras_bert_impl.interop.keras_hub import from_keras_hub, to_keras_hub

directory, inputs, outputs = sys.argv[1:]
inputs = dict(np.load(inputs))
model = BertModel.from_pretrained(directory)
backbone = to_keras_hub(model)
found = backbone.predict(inputs, verbose=0)
again = from_keras_hub(backbone).state_dict()
assert again.keys() == model.state_dict().keys()
assert all(np.array_equal(again[name], array) for name, array in model.state_dict().items())
np.savez(outputs, backend=keras.backend.backend(), **found)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend: str, saved: Path, expected: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", **rename_inputs(INPUTS))
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "error::UserWarning", "-c", RUN]
    files = [saved, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    result = subprocess.run([*command, *map(str, files)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = dict(np.load(tmp_path / "outputs.npz"))
    assert str(found.pop("backend")) == backend
    assert compute_gap(found, expected) < LIMIT
