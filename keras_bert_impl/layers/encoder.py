"""The blocks, and the stack of them."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.attention import BertAttention
from keras_bert_impl.layers.base import BertBaseLayer
from keras_bert_impl.layers.feed_forward import BertIntermediate, BertOutput
from keras_bert_impl.layers.remat import rematerialized


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLayer(BertBaseLayer):
    """One block: self-attention, then the feed-forward, each with a residual connection and a layer norm after it.

    Args:
        hidden_size: width of the hidden states.
        num_attention_heads: number of heads.
        intermediate_size: width inside the feed-forward.
        hidden_act: activation of the feed-forward.
        hidden_dropout_prob: dropout before each residual connection.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        layer_norm_eps: what the layer norms add to the variance.
        initializer_range: standard deviation of new weights.

    Call arguments and Returns: those of ``BertSelfAttention``.

    >>> import numpy as np
    >>> block = BertLayer(
    ...     hidden_size=32, num_attention_heads=4, intermediate_size=37, hidden_act="gelu", hidden_dropout_prob=0.1,
    ...     attention_probs_dropout_prob=0.1, layer_norm_eps=1e-12, initializer_range=0.02)
    >>> tuple(block(np.ones((13, 7, 32), "float32")).shape)
    (13, 7, 32)
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        intermediate_size: int,
        hidden_act: str,
        hidden_dropout_prob: float,
        attention_probs_dropout_prob: float,
        layer_norm_eps: float,
        initializer_range: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.attention = BertAttention(
            hidden_size=hidden_size,
            num_attention_heads=num_attention_heads,
            attention_probs_dropout_prob=attention_probs_dropout_prob,
            hidden_dropout_prob=hidden_dropout_prob,
            layer_norm_eps=layer_norm_eps,
            initializer_range=initializer_range,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.intermediate = BertIntermediate(
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            hidden_act=hidden_act,
            initializer_range=initializer_range,
            dtype=self.dtype_policy,
            name="intermediate",
        )
        # Keras reserves the attribute "output".
        self.layer_output = BertOutput(
            input_size=intermediate_size,
            hidden_size=hidden_size,
            hidden_dropout_prob=hidden_dropout_prob,
            layer_norm_eps=layer_norm_eps,
            initializer_range=initializer_range,
            dtype=self.dtype_policy,
            name="output",
        )

    def build(self, hidden_states_shape: Any, *_: Any) -> None:
        """Makes the three parts."""
        for part in (self.attention, self.intermediate, self.layer_output):
            part.build(hidden_states_shape)
        self.built = True

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any = None,
        query_states: Any = None,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> Any:
        """See the class; Keras hands ``training`` on to what is inside."""
        found = self.attention(hidden_states, attention_bias, query_states, output_attentions=output_attentions)
        hidden_states, attentions = found if output_attentions else (found, None)
        hidden_states = self.layer_output(self.intermediate(hidden_states), hidden_states)
        return (hidden_states, attentions) if output_attentions else hidden_states


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertEncoder(BertBaseLayer):
    """The stack of blocks.

    Inside, tokens stand in one flat ``[batch * length, hidden]``: dense layers on rank 2 are what TensorFlow fuses.

    Args:
        num_hidden_layers: number of blocks.
        hidden_size: width of the hidden states.
        num_attention_heads: heads in each block.
        intermediate_size: width inside the feed-forward.
        hidden_act: activation of the feed-forward.
        hidden_dropout_prob: dropout before each residual connection.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        layer_norm_eps: what the layer norms add to the variance.
        initializer_range: standard deviation of new weights.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        attention_bias: ``[batch, 1, 1 or length, length]`` from ``BertAttentionBias``.
        output_hidden_states: whether to return the hidden states before and after each block.
        output_attentions: whether to return each block's attention probabilities.
        first_token_only: whether only the first token's last hidden state is asked for, which spares the last block
            most of its work.

    Returns:
        a dictionary of ``last_hidden_state``, ``[batch, length, hidden_size]`` (``[batch, 1, hidden_size]`` with
        ``first_token_only``), and where asked for of
        ``hidden_states``, a tuple of ``num_hidden_layers + 1`` such, and ``attentions``, a tuple of
        ``num_hidden_layers`` times ``[batch, heads, queries, keys]``.

    Attributes:
        gradient_checkpointing: whether blocks are computed again for the gradient, instead of keeping what is in them.

    >>> import numpy as np
    >>> encoder = BertEncoder(
    ...     num_hidden_layers=5, hidden_size=32, num_attention_heads=4, intermediate_size=37, hidden_act="gelu",
    ...     hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, layer_norm_eps=1e-12, initializer_range=0.02)
    >>> outputs = encoder(np.ones((13, 7, 32), "float32"), np.zeros((13, 1, 1, 7), "float32"), output_attentions=True)
    >>> tuple(outputs["last_hidden_state"].shape), len(outputs["attentions"])
    ((13, 7, 32), 5)
    """

    def __init__(
        self,
        *,
        num_hidden_layers: int,
        hidden_size: int,
        num_attention_heads: int,
        intermediate_size: int,
        hidden_act: str,
        hidden_dropout_prob: float,
        attention_probs_dropout_prob: float,
        layer_norm_eps: float,
        initializer_range: float,
        _blocks: list[BertLayer] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gradient_checkpointing = False
        self.num_hidden_layers = num_hidden_layers
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.layer = _blocks or [
            BertLayer(
                hidden_size=hidden_size,
                num_attention_heads=num_attention_heads,
                intermediate_size=intermediate_size,
                hidden_act=hidden_act,
                hidden_dropout_prob=hidden_dropout_prob,
                attention_probs_dropout_prob=attention_probs_dropout_prob,
                layer_norm_eps=layer_norm_eps,
                initializer_range=initializer_range,
                dtype=self.dtype_policy,
                name=f"layer_{number}",
            )
            for number in range(num_hidden_layers)
        ]

    def twin(self) -> "BertEncoder":
        """An encoder over the same blocks.

        A functional model takes it that a layer has as many outputs in every place where it is called: the model that
        returns hidden states calls another encoder than the one that does not.
        """
        return type(self)(**self.get_config(), _blocks=list(self.layer))

    def build(self, hidden_states_shape: Any, *_: Any) -> None:
        """Makes the blocks."""
        for block in self.layer:
            if not block.built:
                block.build(hidden_states_shape)
        self.built = True

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        first_token_only: bool = False,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """See the class."""
        shape = ops.shape(hidden_states)  # (batch, length, hidden)
        flat = ops.reshape(hidden_states, (-1, self.hidden_size))
        states, attentions = [flat], []
        for block in self.layer[:-1] if first_token_only else self.layer:
            if output_attentions:
                flat, probabilities = block(flat, attention_bias, output_attentions=True)
                attentions.append(probabilities)
            elif self.gradient_checkpointing and training:
                flat = rematerialized(block, flat, attention_bias, training=training)
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
