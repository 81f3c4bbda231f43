"""Pretraining end to end, for seconds: the files that it writes, and that the model learns."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from corpora import make_corpus
from safetensors.numpy import load_file
from torch_process import run_in_torch_process

from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
from keras_bert_impl.errors import InputError
from keras_bert_impl.models import BertForPreTraining
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.pretraining import summarize_logs
from keras_bert_impl.training import PretrainingSettings, pretrain
from keras_bert_impl.training.pretraining import TimedRate, make_held_out_batches
from keras_bert_impl.training.run import Clock

OBJECTIVE = Objective(max_length=37)
SETTINGS = PretrainingSettings(batch_size=8, learning_rate=3e-3, report_every=20, dropout=0.0, held_out=0.2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    """Each token is followed by the next one of the vocabulary, so that neighbors determine a masked token."""
    return make_corpus(tmp_path_factory.mktemp("made"), documents=60, sentences=(4, 20), tokens=(3, 11))


@pytest.fixture(scope="module")
def run(corpus: TokenCorpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    lines: list[str] = []
    output = tmp_path_factory.mktemp("runs") / "made"
    metrics = pretrain(
        corpus.directory, output=output, steps=50, objective=OBJECTIVE, settings=SETTINGS, log=lines.append
    )
    return output, metrics, lines


def test_written_files(run: tuple[Path, dict[str, Any], list[str]]) -> None:
    output, metrics, lines = run
    assert json.loads((output / "metrics.json").read_text()) == metrics
    names = {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "learning_curve.png", "README.md"}
    assert names < {path.name for path in output.iterdir()}
    assert [entry["step"] for entry in metrics["history"]] == [20, 40, 50]
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].split()[0] == "50"
    card = (output / "README.md").read_text("utf-8")
    for part in (
        "50 steps",
        "held out",
        f"{metrics['held_out']['perplexity']:.2f}",
        "default_rng(1)",
        "| learning_rate | 0.003 |",
    ):
        assert part in card


@run_in_torch_process
def sum_over_masked_words(directory: Path, batches: list[Any]) -> np.ndarray:
    """The sum of the losses of masked words, the number of correct predictions, and the number of words."""
    import numpy as np
    import torch
    import torch_models

    model = torch_models.load("BertForPreTraining", directory)
    sums = np.zeros(3)
    for inputs, labels, weights in batches:
        names = ("input_ids", "token_type_ids", "attention_mask")
        with torch.no_grad():
            outputs = model(**torch_models.to_tensors({name: inputs[name] for name in names}))
        is_masked = weights["prediction_logits"] > 0
        row, slot = np.nonzero(is_masked)
        logits = outputs.prediction_logits[row, inputs["masked_lm_positions"][row, slot]]
        target = torch.tensor(labels["prediction_logits"][is_masked]).long()
        sums += [
            torch.nn.functional.cross_entropy(logits, target, reduction="sum").item(),
            (logits.argmax(-1) == target).sum().item(),
            len(target),
        ]
    return sums


def test_it_opens_in_transformers_with_the_same_losses(
    run: tuple[Path, dict[str, Any], list[str]], corpus: TokenCorpus
) -> None:
    """The metrics of the held-out documents, computed by transformers on torch from the same batches."""
    output, metrics, _ = run
    _, held_out = corpus.split_documents(SETTINGS.held_out, seed=1)
    batches = make_held_out_batches(corpus, held_out, batch_size=8, objective=OBJECTIVE, seed=1)
    sums = sum_over_masked_words(output, [batches[k] for k in range(len(batches))])
    np.testing.assert_allclose(metrics["held_out"]["masked_loss"], sums[0] / sums[2], rtol=1e-4)
    np.testing.assert_allclose(metrics["held_out"]["masked_accuracy"], sums[1] / sums[2], rtol=1e-4)


@pytest.mark.slow
def test_a_second_phase_starts_from_the_first(
    run: tuple[Path, dict[str, Any], list[str]], corpus: TokenCorpus, tmp_path: Path
) -> None:
    """With a learning rate close to zero its weights are those of the first phase."""
    output, _, _ = run
    objective = Objective(max_length=53, packing=True)
    second = pretrain(
        corpus.directory, output=tmp_path / "second", init=output, steps=3, objective=objective,
        settings=PretrainingSettings(batch_size=4, learning_rate=1e-12, held_out=0.2), log=lambda _: None,
    )  # fmt: skip
    assert second["init"] == str(output)
    before, after = (load_file(path / "model.safetensors") for path in (output, tmp_path / "second"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_documents_of_one_sentence(tmp_path: Path) -> None:
    """They are used for training, with a line that the next sentence cannot be learned from them."""
    (tmp_path / "shards").mkdir()
    single = make_corpus(tmp_path / "shards", documents=60, sentences=(1, 2), tokens=(3, 11))
    lines: list[str] = []
    common = {"objective": OBJECTIVE, "settings": SETTINGS}
    pretrain(single.directory, output=tmp_path / "run", steps=1, log=lines.append, **common)
    assert "Only 0.0% of the examples can be real next sentences" in "\n".join(lines)
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.slow
def test_training_for_minutes(corpus: TokenCorpus, tmp_path: Path) -> None:
    metrics = pretrain(
        corpus.directory,
        output=tmp_path / "run",
        minutes=0.2,
        objective=OBJECTIVE,
        settings=SETTINGS,
        log=lambda _: None,
    )
    assert metrics["steps"] >= 1
    assert metrics["history"][-1]["step"] == metrics["steps"]
    assert metrics["minutes"] >= 0.2


def test_the_rate_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    rate = TimedRate(PretrainingSettings(learning_rate=0.5, warmup=0.2), Clock(), seconds=50)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    rate.set_model(model)
    rates = []
    for second in (0, 5, 10, 30, 50):
        now[0] = 100.0 + second
        rate.on_train_batch_begin(0)
        rates.append(float(model.optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 0.25, 0], atol=1e-6)
    rate.on_train_batch_end(0)
    assert model.stop_training


def test_the_rate_follows_the_clock_in_compiled_steps() -> None:
    """On JAX, whose compiled loop keeps the optimizer's variables: the weight becomes the sum of the rates."""
    code = """
import keras, numpy as np
from keras_bert_impl.training import PretrainingSettings
from keras_bert_impl.training.pretraining import TimedRate
class Clock:
    calls = 0
    @property
    def seconds(self):
        self.calls += 1
        return 10 * (self.calls // 2)  # Called before and after each step.
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
model.compile(keras.optimizers.SGD(1.0), loss=lambda y, output: -output)
rate = TimedRate(PretrainingSettings(learning_rate=0.5, warmup=0.2), Clock(), seconds=50)
model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=1, callbacks=[rate], verbose=0)
print(float(model.weights[0].numpy()[0, 0]))
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(float(ran.stdout), 0 + 0.5 + 0.375 + 0.25, atol=1e-6)


@pytest.mark.slow
def test_a_model_learns_from_neighboring_tokens(corpus: TokenCorpus) -> None:
    """Plain `compile` and `fit` with packed rows, as in the guide: the masked loss falls far below chance."""
    from keras_bert_impl import BertConfig
    from keras_bert_impl.data import make_fit_data
    from keras_bert_impl.training import adamw

    keras.utils.set_random_seed(1)
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}
    config = BertConfig(vocab_size=504, max_position_embeddings=64, hidden_dropout_prob=0.0, **sizes)
    model = BertForPreTraining(config)
    batches = PretrainingBatches(corpus, batch_size=16, objective=Objective(max_length=64, packing=True), steps=400)
    model.compile(adamw(learning_rate=3e-3, steps=400), **TASKS["pretraining"].make_compile_arguments())
    history = model.fit(make_fit_data(batches), steps_per_epoch=100, epochs=4, shuffle=False, verbose=0).history
    metrics = [summarize_logs({name: values[epoch] for name, values in history.items()}) for epoch in range(4)]
    assert metrics[-1]["masked_loss"] < 0.75 * np.log(499)
    assert metrics[-1]["masked_accuracy"] > 5 * metrics[0]["masked_accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "steps is None and minutes is None; exactly one of them was expected, above 0"),
        ({"steps": 5, "minutes": 1}, "steps is 5 and minutes is 1; exactly one of them was expected"),
        ({"steps": 0}, "steps is 0 and minutes is None"),
        ({"steps": 1, "callbacks": [print]}, "callbacks contains <built-in .*>, which is not a Keras callback"),
        ({"steps": 1, "settings": PretrainingSettings(batch_size=4096)}, "a batch needs 4,096"),
        ({"steps": 1, "settings": PretrainingSettings(held_out=0.001)}, "at least two are needed to train with"),
        pytest.param(
            {"steps": 60, "settings": PretrainingSettings(batch_size=8, learning_rate=1e30, held_out=0.2)},
            "the loss became NaN or infinite within 60 steps: training diverged",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_invalid_arguments(corpus: TokenCorpus, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(corpus.directory, output=tmp_path / "run", objective=OBJECTIVE, log=lambda _: None, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_with_a_different_vocabulary(corpus: TokenCorpus, small_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="and the shards have different tokenizers"):
        pretrain(
            corpus.directory,
            output=tmp_path / "run",
            init=small_bert,
            steps=1,
            objective=OBJECTIVE,
            settings=SETTINGS,
            log=lambda _: None,
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; adamw, lamb, adafactor or lion was expected"),
        ({"schedule": "cyclic"}, "schedule is 'cyclic'; linear, cosine, inverse-sqrt or constant was expected"),
        ({"schedule": "cosine", "power": 2.0}, "power is 2.0, but the schedule is cosine, and only linear has a power"),
        ({"dropout": 1.0}, "dropout is 1.0; a fraction from 0 to below 1"),
        ({"held_out": 0.0}, "held_out is 0.0"),
        ({"report_every": 0}, "report_every is 0"),
        ({"precision": "int8"}, "precision is 'int8'"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PretrainingSettings(**changes)
