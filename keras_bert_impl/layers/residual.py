"""The end of both halves of a block."""

from typing import Any

import keras

from keras_bert_impl.layers.base import BertBaseLayer, truncated_normal
from keras_bert_impl.layers.layer_norm import BertLayerNorm


class BertResidual(BertBaseLayer):
    """Dense, dropout, residual connection, layer norm.

    Args:
        input_size: width of what comes in.
        hidden_size: width of the residual stream.
        hidden_dropout_prob: dropout before the residual connection.
        layer_norm_eps: what the layer norm adds to the variance.
        initializer_range: standard deviation of new weights.

    Call arguments:
        hidden_states: ``[..., input_size]``.
        input_tensor: ``[..., hidden_size]``, what the residual connection adds.

    Returns:
        ``[..., hidden_size]``.
    """

    def __init__(
        self,
        *,
        input_size: int,
        hidden_size: int,
        hidden_dropout_prob: float,
        layer_norm_eps: float,
        initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.dense = keras.layers.Dense(
            hidden_size, kernel_initializer=truncated_normal(initializer_range), dtype=self.dtype_policy, name="dense"
        )
        self.LayerNorm = BertLayerNorm(epsilon=layer_norm_eps, dtype=self.dtype_policy, name="LayerNorm")
        self.dropout = keras.layers.Dropout(hidden_dropout_prob, dtype=self.dtype_policy, name="dropout")

    def build(self, *_: Any) -> None:
        """Makes the dense layer and the layer norm."""
        self.dense.build((None, self.input_size))
        self.LayerNorm.build((None, self.hidden_size))
        self.built = True

    def call(self, hidden_states: Any, input_tensor: Any) -> Any:
        """See the class."""
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)
