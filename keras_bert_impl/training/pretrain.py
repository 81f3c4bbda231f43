"""Pretraining: from shards to the directory of a run."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import Objective, PretrainingBatches, TokenCorpus
from keras_bert_impl.data.shards import fingerprint
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import to_json, write_text
from keras_bert_impl.models import BertForPreTraining
from keras_bert_impl.tasks.pretraining import figures_of, pretraining_compile
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training.card import pretraining_card
from keras_bert_impl.training.curves import save_pretraining_curves
from keras_bert_impl.training.distribution import distributed
from keras_bert_impl.training.optimizers import OPTIMIZERS, decaying
from keras_bert_impl.training.resume import (
    Clock,
    finished_run,
    identity_of,
    resumable_fit,
    run_directory,
    states_of,
)
from keras_bert_impl.training.settings import PRECISIONS, PreTraining, Saving
from keras_bert_impl.training.states import checksum
from keras_bert_impl.training.versions import versions

# Batches and epochs: more than any machine makes. Callbacks end the training.
_ENDLESS = 1 << 40
# With a smaller share of chunks of two sentences, hardly any pair is real.
_FEW = 0.1
# Held-out batches of an evaluation, at most.
_EVALUATED = 100


def pretrain(
    shards: str | Path,
    *,
    output: str | Path,
    preset: str = "tiny",
    init: str | Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    objective: Objective | None = None,
    settings: PreTraining | None = None,
    saving: Saving | None = None,
    resume: bool = False,
    strategy: str | None = None,
    devices: int | None = None,
    command: str | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Pretrains a BERT on prepared shards and writes the directory of the run.

    The directory holds the model (``config.json``, ``model.safetensors``, the tokenizer), ``metrics.json``,
    ``learning_curve.png`` and a model card ``README.md``. It appears when it is whole.

    Args:
        shards: what `keras_bert_impl.data.prepare` wrote.
        output: the directory; must not exist or be empty.
        preset: the size, tiny to large.
        init: a checkpoint to go on from instead, with the same vocabulary: the second of two phases.
        steps: how long to train.
        minutes: how long to train, evaluations included, instead of ``steps``; the learning rate follows the time.
        objective: what examples are like.
        settings: the settings.
        saving: how often the state is saved while it runs.
        resume: whether to go on with a training that was ended. With ``minutes``, those that it took before count.
        strategy: on which devices, see `keras_bert_impl.training.distributed`; ``batch_size`` is that of all together.
        devices: how many of this process.
        command: what was typed, for the card.
        say: takes the lines that tell about the progress.

    Returns:
        what ``metrics.json`` holds; of several processes all but the first, which writes, give an empty dictionary.

    Raises:
        InputError: something in the arguments or files cannot be used, the training diverged, or another worker was
            lost.
        Interrupted: SIGINT or SIGTERM came; the state was saved.

    >>> pretrain("shards/novels", output="runs/novels", preset="tiny", minutes=20)  # doctest: +SKIP
    """
    given = [value for value in (steps, minutes) if value is not None]
    if len(given) != 1 or given[0] <= 0:
        raise InputError(f"steps is {steps} and minutes is {minutes}; one of them, above 0, was expected.")
    objective, settings = objective or Objective(), settings or PreTraining()
    corpus = TokenCorpus(shards)
    asked: dict[str, Any] = {
        "preset": None if init else preset,
        "init": str(init) if init else None,
        "objective": dataclasses.asdict(objective),
        "settings": dataclasses.asdict(settings),
        "corpus": {name: value for name, value in corpus.manifest.items() if name != "shards"}
        | {"checksum": checksum({}, to_json(corpus.manifest))},
    }
    if resume and (finished := finished_run(Path(output), **asked, **({"steps": steps} if steps else {}))):
        say(f"{output} is whole")
        return finished
    with (
        distributed(strategy, devices=devices) as where,
        run_directory(Path(output), resume=resume, where=where) as directory,
    ):
        if minutes and where.processes > 1:
            raise InputError("minutes was given for several processes, whose clocks differ. Give steps instead.")
        documents, held_out = corpus.held_out(settings.held_out, seed=settings.seed)
        common: dict[str, Any] = {"batch_size": settings.batch_size, "objective": objective}
        batches = PretrainingBatches(corpus, documents=documents, steps=_ENDLESS, seed=settings.seed, **common)
        try:
            evaluated = held_out_batches(corpus, held_out, seed=settings.seed, **common)
        except InputError as error:
            raise InputError(f"The held-out part (held_out, --held-out) is too small: {error}") from error

        keras.utils.set_random_seed(settings.seed)
        with where.scope():
            model = _model(corpus.tokenizer, preset, init, objective=objective, settings=settings, say=say)
        say(f"{model.count_params():,} weights; {corpus.manifest['tokens']:,} tokens")
        say(f"{len(documents):,} documents to learn from, {len(held_out):,} held out")
        if batches.pairable < _FEW:
            say(f"only {batches.pairable:.1%} of the examples can be real next sentences: the others are")
            say("documents, or ends of them, of one sentence. Their figures tell little.")
        with where.scope():
            optimizer = OPTIMIZERS[settings.optimizer](
                learning_rate=settings.learning_rate,
                steps=steps,
                warmup=settings.warmup,
                weight_decay=settings.weight_decay,
                clip_norm=settings.clip_norm,
                power=settings.power,
            )
            where.compile(model, optimizer, pretraining_compile(), settings=settings)
        clock = Clock()
        report = Report(say, batches, clock)
        callbacks: list[keras.callbacks.Callback] = [report]
        if minutes:
            callbacks.append(TimedRate(settings, clock, seconds=60 * minutes))
        identity = identity_of(
            model,
            {"corpus": asked["corpus"]["checksum"]},
            **dataclasses.asdict(objective),
            settings=settings,
            steps=steps,
            minutes=minutes,
        )
        states = states_of(
            Path(output), saving, beside={"report": report, "clock": clock}, identity=identity, where=where
        )
        resumable_fit(
            model,
            where.share(batches, accumulate=settings.accumulate),
            states=states,
            steps=steps or _ENDLESS,
            steps_per_epoch=settings.report_every,
            callbacks=callbacks,
            verbose=0,
            **where.validation(evaluated),
        )
        if not where.is_chief:
            return {}
        metrics: dict[str, Any] = {
            "command": command,
            "steps": report.steps,
            "minutes": round(clock.seconds / 60, 1),
            **asked,
            "held_out": {"documents": len(held_out), **report.history[-1]["held_out"]},
            "history": report.history,
            "versions": versions(),
        }
        model.save_pretrained(directory)
        corpus.tokenizer.save_pretrained(directory)
        save_pretraining_curves(directory / "learning_curve.png", report.history)
        write_text(directory / "metrics.json", to_json(metrics))
        write_text(directory / "README.md", pretraining_card(metrics, name=Path(output).absolute().name))
    return metrics


def held_out_batches(
    corpus: TokenCorpus, documents: np.ndarray, *, batch_size: int, objective: Objective, seed: int
) -> PretrainingBatches:
    """One epoch of held-out documents, or the first 100 batches of it; the same ones at each evaluation."""
    batches = PretrainingBatches(
        corpus, documents=documents, batch_size=batch_size, objective=objective, seed=seed, steps=_EVALUATED
    )
    batches.steps = min(_EVALUATED, batches.per_epoch)
    return batches


def _model(
    tokenizer: BertTokenizer,
    preset: str,
    init: str | Path | None,
    *,
    objective: Objective,
    settings: PreTraining,
    say: Callable[[str], None],
) -> BertForPreTraining:
    policy = PRECISIONS[settings.precision]
    dropout: dict[str, Any] = {
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.dropout,
    }
    if init is None:
        config = BertConfig.preset(
            preset,
            vocab_size=tokenizer.vocab_size,
            pad_token_id=tokenizer.pad_token_id,
            max_position_embeddings=max(512, objective.max_length),
            **dropout,
        )
        return BertForPreTraining(config, dtype=policy)
    if fingerprint(BertTokenizer.from_pretrained(init)) != fingerprint(tokenizer):
        raise InputError(
            f"{init} has another tokenizer than the shards. Prepare the corpus with it: --tokenizer {init}."
        )
    model = BertForPreTraining.from_pretrained(init, dtype=policy, **dropout)
    say(str(model.load_report))
    if model.config.max_position_embeddings < objective.max_length:
        raise InputError(
            f"{init} takes {model.config.max_position_embeddings} tokens; max_length is {objective.max_length}."
        )
    return model


class Report(keras.callbacks.Callback):
    """Tells about the progress after each evaluation, and keeps the history.

    Args:
        say: takes the lines.
        batches: what is trained with, for the share of the corpus that was seen.
        clock: the time of the training.

    Attributes:
        steps: how many were made.
        history: for each evaluation ``step``, ``minutes``, and the figures of ``train`` and ``held_out``.

    Raises:
        InputError: the loss is no number any more.
    """

    def __init__(self, say: Callable[[str], None], batches: PretrainingBatches, clock: Clock) -> None:
        super().__init__()
        self.say = say
        self.batches = batches
        self.clock = clock
        self.steps = 0
        self.history: list[dict[str, Any]] = []
        self._has_head = False

    def state_dict(self) -> dict[str, Any]:
        """What was noted, as JSON holds it."""
        return {"steps": self.steps, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what was noted."""
        self.steps, self.history = state["steps"], state["history"]
        self.say(f"goes on after step {self.steps:,}")

    def on_train_begin(self, logs: Any = None) -> None:
        """Writes the head of the table, once."""
        if self._has_head:
            return
        self._has_head = True
        self.say(f"{'':28}{'trained with':^22}{'held out':^30}")
        self.say(
            f"{'step':>8}{'minutes':>9}{'epochs':>8}{'masked':>10}{'next':>9}{'masked':>12}{'right':>7}{'next':>10}{'right':>7}"
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts."""
        self.steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes a line."""
        held_out = figures_of({name.removeprefix("val_"): value for name, value in logs.items() if name[:4] == "val_"})
        train = figures_of(logs)
        if not math.isfinite(train["masked_loss"] + held_out["masked_loss"]):
            raise InputError(
                f"the loss is no number any more after {self.steps} steps: the training diverged. Choose a lower "
                "learning rate."
            )
        minutes = self.clock.seconds / 60
        self.history.append({"step": self.steps, "minutes": round(minutes, 2), "train": train, "held_out": held_out})
        self.say(
            f"{self.steps:8,}{minutes:9.1f}{self.steps / self.batches.per_epoch:8.2f}"
            f"{train['masked_loss']:10.3f}{train['next_sentence_loss']:9.3f}"
            f"{held_out['masked_loss']:12.3f}{held_out['masked_accuracy']:7.1%}"
            f"{held_out['next_sentence_loss']:10.3f}{held_out['next_sentence_accuracy']:7.1%}"
        )


class TimedRate(keras.callbacks.Callback):
    """Sets the learning rate by the time that has passed, and ends the training when it is over.

    Args:
        settings: of the rate.
        clock: the time of the training.
        seconds: the whole time.
    """

    # The steps that the schedule takes the time for.
    _STEPS = 10_000

    def __init__(self, settings: PreTraining, clock: Clock, *, seconds: float) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = seconds
        self.schedule = decaying(
            settings.learning_rate, steps=self._STEPS, warmup=settings.warmup, power=settings.power
        )

    @property
    def progress(self) -> float:
        """The share of the time that has passed."""
        return min(1.0, self.clock.seconds / self.seconds)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the rate."""
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # Else the step takes the rate that it was given first.
        self.model.optimizer.learning_rate = float(self.schedule(self.progress * self._STEPS))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Ends the training in time; the evaluation that follows is the last."""
        if self.progress == 1:
            self.model.stop_training = True
