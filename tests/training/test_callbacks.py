"""Callbacks in sessions of training that are interrupted and resumed, and the files for TensorBoard."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small
from corpora import make_corpus
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from keras_bert_impl.data import Objective
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.training import (
    FineTuningSettings,
    PretrainingSettings,
    SaveStates,
    SavingSettings,
    TensorBoard,
    WarmupCosineDecay,
    finetune,
    fit_with_resume,
    pretrain,
)
from keras_bert_impl.training.distribution import SINGLE_DEVICE, Distribution
from keras_bert_impl.training.optimizers import make_optimizer

STEPS, STEPS_PER_EPOCH = 11, 4


class Rows:
    """Batches of five rows of three numbers, and their sums."""

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, k: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        values = np.random.default_rng(k).normal(size=(5, 3)).astype("float32")
        return {"x": values}, {"y": values.sum(axis=1, keepdims=True)}

    def get_spec(self) -> Any:
        return {"x": ((5, 3), "float32")}, {"y": ((5, 1), "float32")}


class Recorder(keras.callbacks.Callback):
    """Records the calls, and counts the steps of all sessions; sends a signal in some steps."""

    def __init__(self, *signals: int) -> None:
        super().__init__()
        self.signals = signals
        self.calls: list[Any] = []
        self.steps = -1

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.calls.append("load")
        self.steps = state["steps"]

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append("begin")
        self.steps = 0  # As Keras' EarlyStopping does.

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps in self.signals:
            signal.raise_signal(signal.SIGTERM)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch_logs = logs

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append("end")
        self.end_logs = logs


class AddMetric(keras.callbacks.Callback):
    """Adds a metric to the logs of epochs, as a validation does."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_epoch"] = epoch


def train(
    directory: Path,
    *callbacks: Any,
    optimizer: Any = "adam",
    distribution: Distribution = SINGLE_DEVICE,
    **arguments: Any,
) -> keras.Model:
    """Trains for 11 steps in epochs of 4."""
    keras.utils.set_random_seed(1)
    inputs = {"x": keras.Input((3,), name="x")}
    model = keras.Model(inputs, {"y": keras.layers.Dense(1, name="y")(inputs["x"])})
    model.compile(optimizer, loss={"y": "mse"})
    arguments = {"steps": STEPS, "steps_per_epoch": STEPS_PER_EPOCH, "verbose": 0, "callbacks": callbacks, **arguments}
    states = SaveStates(directory, SavingSettings(minutes=0), distribution=distribution)
    fit_with_resume(model, Rows(), states=states, **arguments)
    return model


def test_callbacks_begin_and_end_once(tmp_path: Path) -> None:
    """The last epoch is shorter, and so another call of `fit`."""
    recorder = Recorder()
    model = train(tmp_path, AddMetric(), recorder)
    assert recorder.calls == ["begin", 0, 1, 2, "end"]
    assert recorder.steps == STEPS
    assert recorder.end_logs == recorder.epoch_logs == {"loss": recorder.epoch_logs["loss"], "val_epoch": 2}
    assert model.history.epoch == [0, 1, 2]
    assert model.history.history["val_epoch"] == [0, 1, 2]


def test_the_state_of_callbacks_is_resumed(tmp_path: Path) -> None:
    """Within an epoch, and after the last step: the session has nothing to do but to restore the state."""
    calls = []
    for step in (6, STEPS):
        recorder = Recorder(step)
        with pytest.raises(Interrupted, match=f"the state after step {step} was saved"):
            train(tmp_path, recorder)
        calls.append(recorder.calls)
    resumed = Recorder()
    train(tmp_path, resumed)
    assert calls == [["begin", 0, 1, "end"], ["begin", "load", 1, 2, "end"]]
    assert resumed.calls == ["begin", "load", "end"]
    assert resumed.steps == STEPS


@pytest.mark.parametrize("name", ["adafactor", "lion"])
def test_other_optimizers_are_resumed_exactly(tmp_path: Path, name: str) -> None:
    settings = FineTuningSettings(optimizer=name, learning_rate=0.1, schedule="inverse-sqrt")
    models = [train(tmp_path / "complete", optimizer=make_optimizer(settings, steps=STEPS))]
    with pytest.raises(Interrupted):
        train(tmp_path / "states", Recorder(6), optimizer=make_optimizer(settings, steps=STEPS))
    models.append(train(tmp_path / "states", Recorder(), optimizer=make_optimizer(settings, steps=STEPS)))
    complete, resumed = ([*model.weights, *model.optimizer.variables] for model in models)
    for one, other in zip(complete, resumed, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_other_callbacks_may_differ_when_a_run_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(tmp_path, Recorder(6))
    message = r"list of callbacks with a state is \['Recorder 0'\] there and \[\] here"
    with pytest.raises(InputError, match=message):
        train(tmp_path, AddMetric())
    recorder = Recorder()
    train(tmp_path, AddMetric(), recorder)
    assert recorder.steps == STEPS


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (
            [keras.callbacks.TerminateOnNaN],
            "callbacks contains <class .*TerminateOnNaN'>, which is not a Keras callback",
        ),
        (keras.callbacks.TerminateOnNaN(), "callbacks is <.*TerminateOnNaN.*>; a list of Keras callbacks was expected"),
    ],
)
def test_invalid_callbacks(tmp_path: Path, callbacks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(tmp_path, callbacks=callbacks)
    with pytest.raises(InputError, match=message):
        finetune("absent", train="absent.tsv", valid="absent.tsv", output=tmp_path / "run", callbacks=callbacks)
    assert not list(tmp_path.iterdir())


def read_curves(directory: Path) -> dict[str, tuple[list[int], list[float]]]:
    """The steps and values of each curve of a directory with TensorBoard's files."""
    files = EventAccumulator(str(directory), size_guidance={"tensors": 0}).Reload()
    events = {tag: files.Tensors(tag) for tag in files.Tags()["tensors"]}
    return {
        tag: ([event.step for event in each], [float(make_ndarray(event.tensor_proto)) for event in each])
        for tag, each in events.items()
    }


@pytest.mark.slow
def test_a_resumed_run_in_tensorboard(small_bert: Path, snippets: Path, tmp_path: Path) -> None:
    settings = FineTuningSettings(
        epochs=3, batch_size=32, learning_rate=1e-3, max_length=29, schedule="cosine", warmup=0.2
    )

    def run(*callbacks: keras.callbacks.Callback, **arguments: Any) -> dict[str, Any]:
        data = {"train": snippets / "train.tsv", "valid": snippets / "valid.tsv", "output": tmp_path / "run"}
        loggers = [TensorBoard(tmp_path / "logs"), keras.callbacks.CSVLogger(tmp_path / "epochs.csv", append=True)]
        return finetune(
            small_bert, **data, settings=settings, callbacks=[*loggers, *callbacks], log=lambda line: None, **arguments
        )

    with pytest.raises(Interrupted, match="step 3 "):
        run(Recorder(3))
    metrics = run(Recorder(), resume=True)
    validation = [{f"val_{name}": value for name, value in scores.items()} for scores in metrics["validation"]]

    with open(tmp_path / "epochs.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["0", "1", "2"]
    assert [{name: float(row[name]) for name in row if name[:4] == "val_"} for row in rows] == validation

    train_curves, valid_curves = read_curves(tmp_path / "logs" / "train"), read_curves(tmp_path / "logs" / "validation")
    for name in ("accuracy", "macro_f1"):
        values = [scores[f"val_{name}"] for scores in validation]
        assert valid_curves[f"epoch_{name}"] == ([0, 1, 2], pytest.approx(values))
    steps, losses = train_curves["batch_loss"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert train_curves["epoch_loss"] == ([0, 1, 2], pytest.approx([float(row["loss"]) for row in rows]))
    assert losses[1::2] == pytest.approx(train_curves["epoch_loss"][1])  # The mean of an epoch after its last step.
    schedule = WarmupCosineDecay(1e-3, steps=6, warmup_steps=1)
    assert train_curves["epoch_learning_rate"][1] == pytest.approx([float(schedule(step)) for step in (2, 4, 6)])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_the_option_tensorboard(small_bert: Path, snippets: Path, tmp_path: Path, backend: str) -> None:
    """Curves of pretraining and of fine-tuning; on other backends TensorFlow only writes the files."""
    (tmp_path / "shards").mkdir()
    corpus = make_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    pretraining = ["--batch-size", "8", "--max-length", "37", "--report-every", "3", "--held-out", "0.2"]
    commands = {
        "pretrain": ["pretrain", str(corpus.directory), "--steps", "7", "--output", str(tmp_path / "p"), *pretraining],
        "finetune": small.make_finetune_arguments(small_bert, snippets, tmp_path / "f", "--epochs", "2"),
    }
    for name, command in commands.items():
        code = "import sys; from keras_bert_impl.cli.main import run_command; run_command()"
        arguments = [sys.executable, "-c", code, *command, "--tensorboard", str(tmp_path / name)]
        environment = {**os.environ, "KERAS_BACKEND": backend}
        result = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    curves = read_curves(tmp_path / "pretrain" / "train")
    assert curves["batch_loss"][0] == [1, 2, 3, 4, 5, 6, 7]
    assert curves["epoch_learning_rate"][0] == [0, 1, 2]
    held_out = read_curves(tmp_path / "pretrain" / "validation")
    assert held_out["epoch_loss"][0] == [0, 1, 2]
    assert held_out["evaluation_loss_vs_iterations"] == ([3, 6, 7], held_out["epoch_loss"][1])
    assert read_curves(tmp_path / "finetune" / "train")["batch_loss"][0] == list(range(1, 17))


@pytest.mark.slow
def test_pretraining_takes_callbacks(tmp_path: Path) -> None:
    """One of them ends it early."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = logs["val_loss"] > 0

    (tmp_path / "shards").mkdir()
    corpus = make_corpus(tmp_path / "shards", documents=60, sentences=(4, 20), tokens=(3, 11))
    recorder = Recorder()
    settings = PretrainingSettings(batch_size=8, report_every=2, held_out=0.2)
    common: dict[str, Any] = {"objective": Objective(max_length=37), "settings": settings, "log": lambda line: None}
    metrics = pretrain(corpus.directory, output=tmp_path / "run", steps=9, callbacks=[Stop(), recorder], **common)
    assert recorder.calls == ["begin", 0, "end"]
    assert (metrics["steps"], recorder.steps) == (2, 2)
    assert "val_loss" in recorder.end_logs


def test_tensorboard_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    message = r"tensorboard is not installed, which TensorBoard needs .* pip install 'keras_bert_impl\[tensorboard\]'"
    with pytest.raises(InputError, match=message):
        TensorBoard(tmp_path / "logs")
    assert not list(tmp_path.iterdir())


def test_only_the_chief_calls_callbacks_that_are_for_it_only(tmp_path: Path) -> None:
    recorders = [Recorder(), Recorder()]
    recorders[0].chief_only = True
    train(tmp_path, *recorders, distribution=dataclasses.replace(SINGLE_DEVICE, process=1))
    assert [recorder.steps for recorder in recorders] == [-1, STEPS]
