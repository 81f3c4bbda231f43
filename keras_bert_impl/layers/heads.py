"""The heads of pretraining: masked words and next sentence."""

from typing import Any

import keras
from keras import ops

from keras_bert_impl.layers.base import BertBaseLayer, activation, truncated_normal
from keras_bert_impl.layers.gather import gather_positions
from keras_bert_impl.layers.layer_norm import BertLayerNorm
from keras_bert_impl.layers.product import LogitsDense, blocked_matmul


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertPredictionHeadTransform(BertBaseLayer):
    """Dense layer, activation and layer norm in front of the decoder.

    Args:
        hidden_size: width of the hidden states.
        hidden_act: name of the activation.
        layer_norm_eps: what the layer norm adds to the variance.
        initializer_range: standard deviation of new weights.

    Call arguments:
        hidden_states: ``[..., hidden_size]``.

    Returns:
        ``[..., hidden_size]``.

    >>> import numpy as np
    >>> transform = BertPredictionHeadTransform(
    ...     hidden_size=32, hidden_act="gelu", layer_norm_eps=1e-12, initializer_range=0.02)
    >>> tuple(transform(np.ones((13, 32), "float32")).shape)
    (13, 32)
    """

    def __init__(
        self, *, hidden_size: int, hidden_act: str, layer_norm_eps: float, initializer_range: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.dense = keras.layers.Dense(
            hidden_size, kernel_initializer=truncated_normal(initializer_range), dtype=self.dtype_policy, name="dense"
        )
        self.activation = activation(hidden_act)
        self.LayerNorm = BertLayerNorm(epsilon=layer_norm_eps, dtype=self.dtype_policy, name="LayerNorm")

    def build(self, *_: Any) -> None:
        """Makes the dense layer and the layer norm."""
        self.dense.build((None, self.hidden_size))
        self.LayerNorm.build((None, self.hidden_size))
        self.built = True

    def call(self, hidden_states: Any) -> Any:
        """See the class."""
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLMPredictionHead(BertBaseLayer):
    """Scores of all words for the tokens asked about.

    Args:
        vocab_size: number of words.
        hidden_size: width of the hidden states.
        hidden_act: name of the activation.
        layer_norm_eps: what the layer norm adds to the variance.
        initializer_range: standard deviation of new weights.
        tie_word_embeddings: whether the decoder is the word embedding matrix, which the caller then hands in.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        word_embeddings: ``[vocab_size, hidden_size]``, the tied decoder; None if it is not tied.
        positions: int ``[batch, predictions]``, gathered before the product with the vocabulary; None means all.

    Returns:
        float32 ``[batch, predictions or length, vocab_size]``.

    >>> import numpy as np
    >>> head = BertLMPredictionHead(
    ...     vocab_size=99, hidden_size=32, hidden_act="gelu", layer_norm_eps=1e-12, initializer_range=0.02,
    ...     tie_word_embeddings=False)
    >>> tuple(head(np.ones((13, 7, 32), "float32")).shape)
    (13, 7, 99)
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden_size: int,
        hidden_act: str,
        layer_norm_eps: float,
        initializer_range: float,
        tie_word_embeddings: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.tie_word_embeddings = tie_word_embeddings
        self.transform = BertPredictionHeadTransform(
            hidden_size=hidden_size,
            hidden_act=hidden_act,
            layer_norm_eps=layer_norm_eps,
            initializer_range=initializer_range,
            dtype=self.dtype_policy,
            name="transform",
        )
        self.decoder = None
        if not tie_word_embeddings:
            self.decoder = LogitsDense(
                vocab_size,
                use_bias=False,
                kernel_initializer=truncated_normal(initializer_range),
                dtype=self.dtype_policy,
                name="decoder",
            )

    def build(self, *_: Any) -> None:
        """Makes the transform, the bias and the decoder, if it is not tied."""
        self.transform.build()
        if self.decoder is not None:
            self.decoder.build((None, self.hidden_size))
        self.bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="bias")
        self.built = True

    def call(self, hidden_states: Any, word_embeddings: Any = None, positions: Any = None) -> Any:
        """See the class."""
        if positions is not None:
            hidden_states = gather_positions(hidden_states, positions)
        batch, predictions, _ = ops.shape(hidden_states)
        hidden_states = self.transform(ops.reshape(hidden_states, (-1, self.hidden_size)))
        if self.decoder is None:
            table = ops.cast(word_embeddings, self.compute_dtype)
            scores = blocked_matmul(hidden_states, ops.transpose(table))
        else:
            scores = self.decoder(hidden_states)
        scores = ops.cast(scores, "float32") + ops.cast(self.bias, "float32")
        return ops.reshape(scores, (batch, predictions, self.vocab_size))


def next_sentence_dense(initializer_range: float) -> LogitsDense:
    """The dense layer of the next-sentence head. Label 0: the second segment follows the first. Float32 always."""
    return LogitsDense(
        2, kernel_initializer=truncated_normal(initializer_range), dtype="float32", name="seq_relationship"
    )


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOnlyMLMHead(BertBaseLayer):
    """The masked-LM head alone; arguments and results are those of ``BertLMPredictionHead``.

    >>> import numpy as np
    >>> head = BertOnlyMLMHead(
    ...     vocab_size=99, hidden_size=32, hidden_act="gelu", layer_norm_eps=1e-12, initializer_range=0.02,
    ...     tie_word_embeddings=False)
    >>> tuple(head(np.ones((13, 7, 32), "float32")).shape)
    (13, 7, 99)
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden_size: int,
        hidden_act: str,
        layer_norm_eps: float,
        initializer_range: float,
        tie_word_embeddings: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.tie_word_embeddings = tie_word_embeddings
        self.predictions = BertLMPredictionHead(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            hidden_act=hidden_act,
            layer_norm_eps=layer_norm_eps,
            initializer_range=initializer_range,
            tie_word_embeddings=tie_word_embeddings,
            dtype=self.dtype_policy,
            name="predictions",
        )

    def build(self, *_: Any) -> None:
        """Makes the head."""
        self.predictions.build()
        self.built = True

    def call(self, hidden_states: Any, word_embeddings: Any = None, positions: Any = None) -> Any:
        """See the class."""
        return self.predictions(hidden_states, word_embeddings, positions)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOnlyNSPHead(BertBaseLayer):
    """The next-sentence head alone.

    Args:
        hidden_size: width of the pooled output.
        initializer_range: standard deviation of new weights.

    Call arguments:
        pooled_output: ``[..., hidden_size]``.

    Returns:
        float32 ``[..., 2]``; label 0: the second segment follows the first.

    >>> import numpy as np
    >>> tuple(BertOnlyNSPHead(hidden_size=32, initializer_range=0.02)(np.ones((13, 32), "float32")).shape)
    (13, 2)
    """

    def __init__(self, *, hidden_size: int, initializer_range: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.initializer_range = initializer_range
        self.seq_relationship = next_sentence_dense(initializer_range)

    def build(self, *_: Any) -> None:
        """Makes the dense layer."""
        self.seq_relationship.build((None, self.hidden_size))
        self.built = True

    def call(self, pooled_output: Any) -> Any:
        """See the class."""
        return self.seq_relationship(pooled_output)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertPreTrainingHeads(BertOnlyMLMHead):
    """Both heads: ``predictions`` for masked words and ``seq_relationship`` for the next sentence.

    Args: those of ``BertLMPredictionHead``.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        pooled_output: ``[batch, hidden_size]`` or ``[batch, sequences, hidden_size]``.
        word_embeddings: ``[vocab_size, hidden_size]``, the tied decoder; None if it is not tied.
        positions: int ``[batch, predictions]``; None means all.

    Returns:
        a dictionary of float32 ``prediction_logits`` ``[batch, predictions or length, vocab_size]`` and
        ``seq_relationship_logits`` ``[batch, 2]`` or ``[batch, sequences, 2]``.

    >>> import numpy as np
    >>> heads = BertPreTrainingHeads(
    ...     vocab_size=99, hidden_size=32, hidden_act="gelu", layer_norm_eps=1e-12, initializer_range=0.02,
    ...     tie_word_embeddings=False)
    >>> outputs = heads(np.ones((13, 7, 32), "float32"), np.ones((13, 32), "float32"))
    >>> {name: tuple(value.shape) for name, value in outputs.items()}
    {'prediction_logits': (13, 7, 99), 'seq_relationship_logits': (13, 2)}
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        hidden_size: int,
        hidden_act: str,
        layer_norm_eps: float,
        initializer_range: float,
        tie_word_embeddings: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            hidden_act=hidden_act,
            layer_norm_eps=layer_norm_eps,
            initializer_range=initializer_range,
            tie_word_embeddings=tie_word_embeddings,
            **kwargs,
        )
        self.seq_relationship = next_sentence_dense(initializer_range)

    def build(self, *_: Any) -> None:
        """Makes both heads."""
        super().build()
        self.seq_relationship.build((None, self.hidden_size))

    def call(  # type: ignore[override]
        self, hidden_states: Any, pooled_output: Any, word_embeddings: Any = None, positions: Any = None
    ) -> dict[str, Any]:
        """See the class."""
        return {
            "prediction_logits": self.predictions(hidden_states, word_embeddings, positions),
            "seq_relationship_logits": self.seq_relationship(pooled_output),
        }
