"""Interrupted and resumed training ends bit for bit like uninterrupted training."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import small
from corpora import make_corpus

from keras_bert_impl.cli.main import main
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.training import PretrainingSettings, SaveStates, SavingSettings, fit_with_resume
from keras_bert_impl.training.run import Run

OBJECTIVE = Objective(max_length=37)
COMMAND = [sys.executable, "-c", "import sys; from keras_bert_impl.cli.main import main; sys.exit(main())"]
# Fields of metrics.json that differ between two runs with the same settings.
VARYING = ("minutes", "seconds", "command")


class SignalAt(keras.callbacks.Callback):
    """Sends this process a signal in some steps, counted over all sessions."""

    def __init__(self, *steps: int, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.steps = steps
        self.number = number

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if int(self.model.optimizer.iterations.numpy()) + 1 in self.steps:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    return make_corpus(tmp_path_factory.mktemp("made"), documents=60, sentences=(4, 20), tokens=(3, 11))


def make_training(corpus: TokenCorpus) -> tuple[keras.Model, PretrainingBatches]:
    """A compiled model with dropout and weighted metrics, and its batches."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import adamw

    keras.utils.set_random_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    model = BertForPreTraining(BertConfig(vocab_size=504, max_position_embeddings=64, **sizes))
    model.compile(adamw(learning_rate=3e-3, steps=17), **TASKS["pretraining"].make_compile_arguments())
    return model, PretrainingBatches(corpus, batch_size=8, objective=OBJECTIVE, steps=17)


def train(corpus: TokenCorpus, directory: Path, *callbacks: Any, **saving: Any) -> tuple[keras.Model, list[Any]]:
    """Trains for 17 steps in epochs of 5; returns the model, and the logs of each step and epoch."""
    model, batches = make_training(corpus)
    history: list[Any] = []
    recorder = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: history.append(dict(logs)),
        on_epoch_end=lambda epoch, logs: history.append((epoch, dict(logs))),
    )
    states = SaveStates(directory, SavingSettings(minutes=0, **saving))
    common = {"steps": 17, "steps_per_epoch": 5, "verbose": 0}
    fit_with_resume(model, batches, states=states, callbacks=[recorder, *callbacks], **common)
    return model, history


@pytest.fixture(scope="module")
def uninterrupted(corpus: TokenCorpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, list[Any]]:
    directory = tmp_path_factory.mktemp("uninterrupted")
    result = train(corpus, directory)
    assert not list(directory.iterdir())
    return result


# Slow, because `test_killed_runs` covers most of the code that resumes.
@pytest.mark.slow
@pytest.mark.parametrize("steps", [(5,), (3, 17), (6, 9), (1, 2, 16)], ids=str)
def test_after_a_signal_the_remaining_steps_are_the_same(
    corpus: TokenCorpus, uninterrupted: tuple[keras.Model, list[Any]], tmp_path: Path, steps: tuple[int, ...]
) -> None:
    """A signal within an epoch, in its first and last step, in the last step of all, and several signals."""
    complete, expected = uninterrupted
    for step in steps:
        with pytest.raises(Interrupted, match=f"the state after step {step} was saved") as interrupted:
            train(corpus, tmp_path / "states", SignalAt(step))
        assert interrupted.value.signal == signal.SIGTERM
    model, history = train(corpus, tmp_path / "states")
    assert history == (expected[-len(history) :] if history else [])
    for one, other in zip(model.variables, complete.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    for one, other in zip(model.optimizer.variables, complete.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.slow
def test_saving_changes_nothing_and_keeps_the_last(
    corpus: TokenCorpus, uninterrupted: tuple[keras.Model, list[Any]], tmp_path: Path
) -> None:
    _, expected = uninterrupted
    _, history = train(corpus, tmp_path / "states", steps=3, keep=3)
    assert history == expected
    names = sorted(path.name for path in (tmp_path / "states").iterdir())
    assert names == [f"step-{step:012}.safetensors" for step in (9, 12, 15)]


@pytest.mark.slow
def test_saving_by_time(corpus: TokenCorpus, tmp_path: Path) -> None:
    states = SaveStates(tmp_path / "states", SavingSettings(minutes=1e-9, keep=99))
    model, batches = make_training(corpus)
    fit_with_resume(model, batches, states=states, steps=7, steps_per_epoch=4, verbose=0)
    assert len(list((tmp_path / "states").iterdir())) == 7


def test_the_second_signal_ends_at_once(corpus: TokenCorpus, tmp_path: Path) -> None:
    class Twice(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as interrupted:
            train(corpus, tmp_path / "states", Twice())
        assert not isinstance(interrupted.value, Interrupted)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_damaged_state_is_skipped(
    corpus: TokenCorpus, uninterrupted: tuple[keras.Model, list[Any]], tmp_path: Path
) -> None:
    complete, _ = uninterrupted
    with pytest.raises(Interrupted):
        train(corpus, tmp_path / "states", SignalAt(14), steps=4, keep=9)
    newest = max((tmp_path / "states").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    (tmp_path / "states" / ".step-000000000015.safetensors.0a1b2c3d.partial").write_bytes(b"half")
    with pytest.warns(UserWarning, match="step-000000000014.safetensors is damaged"):
        model, _ = train(corpus, tmp_path / "states")
    for one, other in zip(model.weights, complete.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    assert not list((tmp_path / "states").glob(".*"))


@pytest.mark.slow
def test_an_error_of_the_writing_thread_is_raised(corpus: TokenCorpus, tmp_path: Path) -> None:
    (tmp_path / "states").write_text("a file where a directory is needed")
    with pytest.raises(OSError, match="states"):
        train(corpus, tmp_path / "states", steps=1)


@pytest.mark.slow
def test_stopped_training_is_not_continued(corpus: TokenCorpus, tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 3

    stopped, logs = train(corpus, tmp_path / "states", Stop(), steps=1)
    assert len(logs) == 5  # Four steps, and the end of the epoch.
    resumed, logs = train(corpus, tmp_path / "states", steps=1)
    assert logs == []
    for one, other in zip(resumed.weights, stopped.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.slow
def test_a_signal_after_the_last_step_is_not_lost(corpus: TokenCorpus, tmp_path: Path) -> None:
    """It arrives when nothing is left to save, and is handled as outside of training."""

    class SignalAtEnd(SignalAt):
        def on_train_end(self, logs: Any = None) -> None:
            self.on_train_batch_begin(17)

    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        model, _ = train(corpus, tmp_path / "states", SignalAtEnd(18))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert int(model.optimizer.iterations.numpy()) == 17


def test_averaged_weights_are_refused(corpus: TokenCorpus, tmp_path: Path) -> None:
    model, batches = make_training(corpus)
    model.compile(keras.optimizers.Adam(use_ema=True), loss=model.loss)
    with pytest.raises(InputError, match="use_ema"):
        fit_with_resume(model, batches, states=SaveStates(tmp_path / "states"), steps=17, steps_per_epoch=5)


def test_two_processes_do_not_make_the_same_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", settings=PretrainingSettings(), request={})
    with run.open() as directory:
        code = (
            "from keras_bert_impl.training import PretrainingSettings; from keras_bert_impl.training.run import Run\n"
            f"run = Run({str(tmp_path / 'run')!r}, settings=PretrainingSettings(), request={{}}, resume=True)\n"
            "with run.open(): print('inside')"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert ran.returncode == 1
        assert "InputError: another process is making" in ran.stderr
        assert directory.exists()


@pytest.mark.slow
def test_settings_that_older_states_lack_have_their_defaults(corpus: TokenCorpus, tmp_path: Path) -> None:
    model, batches = make_training(corpus)
    common: dict[str, Any] = {"steps": 3, "steps_per_epoch": 5, "verbose": 0}
    older = SaveStates(tmp_path / "states", SavingSettings(minutes=0, steps=1), identity={"seed": 1})
    fit_with_resume(model, batches, states=older, **common)
    defaults = {"optimizer": "adamw"}
    same = SaveStates(tmp_path / "states", identity={"seed": 1, "optimizer": "adamw"}, identity_defaults=defaults)
    assert same.restore(model, batches) == 3
    different = SaveStates(tmp_path / "states", identity={"seed": 1, "optimizer": "lamb"}, identity_defaults=defaults)
    with pytest.raises(InputError, match="optimizer is 'adamw' there and 'lamb' here"):
        different.restore(model, batches)


@pytest.mark.slow
def test_states_of_a_different_model(corpus: TokenCorpus, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(corpus, tmp_path / "states", SignalAt(2))
    model, batches = make_training(corpus)
    model.compile("sgd", loss=model.loss)
    with pytest.raises(InputError, match="states of a different model or optimizer"):
        fit_with_resume(model, batches, states=SaveStates(tmp_path / "states"), steps=17, steps_per_epoch=5)


def get_partial_path(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def find_newest_state(output: Path) -> str:
    """The name of the newest state of an incomplete run; empty if there is none."""
    return max((path.name for path in (get_partial_path(output) / "states").glob("step-*")), default="")


def start(arguments: list[str], backend: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def signal_after_progress(process: subprocess.Popen[str], output: Path, number: int, *, delay: float) -> None:
    """Sends a process a signal some time after it wrote a state, unless it has ended."""
    before = find_newest_state(output)
    while process.poll() is None and find_newest_state(output) in {before, ""}:
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(number)


def assert_same_run(output: Path, complete: Path) -> None:
    """Both have the same weights, bit for bit, and the same metrics; no other files are left."""
    assert (output / "model.safetensors").read_bytes() == (complete / "model.safetensors").read_bytes()
    assert {path.name for path in output.iterdir()} == {path.name for path in complete.iterdir()}
    assert not get_partial_path(output).exists()
    one, other = (
        re.sub(rf'"({"|".join(VARYING)})": [^,\n]*', "", (run / "metrics.json").read_text("utf-8"))
        for run in (output, complete)
    )
    assert one == other


def make_pretrain_arguments(corpus: TokenCorpus, output: Path, *, steps: int) -> list[str]:
    settings = ["--batch-size", "8", "--max-length", "37", "--report-every", "20", "--held-out", "0.2"]
    return ["pretrain", str(corpus.directory), "--output", str(output), "--steps", str(steps), *settings]


def make_adaptation_arguments(corpus: TokenCorpus, output: Path, *, steps: int) -> list[str]:
    """Continues a checkpoint with masked words alone and with a teacher; writes both checkpoints next to the run."""
    from keras_bert_impl import BertConfig, BertForMaskedLM

    for option, layers in (("init", 1), ("teacher", 2)):
        directory = output.with_name(option)
        if not directory.exists():
            sizes = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": 37}
            config = BertConfig(vocab_size=len(corpus.tokenizer), max_position_embeddings=64, **sizes)
            BertForMaskedLM(config).save_pretrained(directory)
            corpus.tokenizer.save_pretrained(directory)
    checkpoints = ["--init", str(output.with_name("init")), "--teacher", str(output.with_name("teacher"))]
    return [*make_pretrain_arguments(corpus, output, steps=steps), "--objective", "mlm", *checkpoints]


def make_finetune_arguments(checkpoint: Path, snippets: Path, output: Path, *, epochs: int) -> list[str]:
    return [*small.make_finetune_arguments(checkpoint, snippets, output), "--epochs", str(epochs)]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_an_interrupted_run_in_float16(corpus: TokenCorpus, tmp_path: Path, backend: str) -> None:
    """Its optimizer is inside another one, which scales the loss."""
    output, complete = tmp_path / "run", tmp_path / "complete"
    processes = []
    options = ["--precision", "float16", "--save-steps", "1"]
    for directory in (complete, output):
        arguments = [*make_pretrain_arguments(corpus, directory, steps=50), *options]
        processes.append(start([*arguments, "--resume"], backend))
    signal_after_progress(processes[1], output, signal.SIGTERM, delay=0.1)
    processes[1].wait()
    processes.append(start([*arguments, "--resume"], backend))
    for process, code in zip(processes, (0, 128 + signal.SIGTERM, 0), strict=True):
        errors = process.communicate()[1]
        assert process.returncode == code, errors
    assert_same_run(output, complete)


@pytest.mark.slow
def test_an_interrupted_run(corpus: TokenCorpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It gets SIGTERM, is not started again, not resumed with other settings, resumed, and resumed once more."""
    output, complete = tmp_path / "run", tmp_path / "complete"
    assert main(make_pretrain_arguments(corpus, complete, steps=50)) == 0
    arguments = [*make_pretrain_arguments(corpus, output, steps=50), "--save-steps", "1"]
    process = start([*arguments, "--resume"], "tensorflow")  # There is nothing to resume: it starts.
    signal_after_progress(process, output, signal.SIGTERM, delay=0.1)
    errors = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert re.search(r"interrupted; the state after step \d+ was saved; --resume continues from it", errors)
    capsys.readouterr()
    kept = {path.name: path.read_bytes() for path in (get_partial_path(output) / "states").iterdir()}
    for more, message in (
        ([], r"contains the states of an interrupted run\. Resume it \(--resume\), or remove"),
        (
            ["--resume", "--seed", "2"],
            "states of a different training run: seed is 1 there and 2 here, and 1 more differ",
        ),
        (
            ["--resume", "--preset", "mini"],
            "hidden_size of the model is 128 there and 256 here, and 4 more differ",
        ),
        (
            ["--resume", "--steps", "60"],
            r"steps is 50 there and 60 here\. Continue with the same settings, or use another",
        ),
    ):
        assert main([*arguments, *more]) == 2
        assert re.search(message, capsys.readouterr().err)
        assert {path.name: path.read_bytes() for path in (get_partial_path(output) / "states").iterdir()} == kept
    assert main([*arguments, "--resume"]) == 0
    assert "continues after step" in capsys.readouterr().out
    assert_same_run(output, complete)
    (output / "states").mkdir()
    (output / "states" / max(kept)).write_bytes(kept[max(kept)])  # As if killed before it removed them.
    assert main([*arguments, "--resume"]) == 0
    assert f"{output} is already complete" in capsys.readouterr().out
    assert_same_run(output, complete)
    (tmp_path / "other").mkdir()
    other = make_corpus(tmp_path / "other", documents=50, sentences=(4, 20), tokens=(3, 11))
    for given, more, message in (
        (corpus, ["--steps", "60"], "steps: 50 there, 60 here. Name another"),
        (corpus, ["--preset", "mini"], "preset: 'tiny' there, 'mini' here. Name another"),
        (other, [], "documents (corpus): 180 there, 150 here. Name another"),
        (corpus, ["--seed", "2"], "seed (settings): 1 there, 2 here. Name another"),
    ):
        assert main([*make_pretrain_arguments(given, output, steps=50), "--resume", *more]) == 2
        assert f"{output} is a finished run with a different {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "backend", "kills"),
    [
        ("finetune", "tensorflow", 1),
        pytest.param("adapt", "tensorflow", 5, marks=pytest.mark.slow),
        *(
            pytest.param(verb, backend, 50, marks=pytest.mark.slow)
            for verb, backend in itertools.product(["pretrain", "finetune"], ["tensorflow", "jax"])
        ),
    ],
)
def test_killed_runs(
    verb: str,
    backend: str,
    kills: int,
    small_bert: Path,
    snippets: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """SIGKILL at random times, mostly while a state is written."""

    def make_arguments(output: Path) -> list[str]:
        if verb != "finetune":
            make = {"pretrain": make_pretrain_arguments, "adapt": make_adaptation_arguments}[verb]
            return make(request.getfixturevalue("corpus"), output, steps=20 * kills)
        return make_finetune_arguments(small_bert, snippets, output, epochs=3 * kills)

    complete = start(make_arguments(tmp_path / "complete"), backend)
    draw, output = np.random.default_rng(kills), tmp_path / "run"
    for _ in range(kills):
        process = start([*make_arguments(output), "--resume", "--save-steps", "1"], backend)
        signal_after_progress(process, output, signal.SIGKILL, delay=draw.uniform(0, 0.3))
        errors = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL, errors
    last = start([*make_arguments(output), "--resume"], backend)
    for process in (complete, last):
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
    assert_same_run(output, tmp_path / "complete")
