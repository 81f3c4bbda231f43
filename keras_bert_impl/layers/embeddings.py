"""From token ids to the first hidden states."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.layers.base import BertBaseLayer, truncated_normal
from keras_bert_impl.layers.layer_norm import BertLayerNorm


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertEmbeddings(BertBaseLayer):
    """Sum of word, position and segment embeddings, then layer norm and dropout.

    Args:
        vocab_size: number of words.
        hidden_size: width of the embeddings.
        max_position_embeddings: longest sequence.
        type_vocab_size: number of segments.
        layer_norm_eps: what the layer norm adds to the variance.
        hidden_dropout_prob: dropout on the result.
        initializer_range: standard deviation of new weights.

    Call arguments:
        input_ids: int ``[batch, length]``.
        token_type_ids: int ``[batch, length]``; None means segment 0.
        position_ids: int ``[batch, length]``; None means 0, 1, 2 … in each row.

    Returns:
        ``[batch, length, hidden_size]``.

    Raises:
        InputError: the rows are longer than ``max_position_embeddings``.

    >>> import numpy as np
    >>> embeddings = BertEmbeddings(
    ...     vocab_size=99, hidden_size=32, max_position_embeddings=37, type_vocab_size=2,
    ...     layer_norm_eps=1e-12, hidden_dropout_prob=0.1, initializer_range=0.02)
    >>> tuple(embeddings(np.array([[2, 71, 3]])).shape)
    (1, 3, 32)
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden_size: int,
        max_position_embeddings: int,
        type_vocab_size: int,
        layer_norm_eps: float,
        hidden_dropout_prob: float,
        initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.layer_norm_eps = layer_norm_eps
        self.hidden_dropout_prob = hidden_dropout_prob
        self.initializer_range = initializer_range

        def embedding(rows: int, name: str) -> keras.layers.Embedding:
            initializer = truncated_normal(initializer_range)
            return keras.layers.Embedding(
                rows, hidden_size, embeddings_initializer=initializer, dtype=self.dtype_policy, name=name
            )

        self.word_embeddings = embedding(vocab_size, "word_embeddings")
        self.position_embeddings = embedding(max_position_embeddings, "position_embeddings")
        self.token_type_embeddings = embedding(type_vocab_size, "token_type_embeddings")
        self.LayerNorm = BertLayerNorm(epsilon=layer_norm_eps, dtype=self.dtype_policy, name="LayerNorm")
        self.dropout = keras.layers.Dropout(hidden_dropout_prob, dtype=self.dtype_policy, name="dropout")

    def build(self, input_ids_shape: Any, *_: Any) -> None:
        """Makes the three tables and the layer norm."""
        for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            table.build(input_ids_shape)
        self.LayerNorm.build((None, None, self.hidden_size))
        self.built = True

    def call(self, input_ids: Any, token_type_ids: Any = None, position_ids: Any = None) -> Any:
        """See the class."""
        length = ops.shape(input_ids)[1]
        if isinstance(length, int) and position_ids is None and length > self.max_position_embeddings:
            raise InputError(
                f"the rows are {length} tokens long; this model has {self.max_position_embeddings} positions. "
                "Truncate the text, or split it into windows."
            )
        if position_ids is None:
            position_ids = ops.arange(length, dtype="int32")  # [length], the same for each row
        if token_type_ids is None:
            token_type_ids = ops.zeros((1, 1), dtype="int32")  # one vector for all tokens
        hidden_states = self.word_embeddings(input_ids)
        hidden_states = hidden_states + self.position_embeddings(position_ids)
        hidden_states = hidden_states + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(hidden_states))
