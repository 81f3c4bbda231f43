"""What exports are made of."""

from dataclasses import dataclass
from typing import Any

from keras_bert_impl.config import BertConfig
from keras_bert_impl.tokenization import BertTokenizer

# What a model over ids takes.
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


@dataclass(frozen=True)
class Parts:
    """A model and what goes with it into an export.

    Attributes:
        model: the Keras model; in bfloat16 if the precision is.
        config: its configuration.
        tokenizer: its tokenizer.
        name: what the export is called, which is what a server calls the model.
        max_length: the longest row in tokens.
        precision: ``float32``, ``bfloat16`` or ``int8``.
        attentions: whether attention maps are asked for.
    """

    model: Any
    config: BertConfig
    tokenizer: BertTokenizer
    name: str
    max_length: int
    precision: str
    attentions: bool
