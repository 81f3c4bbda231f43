"""One vector for a whole sequence."""

from typing import Any

import keras

from keras_bert_impl.layers.base import BertBaseLayer, truncated_normal
from keras_bert_impl.layers.gather import gather_positions


@keras.saving.register_keras_serializable(package="keras_bert_impl")
class BertPooler(BertBaseLayer):
    """Dense layer with tanh on the hidden state of ``[CLS]``.

    Args:
        hidden_size: width of the hidden states.
        initializer_range: standard deviation of new weights.

    Call arguments:
        hidden_states: ``[batch, length, hidden_size]``.
        positions: int ``[batch, sequences]``, where the ``[CLS]`` of each packed sequence stands; None means at 0.

    Returns:
        ``[batch, hidden_size]``, or with ``positions`` ``[batch, sequences, hidden_size]``.

    >>> import numpy as np
    >>> tuple(BertPooler(hidden_size=32, initializer_range=0.02)(np.ones((13, 7, 32), "float32")).shape)
    (13, 32)
    """

    def __init__(self, *, hidden_size: int, initializer_range: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.initializer_range = initializer_range
        self.dense = keras.layers.Dense(
            hidden_size,
            activation="tanh",
            kernel_initializer=truncated_normal(initializer_range),
            dtype=self.dtype_policy,
            name="dense",
        )

    def build(self, *_: Any) -> None:
        """Makes the dense layer."""
        self.dense.build((None, self.hidden_size))
        self.built = True

    def call(self, hidden_states: Any, positions: Any = None) -> Any:
        """See the class."""
        if positions is None:
            return self.dense(hidden_states[:, 0])
        return self.dense(gather_positions(hidden_states, positions))
