"""Multi-head self-attention with its residual connection."""

import math
from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.base import BertBaseLayer, delayed, truncated_normal
from keras_bert_impl.layers.residual import BertResidual


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertSelfAttention(BertBaseLayer):
    """Scaled dot-product attention of every token to every token, in several heads.

    Plain rank-2 dense layers and one 4-D product with an additive bias: the spelling that TensorFlow fuses on CPU. On
    JAX, where neither dropout acts nor probabilities are asked for, Keras' fused attention: cuDNN's on GPUs.

    Args:
        hidden_size: width of the hidden states.
        num_attention_heads: number of heads, which share the width equally.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        initializer_range: standard deviation of new weights.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``; or flattened to ``[batch * length, hidden_size]``, then the
            bias tells batch and length.
        attention_bias: ``[batch, 1, 1 or length, length]`` from ``BertAttentionBias``; None means all see all.
        query_states: ``[batch, hidden_size]``, the one token of each row that asks; None means that all do.
        output_attentions: whether to return the attention probabilities too.

    Returns:
        the context, shaped like ``hidden_states``, or like ``query_states`` where given; with ``output_attentions`` the
        pair of it and the probabilities ``[batch, heads, queries, keys]``.

    Source: https://arxiv.org/abs/1706.03762, section 3.2.

    >>> import numpy as np
    >>> attention = BertSelfAttention(
    ...     hidden_size=32, num_attention_heads=4, attention_probs_dropout_prob=0.1, initializer_range=0.02)
    >>> tuple(attention(np.ones((13, 7, 32), "float32")).shape)
    (13, 7, 32)
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        attention_probs_dropout_prob: float,
        initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.initializer_range = initializer_range

        def dense(name: str) -> keras.layers.Dense:
            initializer = truncated_normal(initializer_range)
            return keras.layers.Dense(hidden_size, kernel_initializer=initializer, dtype=self.dtype_policy, name=name)

        self.query = dense("query")
        self.key = dense("key")
        self.value = dense("value")
        self.dropout = keras.layers.Dropout(attention_probs_dropout_prob, dtype=self.dtype_policy, name="dropout")

    def build(self, hidden_states_shape: Any, *_: Any) -> None:
        """Makes the three projections."""
        for dense in (self.query, self.key, self.value):
            dense.build((None, self.hidden_size))
        self.built = True

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any = None,
        query_states: Any = None,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> Any:
        """See the class."""
        if len(hidden_states.shape) == 3:
            batch, length = ops.shape(hidden_states)[:2]
        else:
            batch, length = ops.shape(attention_bias)[0], ops.shape(attention_bias)[3]
        heads, size = self.num_attention_heads, self.hidden_size // self.num_attention_heads

        flat = ops.reshape(hidden_states, (-1, self.hidden_size))
        asking, queries = (hidden_states, length) if query_states is None else (query_states, 1)

        query = ops.reshape(self.query(ops.reshape(asking, (-1, self.hidden_size))), (batch, queries, heads, size))
        key = ops.reshape(self.key(flat), (batch, length, heads, size))
        value = ops.reshape(self.value(flat), (batch, length, heads, size))
        is_dropping = training and self.attention_probs_dropout_prob > 0
        # Lengths that are odd have no gradient in cuDNN's.
        is_even = isinstance(length, int) and length % 2 == 0 and queries % 2 == 0
        if keras.backend.backend() == "jax" and is_even and not is_dropping and not output_attentions:
            if attention_bias is not None:  # A row for each query is what cuDNN wants.
                attention_bias = ops.broadcast_to(attention_bias, (batch, 1, queries, length))
            context = ops.dot_product_attention(query, key, value, bias=attention_bias)
            return ops.reshape(context, ops.shape(asking))

        query = ops.transpose(query, (0, 2, 1, 3))  # [batch, heads, queries, size]
        key = ops.transpose(key, (0, 2, 3, 1))  # [batch, heads, size, length]
        value = ops.transpose(value, (0, 2, 1, 3))  # [batch, heads, length, size]
        scores = ops.matmul(query, key) * (1 / math.sqrt(size))  # [batch, heads, queries, keys]
        if attention_bias is not None:
            scores = scores + attention_bias
        attentions = ops.softmax(ops.cast(scores, "float32"))
        probabilities = ops.cast(attentions, self.compute_dtype)
        if is_dropping and keras.backend.backend() == "tensorflow":
            context = _dropped_product(self.dropout, probabilities, value)
        else:
            context = ops.matmul(self.dropout(probabilities), value)
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), ops.shape(asking))
        return (context, attentions) if output_attentions else context


def _dropped_product(dropout: keras.layers.Dropout, probabilities: Any, value: Any) -> Any:
    """``matmul(dropout(probabilities), value)``, which keeps for the gradient what stays and not what it makes of it.

    TensorFlow keeps both the probabilities and those that were dropped: a twentieth of all that BERT-base keeps.
    """
    import tensorflow as tf

    share, nothing = 1 - dropout.rate, ops.zeros((), probabilities.dtype)
    draw = keras.random.uniform(ops.shape(probabilities), dtype=probabilities.dtype, seed=dropout.seed_generator)
    stays = draw < share

    @ops.custom_gradient
    def product(probabilities: Any, value: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            upstream /= share
            dropped = ops.where(stays, delayed(probabilities, upstream), nothing)
            of_probabilities = ops.where(stays, tf.matmul(upstream, value, transpose_b=True), nothing)
            return of_probabilities, tf.matmul(dropped, upstream, transpose_a=True)

        # The values are fewer than the probabilities, which is why they are scaled.
        return ops.matmul(ops.where(stays, probabilities, nothing), value / share), gradient

    return product(probabilities, value)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertSelfOutput(BertResidual):
    """What follows the attention: dense, dropout, residual, layer norm. See ``BertResidual``."""


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertAttention(BertBaseLayer):
    """Self-attention and its output: the first half of a block.

    Args:
        hidden_size: width of the hidden states.
        num_attention_heads: number of heads.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        hidden_dropout_prob: dropout on the result, before the residual connection.
        layer_norm_eps: what the layer norm adds to the variance.
        initializer_range: standard deviation of new weights.

    Call arguments and Returns: those of ``BertSelfAttention``.

    >>> import numpy as np
    >>> attention = BertAttention(
    ...     hidden_size=32, num_attention_heads=4, attention_probs_dropout_prob=0.1, hidden_dropout_prob=0.1,
    ...     layer_norm_eps=1e-12, initializer_range=0.02)
    >>> tuple(attention(np.ones((13, 7, 32), "float32")).shape)
    (13, 7, 32)
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        attention_probs_dropout_prob: float,
        hidden_dropout_prob: float,
        layer_norm_eps: float,
        initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.hidden_dropout_prob = hidden_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.self = BertSelfAttention(
            hidden_size=hidden_size,
            num_attention_heads=num_attention_heads,
            attention_probs_dropout_prob=attention_probs_dropout_prob,
            initializer_range=initializer_range,
            dtype=self.dtype_policy,
            name="self",
        )
        # Keras reserves the attribute "output"; the layer's name, and so the path of its weights, is the published one.
        self.self_output = BertSelfOutput(
            input_size=hidden_size,
            hidden_size=hidden_size,
            hidden_dropout_prob=hidden_dropout_prob,
            layer_norm_eps=layer_norm_eps,
            initializer_range=initializer_range,
            dtype=self.dtype_policy,
            name="output",
        )

    def build(self, hidden_states_shape: Any, *_: Any) -> None:
        """Makes both parts."""
        self.self.build(hidden_states_shape)
        self.self_output.build(hidden_states_shape)
        self.built = True

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any = None,
        query_states: Any = None,
        output_attentions: bool = False,
    ) -> Any:
        """See the class."""
        found = self.self(hidden_states, attention_bias, query_states, output_attentions=output_attentions)
        context, attentions = found if output_attentions else (found, None)
        hidden_states = self.self_output(context, hidden_states if query_states is None else query_states)
        return (hidden_states, attentions) if output_attentions else hidden_states
