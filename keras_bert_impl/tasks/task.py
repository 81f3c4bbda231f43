"""``Task``: everything that differs between tasks, in one row; nothing else branches by task."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.columns import Columns, to_columns
from keras_bert_impl.data.features import Features
from keras_bert_impl.errors import InputError


@dataclass(frozen=True)
class Task:
    """What a task's examples, model, loss, predictions and scores are.

    Args:
        name: the name in `TASKS`, on the command line and in reports.
        model: the name of its class in `keras_bert_impl.models`.
        problem_type: for the model's ``config.json``.
        per_token: whether the model's outputs have an entry a token.
        read: ``read(path, *, labelled=True) -> columns``; reads a file.
        examples: the same as an iterator over ``{column: value}``, which reads as it goes.
        from_texts: ``from_texts(texts, text_pairs=None) -> columns``, for texts to predict that stand in no file.
        labels: ``labels(columns) -> names``, the names of the model's labels, found in the training data.
        encode: ``encode(columns, tokenizer, config, *, max_length) -> features``, with labels if the columns have them.
        loss: ``loss()``, a Keras loss for each output of the model.
        metrics: ``metrics()``, Keras metrics for each output, to be weighted as the loss is.
        decode: ``decode(outputs, features, columns, config) -> predictions``, a dictionary for each example, ready for
            JSON; ``outputs`` are those of `keras_bert_impl.data.restore_order`.
        score: ``score(predictions, columns) -> figures`` by name, from 0 (or -1) to 1, higher is better.
        main_metric: which of these figures decides which checkpoint is best.
        loss_weights: how much the loss of each output counts; None: all count fully.
        file_columns: the keywords of ``read`` that name columns of the file, for formats that have such names.
    """

    name: str
    model: str
    problem_type: str | None
    per_token: bool
    read: Callable[..., Columns]
    examples: Callable[..., Iterator[dict[str, Any]]]
    from_texts: Callable[..., Columns]
    labels: Callable[[Columns], list[str]]
    encode: Callable[..., Features]
    loss: Callable[[], dict[str, Any]]
    metrics: Callable[[], dict[str, Any]]
    decode: Callable[[Mapping[str, Any], Features, Columns, BertConfig], list[dict[str, Any]]]
    score: Callable[[list[dict[str, Any]], Columns], dict[str, float]]
    main_metric: str
    loss_weights: Mapping[str, float] | None = None
    file_columns: tuple[str, ...] = ()

    def read_file(self, path: str | Path, *, labelled: bool = True, columns: Mapping[str, str]) -> Columns:
        """Reads a file, some of whose columns may have names of their own.

        Args:
            path: the file.
            labelled: whether labels are read; false for prediction.
            columns: names of columns, under the keywords of ``file_columns``.

        Raises:
            InputError: names for a format without named columns; or the file cannot be used.
        """
        self._check_columns(columns)
        return self.read(path, labelled=labelled, **columns)

    def read_chunks(self, path: str | Path, size: int, *, columns: Mapping[str, str]) -> Iterator[Columns]:
        """Reads a file without labels, so many examples at a time; see `read_file`."""
        self._check_columns(columns)
        return to_columns(self.examples(path, labelled=False, **columns), size)

    def _check_columns(self, columns: Mapping[str, str]) -> None:
        if unknown := sorted(set(columns) - set(self.file_columns)):
            raise InputError(f"files for {self.name} have no named columns; leave out {', '.join(unknown)}.")

    @property
    def model_class(self) -> Any:
        """The model's class, imported on first use."""
        return getattr(importlib.import_module("keras_bert_impl.models"), self.model)

    def config_changes(self, labels: list[str]) -> dict[str, Any]:
        """The fields of a ``BertConfig`` that this task sets, as keywords for ``from_pretrained``."""
        return {"id2label": dict(enumerate(labels)), "problem_type": self.problem_type}

    def compile_arguments(self) -> dict[str, Any]:
        """Keywords for ``keras.Model.compile`` beside the optimizer."""
        return {"loss": self.loss(), "loss_weights": self.loss_weights, "weighted_metrics": self.metrics()}
