"""The contents of an export: model, task, configuration, tokenizer and options."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_bert_impl.checkpoints.sentence_settings import SentenceSettings
from keras_bert_impl.config import BertConfig
from keras_bert_impl.data.tables import read_table
from keras_bert_impl.files import SNIPPETS
from keras_bert_impl.tasks import Task
from keras_bert_impl.tokenization import BertTokenizer

# The number of texts of a sample.
_SAMPLE = 64


@dataclass(frozen=True)
class ExportContents:
    """A model with everything that is exported with it.

    Attributes:
        model: the Keras model, in the dtype that the format converts for this precision.
        task: its task.
        config: its configuration.
        tokenizer: its tokenizer.
        name: the name of the export, which is the model's name on a server.
        max_length: the maximum length of a row in tokens.
        precision: one of `keras_bert_impl.export.formats.PRECISIONS`.
        attentions: whether to add a signature with attention maps.
        inputs: what the export takes: ``text``, ``words`` or ``ids``.
        fused: whether the graph may have oneDNN's operations.
    """

    model: Any
    task: Task
    config: BertConfig
    tokenizer: BertTokenizer
    name: str
    max_length: int
    precision: str
    attentions: bool
    inputs: str
    fused: bool

    @property
    def input_shape(self) -> list[None]:
        """The shape of each input: ``[batch, length]``, or ``[batch, choices, length]``."""
        return [None] * self.model.input_rank

    @property
    def settings(self) -> SentenceSettings:
        """Prompts and other settings of an embedding model; the defaults, without prompts, for another model."""
        return SentenceSettings.from_config(self.config)

    @property
    def prompts(self) -> dict[str, str]:
        """The prompts of an embedding model that are not empty, by name."""
        return {name: text for name, text in self.settings.prompts.items() if text}

    def make_sample(self) -> dict[str, np.ndarray]:
        """The model's inputs for film snippets, which show how large values inside the model become."""
        texts = read_table(SNIPPETS / "train.tsv")["text"][:_SAMPLE]
        pairs = texts[::-1] if self.task.needs_pair else None
        return self.shape_inputs(self.tokenizer(texts, pairs, truncation=True, max_length=self.max_length))

    def shape_inputs(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tokenized rows ``[batch, length]`` as all inputs in their shapes, each row as a single choice.

        An input that the tokenizer does not make is a pooling mask, which leaves out the first token.
        """
        mask = rows["attention_mask"] * (np.arange(rows["attention_mask"].shape[1]) > 0).astype(np.int32)
        values = {**dict.fromkeys(self.task.list_export_inputs(self.config), mask), **rows}
        return {name: array if self.model.input_rank == 2 else array[:, None] for name, array in values.items()}
