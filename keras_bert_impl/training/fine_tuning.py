"""Fine-tuning: from a checkpoint and files of examples to the directory of a run."""

import dataclasses
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import keras

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.batches import Features, LengthBatches, Ragged
from keras_bert_impl.data.feed import get_batch_lengths
from keras_bert_impl.data.splitting import split_off
from keras_bert_impl.data.tables import Columns, count_examples
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import read_json, to_json, write_text
from keras_bert_impl.ops.compiled import compile_inference
from keras_bert_impl.sources import ADAPTER_MODEL_CONFIG, Source, open_source
from keras_bert_impl.tasks import Task, get_task, list_foreign_keys, open_task
from keras_bert_impl.tasks.base import Prediction
from keras_bert_impl.tasks.encoding import check_fit
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training.distillation import DistilledTask
from keras_bert_impl.training.distribution import start_strategy
from keras_bert_impl.training.report import average_blocks, compute_step_losses, make_model_card, save_learning_curve
from keras_bert_impl.training.run import Clock, Run, check_callbacks
from keras_bert_impl.training.settings import PRECISIONS, DistillationSettings, FineTuningSettings, SavingSettings
from keras_bert_impl.training.states import compute_checksum
from keras_bert_impl.training.trainable import choose_trainable, compute_rate_factors, describe_trainable

# The directory of the adapter, inside that of a run with LoRA.
ADAPTER = "adapter"


def finetune(
    source: str | Path | Source,
    *,
    task: str = "classification",
    train: Any,
    valid: Any = None,
    test: Any = None,
    output: str | Path,
    settings: FineTuningSettings | None = None,
    saving: SavingSettings | None = None,
    resume: bool = False,
    strategy: str | None = None,
    devices: int | None = None,
    columns: Mapping[str, str] | None = None,
    options: Any = None,
    teacher: str | Path | Source | None = None,
    distillation: DistillationSettings | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Fine-tunes a checkpoint and writes the directory of the run.

    The directory contains the checkpoint with the best main metric on the validation data (``config.json``,
    ``model.safetensors``, the tokenizer), ``metrics.json``, ``learning_curve.png`` and a model card ``README.md``. It
    has a temporary name until the run is complete. With LoRA, ``adapter`` in it contains the adapter alone, and
    ``model.safetensors`` the merged weights.

    Args:
        source: a directory, a weights file, a bundled model, a hub name, or an opened source.
        task: a name in ``TASKS``.
        train: training data: a file, or data in memory (a data frame, a data set, columns, or a list of dictionaries;
            see `keras_bert_impl.data.MemoryTable`).
        valid: validation data; None: the setting ``valid_fraction`` of the training data, which is then not trained on.
        test: test data, scored once at the end.
        output: the directory; must be new or empty.
        settings: the settings.
        saving: how often the state is saved, to resume an interrupted run.
        resume: whether an interrupted run is continued; a complete one is left as it is.
        strategy: devices to train on, see `start_strategy`; ``batch_size`` is the total of all.
        devices: number of devices of this process.
        columns: names of a table's columns, where they are not ``text``, ``text_pair`` and ``label``; ``weight`` names
            the column of the training file with the weights of rows.
        options: options of the task, an object of its class in ``TASK_OPTIONS``; None: the defaults.
        teacher: a larger model that was fine-tuned for the same task and labels: its outputs are learned too, which is
            knowledge distillation.
        distillation: the settings of distillation; None: the defaults.
        callbacks: further callbacks of ``fit``, see `fit_with_resume`; the logs of an epoch contain the validation
            metrics.
        log: function that prints a line about the progress.

    Returns:
        the content of ``metrics.json``. With several processes, all but the first, which writes, return an empty
        dictionary.

    Raises:
        InputError: an argument or a file is invalid, training diverged, or another worker was lost.
        Interrupted: SIGINT or SIGTERM arrived; the state was saved.

    >>> finetune("bert-base-uncased", train="train.tsv", valid="valid.tsv", output="runs/sentiment")  # doctest: +SKIP
    """
    settings, spec = settings or FineTuningSettings(), get_task(task, options)
    spec.require("finetune")
    check_callbacks(callbacks)
    taught = DistilledTask.make(spec, teacher, distillation)
    if taught is not None:
        spec = cast(Task, taught)
    opened = open_source(source)
    if settings.lora_rank and opened.base is not None:
        raise InputError(
            f"{opened.name} is an adapter, which cannot be the base of another. Merge it (keras-bert convert), and "
            "name the merged model."
        )
    # The weights of rows are those of the loss: only the training data has them.
    unweighted = {role: column for role, column in (columns or {}).items() if role != "weight"}
    data = {
        name: spec.read_file(
            given,
            labeled=name != "train" or spec.needs_labels,
            columns=columns if name == "train" else unweighted,
            name=name,
        )
        for name, given in (("train", train), ("valid", valid), ("test", test))
        if given is not None
    }
    if valid is None:
        data = _split_off_valid(spec, data, settings, log)
    request: dict[str, Any] = {
        "task": spec.name,
        "source": str(source),
        "data": {name: compute_checksum({}, _to_text(values)) for name, values in data.items()},
    }
    request |= {name: value for name in ("revision", "subfolder") if (value := getattr(opened, name))}
    if valid is None:
        request["split"] = {"valid_fraction": settings.valid_fraction, "seed": settings.seed}
    chosen = _list_changes(spec.options)
    if spec.options is not None:
        request["options"] = chosen
    if taught is not None:
        request["distillation"] = taught.request
    run = Run(output, settings=settings, request=request, resume=resume)
    if metrics := run.load_finished():
        log(f"{output} is already complete")
        return metrics
    with start_strategy(strategy, devices=devices) as distribution, run.open(distribution):
        if taught is not None:
            taught.check_distribution(distribution)
        examples = {name: count_examples(values, name=name) for name, values in data.items()}
        _, config, tokenizer = open_task(opened, spec)
        labels = spec.find_labels(data["train"])
        if sorted(labels) == sorted(config.id2label.values()):
            labels = list(config.id2label.values())  # The rows of the checkpoint's head have this order.
        changes = _make_config_changes(spec, config, data["train"], labels, max_length=settings.max_length)
        changes |= settings.make_config_changes()
        config = dataclasses.replace(config, **changes)
        features = _encode(spec, data, tokenizer, config, max_length=settings.max_length, log=log)
        features["train"] = spec.add_weights(features["train"], config)
        lengths = get_batch_lengths()
        train_lengths = get_batch_lengths(jit=distribution.uses_jit(settings))
        # Before the model is built, because some tasks refuse the data here.
        batches = spec.make_batches(
            features["train"], settings.batch_size, seed=settings.seed, epochs=settings.epochs, lengths=train_lengths
        )
        if line := spec.describe_batches(batches):
            log(line)

        keras.utils.set_random_seed(settings.seed)
        with distribution.scope():
            model = spec.model_class.from_pretrained(
                opened, new_heads=True, dtype=PRECISIONS[settings.precision], **changes
            )
            choose_trainable(model, settings)
            trainable = spec.make_trainable(model, features["train"])
        log(str(model.load_report))
        if line := describe_trainable(model):
            log(line)
        run_model = compile_inference(model)

        def predict(name: str) -> list[Prediction]:
            return spec.predict(run_model, features[name], data[name], config=config, lengths=lengths)

        def score(name: str) -> dict[str, float]:
            return spec.score(predict(name), data[name])

        if settings.metric is not None:
            # Before training: only scores tell which metrics there are for this data.
            _check_metric(settings.metric, score("valid"))
        best = KeepBest(
            run.directory,
            model,
            score=lambda: score("valid"),
            get_metric=lambda scores: settings.metric or spec.get_main_metric(scores),
            lower_is_better=spec.lower_is_better,
            patience=settings.patience,
        )
        identity = {"task": spec.name, **{f"option {name}": value for name, value in chosen.items()}}
        checksums = {name: _checksum_features(values, data[name]) for name, values in features.items()}
        if taught is not None:
            identity |= dataclasses.asdict(taught.settings)
            checksums["teacher"] = taught.compute_checksum()
        clock = Clock()
        run.train(
            trainable,
            batches,
            losses=spec.make_compile_arguments(features["train"], config),
            steps=len(batches),
            steps_per_epoch=batches.per_epoch,
            identity=identity,
            checksums=checksums,
            stateful={"keep": best, "clock": clock},
            callbacks=[best, *callbacks],
            saving=saving,
            rate_factors=compute_rate_factors(model, settings.layer_decay),
            verbose=1 if sys.stdout.isatty() else 2,
        )
        seconds = clock.seconds
        if best.best_epoch != len(best.validation):
            model.load_pretrained(run.directory)
        scores = {"valid": best.validation[best.best_epoch - 1]}
        if tuned := spec.tune(lambda: predict("valid"), data["valid"]):
            config = model.config = dataclasses.replace(config, extra={**config.extra, **tuned})
            model.save_pretrained(run.directory)
            if (adapter_config := run.directory / ADAPTER / ADAPTER_MODEL_CONFIG).is_file():
                write_text(adapter_config, to_json(read_json(adapter_config) | tuned))
            scores["valid"] = score("valid")
        if test is not None:
            scores["test"] = score("test")
        if not distribution.is_chief:
            return {}
        for name, values in scores.items():
            log(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in values.items()))
        rows = _count_rows_per_step(batches, distribution.replicas * settings.accumulate)
        done = sum(map(len, best.running_means))  # Fewer than there are batches if training stopped early.
        losses = compute_step_losses(best.running_means, rows[:done])
        steps, means = average_blocks(losses)
        path, metric = run.directory / "learning_curve.png", best.get_metric(best.validation[0])
        save_learning_curve(path, losses, best.validation, metric=metric, best_epoch=best.best_epoch)
        return run.finish(
            {
                **run.request,
                "labels": labels,
                "examples": examples,
                "seconds": round(seconds, 1),
                "best_epoch": best.best_epoch,
                "validation": best.validation,
                **scores,
                "training_loss": {"step": steps.tolist(), "loss": [round(mean, 5) for mean in means.tolist()]},
            },
            tokenizer=tokenizer,
            card=lambda metrics, name: make_model_card(metrics, name=name, main_metric=metric, note=spec.card_note),
        )


def _make_config_changes(
    spec: Task, config: BertConfig, train: Columns, labels: list[str], *, max_length: int
) -> dict[str, Any]:
    """Returns the fields of the configuration that the task changes; what other tasks added to it is dropped."""
    own = spec.make_config_extra(train, max_length=max_length)
    removed = list_foreign_keys(spec) | {key for key, value in own.items() if value is None}
    extra = {key: value for key, value in {**config.extra, **own}.items() if key not in removed}
    return {**spec.make_config_changes(labels), "extra": extra}


def _encode(
    spec: Task,
    data: Mapping[str, Columns],
    tokenizer: BertTokenizer,
    config: BertConfig,
    *,
    max_length: int,
    log: Callable[[str], None],
) -> dict[str, Features]:
    """Encodes all splits, before training, because encoding refuses labels that are not in the training data."""
    check_fit(tokenizer, config, max_length=max_length, pairs=spec.needs_pair)
    # Predictions truncate rows to this length, so training on longer rows would be of no use.
    limit = spec.resolve_max_length(config, tokenizer, None)
    max_length = min(max_length, limit)
    features = {name: spec.encode(values, tokenizer, config, max_length=max_length) for name, values in data.items()}
    for name, encoded in features.items():
        if encoded.truncated:
            later = f"; predictions read up to {limit} tokens" if max_length < limit else ""
            problem = spec.describe_truncation(
                encoded.truncated, encoded.count_examples(), config=config, max_length=max_length
            )
            log(f"{name}: {problem}{later}.")
    return features


def _check_metric(metric: str, scores: Mapping[str, float]) -> None:
    if metric not in scores:
        raise InputError(f"metric is {metric!r}; the metrics of this task and data are {', '.join(scores)}.")


def _split_off_valid(
    spec: Task, data: dict[str, Columns], settings: FineTuningSettings, log: Callable[[str], None]
) -> dict[str, Columns]:
    """Returns the data with a part of the training data as validation data."""
    if not spec.needs_labels:
        raise InputError(
            "alpha is 1, so the labels of the training data are not read, and no validation data can be split off it. "
            "Give validation data with labels."
        )
    columns = data["train"]
    train, valid = split_off(
        columns,
        settings.valid_fraction,
        seed=settings.seed,
        group_column=spec.group_column,
        strata=spec.list_strata(columns),
    )
    counts = [count_examples(part, name="train") for part in (valid, columns)]
    log("validation data: {:,} of the {:,} training examples, which are not trained on".format(*counts))
    return {"train": train, "valid": valid, **{name: rest for name, rest in data.items() if name != "train"}}


def _list_changes(options: Any) -> dict[str, Any]:
    """Returns the options that differ from their defaults; so a new option does not change the record of older runs."""
    if options is None:
        return {}
    default = dataclasses.asdict(type(options)())
    return {name: value for name, value in dataclasses.asdict(options).items() if value != default[name]}


def _count_rows_per_step(batches: LengthBatches, multiple: int) -> list[int]:
    """Returns the number of rows of each batch, filled up to a multiple for replicas and accumulated parts."""
    return [-(-len(batches.get_rows(k)) // multiple) * multiple for k in range(len(batches))]


class KeepBest(keras.callbacks.Callback):
    """Scores the validation data after each epoch, saves the model if it is the best so far, and stops early.

    Args:
        directory: directory of the best checkpoint.
        saved: the model that is saved, which has the weights of the trained model.
        score: function that computes the metrics.
        get_metric: function that returns the name of the metric, among those of ``score``, that selects the best epoch;
            if epochs are equal, the first is the best.
        lower_is_better: the metrics that are better if they are lower.
        patience: number of epochs without a better one after which training stops; 0: never.

    Attributes:
        best_epoch: the best epoch so far, counted from 1; 0 before the first.
        validation: the metrics of each epoch.
        running_means: for each epoch, after each step, the mean of the loss over the epoch's rows so far.

    Raises:
        InputError: the loss became NaN or infinite.
    """

    _STATE = ("best_epoch", "validation", "running_means")

    def __init__(
        self,
        directory: Path,
        saved: Any,
        *,
        score: Callable[[], dict[str, float]],
        get_metric: Callable[[Mapping[str, float]], str],
        lower_is_better: Collection[str] = (),
        patience: int = 0,
    ) -> None:
        super().__init__()
        self.directory = directory
        self.saved = saved
        self.score = score
        self.get_metric = get_metric
        self.lower_is_better = lower_is_better
        self.patience = patience
        self.best_epoch = 0
        self.validation: list[dict[str, float]] = []
        self.running_means: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        """Returns the attributes."""
        return {name: getattr(self, name) for name in self._STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the attributes."""
        for name in self._STATE:
            setattr(self, name, state[name])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's curve."""
        if epoch == len(self.running_means):
            self.running_means.append([])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Records the running mean of the loss."""
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} in step {batch + 1} of epoch {len(self.running_means)}: training diverged. "
                "Choose a lower learning_rate."
            )
        self.running_means[-1].append(loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores, saves if this is the best epoch, and stops if the best epoch is too long ago."""
        scores = self.score()
        self.validation.append(scores)
        if not self.best_epoch or self._is_better(scores, self.validation[self.best_epoch - 1]):
            self.best_epoch = epoch + 1
            self.saved.save_pretrained(self.directory)
            if self.saved.has_lora:
                self.saved.save_adapter(self.directory / ADAPTER)
        if self.patience and len(self.validation) - self.best_epoch >= self.patience:
            self.model.stop_training = True
        logs.update({f"val_{name}": value for name, value in scores.items()})  # For Keras' progress line and history.

    def _is_better(self, scores: Mapping[str, float], others: Mapping[str, float]) -> bool:
        metric = self.get_metric(scores)
        difference = scores[metric] - others[metric]
        return difference < 0 if metric in self.lower_is_better else difference > 0


def _checksum_features(features: Features, columns: Columns) -> str:
    """Computes a checksum of encoded data: inputs, labels and weights of all rows, and the columns for scoring."""
    parts = {"inputs": features.inputs, "labels": features.labels, "weights": features.weights}
    arrays = {}
    for part, fields in parts.items():
        for name, values in fields.items():
            if isinstance(values, Ragged):
                arrays[f"{part} {name} offsets"] = values.offsets
                values = values.flat
            arrays[f"{part} {name}"] = values
    return compute_checksum(arrays, _to_text(columns))


def _to_text(columns: Columns) -> str:
    """Formats columns for checksums. In those of saved runs, the column of locations has the name ``where``."""
    # Lists, because NumPy abbreviates long arrays.
    return repr({"where" if name == "location" else name: list(values) for name, values in columns.items()})
