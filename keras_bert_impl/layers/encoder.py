"""The feed-forward sublayer, the block, and the encoder as a stack of blocks."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.attention import BertAttention
from keras_bert_impl.layers.base import BertBaseLayer, BertResidual, Config
from keras_bert_impl.ops.activations import get_activation
from keras_bert_impl.ops.rematerialization import rematerialize


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertIntermediate(BertBaseLayer):
    """Dense layer from ``[..., hidden_size]`` to ``[..., intermediate_size]``, with the activation ``hidden_act``."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._dense(self.config.intermediate_size, "dense")
        self.activation = get_activation(self.config.hidden_act)

    def call(self, hidden_states: Any) -> Any:
        return self.activation(self.dense(hidden_states))


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOutput(BertResidual):
    """The tail of the feed-forward sublayer; its ``input_size`` is ``intermediate_size``."""

    def build(self, *_: Any) -> None:
        self.dense.build((None, self.config.intermediate_size))
        super().build()


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLayer(BertBaseLayer):
    """One block: self-attention, then the feed-forward, each followed by a residual connection and a layer norm.

    It is called as ``BertSelfAttention`` is.

    >>> from keras_bert_impl import BertConfig
    >>> tuple(BertLayer(BertConfig.preset("tiny"))(ops.ones((13, 7, 128))).shape)
    (13, 7, 128)
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.attention = BertAttention(self.config, dtype=self.dtype_policy, name="attention")
        self.intermediate = BertIntermediate(self.config, dtype=self.dtype_policy, name="intermediate")
        self.layer_output = BertOutput(self.config, dtype=self.dtype_policy, name="output")  # Keras reserves "output".

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any = None,
        query_states: Any = None,
        output_attentions: bool = False,
        training: bool | None = None,  # Keras passes it on to the layers inside.
    ) -> Any:
        outputs = self.attention(hidden_states, attention_bias, query_states, output_attentions=output_attentions)
        hidden_states, probabilities = outputs if output_attentions else (outputs, None)
        hidden_states = self.layer_output(self.intermediate(hidden_states), hidden_states)
        return (hidden_states, probabilities) if output_attentions else hidden_states


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertEncoder(BertBaseLayer):
    """The stack of blocks.

    Inside, the tokens of all rows form one ``[batch * length, hidden]``: TensorFlow fuses dense layers on rank 2 only.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        attention_bias: ``[batch, 1, 1 or length, length]`` from ``BertAttentionBias``.
        output_hidden_states: whether to return the hidden states before and after each block.
        output_attentions: whether to return each block's attention probabilities.
        first_token_only: whether only the last hidden state of the first token is needed; the last block then does a
            fraction of its work.

    Returns:
        a dictionary of ``last_hidden_state``, ``[batch, length, hidden_size]`` (``[batch, 1, hidden_size]`` with
        ``first_token_only``); on request ``hidden_states``, a tuple of ``num_hidden_layers + 1`` such tensors; and on
        request ``attentions``, a tuple of ``num_hidden_layers`` tensors ``[batch, heads, queries, keys]``.

    Attributes:
        gradient_checkpointing: whether training computes the blocks again in the backward pass to save memory.

    >>> from keras_bert_impl import BertConfig
    >>> encoder = BertEncoder(BertConfig.preset("tiny"))
    >>> outputs = encoder(ops.ones((13, 7, 128)), ops.zeros((13, 1, 1, 7)), output_attentions=True)
    >>> tuple(outputs["last_hidden_state"].shape), len(outputs["attentions"])
    ((13, 7, 128), 2)
    """

    def __init__(self, config: Config, *, _blocks: list[BertLayer] | None = None, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.gradient_checkpointing = False
        self.layer = _blocks or [
            BertLayer(self.config, dtype=self.dtype_policy, name=f"layer_{number}")
            for number in range(self.config.num_hidden_layers)
        ]

    def share_blocks(self) -> "BertEncoder":
        """Returns another encoder with the same blocks, for a model with other outputs.

        A functional model assumes that a layer has the same outputs wherever it is called.
        """
        return type(self)(**self.get_config(), _blocks=list(self.layer))

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        first_token_only: bool = False,
        training: bool | None = None,
    ) -> dict[str, Any]:
        shape = ops.shape(hidden_states)  # (batch, length, hidden)
        flat = ops.reshape(hidden_states, (-1, self.config.hidden_size))
        states, attentions = [flat], []
        for block in self.layer[:-1] if first_token_only else self.layer:
            if output_attentions:
                flat, probabilities = block(flat, attention_bias, output_attentions=True)
                attentions.append(probabilities)
            elif self.gradient_checkpointing and training:
                flat = rematerialize(block, flat, attention_bias, training=training)
            else:
                flat = block(flat, attention_bias)
            states.append(flat)
        if first_token_only:
            first = ops.reshape(flat, shape)[:, 0]  # [batch, hidden]
            first = self.layer[-1](flat, attention_bias[:, :, :1], query_states=first)
            return {"last_hidden_state": ops.expand_dims(first, axis=1)}
        outputs = {"last_hidden_state": ops.reshape(flat, shape)}
        if output_hidden_states:
            outputs["hidden_states"] = tuple(ops.reshape(state, shape) for state in states)
        if output_attentions:
            outputs["attentions"] = tuple(attentions)
        return outputs
