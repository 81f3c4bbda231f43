"""Base class of the tasks with one row of logits for a text, or for a pair of texts."""

import abc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.columns import Columns
from keras_bert_impl.data.features import Features
from keras_bert_impl.data.tables import iterate_table
from keras_bert_impl.tasks.base import Task
from keras_bert_impl.tasks.encoding import check_fit, model_inputs, truncate
from keras_bert_impl.tokenization import BertTokenizer


class SequenceTask(Task):
    """A task whose examples are rows of a table, and whose model has the output ``logits``, ``[batch, labels]``."""

    model_name: ClassVar[str] = "BertForSequenceClassification"
    graph: ClassVar[str] = "sequence"
    file_columns: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")

    def fits(self, config: BertConfig) -> bool:
        """Whether the configuration has this ``problem_type``; without one, a single label means regression."""
        # Source: transformers, modeling_bert.py, BertForSequenceClassification.forward.
        default = "regression" if config.num_labels == 1 else "single_label_classification"
        return self.problem_type == (config.problem_type or default)

    def examples(self, path: str | Path, *, labelled: bool = True, **columns: str) -> Iterator[dict[str, Any]]:
        """Reads a table; see `keras_bert_impl.data.read_table`."""
        return iterate_table(path, labelled=labelled, **columns)

    def from_texts(self, texts: Sequence[str], text_pairs: Sequence[Any] | None = None) -> Columns:
        """Returns columns without labels for texts, or pairs of texts."""
        return {"text": list(texts), **({} if text_pairs is None else {"text_pair": list(text_pairs)})}

    def encode(self, columns: Columns, tokenizer: BertTokenizer, config: BertConfig, *, max_length: int) -> Features:
        """Encodes texts or pairs, a row each; long ones are truncated. Labels are those of `read_labels`.

        Raises:
            InputError: a label that cannot be used, or ``max_length`` exceeds the model's positions.
        """
        texts, pairs = columns["text"], columns.get("text_pair")
        check_fit(tokenizer, config, max_length=max_length, pairs=pairs is not None)
        labels = {"logits": self.read_labels(columns, config)} if "label" in columns else {}
        rows, truncated = truncate(tokenizer, texts, pairs, max_length=max_length)
        example = np.arange(len(texts), dtype=np.int32)
        return Features(model_inputs(rows, tokenizer), labels, {}, example=example, truncated=truncated)

    @abc.abstractmethod
    def read_labels(self, columns: Columns, config: BertConfig) -> np.ndarray:
        """The labels in the form that the loss expects, ``[examples, ...]``."""
