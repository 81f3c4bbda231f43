"""Base classes and common layers: configuration, layer norm, tail of a sublayer, dense layer for logits."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_bert_impl.config import BertConfig
from keras_bert_impl.ops.dense import dense
from keras_bert_impl.ops.layer_norm import layer_norm
from keras_bert_impl.ops.logits import matmul_in_blocks

Config = BertConfig | Mapping[str, Any]


def make_initializer(config: BertConfig) -> keras.initializers.Initializer:
    """Returns the initializer of BERT's weights: a normal distribution, truncated at two standard deviations."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range)


class BertBaseLayer(keras.layers.Layer):
    """A layer constructed from a configuration.

    Args:
        config: the configuration of the model, or a dictionary of it.
        **kwargs: ``dtype``, ``name`` and the other arguments of ``keras.layers.Layer``.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config if isinstance(config, BertConfig) else BertConfig.from_dict(config)

    def build(self, *_: Any) -> None:
        """Creates the weights of the layers inside, for inputs of the hidden size."""
        for layer in self._flatten_layers(include_self=False, recursive=False):
            if not layer.built:
                layer.build((None, self.config.hidden_size))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "config": self.config.to_dict()}

    def _make_dense(self, units: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        initializer = make_initializer(self.config)
        return keras.layers.Dense(units, activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=name)

    def _make_layer_norm(self) -> "BertLayerNorm":
        return BertLayerNorm(epsilon=self.config.layer_norm_eps, dtype=self.dtype_policy, name="LayerNorm")

    def _make_dropout(self, rate: float) -> keras.layers.Dropout:
        return keras.layers.Dropout(rate, dtype=self.dtype_policy, name="dropout")


class BertResidual(BertBaseLayer):
    """Dense, dropout, residual connection and layer norm: the tail of each sublayer.

    Call arguments:
        hidden_states: ``[..., input_size]``, the output of the sublayer.
        input_tensor: ``[..., hidden_size]``, the input of the sublayer, which the residual connection adds.

    Returns ``[..., hidden_size]``.
    """

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.dense = self._make_dense(self.config.hidden_size, "dense")
        self.LayerNorm = self._make_layer_norm()
        self.dropout = self._make_dropout(self.config.hidden_dropout_prob)

    def call(self, hidden_states: Any, input_tensor: Any) -> Any:
        outputs = dense(self.dense, hidden_states, residual=input_tensor, dropout=self.dropout)
        return self.LayerNorm(outputs)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertLayerNorm(keras.layers.LayerNormalization):
    """Layer norm over the last axis; when training on TensorFlow, its gradient needs only its input."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return layer_norm(inputs, self.gamma, self.beta, self.epsilon, training=training)


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class LogitsDense(keras.layers.Dense):
    """A dense layer without activation that sums in blocks, to limit the rounding error of its logits."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        logits = matmul_in_blocks(inputs, ops.convert_to_tensor(self.kernel))
        return logits if self.bias is None else logits + self.bias


def make_logits_dense(config: BertConfig, units: int, name: str, **options: Any) -> LogitsDense:
    """Returns the last layer of a head, which is float32 under every policy unless ``options`` say otherwise."""
    return LogitsDense(units, kernel_initializer=make_initializer(config), name=name, **{"dtype": "float32", **options})


def gather_positions(hidden_states: Any, positions: Any) -> Any:
    """Gathers the vectors ``[batch, count, hidden]`` at int ``positions`` ``[batch, count]`` of each row.

    One flat ``take`` on ``[batch * length, hidden]``: ``take_along_axis`` would broadcast the indices over ``hidden``.
    """
    batch, length, hidden = ops.shape(hidden_states)
    flat = ops.reshape(hidden_states, (-1, hidden))
    starts = ops.expand_dims(ops.arange(batch, dtype="int32") * length, axis=1)  # [batch, 1]
    return ops.take(flat, ops.cast(positions, "int32") + starts, axis=0)
