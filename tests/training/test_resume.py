"""Trainings that are ended and go on: in the end they are bit for bit those that were not."""

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
from made_corpus import made_corpus

from keras_bert_impl.cli.main import main
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
from keras_bert_impl.errors import InputError, Interrupted
from keras_bert_impl.training import PreTraining, SaveStates, Saving, resumable_fit
from keras_bert_impl.training.run import Run

OBJECTIVE = Objective(max_length=37)
COMMAND = [sys.executable, "-c", "import sys; from keras_bert_impl.cli.main import main; sys.exit(main())"]
# What differs between two runs of the same training.
OF_THE_RUN = ("minutes", "seconds", "command")


class EndAt(keras.callbacks.Callback):
    """Sends this process a signal in some steps, counted over the whole training."""

    def __init__(self, *steps: int, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.steps = steps
        self.number = number

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if int(self.model.optimizer.iterations.numpy()) + 1 in self.steps:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    return made_corpus(tmp_path_factory.mktemp("made"), documents=60, sentences=(4, 20), tokens=(3, 11))


def made(corpus: TokenCorpus) -> tuple[keras.Model, PretrainingBatches]:
    """A compiled model with dropout, with weighted metrics, and its batches."""
    from keras_bert_impl import BertConfig, BertForPreTraining
    from keras_bert_impl.tasks import TASKS
    from keras_bert_impl.training import adamw

    keras.utils.set_random_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
    model = BertForPreTraining(BertConfig(vocab_size=504, max_position_embeddings=64, **sizes))
    model.compile(adamw(learning_rate=3e-3, steps=17), **TASKS["pretraining"].compile_arguments())
    return model, PretrainingBatches(corpus, batch_size=8, objective=OBJECTIVE, steps=17)


def trained(corpus: TokenCorpus, directory: Path, *callbacks: Any, **saving: Any) -> tuple[keras.Model, list[Any]]:
    """17 steps in epochs of 5; the model, and the logs of each step and epoch."""
    model, batches = made(corpus)
    noted: list[Any] = []
    noting = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: noted.append(dict(logs)),
        on_epoch_end=lambda epoch, logs: noted.append((epoch, dict(logs))),
    )
    states = SaveStates(directory, Saving(minutes=0, **saving))
    common = {"steps": 17, "steps_per_epoch": 5, "verbose": 0}
    resumable_fit(model, batches, states=states, callbacks=[noting, *callbacks], **common)
    return model, noted


@pytest.fixture(scope="module")
def uninterrupted(corpus: TokenCorpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, list[Any]]:
    directory = tmp_path_factory.mktemp("whole")
    found = trained(corpus, directory)
    assert not list(directory.iterdir())
    return found


SLOWLY = [pytest.param(ends, marks=pytest.mark.slow) for ends in ((6, 9), (1, 2, 16))]


@pytest.mark.parametrize("ends", [(5,), (3, 17), *SLOWLY], ids=str)
def test_a_signal_saves_and_the_rest_is_the_same(
    corpus: TokenCorpus, uninterrupted: tuple[keras.Model, list[Any]], tmp_path: Path, ends: tuple[int, ...]
) -> None:
    """Ends within an epoch, in its first and last step, in the last step of all, and several times."""
    whole, expected = uninterrupted
    for step in ends:
        with pytest.raises(Interrupted, match=f"the state after step {step} was saved") as ended:
            trained(corpus, tmp_path / "states", EndAt(step))
        assert ended.value.signal == signal.SIGTERM
    model, found = trained(corpus, tmp_path / "states")
    assert found == (expected[-len(found) :] if found else [])
    for one, other in zip(model.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    for one, other in zip(model.optimizer.variables, whole.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_saving_changes_nothing_and_keeps_the_last(
    corpus: TokenCorpus, uninterrupted: tuple[keras.Model, list[Any]], tmp_path: Path
) -> None:
    _, expected = uninterrupted
    _, found = trained(corpus, tmp_path / "states", steps=3, keep=3)
    assert found == expected
    names = sorted(path.name for path in (tmp_path / "states").iterdir())
    assert names == [f"step-{step:012}.safetensors" for step in (9, 12, 15)]


def test_saving_by_the_time(corpus: TokenCorpus, tmp_path: Path) -> None:
    states = SaveStates(tmp_path / "states", Saving(minutes=1e-9, keep=99))
    model, batches = made(corpus)
    resumable_fit(model, batches, states=states, steps=7, steps_per_epoch=4, verbose=0)
    assert len(list((tmp_path / "states").iterdir())) == 7


def test_the_second_signal_ends_at_once(corpus: TokenCorpus, tmp_path: Path) -> None:
    class Twice(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as ended:
            trained(corpus, tmp_path / "states", Twice())
        assert not isinstance(ended.value, Interrupted)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_damaged_state_is_passed_over(
    corpus: TokenCorpus, uninterrupted: tuple[keras.Model, list[Any]], tmp_path: Path
) -> None:
    whole, _ = uninterrupted
    with pytest.raises(Interrupted):
        trained(corpus, tmp_path / "states", EndAt(14), steps=4, keep=9)
    newest = max((tmp_path / "states").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    (tmp_path / "states" / ".step-000000000015.safetensors.0a1b2c3d.partial").write_bytes(b"half")
    with pytest.warns(UserWarning, match="step-000000000014.safetensors is damaged"):
        model, _ = trained(corpus, tmp_path / "states")
    for one, other in zip(model.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    assert not list((tmp_path / "states").glob(".*"))


def test_a_disk_that_is_full_is_told(corpus: TokenCorpus, tmp_path: Path) -> None:
    (tmp_path / "states").write_text("a file where a directory is needed")
    with pytest.raises(OSError, match="states"):
        trained(corpus, tmp_path / "states", steps=1)


def test_a_training_that_was_stopped_is_over(corpus: TokenCorpus, tmp_path: Path) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = batch == 3

    stopped, logs = trained(corpus, tmp_path / "states", Stop(), steps=1)
    assert len(logs) == 5  # Four steps, and the end of the epoch.
    again, logs = trained(corpus, tmp_path / "states", steps=1)
    assert logs == []
    for one, other in zip(again.weights, stopped.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_signal_after_the_last_step_is_not_lost(corpus: TokenCorpus, tmp_path: Path) -> None:
    """It comes when there is nothing left to save, and does what it does without a training."""

    class AtEnd(EndAt):
        def on_train_end(self, logs: Any = None) -> None:
            self.on_train_batch_begin(17)

    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        model, _ = trained(corpus, tmp_path / "states", AtEnd(18))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    assert int(model.optimizer.iterations.numpy()) == 17


def test_averaged_weights_are_refused(corpus: TokenCorpus, tmp_path: Path) -> None:
    model, batches = made(corpus)
    model.compile(keras.optimizers.Adam(use_ema=True), loss=model.loss)
    with pytest.raises(InputError, match="use_ema"):
        resumable_fit(model, batches, states=SaveStates(tmp_path / "states"), steps=17, steps_per_epoch=5)


def test_two_processes_do_not_share_a_run(corpus: TokenCorpus, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", settings=PreTraining(), request={})
    with run.open() as directory:
        code = (
            "from keras_bert_impl.training import PreTraining; from keras_bert_impl.training.run import Run\n"
            f"run = Run({str(tmp_path / 'run')!r}, settings=PreTraining(), request={{}}, resume=True)\n"
            "with run.open(): print('inside')"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert ran.returncode == 1
        assert "InputError: another process is making" in ran.stderr
        assert directory.exists()


def test_states_of_another_model(corpus: TokenCorpus, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trained(corpus, tmp_path / "states", EndAt(2))
    model, batches = made(corpus)
    model.compile("sgd", loss=model.loss)
    with pytest.raises(InputError, match="states of a different model or optimizer"):
        resumable_fit(model, batches, states=SaveStates(tmp_path / "states"), steps=17, steps_per_epoch=5)


def partial(output: Path) -> Path:
    return output.with_name(f".{output.name}.partial")


def newest(output: Path) -> str:
    """The name of the newest state of a run that is not whole; empty if there is none."""
    return max((path.name for path in (partial(output) / "states").glob("step-*")), default="")


def begin(arguments: list[str], backend: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def end_after_progress(process: subprocess.Popen[str], output: Path, number: int, *, delay: float) -> None:
    """Sends a process a signal some time after it wrote a state, or lets it end."""
    before = newest(output)
    while process.poll() is None and newest(output) in {before, ""}:
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(number)


def assert_same_run(output: Path, whole: Path) -> None:
    """The same weights, bit for bit, and the same figures; nothing else is left."""
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert {path.name for path in output.iterdir()} == {path.name for path in whole.iterdir()}
    assert not partial(output).exists()
    one, other = (
        re.sub(rf'"({"|".join(OF_THE_RUN)})": [^,\n]*', "", (run / "metrics.json").read_text("utf-8"))
        for run in (output, whole)
    )
    assert one == other


def pretrain_arguments(corpus: TokenCorpus, output: Path, *, steps: int) -> list[str]:
    settings = ["--batch-size", "8", "--max-length", "37", "--report-every", "20", "--held-out", "0.2"]
    return ["pretrain", str(corpus.directory), "--output", str(output), "--steps", str(steps), *settings]


def finetune_arguments(checkpoint: Path, snippets: Path, output: Path, *, epochs: int) -> list[str]:
    return [*small.finetune_arguments(checkpoint, snippets, output), "--epochs", str(epochs)]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_run_in_float16_that_was_ended(corpus: TokenCorpus, tmp_path: Path, backend: str) -> None:
    """Its optimizer is within another, which scales the loss."""
    output, whole = tmp_path / "run", tmp_path / "whole"
    processes = []
    for directory in (whole, output):
        arguments = [*pretrain_arguments(corpus, directory, steps=50), "--precision", "float16", "--save-steps", "1"]
        processes.append(begin([*arguments, "--resume"], backend))
    end_after_progress(processes[1], output, signal.SIGTERM, delay=0.1)
    processes[1].wait()
    processes.append(begin([*arguments, "--resume"], backend))
    for process, code in zip(processes, (0, 128 + signal.SIGTERM, 0), strict=True):
        said = process.communicate()[1]
        assert process.returncode == code, said
    assert_same_run(output, whole)


def test_a_run_that_was_ended(corpus: TokenCorpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By SIGTERM. Then it is not begun anew, not resumed with other settings, resumed, and asked once more."""
    output, whole = tmp_path / "run", tmp_path / "whole"
    assert main(pretrain_arguments(corpus, whole, steps=50)) == 0
    arguments = [*pretrain_arguments(corpus, output, steps=50), "--save-steps", "1"]
    process = begin([*arguments, "--resume"], "tensorflow")  # There is nothing to resume: it begins.
    end_after_progress(process, output, signal.SIGTERM, delay=0.1)
    said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert re.search(r"interrupted; the state after step \d+ was saved; --resume continues from it", said)
    capsys.readouterr()
    kept = {path.name: path.read_bytes() for path in (partial(output) / "states").iterdir()}
    for more, message in (
        ([], r"holds the states of an interrupted run\. Resume it \(--resume\), or remove"),
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
        assert {path.name: path.read_bytes() for path in (partial(output) / "states").iterdir()} == kept
    assert main([*arguments, "--resume"]) == 0
    assert "continues after step" in capsys.readouterr().out
    assert_same_run(output, whole)
    (output / "states").mkdir()
    (output / "states" / max(kept)).write_bytes(kept[max(kept)])  # As if it had been killed just then.
    assert main([*arguments, "--resume"]) == 0
    assert f"{output} is already complete" in capsys.readouterr().out
    assert_same_run(output, whole)
    (tmp_path / "other").mkdir()
    other = made_corpus(tmp_path / "other", documents=50, sentences=(4, 20), tokens=(3, 11))
    for given, more, message in (
        (corpus, ["--steps", "60"], "steps: 50 there, 60 here. Name another"),
        (corpus, ["--preset", "mini"], "preset: 'tiny' there, 'mini' here. Name another"),
        (other, [], "corpus: {"),
    ):
        assert main([*pretrain_arguments(given, output, steps=50), "--resume", *more]) == 2
        assert f"{output} is a finished run with a different {message}" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_kills(
    corpus: TokenCorpus, small_bert: Path, snippets: Path, tmp_path: Path, verb: str, backend: str, kills: int
) -> None:
    """SIGKILL at random moments, most of them while a state is written."""
    if kills == 3 and (verb, backend) != ("finetune", "tensorflow"):
        pytest.skip("without --slow one case stands for all four")

    def arguments(output: Path) -> list[str]:
        if verb == "pretrain":
            return pretrain_arguments(corpus, output, steps=20 * kills)
        return finetune_arguments(small_bert, snippets, output, epochs=3 * kills)

    whole = begin(arguments(tmp_path / "whole"), backend)
    draw, output = np.random.default_rng(kills), tmp_path / "run"
    for _ in range(kills):
        process = begin([*arguments(output), "--resume", "--save-steps", "1"], backend)
        end_after_progress(process, output, signal.SIGKILL, delay=draw.uniform(0, 0.3))
        said = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL, said
    last = begin([*arguments(output), "--resume"], backend)
    for process in (whole, last):
        said = process.communicate()[1]
        assert process.returncode == 0, said
    assert_same_run(output, tmp_path / "whole")
