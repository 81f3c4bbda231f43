"""Every model class compared with transformers: inputs, outputs, files."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import transformers_models
from keras import ops
from torch_process import run_in_torch_process

# Outputs per token, which are undefined at padding.
OF_TOKENS = ("last_hidden_state", "prediction_logits", "start_logits", "end_logits")


def remove_padding(name: str, value: Any, mask: np.ndarray) -> np.ndarray:
    """The values of an output that are not at padding."""
    value = ops.convert_to_numpy(value)
    rows = mask.reshape(-1, mask.shape[-1])
    each_token = name in OF_TOKENS or (name == "logits" and value.shape[:2] == rows.shape)
    return value[rows.astype(bool)] if each_token else value


def check(ours: Any, theirs: dict[str, Any], mask: np.ndarray, *, atol: float = 5e-6) -> None:
    """Both have the same outputs, except hidden states and attentions that were not requested from ours."""
    assert set(theirs) - set(ours) <= {"hidden_states", "attentions", "cross_attentions"}
    for name, value in ours.items():
        np.testing.assert_allclose(
            remove_padding(name, value, mask), remove_padding(name, theirs[name], mask), atol=atol, err_msg=name
        )


def test_outputs(pair) -> None:
    theirs = pair.run_transformers(pair.inputs)
    check(pair.ours(pair.inputs), theirs, pair.inputs["attention_mask"])
    check(pair.ours.predict(pair.inputs, verbose=0, batch_size=5), theirs, pair.inputs["attention_mask"])


def test_missing_inputs_are_filled_in(pair) -> None:
    ids = {"input_ids": pair.inputs["input_ids"]}
    theirs = pair.run_transformers(ids)
    everything = np.ones_like(ids["input_ids"])
    check(pair.ours(ids), theirs, everything)
    check(pair.ours(ids["input_ids"]), theirs, everything)
    check(pair.ours.predict(ids, verbose=0), theirs, everything)
    masked = {**ids, "attention_mask": pair.inputs["attention_mask"]}
    check(pair.ours(masked), pair.run_transformers(masked), masked["attention_mask"])


def test_hidden_states_and_attentions(pair) -> None:
    model = pair.ours.with_outputs(output_hidden_states=True, output_attentions=True)
    assert {id(weight) for weight in model.weights} == {id(weight) for weight in pair.ours.weights}
    ours = dict(model(pair.inputs))
    theirs = pair.run_transformers(pair.inputs, output_hidden_states=True, output_attentions=True)
    tokens = pair.inputs["attention_mask"].reshape(-1, transformers_models.LENGTH).astype(bool)
    assert len(ours["hidden_states"]) == len(theirs["hidden_states"]) == 3
    for state, expected in zip(ours.pop("hidden_states"), theirs["hidden_states"], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(state)[tokens], expected[tokens], atol=5e-6)
    assert len(ours["attentions"]) == len(theirs["attentions"]) == 2
    for attention, expected in zip(ours.pop("attentions"), theirs["attentions"], strict=True):
        heads_last = (0, 2, 1, 3)  # [rows, queries, heads, keys]
        attention = ops.convert_to_numpy(attention).transpose(heads_last)[tokens]
        np.testing.assert_allclose(attention, expected.transpose(heads_last)[tokens], atol=2e-6)
    check(ours, theirs, pair.inputs["attention_mask"])


def test_keras_file(pair, tmp_path: Path) -> None:
    pair.ours.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.config == pair.ours.config
    for inputs in (pair.inputs, {"input_ids": pair.inputs["input_ids"]}):
        for name, value in pair.ours(inputs).items():
            np.testing.assert_array_equal(ops.convert_to_numpy(loaded(inputs)[name]), ops.convert_to_numpy(value))


@pytest.mark.parametrize(
    "pair",
    [
        "BertForPreTraining",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("BertModel", "BertForQuestionAnswering", "BertForMultipleChoice")
        ),
    ],
    indirect=True,
)
def test_fit_on_ids_alone(pair) -> None:
    # Without dropout, whose noise can be larger than one step of learning.
    model = pair.reload(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ids = {"input_ids": pair.inputs["input_ids"]}
    targets = {name: np.zeros(value.shape, "float32") for name, value in model(ids).items()}
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=dict.fromkeys(targets, "mse"))
    losses = model.fit(ids, targets, epochs=2, batch_size=13, verbose=0).history["loss"]
    assert losses[1] < losses[0]


def test_state_dict_is_that_of_pytorch(pair) -> None:
    ours, theirs = pair.ours.state_dict(), transformers_models.load_state_dict(pair.name, pair.directory)
    assert ours.keys() == theirs.keys()
    if not pair.ours.config.tie_word_embeddings:
        theirs["cls.predictions.bias"] = theirs["cls.predictions.decoder.bias"]  # the only one that PyTorch adds
    for name, array in ours.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_transformers_opens_what_is_saved(pair, tmp_path: Path) -> None:
    pair.ours.save_pretrained(tmp_path)
    assert read_architectures(pair.name, tmp_path) == [pair.name]
    theirs = pair.run_transformers(pair.inputs)
    for name, value in transformers_models.compute_outputs(pair.name, tmp_path, pair.inputs).items():
        np.testing.assert_array_equal(value, theirs[name])


@run_in_torch_process
def read_architectures(name: str, directory: Path) -> list[str]:
    import torch_models

    return torch_models.load(name, directory).config.architectures


def test_all_loaded(pair) -> None:
    report = pair.ours.load_report
    assert report.list_names("newly initialized") == report.list_names("unexpected") == []
    assert set(report.list_names("ignored")) <= {"cls.predictions.bias"}


def test_bfloat16_gives_float32_logits_near_those_of_float32(pair) -> None:
    outputs = pair.reload(dtype="mixed_bfloat16")(pair.inputs)
    exact = pair.ours(pair.inputs)
    for name, value in outputs.items():
        assert keras.backend.standardize_dtype(value.dtype) == ("float32" if "logits" in name else "bfloat16")
        a, b = (remove_padding(name, x, pair.inputs["attention_mask"]).astype("float32") for x in (value, exact[name]))
        assert 0 < np.sqrt(np.mean(np.square(a - b))) < 0.03 * np.sqrt(np.mean(np.square(b)))


def test_prints_its_tree(pair) -> None:
    """The modules that transformers prints, in its order, each with its size."""
    theirs = [
        line.strip().split(":")[0] for line in format_model(pair.name, pair.directory).splitlines()[1:] if ":" in line
    ]
    ours = [line.strip().split(":")[0] for line in str(pair.ours).splitlines()[1:] if ":" in line]
    same = {"(layer)": None, "(0-1)": "(layer_0-1)", "(intermediate_act_fn)": None, "(activation)": None}
    theirs = [same.get(name, name) for name in theirs if same.get(name, name)]
    leaves = {"(transform_act_fn)", "(decoder)"} if pair.ours.config.tie_word_embeddings else {"(transform_act_fn)"}
    assert [name for name in ours if name not in leaves] == [name for name in theirs if name not in leaves]
    assert "(word_embeddings): Embedding(99, 32)" in str(pair.ours)
    assert "(dense): Dense(in=37, out=32, bias=True)" in str(pair.ours)


@run_in_torch_process
def format_model(name: str, directory: Path) -> str:
    import torch_models

    return str(torch_models.load(name, directory))
