"""Embeddings: from token ids to the first hidden states."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.layers.base import BertBaseLayer, Config, truncated_normal


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertEmbeddings(BertBaseLayer):
    """Sum of word, position and segment embeddings, then layer norm and dropout.

    Call arguments:
        input_ids: int ``[batch, length]``.
        token_type_ids: int ``[batch, length]``; None means segment 0.
        position_ids: int ``[batch, length]``; None means 0, 1, 2 … in each row.

    Returns ``[batch, length, hidden_size]``. Raises ``InputError`` if rows are longer than ``max_position_embeddings``.

    >>> from keras_bert_impl import BertConfig
    >>> tuple(BertEmbeddings(BertConfig.preset("tiny"))(ops.array([[101, 2023, 102]])).shape)
    (1, 3, 128)
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)

        def embedding(rows: int, name: str) -> keras.layers.Embedding:
            initializer, size = truncated_normal(self.config), self.config.hidden_size
            return keras.layers.Embedding(rows, size, initializer, dtype=self.dtype_policy, name=name)

        self.word_embeddings = embedding(self.config.vocab_size, "word_embeddings")
        self.position_embeddings = embedding(self.config.max_position_embeddings, "position_embeddings")
        self.token_type_embeddings = embedding(self.config.type_vocab_size, "token_type_embeddings")
        self.LayerNorm = self._layer_norm()
        self.dropout = self._dropout(self.config.hidden_dropout_prob)

    def call(self, input_ids: Any, token_type_ids: Any = None, position_ids: Any = None) -> Any:
        length = ops.shape(input_ids)[1]
        if isinstance(length, int) and position_ids is None and length > self.config.max_position_embeddings:
            raise InputError(
                f"the rows are {length} tokens long; this model has {self.config.max_position_embeddings} positions. "
                "Truncate the text, or split it into windows."
            )
        if position_ids is None:
            position_ids = ops.arange(length, dtype="int32")  # [length], the same for each row
        if token_type_ids is None:
            token_type_ids = ops.zeros((1, 1), dtype="int32")  # one vector for all tokens
        hidden_states = self.word_embeddings(input_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(hidden_states + self.token_type_embeddings(token_type_ids)))
