"""Multi-head self-attention with its residual connection, and the bias that masks it."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.base import BertBaseLayer, BertResidual, Config
from keras_bert_impl.ops.attention import self_attention

# Added to the scores of masked pairs: exactly 0 after the softmax where any pair is not masked. float16 ends at 65504.
_MASKED = {"float16": -3e4}
_MASKED_OTHERWISE = -1e9


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertAttentionBias(keras.layers.Layer):
    """The additive attention bias, made once for all layers from the mask, or from the sequences of packed rows.

    Call arguments:
        input_ids: int ``[batch, length]``, for the shape.
        attention_mask: int ``[batch, length]``, 1 for tokens and 0 for padding; None means no padding.
        sequence_ids: int ``[batch, length]``, for packed rows the number of the sequence that a token belongs to, 0 for
            padding; None means one sequence per row. Tokens attend to their own sequence only.

    Returns:
        ``[batch, 1, 1, keys]``, or with ``sequence_ids`` ``[batch, 1, queries, keys]``, in the compute dtype: 0 where a
        query may attend to a key, a large negative number elsewhere.

    >>> bias = BertAttentionBias()(ops.array([[2, 71, 0]]), ops.array([[1, 1, 0]]))
    >>> [float(value) < 0 for value in bias[0, 0, 0]]
    [False, False, True]
    """

    def call(self, input_ids: Any, attention_mask: Any = None, sequence_ids: Any = None) -> Any:
        allowed = ops.ones_like(input_ids) if attention_mask is None else attention_mask
        # `expand_dims`, since converters to other runtimes do not know slices with None.
        allowed = ops.expand_dims(ops.cast(allowed, "bool"), (1, 2))  # [batch, 1, 1, keys]
        if sequence_ids is not None:
            keys = ops.expand_dims(sequence_ids, (1, 2))
            same = ops.equal(ops.expand_dims(sequence_ids, (1, 3)), keys)
            allowed = allowed & same & ops.not_equal(keys, 0)  # [batch, 1, queries, keys]
        return (1 - ops.cast(allowed, self.compute_dtype)) * _MASKED.get(self.compute_dtype, _MASKED_OTHERWISE)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertSelfAttention(BertBaseLayer):
    """Scaled dot-product attention of every token to every token, in several heads.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``; or flattened to ``[batch * length, hidden_size]``, and then the
            bias gives batch and length.
        attention_bias: ``[batch, 1, 1 or queries, length]`` from ``BertAttentionBias``; None masks nothing.
        query_states: ``[batch, hidden_size]``, the first token of each row, if it alone asks; None if all tokens ask.
        output_attentions: whether to return the attention probabilities as well.

    Returns:
        the context, shaped like ``hidden_states``, or like ``query_states`` if given; with ``output_attentions`` the
        pair of it and the probabilities ``[batch, heads, queries, keys]``.

    >>> from keras_bert_impl import BertConfig
    >>> tuple(BertSelfAttention(BertConfig.preset("tiny"))(ops.ones((13, 7, 128))).shape)
    (13, 7, 128)
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.query = self._dense(self.config.hidden_size, "query")
        self.key = self._dense(self.config.hidden_size, "key")
        self.value = self._dense(self.config.hidden_size, "value")
        self.dropout = self._dropout(self.config.attention_probs_dropout_prob)

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any = None,
        query_states: Any = None,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> Any:
        projections, heads = (self.query, self.key, self.value), self.config.num_attention_heads
        options = {"dropout": self.dropout, "output_attentions": output_attentions, "training": training}
        context, probabilities = self_attention(
            hidden_states, attention_bias, query_states, projections=projections, num_heads=heads, **options
        )
        return (context, probabilities) if output_attentions else context


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertSelfOutput(BertResidual):
    """The tail of the attention sublayer; its ``input_size`` is ``hidden_size``."""


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertAttention(BertBaseLayer):
    """Self-attention and its tail: the first sublayer of a block. It is called as ``BertSelfAttention`` is."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.self = BertSelfAttention(self.config, dtype=self.dtype_policy, name="self")
        # Keras reserves the attribute "output"; the name, and so the path of the weights, is the published one.
        self.self_output = BertSelfOutput(self.config, dtype=self.dtype_policy, name="output")

    def call(
        self, hidden_states: Any, attention_bias: Any = None, query_states: Any = None, output_attentions: bool = False
    ) -> Any:
        outputs = self.self(hidden_states, attention_bias, query_states, output_attentions=output_attentions)
        context, probabilities = outputs if output_attentions else (outputs, None)
        hidden_states = self.self_output(context, hidden_states if query_states is None else query_states)
        return (hidden_states, probabilities) if output_attentions else hidden_states
