"""Freezing, layer-wise learning rates and LoRA in training: what changes, what is stored, and exact resume."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import safetensors.numpy
import small
from training_process import assert_same, collect_results, start_training

from keras_bert_impl import BertConfig, BertForSentenceEmbedding, BertForSequenceClassification
from keras_bert_impl.cli.main import main
from keras_bert_impl.data.batches import Features, LengthBatches, Ragged
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.prediction import Predictor
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.training import (
    FineTuningSettings,
    SaveStates,
    SavingSettings,
    accumulate,
    finetune,
    fit_with_resume,
)
from keras_bert_impl.training.optimizers import make_optimizer
from keras_bert_impl.training.trainable import choose_trainable, compute_rate_factors, describe_trainable

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 37}
WORDS, LABELS, STEPS = 99, 5, 8
KINDS: dict[str, dict[str, Any]] = {
    "frozen": {"freeze_layers": 2},
    "frozen embeddings and lamb": {"freeze_embeddings": True, "optimizer": "lamb", "layer_decay": 0.8},
    "lora": {"lora_rank": 3, "lora_targets": "query,dense", "layer_decay": 0.5},
}


def make_model(settings: FineTuningSettings, *, dropout: float = 0.1) -> Any:
    """A compiled classifier."""
    keras.utils.set_random_seed(3)
    config = BertConfig(
        vocab_size=WORDS,
        max_position_embeddings=41,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        id2label=dict(enumerate("abcde")),
        **SIZES,
    )
    model = BertForSequenceClassification(config)
    choose_trainable(model, settings)
    factors = compute_rate_factors(model, settings.layer_decay)
    optimizer = make_optimizer(settings, steps=STEPS, rate_factors=factors)
    model.compile(optimizer, **TASKS["classification"].make_compile_arguments())
    return model


def make_batches() -> LengthBatches:
    """Batches of four rows."""
    draw = np.random.default_rng(7)
    texts = [draw.integers(5, WORDS, draw.integers(3, 19)) for _ in range(4 * STEPS)]
    ids = Ragged.from_rows(texts, dtype=np.int32)
    inputs = {"input_ids": ids, "attention_mask": Ragged(np.ones_like(ids.flat), ids.offsets)}
    labels = {"logits": draw.integers(0, LABELS, len(texts)).astype(np.int32)}
    return LengthBatches(Features(inputs, labels, {}, np.arange(len(texts))), 4, seed=5, lengths=(19,))


def read_weights(model: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_only_some_weights_change_and_have_slots(kind: str) -> None:
    settings = FineTuningSettings(learning_rate=1e-2, **KINDS[kind])
    model, batches = make_model(settings), make_batches()
    before = read_weights(model)
    for k in range(3):
        inputs, labels, *_ = batches[k]
        model.train_on_batch(inputs, labels)
    trained = {variable.path for variable in model.trainable_weights}
    changed = {
        variable.path
        for variable, start, end in zip(model.weights, before, read_weights(model), strict=True)
        if (start != end).any()
    }
    # Softmax makes the gradient of the keys' biases zero, except for rounding.
    assert trained - changed <= {path for path in trained if path.endswith("key/bias")}
    assert changed <= trained
    slots = sum(np.prod(variable.shape) for variable in model.optimizer.variables if len(variable.shape))
    assert slots == 2 * sum(np.prod(variable.shape) for variable in model.trainable_weights)
    first, last = model.encoder.layer[0], model.encoder.layer[-1]
    is_trained = {
        "frozen": (False, False, True),
        "frozen embeddings and lamb": (False, True, True),
        "lora": (False, True, True),
    }[kind]
    assert is_trained == tuple(bool(layer.trainable_variables) for layer in (model.embeddings, first, last))


@pytest.mark.slow
def test_the_factors_of_layers() -> None:
    """The change of each layer after one step, where Adam's update has the size of the learning rate."""
    settings = FineTuningSettings(learning_rate=1e-3, layer_decay=0.5, weight_decay=0.0, warmup=0.0)
    model = make_model(settings)
    before = read_weights(model)
    inputs, labels, *_ = make_batches()[0]
    model.train_on_batch(inputs, labels)
    sizes: dict[str, float] = {}
    for variable, start, end in zip(model.weights, before, read_weights(model), strict=True):
        parts = variable.path.split("/")
        layer = parts[1] if parts[0] == "encoder" else parts[0]
        sizes[layer] = max(sizes.get(layer, 0), np.abs(end - start).max() / 1e-3)
    expected = {
        "embeddings": 1 / 16,
        "layer_0": 1 / 8,
        "layer_1": 1 / 4,
        "layer_2": 1 / 2,
        "pooler": 1,
        "classifier": 1,
    }
    assert sizes == pytest.approx(expected, rel=1e-2)


class SignalAt(keras.callbacks.Callback):
    """Sends this process SIGTERM in a step, counted from 1."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGTERM)


def train(directory: Path, settings: FineTuningSettings, *callbacks: Any) -> Any:
    """Trains with states; returns the model."""
    model = make_model(settings)
    states = SaveStates(directory, SavingSettings(minutes=0))
    options: dict[str, Any] = {"steps": STEPS, "steps_per_epoch": 5, "verbose": 0, "callbacks": callbacks}
    fit_with_resume(model, make_batches(), states=states, **options)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_training_ends_with_the_same_weights(kind: str, tmp_path: Path) -> None:
    settings = FineTuningSettings(learning_rate=1e-2, **KINDS[kind])
    complete = train(tmp_path / "complete", settings)
    with pytest.raises(Interrupted, match="after step 3 was saved"):
        train(tmp_path / "states", settings, SignalAt(3))
    resumed = train(tmp_path / "states", settings)
    for one, other in zip(resumed.variables, complete.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)), err_msg=one.path)
    for one, other in zip(resumed.optimizer.variables, complete.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)), err_msg=one.path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["frozen", "lora"])
def test_accumulation_and_rematerialization_change_nothing(kind: str) -> None:
    if keras.backend.backend() == "torch":
        pytest.skip("gradients are not accumulated on torch")
    settings = FineTuningSettings(learning_rate=1e-3, **KINDS[kind])
    plain, saving = (make_model(settings, dropout=0.0) for _ in range(2))
    saving.gradient_checkpointing_enable()
    accumulate(saving, 2)
    for k in range(3):
        inputs, labels, *_ = make_batches()[k]
        losses = [model.train_on_batch(inputs, labels, return_dict=True)["loss"] for model in (plain, saving)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for one, other in zip(read_weights(plain), read_weights(saving), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"lora_rank": 3}, {"freeze_layers": 1}], ids=str)
def test_two_devices_train_like_one(settings: dict[str, Any]) -> None:
    common = {"steps": 12, "parts": 1, "tuning": {"layer_decay": 0.5, **settings}}
    (two,), (one,) = collect_results(
        [start_training({**common, "strategy": "mirrored", "devices": 2}), start_training(common)]
    )
    assert two["replicas"] == 2
    assert_same(two, one, within=1e-4)


def test_a_run_with_lora(small_bert: Path, snippets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It contains the merged model and the adapter, which predict the same, although the best epoch is not the last."""
    options = ["--epochs", "4", "--lora-rank", "3", "--lora-targets", "query,dense", "--rslora", "--layer-decay", "0.9"]
    run = tmp_path / "run"
    assert main([*small.make_finetune_arguments(small_bert, snippets, run), *options]) == 0
    output = capsys.readouterr().out
    assert " parameters are trained" in output
    assert {path.name for path in (run / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "model_config.json",
    }
    texts = ["A great film.", "It was a waste of time.", "The plot is thin, and the cast is wonderful."]
    both = [Predictor(directory).predict_texts(texts) for directory in (run, run / "adapter")]
    for merged, adapter in zip(*both, strict=True):
        assert adapter["label"] == merged["label"]
        assert adapter["scores"] == pytest.approx(merged["scores"], abs=1e-5)
    start = safetensors.numpy.load_file(small_bert / "model.safetensors")
    end = safetensors.numpy.load_file(run / "model.safetensors")
    changed = {name for name, array in start.items() if not np.array_equal(array, end[f"bert.{name}"])}
    targets = ("query.weight", "dense.weight")
    assert changed == {name for name in start if name.endswith(targets) or name.startswith("pooler.")}

    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == (str(small_bert), 3)
    assert config["lora_alpha"] == pytest.approx(3 * 3**0.5)
    assert main(["predict", str(run / "adapter"), texts[0]]) == 0
    assert main([*small.make_finetune_arguments(run / "adapter", snippets, tmp_path / "no"), "--lora-rank", "2"]) == 2
    assert "is an adapter, which cannot be the base of another" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_settings_that_do_not_fit_the_model(small_bert: Path, tmp_path: Path) -> None:
    columns = {"text": ["a", "b"], "label": ["0", "1"]}
    for settings, message in (
        ({"freeze_layers": 3}, "freeze_layers is 3; the model has 2 blocks. Choose at most 2."),
        ({"lora_rank": 2, "lora_targets": "query,q_proj"}, "the LoRA target 'q_proj' is not a dense layer"),
    ):
        with pytest.raises(InputError, match=message):
            finetune(
                small_bert,
                train=columns,
                valid=columns,
                output=tmp_path / "run",
                settings=FineTuningSettings(**settings),
                log=lambda line: None,
            )
    assert not list(tmp_path.iterdir())
    message = "freeze_layers and lora_rank were both given; LoRA freezes embeddings and blocks. Omit freeze_layers."
    with pytest.raises(InputError, match=message):
        FineTuningSettings(freeze_layers=1, lora_rank=2)
    embedder = BertForSentenceEmbedding(BertConfig(vocab_size=WORDS, **SIZES))
    with pytest.raises(InputError, match="freezes all weights: BertForSentenceEmbedding has no head"):
        choose_trainable(embedder, FineTuningSettings(freeze_layers=3))


def test_the_description_of_what_is_trained() -> None:
    model = BertForSequenceClassification(BertConfig(vocab_size=WORDS, max_position_embeddings=41, **SIZES))
    assert describe_trainable(model) == ""
    total = sum(array.size for array in read_weights(model))
    choose_trainable(model, FineTuningSettings(freeze_layers=3))
    # The pooler, 32 × 32 and 32, and the classifier, 32 × 2 and 2.
    assert describe_trainable(model) == f"1,122 of {total:,} parameters are trained"
