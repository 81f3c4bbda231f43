"""Fine-tuning: from a checkpoint and files of examples to the directory of a run."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BUCKETS, LengthBatches
from keras_bert_impl.data.columns import Columns, count_examples
from keras_bert_impl.data.features import Features, Ragged
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import to_json, write_text
from keras_bert_impl.sources import open_source
from keras_bert_impl.tasks import TASKS, Task
from keras_bert_impl.tasks.run import predict
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training.card import model_card
from keras_bert_impl.training.curves import block_means, save_learning_curve, step_losses
from keras_bert_impl.training.distribution import Distribution, distributed
from keras_bert_impl.training.keep_best import KeepBest
from keras_bert_impl.training.optimizers import adamw
from keras_bert_impl.training.resume import (
    Clock,
    SaveStates,
    finished_run,
    identity_of,
    resumable_fit,
    run_directory,
    states_of,
)
from keras_bert_impl.training.settings import PRECISIONS, FineTuning, Saving
from keras_bert_impl.training.states import checksum
from keras_bert_impl.training.versions import versions


def finetune(
    source: str | Path,
    *,
    task: str = "classification",
    train: str | Path | Columns,
    valid: str | Path | Columns,
    test: str | Path | Columns | None = None,
    output: str | Path,
    settings: FineTuning | None = None,
    saving: Saving | None = None,
    resume: bool = False,
    strategy: str | None = None,
    devices: int | None = None,
    columns: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Fine-tunes a checkpoint and writes the directory of the run.

    The directory holds the best checkpoint by the task's main metric on the validation data (``config.json``,
    ``model.safetensors``, the tokenizer), ``metrics.json``, ``learning_curve.png`` and a model card ``README.md``. It
    is made under a temporary name and appears when it is whole.

    Args:
        source: a directory, a weights file, a bundled model, or a hub name.
        task: a name in ``TASKS``.
        train: training data, a file or columns.
        valid: validation data.
        test: test data, scored once in the end.
        output: the directory; must not exist or be empty.
        settings: the settings.
        saving: how often the state is saved while it runs.
        resume: whether to go on with a training that was ended.
        strategy: on which devices, see `keras_bert_impl.training.distributed`; ``batch_size`` is that of all together.
        devices: how many of this process.
        columns: names of a table's columns where they are not ``text``, ``text_pair`` and ``label``.
        say: takes the lines that tell about the progress.

    Returns:
        what ``metrics.json`` holds; of several processes all but the first, which writes, give an empty dictionary.

    Raises:
        InputError: something in the arguments or files cannot be used, or another worker was lost.
        Interrupted: SIGINT or SIGTERM came; the state was saved.

    >>> finetune("bert-base-uncased", train="train.tsv", valid="valid.tsv", output="runs/sentiment")  # doctest: +SKIP
    """
    settings, row = settings or FineTuning(), _task(task)
    opened = open_source(source)
    files = {"train": train, "valid": valid} | ({} if test is None else {"test": test})
    data = {
        name: given if isinstance(given, dict) else row.read_file(given, columns=columns or {})
        for name, given in files.items()
    }
    asked: dict[str, Any] = {
        "task": row.name,
        "source": str(source),
        "settings": dataclasses.asdict(settings),
        "data": {name: checksum({}, repr(values)) for name, values in data.items()},
    }
    if resume and (finished := finished_run(Path(output), **asked)):
        say(f"{output} is whole")
        return finished
    with (
        distributed(strategy, devices=devices) as where,
        run_directory(Path(output), resume=resume, where=where) as directory,
    ):
        examples = {name: count_examples(values, name=name) for name, values in data.items()}
        labels = row.labels(data["train"])
        changes = row.config_changes(labels)
        config = dataclasses.replace(BertConfig.from_pretrained(opened), **changes)
        tokenizer = BertTokenizer.from_pretrained(source)
        # All of them before any training, for this refuses labels that the training data does not have.
        features = {
            name: row.encode(values, tokenizer, config, max_length=settings.max_length) for name, values in data.items()
        }
        for name, encoded in features.items():
            if encoded.truncated:
                say(f"{name}: {encoded.truncated} of {examples[name]} texts are longer than max_length and were cut.")

        keras.utils.set_random_seed(settings.seed)
        policy = PRECISIONS[settings.precision]
        with where.scope():
            model = row.model_class.from_pretrained(opened, new_heads=True, dtype=policy, **changes)
        say(str(model.load_report))
        lengths = BUCKETS if keras.backend.backend() == "jax" else ()
        batches = LengthBatches(
            features["train"], settings.batch_size, seed=settings.seed, epochs=settings.epochs, lengths=lengths
        )

        run = where.predict_on_batch(model)

        def score(name: str) -> dict[str, float]:
            predictions = predict(run, features[name], data[name], task=row, config=config, lengths=lengths)
            return row.score(predictions, data[name])

        keep, clock = KeepBest(directory, score=lambda: score("valid"), metric=row.main_metric), Clock()
        identity = identity_of(
            model,
            {name: _checksum(values, data[name]) for name, values in features.items()},
            task=row.name,
            settings=settings,
        )
        beside = {"keep": keep, "clock": clock}
        states = states_of(Path(output), saving, beside=beside, identity=identity, where=where)
        _fit(model, row, batches, settings=settings, states=states, callbacks=[keep], where=where)
        seconds = clock.seconds
        if keep.best_epoch != settings.epochs:
            model.load_pretrained(directory)
        figures = {"valid": keep.validation[keep.best_epoch - 1]} | ({} if test is None else {"test": score("test")})
        if not where.is_chief:
            return {}
        for name, values in figures.items():
            say(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in values.items()))
        cut = where.replicas * settings.accumulate
        rows = [-(-len(batches.rows(k)) // cut) * cut for k in range(len(batches))]
        losses = step_losses(keep.running_means, rows)
        steps, means = block_means(losses)
        metrics: dict[str, Any] = {
            **asked,
            "labels": labels,
            "examples": examples,
            "seconds": round(seconds, 1),
            "best_epoch": keep.best_epoch,
            "validation": keep.validation,
            **figures,
            "training_loss": {"step": steps.tolist(), "loss": [round(mean, 5) for mean in means.tolist()]},
            "versions": versions(),
        }
        tokenizer.save_pretrained(directory)
        save_learning_curve(
            directory / "learning_curve.png",
            losses,
            keep.validation,
            metric=row.main_metric,
            best_epoch=keep.best_epoch,
        )
        write_text(directory / "metrics.json", to_json(metrics))
        name = Path(output).absolute().name
        write_text(directory / "README.md", model_card(metrics, name=name, main_metric=row.main_metric))
    return metrics


def _fit(
    model: Any,
    row: Task,
    batches: LengthBatches,
    *,
    settings: FineTuning,
    states: SaveStates,
    callbacks: list[keras.callbacks.Callback],
    where: Distribution,
) -> None:
    """``compile`` and ``fit``."""
    with where.scope():
        optimizer = adamw(
            learning_rate=settings.learning_rate,
            steps=len(batches),
            warmup=settings.warmup,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
        )
        where.compile(model, optimizer, row.compile_arguments(), settings=settings)
    resumable_fit(
        model,
        where.share(batches, accumulate=settings.accumulate),
        states=states,
        steps=len(batches),
        steps_per_epoch=batches.per_epoch,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )


def _checksum(features: Features, columns: Columns) -> str:
    """Tells other data: of the inputs, labels and weights of all rows, and of what predictions are scored by."""
    parts = {"inputs": features.inputs, "labels": features.labels, "weights": features.weights}
    arrays = {}
    for part, fields in parts.items():
        for name, values in fields.items():
            if isinstance(values, Ragged):
                arrays[f"{part} {name} offsets"] = values.offsets
                values = values.flat
            arrays[f"{part} {name}"] = values
    return checksum(arrays, repr(columns))


def _task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"No task is named {name!r}; there are {', '.join(TASKS)}.")
    return TASKS[name]
