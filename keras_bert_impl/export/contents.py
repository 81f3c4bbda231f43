"""The contents of an export: model, task, configuration, tokenizer and options."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_bert_impl.config import BertConfig
from keras_bert_impl.tasks import Task
from keras_bert_impl.tokenization import BertTokenizer


@dataclass(frozen=True)
class ExportContents:
    """A model with everything that is exported with it.

    Attributes:
        model: the Keras model, in bfloat16 if that is the precision.
        task: its task.
        config: its configuration.
        tokenizer: its tokenizer.
        name: the name of the export, which is the model's name on a server.
        max_length: the maximum length of a row in tokens.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        attentions: whether to add a signature with attention maps.
    """

    model: Any
    task: Task
    config: BertConfig
    tokenizer: BertTokenizer
    name: str
    max_length: int
    precision: str
    attentions: bool

    @property
    def input_shape(self) -> list[None]:
        """The shape of each input: ``[batch, length]``, or ``[batch, choices, length]``."""
        return [None] * self.model.input_rank

    def shape_inputs(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tokenized rows ``[batch, length]`` in the shape of the inputs, each row as a single choice."""
        return {name: values if self.model.input_rank == 2 else values[:, None] for name, values in rows.items()}
