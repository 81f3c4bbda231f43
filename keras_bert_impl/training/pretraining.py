"""Pretraining: from shards to the directory of a run."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import to_json
from keras_bert_impl.sources import Source
from keras_bert_impl.tasks import TASKS
from keras_bert_impl.tasks.pretraining import summarize_logs
from keras_bert_impl.training.distillation import DistilledTask
from keras_bert_impl.training.distribution import get_backend, start_strategy
from keras_bert_impl.training.published import choose_defaults
from keras_bert_impl.training.report import make_pretraining_card, save_pretraining_curves
from keras_bert_impl.training.run import ENDLESS, Clock, Run, check_callbacks
from keras_bert_impl.training.schedules import make_schedule
from keras_bert_impl.training.settings import DistillationSettings, PretrainingSettings, SavingSettings
from keras_bert_impl.training.starting_model import copy_weights, count_old_tokens, make_model, select_heads
from keras_bert_impl.training.states import compute_checksum

# Warn if a smaller fraction of the examples can be real next sentences.
_MIN_PAIRABLE = 0.1
# Max. held-out batches of an evaluation.
_MAX_EVALUATED = 100


def pretrain(
    shards: str | Path,
    *,
    output: str | Path,
    preset: str = "tiny",
    init: str | Path | Source | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    objective: Objective | None = None,
    settings: PretrainingSettings | None = None,
    saving: SavingSettings | None = None,
    resume: bool = False,
    strategy: str | None = None,
    devices: int | None = None,
    teacher: str | Path | Source | None = None,
    distillation: DistillationSettings | None = None,
    command: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Pretrains a BERT on prepared shards, or continues from a checkpoint, and writes the directory of the run.

    The directory contains the model (``config.json``, ``model.safetensors``, the tokenizer), ``metrics.json``,
    ``learning_curve.png`` and a model card ``README.md``. It has a temporary name until it is complete.

    With the objective ``mlm``, masked LM alone adapts a checkpoint to a domain. The model is saved as
    ``BertForMaskedLM``; if the checkpoint has a next-sentence head too, as ``BertForPreTraining``, with this head and
    the pooler unchanged.

    Args:
        shards: a directory that `keras_bert_impl.data.prepare` wrote.
        output: the directory; must be new or empty.
        preset: the size, tiny to large.
        init: a checkpoint to start from instead. A head that it lacks is new. The tokenizer of the shards must be its
            own, or its own with more tokens: then its vocabulary grows, see `resize_token_embeddings`.
        steps: number of training steps.
        minutes: minutes of training, evaluations included, instead of ``steps``; the learning-rate schedule follows the
            time.
        objective: the settings of the examples.
        settings: the training settings; None: the defaults, which differ for ``mlm`` from a checkpoint: the
            learning rate 5e-5, a warm-up of 0.1, and the dropout of the checkpoint.
        saving: how often the state is saved, to resume an interrupted run.
        resume: whether an interrupted run is continued; the ``minutes`` of its earlier sessions count.
        strategy: devices to train on, see `start_strategy`; ``batch_size`` is the total of all.
        devices: number of devices of this process.
        teacher: a larger model with the same heads and the same tokenizer: its outputs are learned too, which is
            knowledge distillation.
        distillation: the settings of distillation; None: the defaults.
        command: the command line, for the model card.
        callbacks: further callbacks of ``fit``, see `fit_with_resume`; an epoch is the steps between two evaluations.
        log: function that prints a line about the progress.

    Returns:
        the content of ``metrics.json``. With several processes, all but the first, which writes, return an empty
        dictionary.

    Raises:
        InputError: an argument or a file is invalid, training diverged, or another worker was lost.
        Interrupted: SIGINT or SIGTERM arrived; the state was saved.

    >>> pretrain("shards/novels", output="runs/novels", preset="tiny", minutes=20)  # doctest: +SKIP
    """
    durations = [value for value in (steps, minutes) if value is not None]
    if len(durations) != 1 or durations[0] <= 0:
        raise InputError(f"steps is {steps} and minutes is {minutes}; exactly one of them was expected, above 0.")
    check_callbacks(callbacks)
    objective = objective or Objective()
    settings = settings or choose_defaults(objective.kind, init).settings
    task = TASKS[objective.task]
    taught = DistilledTask.make(task, teacher, distillation)
    corpus = TokenCorpus(shards)
    corpus_checksum = compute_checksum({}, to_json(corpus.manifest))
    request: dict[str, Any] = {
        "preset": None if init else preset,
        "init": str(init) if init else None,
        "objective": objective.to_dict(),
        "corpus": {name: value for name, value in corpus.manifest.items() if name != "shards"}
        | {"checksum": corpus_checksum},
        **({"steps": steps} if steps else {}),
        **({"distillation": taught.request} if taught else {}),
    }
    run = Run(output, settings=settings, request=request, resume=resume)
    if metrics := run.load_finished():
        log(f"{output} is already complete")
        return metrics
    with start_strategy(strategy, devices=devices) as distribution, run.open(distribution):
        if minutes and distribution.processes > 1:
            raise InputError("minutes was given for several processes, whose clocks differ. Give steps instead.")
        if taught:
            taught.check_distribution(distribution)
        old_tokens = corpus.tokenizer.vocab_size if init is None else count_old_tokens(corpus.tokenizer, init)
        documents, held_out = corpus.split_documents(settings.held_out, seed=settings.seed)
        common: dict[str, Any] = {"batch_size": settings.batch_size, "objective": objective}
        batches = PretrainingBatches(corpus, documents=documents, steps=ENDLESS, seed=settings.seed, **common)
        try:
            evaluated = make_held_out_batches(corpus, held_out, seed=settings.seed, **common)
        except InputError as error:
            raise InputError(f"The held-out part (held_out, --held-out) is too small: {error}") from error

        keras.utils.set_random_seed(settings.seed)
        with distribution.scope():
            saved = make_model(
                task,
                corpus.tokenizer,
                preset,
                init,
                objective=objective,
                settings=settings,
                old_tokens=old_tokens,
                log=log,
            )
            model = select_heads(saved, task)
            trained = taught.make_student(model, task.make_loss()) if taught else model
        log(f"{model.count_params():,} weights; {corpus.manifest['tokens']:,} tokens")
        log(f"{len(documents):,} documents for training, {len(held_out):,} held out")
        if batches.pairable < _MIN_PAIRABLE:
            log(f"Only {batches.pairable:.1%} of the examples can be real next sentences: most documents have")
            log("one sentence. The metrics of next-sentence prediction are not reliable.")
        clock = Clock()
        progress = ProgressTable(log, batches, clock)
        identity = {**objective.to_dict(), "steps": steps, "minutes": minutes}
        checksums = {"corpus": corpus_checksum}
        if taught:
            identity |= dataclasses.asdict(taught.settings)
            checksums["teacher"] = taught.compute_checksum()
        timed = [TimedRate(settings, clock, seconds=60 * minutes)] if minutes else []
        run.train(
            trained,
            taught.teach_batches(batches, model.config) if taught else batches,
            losses=(taught or task).make_compile_arguments(),
            steps=steps,
            steps_per_epoch=settings.report_every,
            identity=identity,
            checksums=checksums,
            stateful={"report": progress, "clock": clock},
            callbacks=[progress, *timed, *callbacks],
            saving=saving,
            verbose=0,
            **distribution.make_validation_arguments(
                taught.teach_batches(evaluated, model.config) if taught else evaluated
            ),
        )
        if not distribution.is_chief:
            return {}
        if saved is not model:
            copy_weights(model, saved)
        saved.save_pretrained(run.directory)
        save_pretraining_curves(run.directory / "learning_curve.png", progress.history)
        return run.finish(
            {
                "command": command,
                "steps": progress.steps,
                "minutes": round(clock.seconds / 60, 1),
                **{name: value for name, value in run.request.items() if name != "steps"},
                "held_out": {"documents": len(held_out), **progress.history[-1]["held_out"]},
                "history": progress.history,
            },
            tokenizer=corpus.tokenizer,
            card=make_pretraining_card,
        )


def make_held_out_batches(
    corpus: TokenCorpus, documents: np.ndarray, *, batch_size: int, objective: Objective, seed: int
) -> PretrainingBatches:
    """One epoch of the held-out documents, or its first 100 batches; the same ones in each evaluation."""
    batches = PretrainingBatches(
        corpus, documents=documents, batch_size=batch_size, objective=objective, seed=seed, steps=_MAX_EVALUATED
    )
    batches.steps = min(_MAX_EVALUATED, batches.per_epoch)
    return batches


class ProgressTable(keras.callbacks.Callback):
    """Logs a line of a table after each evaluation, and records the history.

    Args:
        log: function that prints a line.
        batches: the training data, for the number of epochs.
        clock: measures the duration of training.

    Attributes:
        steps: number of steps done.
        history: for each evaluation ``step``, ``minutes``, and the metrics ``train`` and ``held_out``.

    Raises:
        InputError: the loss became NaN or infinite.
    """

    def __init__(self, log: Callable[[str], None], batches: PretrainingBatches, clock: Clock) -> None:
        super().__init__()
        self.log = log
        self.batches = batches
        self.clock = clock
        self.steps = 0
        self.history: list[dict[str, Any]] = []
        self._has_header = False
        # For each head, the title and the width of its columns.
        self._heads = {"masked": ("masked", 11)}
        if batches.objective.has_pairs:
            self._heads["next_sentence"] = ("next", 9)

    def state_dict(self) -> dict[str, Any]:
        """Steps and history."""
        return {"steps": self.steps, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores steps and history."""
        self.steps, self.history = state["steps"], state["history"]
        self.log(f"continues after step {self.steps:,}")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Logs the header of the table, once."""
        if self._has_header:
            return
        self._has_header = True
        train = "".join(f"{title:>{width}}" for title, width in self._heads.values())
        held_out = "".join(f"{title:>{width}}{'acc.':>7}" for title, width in self._heads.values())
        titles = ("training loss", "held out: loss and accuracy") if len(self._heads) > 1 else ("training", "held out")
        self.log(f"{'':26}{titles[0]:>{len(train)}}{titles[1]:>{len(held_out) - 1}}")
        self.log(f"{'step':>8}{'minutes':>9}{'epochs':>8}{train}{held_out}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the steps."""
        self.steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Logs a line."""
        held_out = summarize_logs(
            {name.removeprefix("val_"): value for name, value in logs.items() if name[:4] == "val_"}
        )
        train = summarize_logs(logs)
        if not math.isfinite(train["masked_loss"] + held_out["masked_loss"]):
            raise InputError(
                f"the loss became NaN or infinite within {self.steps} steps: training diverged. Choose a lower "
                "learning_rate."
            )
        minutes = self.clock.seconds / 60
        self.history.append({"step": self.steps, "minutes": round(minutes, 2), "train": train, "held_out": held_out})
        columns = [f"{self.steps:8,}{minutes:9.1f}{self.steps / self.batches.per_epoch:8.2f}"]
        for name, (_, width) in self._heads.items():
            columns.append(f"{train[f'{name}_loss']:{width}.3f}")
        for name, (_, width) in self._heads.items():
            columns.append(f"{held_out[f'{name}_loss']:{width}.3f}{held_out[f'{name}_accuracy']:7.1%}")
        self.log("".join(columns))


class TimedRate(keras.callbacks.Callback):
    """Learning-rate schedule over time instead of steps, which ends training when the time is over.

    Args:
        settings: the settings of the rate.
        clock: measures the duration of training.
        seconds: the duration after which training ends.
    """

    # The schedule's steps, onto which the time is mapped.
    _STEPS = 10_000

    def __init__(self, settings: PretrainingSettings, clock: Clock, *, seconds: float) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = seconds
        self.schedule = make_schedule(
            settings.learning_rate,
            steps=self._STEPS,
            warmup=settings.warmup,
            schedule=settings.schedule,
            power=settings.power,
        )

    @property
    def progress(self) -> float:
        """The fraction of the time that has passed."""
        return min(1.0, self.clock.seconds / self.seconds)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate."""
        get_backend().sync_variables(self.model)  # A compiled loop reads the variables again after it.
        self.model.optimizer.learning_rate = float(self.schedule(self.progress * self._STEPS))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends training when the time is over; one more evaluation follows."""
        if self.progress == 1:
            self.model.stop_training = True
