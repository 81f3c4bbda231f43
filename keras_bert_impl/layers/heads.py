"""The heads of pretraining: masked LM and next sentence."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.base import BertBaseLayer, Config, gather_positions, make_logits_dense
from keras_bert_impl.ops.activations import get_activation
from keras_bert_impl.ops.dense import dense
from keras_bert_impl.ops.logits import matmul_in_blocks


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertPredictionHeadTransform(BertBaseLayer):
    """Dense layer, activation and layer norm before the decoder; ``[..., hidden_size]`` in and out."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._make_dense(self.config.hidden_size, "dense")
        self.activation = get_activation(self.config.hidden_act)
        self.LayerNorm = self._make_layer_norm()

    def call(self, hidden_states: Any) -> Any:
        return self.LayerNorm(dense(self.dense, hidden_states, activation=self.activation))


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLMPredictionHead(BertBaseLayer):
    """Logits of all tokens of the vocabulary, at all positions or at some.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        word_embeddings: ``[vocab_size, hidden_size]``, the decoder if ``config.tie_word_embeddings``; otherwise None.
        positions: int ``[batch, predictions]``, gathered before the product with the vocabulary; None means all.

    Returns float32 ``[batch, predictions or length, vocab_size]``.

    >>> from keras_bert_impl import BertConfig
    >>> head = BertLMPredictionHead(BertConfig.preset("tiny", vocab_size=99, tie_word_embeddings=False))
    >>> tuple(head(ops.ones((13, 7, 128))).shape)
    (13, 7, 99)
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.transform = BertPredictionHeadTransform(self.config, dtype=self.dtype_policy, name="transform")
        self.decoder = None
        if not self.config.tie_word_embeddings:
            options = {"use_bias": False, "dtype": self.dtype_policy}
            self.decoder = make_logits_dense(self.config, self.config.vocab_size, "decoder", **options)

    def build(self, *_: Any) -> None:
        super().build()
        self.bias = self.add_weight(shape=(self.config.vocab_size,), initializer="zeros", name="bias")

    def call(self, hidden_states: Any, word_embeddings: Any = None, positions: Any = None) -> Any:
        if positions is not None:
            hidden_states = gather_positions(hidden_states, positions)
        batch, predictions, _ = ops.shape(hidden_states)
        hidden_states = self.transform(ops.reshape(hidden_states, (-1, self.config.hidden_size)))
        if self.decoder is None:
            logits = matmul_in_blocks(hidden_states, ops.transpose(ops.cast(word_embeddings, self.compute_dtype)))
        else:
            logits = self.decoder(hidden_states)
        logits = ops.cast(logits, "float32") + ops.cast(self.bias, "float32")
        return ops.reshape(logits, (batch, predictions, self.config.vocab_size))


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOnlyMLMHead(BertBaseLayer):
    """The masked-LM head alone. Its call arguments are those of ``BertLMPredictionHead``."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.predictions = BertLMPredictionHead(self.config, dtype=self.dtype_policy, name="predictions")

    def call(self, hidden_states: Any, word_embeddings: Any = None, positions: Any = None) -> Any:
        return self.predictions(hidden_states, word_embeddings, positions)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOnlyNSPHead(BertBaseLayer):
    """The next-sentence head alone: ``[..., hidden_size]`` to float32 ``[..., 2]``; label 0: it follows."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.seq_relationship = make_logits_dense(self.config, 2, "seq_relationship")

    def call(self, pooled_output: Any) -> Any:
        return self.seq_relationship(pooled_output)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertPreTrainingHeads(BertBaseLayer):
    """Both heads: ``predictions`` for masked tokens and ``seq_relationship`` for the next sentence.

    Call arguments: those of ``BertLMPredictionHead``, and as the second argument
        pooled_output: ``[batch, hidden_size]`` or ``[batch, sequences, hidden_size]``.

    Returns:
        a dictionary of float32 ``prediction_logits`` ``[batch, predictions or length, vocab_size]`` and
        ``seq_relationship_logits`` ``[batch, 2]`` or ``[batch, sequences, 2]``.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.predictions = BertLMPredictionHead(self.config, dtype=self.dtype_policy, name="predictions")
        self.seq_relationship = make_logits_dense(self.config, 2, "seq_relationship")

    def call(
        self, hidden_states: Any, pooled_output: Any, word_embeddings: Any = None, positions: Any = None
    ) -> dict[str, Any]:
        return {
            "prediction_logits": self.predictions(hidden_states, word_embeddings, positions),
            "seq_relationship_logits": self.seq_relationship(pooled_output),
        }
