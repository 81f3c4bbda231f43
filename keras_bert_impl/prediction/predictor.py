"""Prediction from texts or files, with a fine-tuned model or with an export of it."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data import BUCKETS, Features
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.errors import InputError
from keras_bert_impl.tasks.lookup import load_fine_tuned, task_of
from keras_bert_impl.tasks.run import Run, predict
from keras_bert_impl.tokenization import BertTokenizer


class Predictor:
    """A fine-tuned model, or an export of one, with its tokenizer, labels and task.

    An export is run by its own runtime, without Keras.

    Args:
        source: the directory of a run or of an export, or any source of a fine-tuned checkpoint.
        max_length: the longest row in tokens; None takes as many as the model has positions.

    Raises:
        InputError: nothing at ``source``, or not a fine-tuned model.

    >>> Predictor("runs/sentiment").texts(["A great film."])[0]["label"]  # doctest: +SKIP
    '1'
    """

    def __init__(self, source: str | Path, *, max_length: int | None = None) -> None:
        from keras_bert_impl.export.formats import format_of

        exported = format_of(source)
        files = _files_of(Path(source), exported) if exported else source
        self.config = BertConfig.from_pretrained(files)
        self.task = task_of(self.config)
        self.tokenizer = BertTokenizer.from_pretrained(files)
        positions = min(self.config.max_position_embeddings, self.tokenizer.model_max_length)
        self.max_length = positions if max_length is None else max_length
        self._lengths: tuple[int, ...] = ()
        self._run: Run = exported.open(Path(source) / exported.file) if exported else self._loaded(source)

    def _loaded(self, source: str | Path) -> Run:
        import keras

        self._lengths = BUCKETS if keras.backend.backend() == "jax" else ()
        return load_fine_tuned(source, self.task).predict_on_batch

    def texts(self, texts: list[str], text_pairs: list[str] | None = None) -> list[dict[str, Any]]:
        """Predictions for texts, pairs of texts, or questions and their contexts."""
        return self.columns(self.task.from_texts(texts, text_pairs)) if texts else []

    def columns(self, columns: Columns) -> list[dict[str, Any]]:
        """Predictions for columns, as readers of files give them; labels in them are not looked at.

        Warns:
            UserWarning: texts were longer than ``max_length`` and were cut.
        """
        return self._predict({name: values for name, values in columns.items() if name not in ("label", "answers")})

    def file(
        self, path: str | Path, *, columns: Mapping[str, str] | None = None, size: int = 4096
    ) -> Iterator[dict[str, Any]]:
        """Predictions for the examples of a file in their order, as it is read: it may be larger than the memory.

        Args:
            path: a file as the task reads it; labels in it are not looked at.
            columns: names of its columns, under the keywords of the task's ``file_columns``.
            size: examples that are sorted by length and predicted together.

        Raises:
            InputError: the file cannot be used; what was read before has been predicted then.

        Warns:
            UserWarning: once, behind the last one: texts were longer than ``max_length`` and were cut.
        """
        truncated = seen = 0
        for chunk in self.task.read_chunks(path, size, columns=columns or {}):
            features = self._encode(chunk)
            truncated += features.truncated
            seen += len(features)
            yield from self._run_over(features, chunk)
        self._warn(truncated, seen)

    def score(self, columns: Columns) -> dict[str, float]:
        """The task's figures on columns with labels.

        Raises:
            InputError: a label that the model does not know.

        Warns:
            UserWarning: texts were longer than ``max_length`` and were cut.
        """
        return self.task.score(self._predict(columns), columns)

    def _predict(self, columns: Columns) -> list[dict[str, Any]]:
        features = self._encode(columns)
        self._warn(features.truncated, len(features))
        return self._run_over(features, columns)

    def _encode(self, columns: Columns) -> Features:
        return self.task.encode(columns, self.tokenizer, self.config, max_length=self.max_length)

    def _run_over(self, features: Features, columns: Columns) -> list[dict[str, Any]]:
        return predict(self._run, features, columns, task=self.task, config=self.config, lengths=self._lengths)

    def _warn(self, truncated: int, texts: int) -> None:
        if truncated:
            warnings.warn(
                f"{truncated} of {texts} texts are longer than {self.max_length} tokens and were cut.", stacklevel=4
            )


def _files_of(export: Path, kind: Any) -> Path:
    """The folder of an export that holds its configuration and tokenizer."""
    if not (export / kind.extra / "config.json").is_file():
        raise InputError(
            f"{export} has a {kind.file}, but no {Path(kind.extra) / 'config.json'} with the labels. "
            "Make it with 'keras-bert export'."
        )
    return export / kind.extra
