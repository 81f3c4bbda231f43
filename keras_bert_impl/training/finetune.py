"""Fine-tuning: from a checkpoint and files of examples to the directory of a run."""

import dataclasses
import importlib.metadata
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BUCKETS, LengthBatches, for_fit
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.files import new_directory, to_json, write_text
from keras_bert_impl.sources import open_source
from keras_bert_impl.tasks import TASKS, Task
from keras_bert_impl.tasks.run import predict
from keras_bert_impl.tokenization import BertTokenizer
from keras_bert_impl.training.card import model_card
from keras_bert_impl.training.curves import block_means, save_learning_curve
from keras_bert_impl.training.optimizers import adamw

# The policies under which Keras trains in a precision: weights and optimizer stay in float32.
PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """The settings of a fine-tuning; the defaults are the usual ones of the BERT paper, appendix A.3.

    Args:
        epochs: how many times the training data is gone through.
        batch_size: examples in a batch.
        learning_rate: the highest learning rate of AdamW.
        warmup: share of the steps in which the rate rises to it.
        weight_decay: decay of all weights but biases and layer norms.
        clip_norm: the largest norm of all gradients together.
        max_length: the longest row in tokens; what is longer is cut, or split by tasks that can.
        precision: ``float32``, or ``bfloat16`` for the products (weights stay in float32).
        seed: of the new head, the order of the data and dropout.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    max_length: int = 128
    precision: str = "float32"
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_length"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; a whole number above 0 was expected.")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; a number above 0 was expected.")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision is {self.precision!r}; {' or '.join(PRECISIONS)} was expected.")


def finetune(
    source: str | Path,
    *,
    task: str = "classification",
    train: str | Path | Columns,
    valid: str | Path | Columns,
    test: str | Path | Columns | None = None,
    output: str | Path,
    settings: FineTuning | None = None,
    columns: Mapping[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Fine-tunes a checkpoint and writes the directory of the run.

    The directory holds the best checkpoint by the task's main metric on the validation data (``config.json``,
    ``model.safetensors``, the tokenizer), ``metrics.json``, ``learning_curve.png`` and a model card ``README.md``. It is
    made under a temporary name and appears when it is whole.

    Args:
        source: a directory, a weights file, a bundled model, or a hub name.
        task: a name in ``TASKS``.
        train: training data, a file or columns.
        valid: validation data.
        test: test data, scored once in the end.
        output: the directory; must not exist or be empty.
        settings: the settings.
        columns: names of a table's columns where they are not ``text``, ``text_pair`` and ``label``.
        say: takes the lines that tell about the progress.

    Returns:
        what ``metrics.json`` holds.

    Raises:
        InputError: something in the arguments or files cannot be used.

    >>> finetune("bert-base-uncased", train="train.tsv", valid="valid.tsv", output="runs/sentiment")  # doctest: +SKIP
    """
    settings = settings or FineTuning()
    row = _task(task)
    opened = open_source(source)
    with new_directory(Path(output)) as directory:
        config, tokenizer = BertConfig.from_pretrained(opened), BertTokenizer.from_pretrained(source)
        data = {
            name: given if isinstance(given, dict) else row.read(given, **(columns or {}))
            for name, given in (("train", train), ("valid", valid), ("test", test))
            if given is not None
        }
        labels = row.labels(data["train"])
        changes = row.config_changes(labels)
        config = dataclasses.replace(config, **changes)
        encode = {"tokenizer": tokenizer, "config": config, "max_length": settings.max_length}
        features = row.encode(data["train"], **encode)
        for name in data.keys() - {"train"}:
            row.encode(data[name], **encode)  # Refuses labels that training has not seen, before any training.
        if features.truncated:
            say(f"{features.truncated} of {len(data['train']['where'])} texts are longer than max_length and were cut.")

        keras.utils.set_random_seed(settings.seed)
        model = row.model_class.from_pretrained(
            opened, new_heads=True, dtype=PRECISIONS[settings.precision], **changes
        )
        say(str(model.load_report))
        lengths = BUCKETS if keras.backend.backend() == "jax" else ()
        batches = LengthBatches(
            features, settings.batch_size, seed=settings.seed, epochs=settings.epochs, lengths=lengths
        )
        optimizer = adamw(
            learning_rate=settings.learning_rate,
            steps=len(batches),
            warmup=settings.warmup,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
        )
        model.compile(optimizer=optimizer, **row.compile_arguments())

        def score(name: str) -> dict[str, float]:
            run = {"task": row, "lengths": lengths, **encode}
            return row.score(predict(model.predict_on_batch, data[name], **run), data[name])

        keep = KeepBest(directory, score=lambda: score("valid"), metric=row.main_metric)
        start = time.perf_counter()
        model.fit(
            for_fit(batches),
            steps_per_epoch=batches.per_epoch,
            epochs=settings.epochs,
            callbacks=[keep],
            shuffle=False,
            verbose=1 if sys.stdout.isatty() else 2,
        )
        seconds = time.perf_counter() - start
        if keep.best_epoch != settings.epochs:
            model.load_pretrained(directory)
        steps, losses = block_means(keep.running_means)
        metrics: dict[str, Any] = {
            "task": row.name,
            "source": str(source),
            "labels": labels,
            "settings": dataclasses.asdict(settings),
            "examples": {name: len(values["where"]) for name, values in data.items()},
            "seconds": round(seconds, 1),
            "best_epoch": keep.best_epoch,
            "validation": keep.validation,
            "valid": keep.validation[keep.best_epoch - 1],
            **({"test": score("test")} if test is not None else {}),
            "training_loss": {"step": steps.tolist(), "loss": [round(loss, 5) for loss in losses.tolist()]},
            "versions": {name: importlib.metadata.version(name) for name in ("keras", "numpy", "keras_bert_impl")}
            | {"backend": f"{keras.backend.backend()} {importlib.metadata.version(keras.backend.backend())}"},
        }
        for name in ("valid", "test"):
            if name in metrics:
                say(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics[name].items()))
        tokenizer.save_pretrained(directory)
        save_learning_curve(directory / "learning_curve.png", keep.running_means, keep.validation, row.main_metric)
        write_text(directory / "metrics.json", to_json(metrics))
        write_text(directory / "README.md", model_card(metrics, name=Path(output).name, main_metric=row.main_metric))
    return metrics


class KeepBest(keras.callbacks.Callback):
    """After each epoch scores the validation data, and saves the model if it is the best so far.

    Args:
        directory: where the best checkpoint is kept.
        score: gives the figures.
        metric: which of them decides.
    """

    def __init__(self, directory: Path, *, score: Callable[[], dict[str, float]], metric: str) -> None:
        super().__init__()
        self.directory = directory
        self.score = score
        self.metric = metric
        self.best_epoch = 0
        self.validation: list[dict[str, float]] = []
        self.running_means: list[list[float]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins the epoch's curve."""
        self.running_means.append([])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes the running mean of the loss."""
        self.running_means[-1].append(float(logs["loss"]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores, and saves if this is the best epoch."""
        figures = self.score()
        self.validation.append(figures)
        best = max(range(len(self.validation)), key=lambda e: self.validation[e][self.metric]) + 1
        if best != self.best_epoch:
            self.best_epoch = best
            self.model.save_pretrained(self.directory)
        logs.update({f"val_{name}": value for name, value in figures.items()})  # Keras shows and keeps them.


def _task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"No task is named {name!r}; there are {', '.join(TASKS)}.")
    return TASKS[name]
