"""The second half of a block: a wider dense layer with an activation, and back."""

from typing import Any

import keras

from keras_bert_impl.layers.base import BertBaseLayer, activation, truncated_normal
from keras_bert_impl.layers.residual import BertResidual


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertIntermediate(BertBaseLayer):
    """Dense layer to the intermediate size with the activation, GELU in the published models.

    Args:
        hidden_size: width of what comes in.
        intermediate_size: width of the result.
        hidden_act: name of the activation.
        initializer_range: standard deviation of new weights.

    Call arguments:
        hidden_states: ``[..., hidden_size]``.

    Returns:
        ``[..., intermediate_size]``.

    >>> import numpy as np
    >>> intermediate = BertIntermediate(hidden_size=32, intermediate_size=37, hidden_act="gelu", initializer_range=0.02)
    >>> tuple(intermediate(np.ones((13, 32), "float32")).shape)
    (13, 37)
    """

    def __init__(
        self, *, hidden_size: int, intermediate_size: int, hidden_act: str, initializer_range: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.initializer_range = initializer_range
        self.dense = keras.layers.Dense(
            intermediate_size,
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )
        self.activation = activation(hidden_act)

    def build(self, *_: Any) -> None:
        """Makes the dense layer."""
        self.dense.build((None, self.hidden_size))
        self.built = True

    def call(self, hidden_states: Any) -> Any:
        """See the class."""
        return self.activation(self.dense(hidden_states))


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertOutput(BertResidual):
    """What follows the intermediate layer: dense, dropout, residual, layer norm. See ``BertResidual``."""
