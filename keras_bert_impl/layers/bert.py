"""BERT without its heads: embeddings, self-attention, feed-forward, blocks, encoder and pooler."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.errors import InputError
from keras_bert_impl.layers.base import BertBaseLayer, BertResidual, Config, gather_positions, make_initializer
from keras_bert_impl.ops.activations import get_activation
from keras_bert_impl.ops.attention import self_attention
from keras_bert_impl.ops.dense import dense
from keras_bert_impl.ops.embedding import embed
from keras_bert_impl.ops.rematerialization import rematerialize


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

        def make_embedding(rows: int, name: str) -> keras.layers.Embedding:
            initializer, size = make_initializer(self.config), self.config.hidden_size
            return keras.layers.Embedding(rows, size, initializer, dtype=self.dtype_policy, name=name)

        self.word_embeddings = make_embedding(self.config.vocab_size, "word_embeddings")
        self.position_embeddings = make_embedding(self.config.max_position_embeddings, "position_embeddings")
        self.token_type_embeddings = make_embedding(self.config.type_vocab_size, "token_type_embeddings")
        self.LayerNorm = self._make_layer_norm()
        self.dropout = self._make_dropout(self.config.hidden_dropout_prob)

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
        hidden_states = embed(self.word_embeddings, input_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(hidden_states + self.token_type_embeddings(token_type_ids)))


# Added to the scores of masked pairs, so that the softmax gives exactly 0 if another pair is not masked. float16 ends
# at 65504.
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
        attention_bias: ``[batch, 1, 1 or queries, length]`` from ``BertAttentionBias``; None: no mask.
        query_states: ``[batch, hidden_size]``, the queries, if only the first token of each row is one; None: all
            tokens are queries.
        output_attentions: whether to return the attention probabilities as well.

    Returns:
        the context, shaped like ``hidden_states``, or like ``query_states`` if given; with ``output_attentions`` a
        pair of the context and the probabilities ``[batch, heads, queries, keys]``.

    >>> from keras_bert_impl import BertConfig
    >>> tuple(BertSelfAttention(BertConfig.preset("tiny"))(ops.ones((13, 7, 128))).shape)
    (13, 7, 128)
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.query = self._make_dense(self.config.hidden_size, "query")
        self.key = self._make_dense(self.config.hidden_size, "key")
        self.value = self._make_dense(self.config.hidden_size, "value")
        self.dropout = self._make_dropout(self.config.attention_probs_dropout_prob)

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
    """Self-attention and its tail: the first sublayer of a block. It is called like ``BertSelfAttention``."""

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


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertIntermediate(BertBaseLayer):
    """Dense layer from ``[..., hidden_size]`` to ``[..., intermediate_size]``, with the activation ``hidden_act``."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._make_dense(self.config.intermediate_size, "dense")
        self.activation = get_activation(self.config.hidden_act)

    def call(self, hidden_states: Any) -> Any:
        return dense(self.dense, hidden_states, activation=self.activation)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOutput(BertResidual):
    """The tail of the feed-forward sublayer; its ``input_size`` is ``intermediate_size``."""

    def build(self, *_: Any) -> None:
        self.dense.build((None, self.config.intermediate_size))
        super().build()


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLayer(BertBaseLayer):
    """One block: self-attention, then the feed-forward, each followed by a residual connection and a layer norm.

    Its call arguments are those of ``BertSelfAttention``.

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
        training: bool | None = None,  # Keras passes it to the inner layers.
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
        first_token_only: whether only the last hidden state of the first token is needed; the last block then computes
            only that.

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


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertPooler(BertBaseLayer):
    """One vector per sequence: a dense layer with tanh on the hidden state of ``[CLS]``.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        positions: int ``[batch, sequences]``, the position of each packed sequence's ``[CLS]``; None means 0.

    Returns ``[batch, hidden_size]``, or with ``positions`` ``[batch, sequences, hidden_size]``.

    >>> from keras_bert_impl import BertConfig
    >>> tuple(BertPooler(BertConfig.preset("tiny"))(ops.ones((13, 7, 128))).shape)
    (13, 128)
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._make_dense(self.config.hidden_size, "dense", activation="tanh")

    def call(self, hidden_states: Any, positions: Any = None) -> Any:
        return self.dense(hidden_states[:, 0] if positions is None else gather_positions(hidden_states, positions))
